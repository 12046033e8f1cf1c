//! Rooms with so many members that what they say in one turn is written together.

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::update;

use super::frames::{admitted, auth, edit, to};
use super::world::{Client, Server, masked};

/// Members that speak y-websocket; two more speak Hocuspocus, under addresses of their own.
const BARE: u64 = 10;
const EACH: u64 = 40;
/// What a message of presence starts with.
const PRESENCE: u8 = 1;

fn says(author: u64, clock: u64) -> Bytes {
    // One is too large to be gathered.
    let text = if clock == 7 { "x".repeat(70_000) } else { format!("{author}:{clock}") };
    update(&edit(author, clock * 100_000, &text))
}

/// All that `members` others say: from each of them everything, in its order, and nothing twice.
async fn hears_all(client: &mut Client, me: Option<u64>, framed: impl Fn(&Bytes) -> Bytes) {
    let authors: Vec<u64> = (1..=BARE).filter(|author| Some(*author) != me).collect();
    let mut next = vec![0; authors.len()];
    let behind_address = framed(&Bytes::new()).len();
    while next.iter().any(|heard| *heard < EACH) {
        let heard = client.next().await;
        if heard.get(behind_address) == Some(&PRESENCE) {
            continue;
        }
        let author = (0..authors.len())
            .find(|place| next[*place] < EACH && heard == framed(&says(authors[*place], next[*place])));
        next[author.expect("what an author says next")] += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_hears_everything_once_in_order_and_nothing_of_its_own() {
    let server = Server::start().await;
    let mut bare = Vec::new();
    for author in 1..=BARE {
        let mut client = server.connect("/yjs/crowd").await;
        assert!(client.heard(100 + author).await.is_empty(), "sits in the room");
        bare.push(client);
    }
    let mut addressed = Vec::new();
    for address in ["crowd", "crowd\0session"] {
        let mut client = server.connect("/hocuspocus").await;
        client.send(auth(address)).await;
        assert_eq!(client.next().await, admitted(address));
        addressed.push((address, client));
    }
    for (author, client) in (1..).zip(&mut bare) {
        // Many messages in one piece, as they come from a client that was held up.
        let burst: Vec<u8> = (0..EACH).flat_map(|clock| masked(0x82, &says(author, clock))).collect();
        client.burst(&burst).await;
    }
    let mut hearing = tokio::task::JoinSet::new();
    for (author, mut client) in (1..).zip(bare) {
        hearing.spawn(async move { hears_all(&mut client, Some(author), Bytes::clone).await });
    }
    for (address, mut client) in addressed {
        hearing.spawn(async move { hears_all(&mut client, None, |body| to(address, body)).await });
    }
    while let Some(done) = hearing.join_next().await {
        done.unwrap();
    }
}
