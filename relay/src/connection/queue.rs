//! What waits to be written to one connection: bounded in bytes, so a slow reader costs no more than that.
//!
//! A reader that has more than half of that waiting is *behind*: rooms owe it presence instead of putting it here,
//! and pay when everything was written ([`Queue::owe`]).
//! A reader that falls behind loses its whole queue and is told to resynchronise (close 1013): never a
//! single message, which it could not notice. Answers that it asked for do not make it fall behind; instead
//! nothing more is read from a connection that has many bytes of answers waiting or many answers to come
//! ([`Queue::drained`]).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use prometheus_client::metrics::counter::Counter;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::frame;

/// Close code 1013, "try again later": stock clients reconnect and synchronise anew.
pub(crate) const CLOSE_BEHIND: u16 = 1013;
/// Most answers that one connection may be waiting for; each may be as large as a document, and a client asks
/// for hundreds of documents in one go.
const AWAITED_MAX: usize = 16;
/// Slices of one direct write; who needs more brought much of a turn itself.
const DIRECT_SLICES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Forwarded,
    Answer,
    /// An answer whose frame goes on with what is behind it: nothing may come between.
    Unfinished,
}

/// What is made up for when everything was written.
struct Debt(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Debt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Debt")
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// The socket, while nobody writes to it.
    socket: Option<OwnedWriteHalf>,
    /// The rest of what the socket took the beginning of: it is written whatever happens.
    begun: Option<Bytes>,
    frames: VecDeque<(Bytes, Origin)>,
    forwarded_bytes: usize,
    answer_bytes: usize,
    debts: Vec<Debt>,
    /// Nothing more is read before.
    held: Option<Instant>,
    /// Whether a message was put here since that was last asked.
    spoke: bool,
    last: Option<Bytes>,
    ended: bool,
}

impl Waiting {
    fn push(&mut self, frame: Bytes, origin: Origin) {
        self.spoke |= frame::is_message(&frame);
        match origin {
            Origin::Forwarded => self.forwarded_bytes += frame.len(),
            Origin::Answer | Origin::Unfinished => self.answer_bytes += frame.len(),
        }
        self.frames.push_back((frame, origin));
    }

    fn pop(&mut self) -> Option<(Bytes, Origin)> {
        let (frame, origin) = self.frames.pop_front()?;
        let counted = match origin {
            Origin::Forwarded => &mut self.forwarded_bytes,
            Origin::Answer | Origin::Unfinished => &mut self.answer_bytes,
        };
        *counted = counted.saturating_sub(frame.len());
        Some((frame, origin))
    }

    /// Gives up all that nothing was written of.
    fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.debts = Vec::new();
        (self.forwarded_bytes, self.answer_bytes) = (0, 0);
    }

    fn take(&mut self, out: &mut VecDeque<Bytes>, bytes: usize) -> Option<Taken> {
        out.extend(self.begun.take());
        let (mut taken, mut is_whole) = (0, true);
        while taken < bytes || !is_whole {
            let Some((frame, origin)) = self.pop() else { break };
            is_whole = origin != Origin::Unfinished;
            taken += frame.len();
            out.push_back(frame);
        }
        if self.ended {
            return Some(Taken::Last);
        }
        if self.frames.is_empty()
            && let Some(last) = self.last.clone()
        {
            out.push_back(last);
            self.ended = true;
            return Some(Taken::Last);
        }
        (!out.is_empty()).then_some(Taken::Frames)
    }

    /// Writes what the socket takes of forwarded frames at once; an error is left to be found by the writer.
    fn write(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut slices = [IoSlice::new(&[]); DIRECT_SLICES];
        let mut count = 0;
        for (slice, (frame, _)) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        let written = match slices.get(..count).unwrap_or_default() {
            [one] => socket.try_write(one),
            several => socket.try_write_vectored(several),
        };
        let mut written = written.unwrap_or(0);
        while written > 0 {
            let Some((mut frame, _)) = self.pop() else { break };
            let now = written.min(frame.len());
            written -= now;
            if now < frame.len() {
                frame.advance(now);
                self.begun = Some(frame);
            }
        }
    }
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
    relief: Notify,
    closing: Notify,
    awaited: AtomicUsize,
    bytes_max: usize,
    fell_behind: Counter,
}

/// An answer to come; dropping it says that it came, or never will.
#[derive(Debug)]
pub(crate) struct Awaited(Arc<Queue>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::AcqRel);
        self.0.relief.notify_one();
    }
}

/// How forwarded frames reach the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Here and now, as far as it takes them and nothing waits before them: for the end of a turn, behind which
    /// nothing comes that could be written together with them.
    Direct,
    /// By the connection's writer, together with what comes until it has its turn.
    Writer,
}

/// What the writer takes out in one go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Write these.
    Frames,
    /// Write these, then the socket ends.
    Last,
}

impl Queue {
    /// `fell_behind` counts the readers that did.
    pub(crate) fn new(bytes_max: usize, fell_behind: Counter) -> Self {
        Self {
            waiting: Mutex::default(),
            news: Notify::new(),
            relief: Notify::new(),
            closing: Notify::new(),
            awaited: AtomicUsize::new(0),
            bytes_max,
            fell_behind,
        }
    }

    /// A forwarded frame. Returns false if the reader has just fallen behind.
    pub(crate) fn forward(&self, frame: Bytes) -> bool {
        self.forward_all([frame], Way::Writer)
    }

    /// The same for several pieces in a row, each of whole frames.
    pub(crate) fn forward_all(&self, pieces: impl IntoIterator<Item = Bytes>, way: Way) -> bool {
        let mut waiting = self.lock();
        if waiting.ended || waiting.last.is_some() {
            return true;
        }
        if waiting.forwarded_bytes > self.bytes_max {
            waiting.clear();
            waiting.last = Some(frame::close(CLOSE_BEHIND, "too slow, resynchronise"));
            drop(waiting);
            self.fell_behind.inc();
            self.news.notify_one();
            self.closing.notify_one();
            return false;
        }
        let is_next = waiting.begun.is_none() && waiting.frames.is_empty();
        for piece in pieces {
            waiting.push(piece, Origin::Forwarded);
        }
        if way == Way::Direct && is_next {
            waiting.write();
        }
        let is_done = waiting.begun.is_none() && waiting.frames.is_empty();
        drop(waiting);
        if !is_done {
            self.news.notify_one();
        }
        true
    }

    /// Whether so much waits that what can be made up for later should be.
    pub(crate) fn is_behind(&self) -> bool {
        self.lock().forwarded_bytes > self.bytes_max / 2
    }

    /// Whether its last words wait already, or were said.
    pub(crate) fn is_closing(&self) -> bool {
        let waiting = self.lock();
        waiting.ended || waiting.last.is_some()
    }

    /// Makes up for something when everything that waits was written; never, if the connection ends before.
    pub(crate) fn owe(&self, debt: impl FnOnce() + Send + 'static) {
        let mut waiting = self.lock();
        if !waiting.ended && waiting.last.is_none() {
            waiting.debts.push(Debt(Box::new(debt)));
            drop(waiting);
            // It may have been written meanwhile.
            self.news.notify_one();
        }
    }

    /// Nothing is read from this connection for so long: it sent more than it may.
    pub(crate) fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let held = &mut self.lock().held;
        *held = (*held).max(Some(until));
    }

    /// A frame that this connection asked for.
    pub(crate) fn answer(&self, frame: Bytes) {
        self.answer_in_parts([frame]);
    }

    /// The same in consecutive parts, of which others may share some.
    pub(crate) fn answer_in_parts<const PARTS: usize>(&self, parts: [Bytes; PARTS]) {
        let mut waiting = self.lock();
        if !waiting.ended && waiting.last.is_none() {
            for (number, part) in (1..).zip(parts) {
                let origin = if number < PARTS { Origin::Unfinished } else { Origin::Answer };
                waiting.push(part, origin);
            }
            drop(waiting);
            self.news.notify_one();
        }
    }

    /// Ends the connection after what waits already; the first reason stands.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        let mut waiting = self.lock();
        if waiting.last.is_none() {
            waiting.last = Some(frame::close(code, reason));
        }
        drop(waiting);
        self.news.notify_one();
        self.closing.notify_one();
    }

    /// The socket is gone: nothing is kept for it any more.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        *waiting = Waiting { ended: true, ..Waiting::default() };
        drop(waiting);
        self.news.notify_one();
        self.closing.notify_one();
    }

    /// An answer will be put here by somebody else.
    pub(crate) fn await_answer(self: &Arc<Self>) -> Awaited {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Awaited(Arc::clone(self))
    }

    /// Completes when the close frame is on its way or the socket is gone. For the one reader of this
    /// connection.
    pub(crate) async fn closing(&self) {
        loop {
            {
                let waiting = self.lock();
                if waiting.ended || waiting.last.is_some() {
                    return;
                }
            }
            self.closing.notified().await;
        }
    }

    /// Waits until the answers that wait have at most so many bytes and few are to come, and until it is
    /// [held](Queue::hold) no longer. For the one reader of this connection.
    pub(crate) async fn drained(&self, answer_bytes: usize) {
        loop {
            let (held, is_full) = {
                let waiting = self.lock();
                (waiting.held, waiting.answer_bytes > answer_bytes)
            };
            if let Some(until) = held {
                // Boxed: most connections never need it.
                Box::pin(sleep_until(until)).await;
                self.lock().held.take_if(|held| *held <= until);
            } else if is_full || self.awaited.load(Ordering::Acquire) >= AWAITED_MAX {
                self.relief.notified().await;
            } else {
                return;
            }
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        let waiting = self.lock();
        waiting.forwarded_bytes + waiting.answer_bytes + waiting.begun.as_ref().map_or(0, Bytes::len)
    }

    /// Where to write from now on.
    pub(crate) fn open(&self, socket: OwnedWriteHalf) {
        self.lock().socket = Some(socket);
        self.news.notify_one();
    }

    /// Whether a message was put here since this was last asked.
    pub(crate) fn spoke(&self) -> bool {
        std::mem::take(&mut self.lock().spoke)
    }

    /// Waits for something to write; moves up to `bytes` of it into `out` and gives the socket away until it is
    /// [given back](Queue::give_back). For the one writer of this connection.
    pub(crate) async fn take(
        &self,
        out: &mut VecDeque<Bytes>,
        bytes: usize,
    ) -> (Option<OwnedWriteHalf>, Taken) {
        loop {
            let debts = {
                let mut waiting = self.lock();
                if let Some(taken) = waiting.take(out, bytes) {
                    let socket = waiting.socket.take();
                    drop(waiting);
                    self.relief.notify_one();
                    return (socket, taken);
                }
                std::mem::take(&mut waiting.debts)
            };
            if debts.is_empty() {
                self.news.notified().await;
            }
            // Without the lock: whoever pays puts something here.
            debts.into_iter().for_each(|Debt(pay)| pay());
        }
    }

    /// The socket, when all that was taken is written.
    pub(crate) fn give_back(&self, socket: OwnedWriteHalf) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.socket = Some(socket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change above leaves the queue whole, so a poisoned lock is as good as any.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_loses_all_or_nothing() {
        let queue = Queue::new(10, Counter::default());
        assert!(queue.forward(Bytes::from(vec![1; 100])), "one large frame may always wait");
        assert!(!queue.forward(Bytes::from_static(b"x")));
        assert_eq!(queue.fell_behind.get(), 1);
        let mut out = VecDeque::new();
        assert_eq!(queue.lock().take(&mut out, 1 << 20), Some(Taken::Last));
        assert_eq!(out, [frame::close(CLOSE_BEHIND, "too slow, resynchronise")]);
    }

    #[test]
    fn nothing_comes_between_the_parts_of_a_frame() {
        let queue = Queue::new(10, Counter::default());
        queue.answer_in_parts([Bytes::from_static(b"head"), Bytes::from_static(b"rest")]);
        queue.answer(Bytes::from_static(b"next"));
        let mut out = VecDeque::new();
        assert_eq!(queue.lock().take(&mut out, 1), Some(Taken::Frames));
        assert_eq!(out, ["head", "rest"]);
        assert_eq!(queue.lock().answer_bytes, 4);
    }

    #[tokio::test]
    async fn debts_are_paid_when_all_is_written_and_never_after_the_end() {
        let queue = Arc::new(Queue::new(10, Counter::default()));
        queue.forward(Bytes::from_static(b"five5"));
        assert!(!queue.is_behind(), "half is not more than half");
        queue.forward(Bytes::from_static(b"6"));
        assert!(queue.is_behind());
        let payer = Arc::clone(&queue);
        queue.owe(move || assert!(payer.forward(Bytes::from_static(b"paid"))));
        let mut out = VecDeque::new();
        queue.take(&mut out, 1 << 20).await;
        assert_eq!(out, ["five5", "6"]);
        out.clear();
        queue.take(&mut out, 1 << 20).await;
        assert_eq!(out, ["paid"]);
        let payer = Arc::clone(&queue);
        queue.owe(move || assert!(!payer.forward(Bytes::from_static(b"not paid"))));
        queue.end();
        queue.owe(|| panic!("nobody is left"));
        out.clear();
        assert_eq!(queue.take(&mut out, 1 << 20).await.1, Taken::Last);
        assert!(out.is_empty());
    }

    #[tokio::test]
    async fn who_is_held_is_not_read() {
        let queue = Queue::new(10, Counter::default());
        queue.hold(Duration::from_secs(3600));
        queue.hold(Duration::ZERO);
        for _ in 0..2 {
            assert!(tokio::time::timeout(Duration::ZERO, queue.drained(0)).await.is_err());
        }
        queue.lock().held = Some(Instant::now());
        queue.drained(0).await;
        assert_eq!(queue.lock().held, None);
    }

    #[test]
    fn answers_are_not_counted() {
        let queue = Queue::new(10, Counter::default());
        queue.answer(Bytes::from(vec![0; 1000]));
        assert!(queue.forward(Bytes::from_static(b"a")));
        assert!(queue.forward(Bytes::from_static(b"b")));
        queue.close(1000, "bye");
        let mut out = VecDeque::new();
        assert_eq!(queue.lock().take(&mut out, 1), Some(Taken::Frames));
        assert_eq!(out.len(), 1);
        assert_eq!(queue.lock().take(&mut out, 1 << 20), Some(Taken::Last));
        assert_eq!(out.len(), 4);
    }
}
