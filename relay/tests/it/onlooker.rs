//! What is seen of a room from outside: who is there, what passed through, what waits, who was refused.

use tombolo_core::dialect::y_protocols::update;
use tombolo_relay::{RoomStatus, Traffic};

use super::frames::{admitted, auth, edit, presence, step1, to};
use super::world::{Server, soon};

fn only(server: &Server) -> RoomStatus {
    let rooms = server.relay.guests().onlooker().rooms();
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    rooms.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_counted_once_in_and_for_each_member_out() {
    let server = Server::start().await;
    let onlooker = server.relay.guests().onlooker();
    assert_eq!(onlooker.rooms().len(), 0);
    let mut author = server.connect("/yjs/room").await;
    let mut one = server.connect("/yjs/room").await;
    let mut many = server.connect("/hocuspocus").await;
    many.send(auth("room")).await;
    assert_eq!(many.next().await, admitted("room"));
    // Everybody is there, and asked for what the others have.
    author.heard(1).await;
    one.heard(2).await;
    many.send(to("room", &presence(3, 1, Some("{}")))).await;
    while many.next().await != to("room", &presence(3, 1, Some("{}"))) {}
    while author.next().await != presence(3, 1, Some("{}")) {}
    while one.next().await != presence(3, 1, Some("{}")) {}
    let before = only(&server);
    assert_eq!((before.document.to_string().as_str(), before.members), ("room", 3));
    let news = update(&edit(1, 0, "x"));
    author.send(news.clone()).await;
    while one.next().await != news {}
    while many.next().await != to("room", &news) {}
    let now = only(&server);
    assert_eq!(now.number, before.number);
    // Two bytes of the frame's head for each.
    let out = news.len() + 2 + to("room", &news).len() + 2;
    let expected = Traffic {
        messages_in: before.traffic.messages_in + 1,
        bytes_in: before.traffic.bytes_in + news.len() as u64,
        messages_out: before.traffic.messages_out + 2,
        bytes_out: before.traffic.bytes_out + out as u64,
        refusals: 0,
    };
    assert_eq!(now.traffic, expected);
    assert_eq!((onlooker.connections("yjs"), onlooker.connections("hocuspocus")), (2, 1));
    assert_eq!(onlooker.connections("automerge"), 0);
    drop((author, one, many));
    server.until("rooms", 0).await;
    assert_eq!(onlooker.rooms().len(), 0);
    let mut later = server.connect("/yjs/room").await;
    later.heard(4).await;
    let again = only(&server);
    assert!(again.number != now.number && again.traffic.messages_in < now.traffic.messages_in, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_who_fell_behind_is_seen() {
    const MAX: usize = 4 * 1024 * 1024;
    let server = Server::with(|config| config.queue_bytes_max = MAX, None).await;
    let mut author = server.connect("/yjs/room").await;
    let mut slow = server.connect("/yjs/room").await;
    slow.send(step1()).await;
    author.next().await;
    let _slow = slow.into_raw();
    assert_eq!(only(&server).queue_bytes, 0);
    let text = "x".repeat(64 * 1024);
    let mut clock = 0;
    let mut send = async || {
        author.send(update(&edit(1, clock, &text))).await;
        clock += text.len() as u64;
    };
    let waiting = async {
        while only(&server).queue_bytes == 0 {
            send().await;
        }
        assert_eq!(only(&server).traffic.refusals, 0);
        while only(&server).traffic.refusals == 0 {
            assert!(only(&server).queue_bytes <= MAX + 8 * text.len());
            send().await;
        }
    };
    soon("one that falls behind", waiting).await;
    assert_eq!(only(&server).traffic.refusals, 1);
}
