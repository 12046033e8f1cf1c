//! What waits to be heard by one participant: calls in their order, bounded in bytes.
//!
//! Who does not keep up is told that messages are lost; never is one left out silently.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tombolo_core::cluster::{Sender, To};
use tombolo_core::id::PeerId;

use super::{Backplane, Hearer};

/// What a message costs besides its bytes.
const MESSAGE_COST: usize = 64;

/// Time between two looks at one that is busy.
pub(super) const BREATH: Duration = Duration::from_millis(5);

/// One call of a [`Hearer`].
enum Call {
    Up(Arc<dyn Backplane>),
    Hear(To, Bytes),
    Went(PeerId, Option<Sender>),
    Down(String),
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    bytes: usize,
    is_closed: bool,
}

/// What is to be done next.
enum Next {
    Call(Call),
    /// It is to hear something, and cannot now.
    Busy,
    Nothing,
}

impl Waiting {
    /// What is to be done next; none if nothing ever is. Whoever is busy still learns what ended.
    fn next(&mut self, is_busy: bool) -> Option<Next> {
        if self.is_closed {
            return None;
        }
        let Some(call) = self.calls.front() else { return Some(Next::Nothing) };
        if is_busy && matches!(call, Call::Up(_) | Call::Hear(..)) {
            return Some(Next::Busy);
        }
        if let Call::Hear(_, message) = call {
            self.bytes = self.bytes.saturating_sub(message.len() + MESSAGE_COST);
        }
        Some(self.calls.pop_front().map_or(Next::Nothing, Next::Call))
    }
}

/// Makes one call.
fn make(hearer: &dyn Hearer, call: Call, is_up: &mut bool) {
    match call {
        Call::Up(backplane) => {
            *is_up = true;
            hearer.up(backplane);
        }
        Call::Hear(to, message) => hearer.hear(&to, message),
        Call::Went(peer, said) => hearer.went(peer, said),
        // It may have ended before anybody heard that it had begun.
        Call::Down(reason) => {
            if std::mem::take(is_up) {
                hearer.down(&reason);
            }
        }
    }
}

/// The calls that one hearer has before it.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    bytes_max: usize,
}

impl Inbox {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), news: Notify::new(), bytes_max })
    }

    /// Something was said. Returns false, and keeps nothing, if too much waits already.
    pub(super) fn hear(&self, to: &To, message: &Bytes) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + message.len() + MESSAGE_COST;
        if bytes > self.bytes_max {
            return false;
        }
        waiting.bytes = bytes;
        waiting.calls.push_back(Call::Hear(to.clone(), message.clone()));
        self.tell(waiting);
        true
    }

    /// Bytes that wait to be heard.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Another participant of this process is gone.
    pub(super) fn went(&self, peer: PeerId, said: Option<Sender>) {
        let mut waiting = self.lock();
        waiting.calls.push_back(Call::Went(peer, said));
        self.tell(waiting);
    }

    /// What waits is of a time that ended; another begins if there is a backplane for it.
    pub(super) fn restart(&self, reason: &str, backplane: Option<Arc<dyn Backplane>>) {
        let mut waiting = self.lock();
        waiting.calls.retain(|call| matches!(call, Call::Went(..)));
        waiting.bytes = 0;
        waiting.calls.push_back(Call::Down(reason.to_owned()));
        waiting.calls.extend(backplane.map(Call::Up));
        self.tell(waiting);
    }

    /// Nothing more is to be heard.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        *waiting = Waiting { is_closed: true, ..Waiting::default() };
        self.tell(waiting);
    }

    fn tell(&self, waiting: MutexGuard<'_, Waiting>) {
        drop(waiting);
        self.news.notify_one();
    }

    /// Makes the calls, one at a time, until it is closed.
    pub(super) async fn run(self: Arc<Self>, hearer: Arc<dyn Hearer>) {
        let mut is_up = false;
        loop {
            let is_busy = hearer.is_busy();
            let Some(next) = self.lock().next(is_busy) else { return };
            match next {
                Next::Busy => tokio::time::sleep(BREATH).await,
                Next::Call(call) => {
                    make(&*hearer, call, &mut is_up);
                    if hearer.has_unread() {
                        let aside = Arc::clone(&hearer);
                        // A panic in it is a bug of ours; what was read is lost as if it had not come.
                        let _ = tokio::task::spawn_blocking(move || aside.read_aside()).await;
                    }
                }
                Next::Nothing => self.news.notified().await,
            }
            tokio::task::consume_budget().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is whole before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
