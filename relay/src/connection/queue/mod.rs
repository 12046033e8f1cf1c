//! What waits to be written to one connection: bounded in bytes, so a slow reader costs no more than that.
//!
//! A reader that has more than half of that waiting is *behind*: rooms owe it presence instead of putting it here,
//! and pay when everything was written ([`Queue::owe`]).
//! A reader that falls behind loses its whole queue and is told to resynchronise (close 1013): never a
//! single message, which it could not notice. Answers that it asked for do not make it fall behind; instead
//! nothing more is read from a connection that has many bytes of answers waiting or many answers to come
//! ([`Queue::drained`]).

mod waiting; // what is behind the lock

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep_until};

use super::frame;
use waiting::{Debt, End, Origin, Waiting};

/// Close code 1013, "try again later": stock clients reconnect and synchronise anew.
pub(crate) const CLOSE_BEHIND: u16 = 1013;
/// Most answers that one connection may be waiting for; each may be as large as a document, and a client asks
/// for hundreds of documents in one go.
const AWAITED_MAX: usize = 16;
/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
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
        relieve(self.0.lock());
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

/// How far writing came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All that waited is with the system.
    All,
    /// The socket takes no more now; whether it took something.
    Stuck { progressed: bool },
    /// The last words are, too, or the socket is gone.
    Last,
}

/// What whoever reads may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Go on.
    Read,
    /// Wait until it is [drained](Queue::drained).
    Wait,
    /// Stop: the last words wait, or were said.
    Stop,
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
        Self { waiting: Mutex::default(), awaited: AtomicUsize::new(0), bytes_max, fell_behind }
    }

    /// A forwarded frame. Returns false if the reader has just fallen behind.
    pub(crate) fn forward(&self, frame: Bytes) -> bool {
        self.forward_all([frame], Way::Writer)
    }

    /// The same for several pieces in a row, each of whole frames.
    pub(crate) fn forward_all(&self, pieces: impl IntoIterator<Item = Bytes>, way: Way) -> bool {
        let mut waiting = self.lock();
        if waiting.end != End::None {
            return true;
        }
        if waiting.forwarded_bytes > self.bytes_max {
            waiting.clear();
            waiting.end = End::Words(frame::close(CLOSE_BEHIND, "too slow, resynchronise"));
            wake(waiting);
            self.fell_behind.inc();
            return false;
        }
        let was_empty = waiting.is_empty();
        let is_direct = way == Way::Direct && was_empty;
        let mut pieces = pieces.into_iter();
        match (pieces.next(), pieces.next()) {
            (Some(only), None) if is_direct => waiting.write_one(only),
            (first, second) => {
                let all = first.into_iter().chain(second).chain(pieces);
                all.for_each(|piece| waiting.push(piece, Origin::Forwarded));
                if is_direct {
                    // An error is left to be found by the connection.
                    let _ = waiting.write_some();
                }
            }
        }
        // Behind what waits it is found without a word: as long as the socket takes nothing, nobody is woken.
        if was_empty && !waiting.is_empty() {
            wake(waiting);
        }
        true
    }

    /// Whether so much waits that what can be made up for later should be.
    pub(crate) fn is_behind(&self) -> bool {
        self.lock().forwarded_bytes > self.bytes_max / 2
    }

    /// Whether its last words wait already, or were said.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().end != End::None
    }

    /// Makes up for something when everything that waits was written; never, if the connection ends before.
    pub(crate) fn owe(&self, debt: impl FnOnce() + Send + 'static) {
        let mut waiting = self.lock();
        if waiting.end == End::None {
            waiting.debts.push(Debt(Box::new(debt)));
            // It may have been written meanwhile.
            wake(waiting);
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
        if waiting.end == End::None {
            let was_empty = waiting.is_empty();
            for (number, part) in (1..).zip(parts) {
                let origin = if number < PARTS { Origin::Unfinished } else { Origin::Answer };
                waiting.push(part, origin);
            }
            if was_empty {
                wake(waiting);
            }
        }
    }

    /// Ends the connection after what waits already; the first reason stands.
    pub(crate) fn close(&self, code: u16, reason: &str) {
        let mut waiting = self.lock();
        if waiting.end == End::None {
            waiting.end = End::Words(frame::close(code, reason));
        }
        wake(waiting);
    }

    /// The socket is gone: nothing is kept for it any more.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        let resting = waiting.resting();
        *waiting = Waiting::gone();
        drop(waiting);
        resting.into_iter().for_each(std::task::Waker::wake);
    }

    /// An answer will be put here by somebody else.
    pub(crate) fn await_answer(self: &Arc<Self>) -> Awaited {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Awaited(Arc::clone(self))
    }

    /// Whoever reads and writes here is at work: it is not woken until it rests. Returns whether the end has begun.
    pub(crate) fn attend(&self) -> bool {
        let mut waiting = self.lock();
        drop(waiting.resting());
        waiting.end != End::None
    }

    /// Whether to read on, if at most so many bytes of answers may wait.
    pub(crate) fn leave_to_read(&self, answer_bytes: usize) -> Leave {
        let waiting = self.lock();
        match () {
            () if waiting.end != End::None => Leave::Stop,
            () if waiting.held.is_some() || self.is_full(&waiting, answer_bytes) => Leave::Wait,
            () => Leave::Read,
        }
    }

    fn is_full(&self, waiting: &Waiting, answer_bytes: usize) -> bool {
        waiting.answer_bytes > answer_bytes || self.awaited.load(Ordering::Acquire) >= AWAITED_MAX
    }

    /// Waits until the answers that wait have at most so many bytes and few are to come, and until it is
    /// [held](Queue::hold) no longer. For the one reader of this connection.
    pub(crate) async fn drained(&self, answer_bytes: usize) {
        loop {
            let held = self.lock().held;
            let Some(until) = held else { break };
            // Boxed: most connections never need it.
            Box::pin(sleep_until(until)).await;
            self.lock().held.take_if(|held| *held <= until);
        }
        poll_fn(|cx| {
            let mut waiting = self.lock();
            waiting.wants_relief = self.is_full(&waiting, answer_bytes);
            if !waiting.wants_relief {
                return Poll::Ready(());
            }
            waiting.rest(cx);
            Poll::Pending
        })
        .await;
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// Where to write from now on.
    pub(crate) fn open(&self, socket: OwnedWriteHalf) {
        self.lock().open(socket);
    }

    /// Whether a message was put here since this was last asked.
    pub(crate) fn spoke(&self) -> bool {
        std::mem::take(&mut self.lock().spoke)
    }

    /// Writes what waits, as far as the socket takes it, and rests. For the one task of this connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn write(&self, cx: &mut Context<'_>) -> io::Result<Written> {
        let mut progressed = false;
        loop {
            let mut waiting = self.lock();
            let polled = waiting.poll_write(cx, &mut progressed);
            if progressed && waiting.wants_relief {
                waiting.wants_relief = false;
                cx.waker().wake_by_ref();
            }
            let is_all = match polled {
                Poll::Ready(written) => written.map(|()| true)?,
                Poll::Pending => false,
            };
            if is_all && matches!(waiting.end, End::Said | End::Gone) {
                return Ok(Written::Last);
            }
            if !is_all || waiting.debts.is_empty() {
                waiting.rest(cx);
                return Ok(if is_all { Written::All } else { Written::Stuck { progressed } });
            }
            let debts = std::mem::take(&mut waiting.debts);
            // Without the lock: whoever pays puts something here.
            drop(waiting);
            debts.into_iter().for_each(|Debt(pay)| pay());
        }
    }

    /// Waits for something to write and moves up to `bytes` of it into `out`. For the one writer of a connection that
    /// has no socket here.
    pub(crate) async fn take(&self, out: &mut VecDeque<Bytes>, bytes: usize) -> Taken {
        poll_fn(|cx| {
            loop {
                let mut waiting = self.lock();
                if let Some(taken) = waiting.take(out, bytes) {
                    relieve(waiting);
                    return Poll::Ready(taken);
                }
                let debts = std::mem::take(&mut waiting.debts);
                if debts.is_empty() {
                    waiting.rest(cx);
                    return Poll::Pending;
                }
                // Without the lock: whoever pays puts something here.
                drop(waiting);
                debts.into_iter().for_each(|Debt(pay)| pay());
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change above leaves the queue whole, so a poisoned lock is as good as any.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is news.
fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let resting = waiting.resting();
    drop(waiting);
    resting.into_iter().for_each(std::task::Waker::wake);
}

/// Something has gone that may have been in the way of reading.
fn relieve(mut waiting: MutexGuard<'_, Waiting>) {
    if std::mem::take(&mut waiting.wants_relief) {
        wake(waiting);
    }
}

#[cfg(test)]
mod tests;
