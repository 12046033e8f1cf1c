//! Large answers to a replica, in pages: each is stored there as it comes, so what has arrived when the connection breaks is
//! not sent again; and what else is said meanwhile waits for a page and not for a document.
//!
//! Guarantees: no more pages are on their way than the replica's connection carries in about half a second, by its own
//! acknowledgements; documents take turns; a document that is shut gets no further page; a page is made aside, no connection
//! waits for that; of what is to be handed out no more is kept than [`KEPT_BYTES_MAX`] or one document, whoever asks and never
//! acknowledges.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle as Runtime;
use tokio::time::Instant;
use tombolo_core::dialect::replica::{self, Handle};
use tombolo_core::dialect::y_protocols;
use tombolo_core::schedule::{Priority, ScheduleConfig, Scheduler};
use tombolo_core::time::Millis;
use tombolo_core::update::{Pager, Update};

use super::frame;
use super::queue::Queue;

/// Most bytes of answers that are handed out in pages at once; others go out whole, and are read more slowly.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Answers up to this size are sent as they are, in bytes.
const WHOLE_BYTES_MAX: usize = 16 * 1024;

/// What a connection's large answers go out by.
#[derive(Debug)]
pub(crate) struct Pages {
    queue: Arc<Queue>,
    runtime: Runtime,
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The next one first.
    answers: VecDeque<Answer>,
    /// What all of them weigh, with the one that is away.
    kept_bytes: usize,
    /// Whose next page is being made, unless it was shut since.
    making: Option<Making>,
    /// A page that is made, and waits for room on its way.
    ready: Option<(Handle, Vec<u8>)>,
    /// What is under way.
    scheduler: Scheduler<()>,
    /// Bytes that were sent before each of our pings, by token.
    probes: VecDeque<(u64, usize)>,
    next_probe: u64,
}

#[derive(Debug)]
struct Making {
    handle: Handle,
    is_wanted: bool,
}

/// An answer that is being handed out.
#[derive(Debug)]
struct Answer {
    handle: Handle,
    bytes: usize,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Whole(Bytes),
    Paged(Box<Pager>),
}

impl Answer {
    /// The next page as a frame, and what is left behind it.
    fn next(self, bytes_max: usize) -> (Vec<u8>, Option<Self>) {
        let Self { handle, bytes, rest } = self;
        let mut pager = match rest {
            Rest::Paged(pager) => pager,
            Rest::Whole(update) => match Update::parse(update.clone()) {
                Ok(update) => Box::new(Pager::new(update)),
                // A mistake of ours, of which the replica will tell; it was stored like this.
                Err(_) => return (said(handle, &y_protocols::sync_step2(&update)), None),
            },
        };
        let page = pager.page(bytes_max).unwrap_or_else(|| Update::empty().bytes().clone());
        if pager.is_done() {
            return (said(handle, &y_protocols::sync_step2(&page)), None);
        }
        let frame = said(handle, &y_protocols::update(&page));
        (frame, Some(Self { handle, bytes, rest: Rest::Paged(pager) }))
    }
}

fn said(handle: Handle, message: &[u8]) -> Vec<u8> {
    replica::packed(replica::y(handle, message))
}

impl Pages {
    /// Of a connection that begins. Within a runtime.
    pub(crate) fn new(queue: &Arc<Queue>) -> Arc<Self> {
        let inner = Inner {
            answers: VecDeque::new(),
            kept_bytes: 0,
            making: None,
            ready: None,
            scheduler: Scheduler::new(ScheduleConfig::default(), Millis(0)),
            probes: VecDeque::new(),
            next_probe: 0,
        };
        let (queue, runtime) = (Arc::clone(queue), Runtime::current());
        Arc::new(Self { queue, runtime, start: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Hands an answer out in pages, unless it is small or too much is kept for this connection: then it is given back.
    pub(crate) fn take(self: &Arc<Self>, handle: Handle, update: Bytes) -> Option<Bytes> {
        let mut inner = self.lock();
        let kept_bytes = inner.kept_bytes.saturating_add(update.len());
        if update.len() <= WHOLE_BYTES_MAX || (inner.kept_bytes > 0 && kept_bytes > KEPT_BYTES_MAX) {
            return Some(update);
        }
        inner.kept_bytes = kept_bytes;
        inner.answers.push_back(Answer { handle, bytes: update.len(), rest: Rest::Whole(update) });
        self.go_on(inner);
        None
    }

    /// The replica answered a ping: what was sent before it has arrived.
    pub(crate) fn pong(self: &Arc<Self>, token: u64) {
        let mut inner = self.lock();
        while let Some((_, bytes)) = inner.probes.front().copied().filter(|(probe, _)| *probe <= token) {
            inner.probes.pop_front();
            inner.scheduler.delivered(self.now(), bytes);
        }
        self.go_on(inner);
    }

    /// The document is shut.
    pub(crate) fn shut(&self, handle: Handle) {
        let mut inner = self.lock();
        if let Some(making) = inner.making.as_mut().filter(|making| making.handle == handle) {
            making.is_wanted = false;
        }
        inner.ready.take_if(|(of, _)| *of == handle);
        let Inner { answers, kept_bytes, .. } = &mut *inner;
        answers.retain(|answer| {
            let stays = answer.handle != handle;
            *kept_bytes -= if stays { 0 } else { answer.bytes };
            stays
        });
    }

    /// Sends what may be sent now, and has the next page made.
    fn go_on(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let (now, has_room) =
            (self.now(), inner.scheduler.in_flight_bytes() < inner.scheduler.window_bytes());
        if let Some((handle, page)) = inner.ready.take_if(|_| has_room) {
            inner.scheduler.push(handle.0, Priority::Normal, page.len(), (), now);
            // It goes at once: there is room.
            inner.scheduler.next(now);
            let token = inner.next_probe;
            inner.next_probe += 1;
            inner.probes.push_back((token, page.len()));
            self.queue.answer(frame::binary(&[&page]));
            self.queue.answer(frame::binary(&[&replica::ping(token)]));
        }
        if inner.making.is_some() || inner.ready.is_some() || self.queue.is_closing() {
            return;
        }
        let Some(answer) = inner.answers.pop_front() else { return };
        inner.making = Some(Making { handle: answer.handle, is_wanted: true });
        let (this, bytes_max) = (Arc::clone(self), inner.scheduler.page_bytes());
        drop(inner);
        self.runtime.spawn_blocking(move || {
            let (handle, bytes) = (answer.handle, answer.bytes);
            let (page, rest) = answer.next(bytes_max);
            this.made(handle, bytes, page, rest);
        });
    }

    fn made(self: &Arc<Self>, handle: Handle, bytes: usize, page: Vec<u8>, rest: Option<Answer>) {
        let mut inner = self.lock();
        let is_wanted = inner.making.take().is_some_and(|making| making.is_wanted);
        let rest = rest.filter(|_| is_wanted);
        inner.ready = is_wanted.then_some((handle, page));
        match rest {
            Some(rest) => inner.answers.push_back(rest),
            None => inner.kept_bytes = inner.kept_bytes.saturating_sub(bytes),
        }
        self.go_on(inner);
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change above leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::spawn_blocking;

    use super::*;
    use prometheus_client::metrics::counter::Counter;

    /// Client 5 typing 20,000 letters into the text "t".
    fn large() -> Bytes {
        let mut bytes = vec![1, 1, 5, 0, 4, 1, 1, b't', 0xa0, 0x9c, 0x01];
        bytes.resize(bytes.len() + 20_000, b'a');
        bytes.push(0);
        bytes.into()
    }

    #[test]
    fn a_page_that_is_being_made_when_its_document_is_shut_is_not_said() {
        // One thread makes pages, and is busy.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            for is_shut in [true, false] {
                let queue = Arc::new(Queue::new(1024 * 1024, Counter::default()));
                let pages = Pages::new(&queue);
                let (go, gone) = std::sync::mpsc::channel();
                let busy = spawn_blocking(move || gone.recv());
                assert_eq!(pages.take(Handle(1), large()), None);
                if is_shut {
                    pages.shut(Handle(1));
                }
                go.send(()).unwrap();
                busy.await.unwrap().unwrap();
                // Behind the page.
                spawn_blocking(|| ()).await.unwrap();
                assert_eq!(queue.bytes() == 0, is_shut);
            }
        });
    }
}
