//! A member that does not read costs bounded memory: it loses its whole queue and is told so, and who asks
//! without reading is not listened to. Everybody else receives everything.

use bytes::Bytes;
use tombolo_core::dialect::y_protocols::{self, sync_step2, update};
use tombolo_core::validate::AwarenessEntry;

use super::archive::stub;
use super::frames::{auth, edit, presence, step1, to};
use super::world::{Server, masked, soon};

const BEHIND: &str = "refusals_total{reason=\"behind\"}";

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_is_told_to_come_back_and_the_others_miss_nothing() {
    let server = Server::with(|config| config.queue_bytes_max = 64 * 1024, None).await;
    let mut author = server.connect("/yjs/room").await;
    let mut reader = server.connect("/yjs/room").await;
    let mut slow = server.connect("/yjs/room").await;
    slow.send(presence(5, 1, Some("{}"))).await;
    for client in [&mut author, &mut reader, &mut slow] {
        assert_eq!(client.next().await, presence(5, 1, Some("{}")));
    }
    let mut slow = slow.into_raw();

    // Larger than what the sockets of the system take in.
    let text = "x".repeat(32 * 1024);
    let mut clock = 0;
    let mut goodbye = None;
    while goodbye.is_none() {
        let news = update(&edit(1, clock, &text));
        clock += text.len() as u64;
        author.send(news.clone()).await;
        let mut heard = reader.next().await;
        if heard == presence(5, 1, None) {
            goodbye = Some(heard);
            heard = reader.next().await;
        }
        assert!(heard == news, "the reader misses clock {clock}");
        assert!(clock < 64 * 1024 * 1024, "64 MiB wait for one reader");
    }
    server.until(BEHIND, 1).await;
    // It goes on talking; the reason must reach it all the same.
    slow.send(&masked(0x82, &presence(5, 2, Some("{}")))).await;
    assert_eq!(slow.closed().await, 1013);
    server.until("connections{dialect=\"yjs\"}", 2).await;
    assert_eq!(server.metric(BEHIND).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_misses_no_edit_and_is_shown_the_newest_presence_once() {
    const SHOWN: u64 = 500;
    let server = Server::with(|config| config.queue_bytes_max = 8 * 1024 * 1024, None).await;
    let mut author = server.connect("/yjs/room").await;
    let mut leaver = server.connect("/yjs/room").await;
    let mut slow = server.connect("/yjs/room").await;
    assert!(slow.heard(93).await.is_empty());
    author.send(presence(1, 1, Some("{}"))).await;
    leaver.send(presence(2, 1, Some("{}"))).await;
    let mut met = 0;
    while met < 2 {
        met += u32::from(slow.next().await.ends_with(b"{}"));
    }

    // More than the sockets of the system take in, then on to more than half of the queue.
    let text = "x".repeat(64 * 1024);
    let (mut clock, mut edits) = (0, Vec::new());
    while server.metric("behind_total").await == 0 {
        let edit = update(&edit(1, clock, &text));
        clock += text.len() as u64;
        author.send(edit.clone()).await;
        edits.push(edit);
        author.send(presence(1, 1 + edits.len() as u64, Some("{}"))).await;
        assert!(edits.len() < 1000, "64 MiB wait for one reader");
    }
    let before = 1 + edits.len() as u64;
    for more in 1..=SHOWN {
        author.send(presence(1, before + more, Some("{}"))).await;
    }
    leaver.goodbye().await;
    server.until("connections{dialect=\"yjs\"}", 2).await;
    let last = update(&edit(1, clock, "last"));
    author.send(last.clone()).await;
    edits.push(last);
    // Until its own echo it has heard of all that.
    author.heard(90).await;

    let (mut heard, mut newest, mut shown) = (Vec::new(), 0, 0);
    let mut is_gone = false;
    while heard.len() < edits.len() || newest < before + SHOWN || !is_gone {
        let frame = slow.next().await;
        match Message::from(&frame) {
            Message::Presence(entries) => {
                shown += 1;
                for entry in entries {
                    match entry.client {
                        1 => newest = entry.clock,
                        2 => is_gone = entry.state.is_none(),
                        _ => {}
                    }
                }
            }
            Message::Other => heard.push(frame),
        }
    }
    assert!(heard == edits, "an edit is missing or not in its place");
    assert!(shown < before + 10, "{shown} messages of presence, though {SHOWN} came while it was behind");
    assert_eq!(server.metric(BEHIND).await, 0);
}

enum Message {
    Presence(Vec<AwarenessEntry>),
    Other,
}

impl Message {
    fn from(frame: &Bytes) -> Self {
        match y_protocols::parse(frame) {
            Ok(y_protocols::Message::Awareness(update)) => Self::Presence(update.entries),
            _ => Self::Other,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_and_again_is_not_listened_to_until_it_reads() {
    const DOCUMENTS: u64 = 1000;
    const ANSWER: usize = 128 * 1024;
    /// What the sockets of the system take in, generously.
    const UNREAD_MAX: u64 = 24 * 1024 * 1024;
    let (archive, mut calls) = stub();
    let server = Server::with(|config| config.answer_bytes_max = 2 * ANSWER, Some(archive)).await;
    let answer = edit(1, 0, &"x".repeat(ANSWER));
    let content = answer.clone();
    tokio::spawn(async move {
        while let Some(read) = calls.reads.recv().await {
            read.answer(content.clone());
        }
    });
    let mut raw = server.raw("/hocuspocus").await;
    for document in 0..DOCUMENTS {
        let name = document.to_string();
        let question = masked(0x82, &to(&name, &step1()));
        raw.send(&[masked(0x82, &auth(&name)), question].concat()).await;
    }
    let (mut answers, mut read) = (0, 0);
    while answers < DOCUMENTS {
        let (_, frame) = raw.frame().await.unwrap();
        read += frame.len() as u64;
        if frame.ends_with(&answer) {
            answers += 1;
            if answers % 50 == 0 {
                let unread = server.metric("sent_bytes_total").await.saturating_sub(read);
                assert!(unread < UNREAD_MAX, "{unread} bytes of answers wait for who does not read");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_documents_on_one_socket_are_read_a_few_at_a_time() {
    const DOCUMENTS: usize = 200;
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let mut client = server.connect("/hocuspocus").await;
    for document in 0..DOCUMENTS {
        let name = format!("doc {document}");
        client.send(auth(&name)).await;
        client.send(to(&name, &step1())).await;
    }
    let mut most = 0;
    let mut open = Vec::new();
    let mut answered = 0;
    while answered < DOCUMENTS {
        open.push(calls.read().await);
        // Others get their turn: what the relay would ask for without an answer, it has asked for by then.
        server.metric("rooms").await;
        while let Ok(read) = calls.reads.try_recv() {
            open.push(read);
        }
        most = most.max(open.len());
        for read in open.drain(..) {
            answered += 1;
            read.answer(vec![0, 0]);
        }
    }
    assert!(most <= 16, "{most} answers were asked for at once, each as large as a document");
    let mut synced = 0;
    while synced < DOCUMENTS {
        synced += usize::from(client.next().await.ends_with(&sync_step2(&[0, 0])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_others_ask_of_a_slow_member_are_bounded() {
    let server = Server::with(|config| config.queue_bytes_max = 64 * 1024, None).await;
    let mut slow = server.raw("/yjs/room").await;
    slow.send(&masked(0x82, &step1())).await;
    slow.frame().await.unwrap();
    slow.frame().await.unwrap();
    // A state vector of a document with many authors, asked for again and again.
    let mut vector = vec![0x80, 0x80, 0x08];
    vector.extend((0..128 * 1024u32).flat_map(|client| {
        let [a, b, c] =
            [client & 0x7f, client >> 7 & 0x7f, client >> 14].map(|part| u8::try_from(part).unwrap());
        [a | 0x80, b | 0x80, c, 1]
    }));
    let question = tombolo_core::dialect::y_protocols::sync_step1(&vector);
    let asking = async {
        let mut asker = server.connect("/yjs/room").await;
        for asked in 0.. {
            asker.send(question.clone()).await;
            if server.metric(BEHIND).await == 1 {
                return;
            }
            assert!(asked < 100, "{asked} questions wait for who does not read");
        }
    };
    soon("the slow one to fall behind", asking).await;
    assert_eq!(slow.closed().await, 1013);
}
