//! Large answers to a replica: in pages, no faster than it acknowledges, and in nobody's way.

use bytes::Bytes;
use tombolo_core::dialect::replica::{Handle, Message, Outcome, open, parse, ping, pong, shut, y};
use tombolo_core::dialect::y_protocols::{Message as Said, update};
use tombolo_core::update::{Coverage, Update};

use super::archive::stub;
use super::frames::{edit, step1};
use super::replica::{document, welcomed};
use super::world::{Client, Server};

const ONE: Handle = Handle(1);
const TWO: Handle = Handle(2);
const BYTES: usize = 1024 * 1024;

/// Text that does not pack well.
fn noise(bytes: usize) -> String {
    let mut seed = 7_u64;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + u8::try_from((seed >> 33) % 95).unwrap())
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// What a replica hears of its documents.
#[derive(Default)]
struct Heard {
    known: Coverage,
    pages: usize,
    bytes: usize,
    probes: Vec<u64>,
    is_over: bool,
    others: Vec<Message>,
}

impl Heard {
    /// Hears one frame, about the first document or another.
    async fn next(&mut self, replica: &mut Client) {
        let frame = replica.next().await;
        match parse(&frame).unwrap() {
            Message::Y { handle: ONE, message: Said::Update(page) } => self.page(&page, frame.len()),
            Message::Y { handle: ONE, message: Said::SyncStep2(page) } => {
                self.page(&page, frame.len());
                self.is_over = true;
            }
            // The archive wants to know what there is, too.
            Message::Y { handle: ONE, message: Said::SyncStep1(_) } => {}
            Message::Ping(token) => self.probes.push(token),
            other => self.others.push(other),
        }
    }

    fn page(&mut self, page: &Update, bytes: usize) {
        assert!(self.known.admits(page), "a page has its ground in those before it");
        self.known.add(page);
        self.pages += 1;
        self.bytes += bytes;
    }

    /// Hears all that comes without anything being acknowledged.
    async fn unasked(&mut self, replica: &mut Client) {
        for token in 1_000..2_000 {
            // What is being made when it is asked is there when it is asked again and again.
            replica.send(ping(token)).await;
            while !matches!(self.others.last(), Some(Message::Pong(pong)) if *pong == token) {
                self.next(replica).await;
            }
        }
    }
}

/// A replica that has asked for a large document, and its answer.
async fn asked(server: &Server, calls: &mut super::archive::Calls) -> (Client, Bytes) {
    let (mut replica, _) = welcomed(server, "").await;
    replica.send(open(ONE, &document("one"))).await;
    replica.send(y(ONE, &step1())).await;
    let answer = Bytes::from(edit(1, 0, &noise(BYTES)));
    calls.read().await.answer(answer.clone());
    (replica, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_comes_in_pages_as_they_are_acknowledged() {
    let (archive, mut calls) = stub();
    // Pages are answers: however many, nobody falls behind by them.
    let server = Server::with(|config| config.queue_bytes_max = 4 * 1024, Some(archive)).await;
    let (mut replica, answer) = asked(&server, &mut calls).await;
    let mut heard = Heard::default();
    while heard.probes.is_empty() {
        heard.next(&mut replica).await;
    }
    heard.unasked(&mut replica).await;
    assert!(heard.bytes < 64 * 1024, "{} bytes came before any was acknowledged", heard.bytes);
    // Meanwhile others are heard, and a small document is served.
    replica.send(open(TWO, &document("two"))).await;
    replica.send(y(TWO, &step1())).await;
    calls.read().await.answer(edit(2, 0, "small"));
    let mut stock = server.connect("/yjs/two").await;
    stock.send(update(&edit(3, 0, "news"))).await;
    let is_about = |heard: &Heard, wanted: fn(&Said) -> bool| {
        let about = |it: &Message| matches!(it, Message::Y { handle: TWO, message } if wanted(message));
        heard.others.iter().any(about)
    };
    while !is_about(&heard, |it| matches!(it, Said::SyncStep2(_)))
        || !is_about(&heard, |it| matches!(it, Said::Update(_)))
    {
        heard.next(&mut replica).await;
    }
    assert!(heard.bytes < 64 * 1024);
    while !heard.is_over {
        for token in std::mem::take(&mut heard.probes) {
            replica.send(pong(token)).await;
        }
        heard.next(&mut replica).await;
    }
    assert!(heard.pages > 10, "{} pages", heard.pages);
    assert!(heard.known.covers(&Update::parse(answer).unwrap()));
    assert_eq!(server.metric("refusals_total{reason=\"behind\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_document_that_is_shut_no_page_follows() {
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let (mut replica, _) = asked(&server, &mut calls).await;
    let mut heard = Heard::default();
    while heard.probes.is_empty() {
        heard.next(&mut replica).await;
    }
    heard.unasked(&mut replica).await;
    replica.send(shut(ONE, Outcome::WELL, "")).await;
    // The number is given again.
    replica.send(open(ONE, &document("three"))).await;
    for token in std::mem::take(&mut heard.probes) {
        replica.send(pong(token)).await;
    }
    let before = heard.pages;
    heard.unasked(&mut replica).await;
    assert_eq!(heard.pages, before);
    // Another one has its turn.
    replica.send(y(ONE, &step1())).await;
    let answer = edit(9, 0, &noise(BYTES / 4));
    calls.read().await.answer(answer.clone());
    let mut heard = Heard::default();
    while !heard.is_over {
        heard.next(&mut replica).await;
        for token in std::mem::take(&mut heard.probes) {
            replica.send(pong(token)).await;
        }
    }
    assert!(heard.known.covers(&Update::parse(answer.into()).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_who_never_acknowledges_a_few_documents_are_kept() {
    const MANY: u64 = 6;
    let (archive, mut calls) = stub();
    let server = Server::with(|_| {}, Some(archive)).await;
    let (mut replica, _) = welcomed(&server, "").await;
    let large = Bytes::from(edit(1, 0, &noise(14 * BYTES)));
    let (mut heard, mut whole) = (Heard::default(), 0);
    for number in 1..=MANY {
        replica.send(open(Handle(number), &document(&number.to_string()))).await;
        replica.send(y(Handle(number), &step1())).await;
        calls.read().await.answer(large.clone());
    }
    // The last ones go out as they are.
    while whole < 2 {
        heard.next(&mut replica).await;
        whole += heard
            .others
            .drain(..)
            .filter(|it| matches!(it, Message::Y { message: Said::SyncStep2(_), .. }))
            .count();
    }
    assert!(heard.bytes < 64 * 1024 && !heard.is_over);
}
