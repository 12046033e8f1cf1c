//! y-websocket rooms without an archive: each joiner is synced by exactly one peer and brings its own content,
//! nobody else hears of it, presence follows its owner, and a refused client learns the permanent code.

use tombolo_core::dialect::y_protocols::{sync_step2, update};
use tombolo_core::room::StoreRefused;
use tombolo_relay::admission::{Access, Admission, Claim, Denied};

use super::archive::stub;
use super::frames::{edit, nothing, presence, step1};
use super::world::{Client, Raw, Server, handshake, masked};

/// Joins and says that it has nothing; gives back the answer to its question.
async fn joined(server: &Server, room: &str) -> Client {
    let mut client = server.connect(room).await;
    client.send(step1()).await;
    assert_eq!(client.next().await, step1(), "asked for its own content first");
    client.send(nothing()).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_client_is_synced_with_nothing() {
    let server = Server::start().await;
    let mut client = joined(&server, "/yjs/lone").await;
    assert_eq!(client.next().await, nothing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_is_answered_once_by_the_oldest_and_nobody_else_hears_it() {
    let server = Server::start().await;
    let mut oldest = joined(&server, "/yjs/room").await;
    assert_eq!(oldest.next().await, nothing());
    let mut bystander = joined(&server, "/yjs/room").await;
    assert_eq!(oldest.next().await, step1());
    oldest.send(nothing()).await;
    assert_eq!(bystander.next().await, nothing());

    let mut joiner = joined(&server, "/yjs/room").await;
    assert_eq!(oldest.next().await, step1(), "the joiner's question, to the oldest");
    let content = edit(1, 0, "content");
    oldest.send(sync_step2(&content)).await;
    assert_eq!(joiner.next().await, sync_step2(&content));
    assert!(joiner.heard(71).await.is_empty(), "one answer");
    assert!(bystander.heard(72).await.is_empty(), "neither the question nor the answer");
    assert!(oldest.heard(73).await.is_empty(), "one question");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiners_own_content_is_spread_as_update() {
    let server = Server::start().await;
    let mut first = joined(&server, "/yjs/room").await;
    first.next().await;
    let mut joiner = server.connect("/yjs/room").await;
    joiner.send(step1()).await;
    assert_eq!(joiner.next().await, step1());
    let offline = edit(2, 0, "written offline");
    joiner.send(sync_step2(&offline)).await;
    assert_eq!(first.next().await, step1(), "asked for what the joiner lacks");
    assert_eq!(first.next().await, update(&offline), "never a SyncStep2, which would make it synced");
    first.send(nothing()).await;
    assert_eq!(joiner.next().await, nothing(), "its own content does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_not_echoed_but_presence_is() {
    let server = Server::start().await;
    let mut author = joined(&server, "/yjs/room").await;
    author.next().await;
    let mut other = server.connect("/yjs/room").await;
    assert!(other.heard(70).await.is_empty(), "sits in the room");
    author.send(update(&edit(1, 0, "a"))).await;
    author.send(presence(1, 1, Some("{\"name\":\"author\"}"))).await;
    assert_eq!(other.next().await, update(&edit(1, 0, "a")));
    assert_eq!(other.next().await, presence(1, 1, Some("{\"name\":\"author\"}")));
    assert_eq!(author.next().await, presence(70, 1, Some("{}")));
    assert_eq!(author.next().await, presence(1, 1, Some("{\"name\":\"author\"}")), "no update before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_is_said_goodbye_for() {
    let server = Server::start().await;
    let mut stays = server.connect("/yjs/room").await;
    assert!(stays.heard(70).await.is_empty());
    for (client, how) in [(5, "cut"), (6, "goodbye"), (7, "malformed")] {
        let mut goes = server.connect("/yjs/room").await;
        assert_eq!(goes.next().await, presence(70, 1, Some("{}")), "a joiner sees who is here");
        goes.send(presence(client, 3, Some("{}"))).await;
        assert_eq!(stays.next().await, presence(client, 3, Some("{}")));
        match how {
            "cut" => drop(goes),
            "goodbye" => assert_eq!(goes.goodbye().await, 1005),
            _ => goes.send(&b"\x07"[..]).await,
        }
        assert_eq!(stays.next().await, presence(client, 3, None), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_do_not_hear_each_other() {
    let server = Server::start().await;
    let mut here = server.connect("/yjs/a%20room").await;
    let mut same = server.connect("/yjs/a%20room?token=x").await;
    let mut there = server.connect("/yjs/another").await;
    assert!(same.heard(70).await.is_empty() && there.heard(71).await.is_empty());
    here.send(update(&edit(1, 0, "a"))).await;
    assert_eq!(same.next().await, update(&edit(1, 0, "a")));
    assert!(there.heard(72).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_answerer_is_passed_over() {
    let server = Server::start().await;
    let mut silent = joined(&server, "/yjs/room").await;
    silent.next().await;
    let mut second = joined(&server, "/yjs/room").await;
    assert_eq!(silent.next().await, step1(), "heard, not answered");
    let mut joiner = joined(&server, "/yjs/room").await;
    assert_eq!(silent.next().await, step1());
    // Both questions go on to others when their time is over; the second one's finds the joiner.
    assert_eq!(joiner.next().await, step1(), "the second one's question");
    assert_eq!(second.next().await, step1(), "the joiner's question");
    second.send(sync_step2(&edit(1, 0, "a"))).await;
    assert_eq!(joiner.next().await, sync_step2(&edit(1, 0, "a")));
    // A late answer is no second sync.
    silent.send(sync_step2(&edit(2, 0, "late"))).await;
    silent.send(sync_step2(&edit(2, 0, "late"))).await;
    assert_eq!(joiner.next().await, update(&edit(2, 0, "late")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_and_connections_that_come_and_go_leave_nothing_behind() {
    let server = std::sync::Arc::new(Server::start().await);
    let mut visitors = tokio::task::JoinSet::new();
    for visitor in 0..8 {
        let server = std::sync::Arc::clone(&server);
        visitors.spawn(async move {
            for visit in 0..25 {
                let mut client = server.connect(&format!("/yjs/{}", visit % 2)).await;
                client.send(step1()).await;
                client.send(presence(visitor, visit + 1, Some("{}"))).await;
                client.next().await;
                if visit % 3 == 0 {
                    client.goodbye().await;
                }
            }
        });
    }
    while let Some(visited) = visitors.join_next().await {
        visited.unwrap();
    }
    server.until("connections{dialect=\"yjs\"}", 0).await;
    server.until("rooms", 0).await;
    assert_eq!(server.metric("connections_opened_total{dialect=\"yjs\"}").await, 200);
}

struct Nobody;

impl Admission for Nobody {
    fn admit(&self, claim: &Claim<'_>) -> Result<Access, Denied> {
        assert_eq!((claim.document.is_some(), claim.token), (true, Some("a b")));
        Err(Denied { reason: "nobody may".into() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_always_learns_the_permanent_code() {
    let server = Server::admitting(Nobody).await;
    // Stock clients ask at once; the refusal must not be lost over that.
    for _ in 0..50 {
        let mut raw = Raw { socket: server.tcp().await };
        let question = masked(0x82, &step1());
        raw.send(&[handshake("/yjs/room?token=a%20b"), question.clone(), question].concat()).await;
        raw.head().await;
        assert_eq!(raw.closed().await, 4403);
    }
    let server = Server::start().await;
    let long = format!("/yjs/{}", "x".repeat(513));
    for path in ["/yjs", "/yjs/%20", "/yjs/%ff", "/yjs/a%00b", &long] {
        assert_eq!(server.connect(path).await.closed().await, 4400, "{path}");
    }
    assert_eq!(server.metric("rooms").await, 0);
}

/// The provider stops for good at 4400 to 4499 and comes back after every other code.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_learns_by_the_code_whether_to_come_back() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let rows = [
        (StoreRefused::Trouble, 1013),
        (StoreRefused::NoRoom, 4507),
        (StoreRefused::Damaged, 4503),
        (StoreRefused::Quarantined, 4422),
        (StoreRefused::Deleted, 4410),
    ];
    for (reason, code) in rows {
        let mut author = server.connect("/yjs/room").await;
        author.send(update(&edit(1, 0, "a"))).await;
        calls.store().await.done(Err(reason));
        assert_eq!(author.rest().await, (vec![], code));
        let mut reader = server.raw("/yjs/room").await;
        reader.send(&masked(0x82, &step1())).await;
        calls.read().await.refuse(reason);
        let (first, close) = reader.frame().await.unwrap();
        assert_eq!(
            (first, &close[..2], &close[2..]),
            (0x88, &code.to_be_bytes()[..], reason.to_string().as_bytes())
        );
        assert_eq!(reason.is_permanent(), (4400..4500).contains(&code));
    }
}
