//! What a connection does with what it hears: its dialect judges a message, then it pays for it, then it waits while
//! too much is on its way. Most messages need no waiting; what does is a pause, in which nothing more is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::inbound::{Broken, Message};
use super::queue::{Leave, Queue};
use super::read::Came;
use super::{Closing, Dialect, frame};
use crate::backplane::Link;
use crate::limits::{Allowance, Dues, TooFast};
use crate::listener::Shared;

/// From this size on a message is judged aside, in bytes.
const LARGE_BYTES: usize = 256 * 1024;
/// Longest time between two looks at what is owed: others may have paid less than was thought.
const NAP: Duration = Duration::from_secs(1);
/// Time between two looks at what waits for the link.
const BREATH: Duration = Duration::from_millis(5);

/// How reading ended.
pub(super) enum End {
    /// The other side is gone.
    Gone,
    /// This side ends it.
    Ours(Closing),
    /// The last words wait in the queue already.
    Closing,
}

/// Why nothing more is read for now.
pub(super) enum Stop {
    End(End),
    Pause(Pause),
}

/// Boxed, all of them: most connections never need one.
pub(super) enum Pause {
    /// A large message is judged.
    Judging(Pin<Box<dyn Future<Output = Judged> + Send>>),
    /// More was sent than is paid for.
    Owing(Pin<Box<tokio::time::Sleep>>),
    /// Too much is on its way.
    Easing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The dialect; none if the connection is over.
type Speaker = Option<Box<dyn Dialect>>;

/// The dialect, given back, and what it says of a message.
type Judged = (Speaker, Result<(), Closing>);

/// All that hears.
pub(super) struct Hearing {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    dialect: Speaker,
    dues: Dues,
    control: Allowance,
}

impl Hearing {
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue>, dialect: Box<dyn Dialect>, dues: Dues) -> Self {
        Self { shared, queue, dialect: Some(dialect), dues, control: Allowance::default() }
    }

    /// The code for who said nothing for too long.
    pub(super) fn silent(&self) -> u16 {
        self.dialect.as_ref().map_or(frame::NO_CODE, |dialect| dialect.silent())
    }

    /// How long nothing may be said, in ms.
    pub(super) fn patience_ms(&self) -> u64 {
        let config = &self.shared.config;
        self.dialect.as_ref().map_or(config.silence_ms, |dialect| dialect.patience_ms(config))
    }

    /// Gives the seats up.
    pub(super) fn leave(&mut self) {
        self.dialect = None;
    }

    /// Something came; `heard` bytes in all. None if it goes on with the next.
    pub(super) fn take(&mut self, came: Came, heard: u64) -> Option<Stop> {
        let ended = |end| Some(Stop::End(end));
        let result = match came {
            Came::End => return ended(End::Gone),
            Came::Endless => return ended(refused(1009, "the message does not end", "endless_message")),
            Came::Broken(broken) => return ended(end_for(broken)),
            Came::Message(Message::Close(code)) => {
                let code = code.unwrap_or(frame::NO_CODE);
                return ended(End::Ours(Closing { code, reason: String::new(), refusal: None }));
            }
            Came::Message(Message::Ping(payload)) => {
                // A flood of them fills the queue of the flooder and ends it.
                self.queue.forward(frame::pong(&payload));
                self.control();
                Ok(())
            }
            Came::Message(Message::Pong) => {
                self.control();
                Ok(())
            }
            Came::Message(Message::Text(text)) => {
                self.count(text.len());
                self.dialect.as_mut().map_or_else(|| Err(lost()), |dialect| dialect.text(&text))
            }
            Came::Message(Message::Binary(payload)) => {
                self.count(payload.len());
                if payload.len() > LARGE_BYTES {
                    let judging = judge_aside(self.dialect.take(), payload);
                    self.dues.count(heard);
                    return Some(Stop::Pause(Pause::Judging(Box::pin(judging))));
                }
                self.dialect.as_mut().map_or_else(|| Err(lost()), |dialect| dialect.message(payload))
            }
        };
        if let Err(closing) = result {
            return ended(End::Ours(closing));
        }
        if self.dues.count(heard) { self.pay(false) } else { self.ease() }
    }

    /// Goes on after a pause. None if reading does.
    pub(super) fn poll_pause(&mut self, pause: &mut Pause, cx: &mut Context<'_>) -> Poll<Option<Stop>> {
        Poll::Ready(match pause {
            Pause::Judging(judging) => {
                let (dialect, result) = ready!(judging.as_mut().poll(cx));
                self.dialect = dialect;
                match result {
                    Ok(()) => self.pay(false),
                    Err(closing) => Some(Stop::End(End::Ours(closing))),
                }
            }
            Pause::Owing(nap) => {
                ready!(nap.as_mut().poll(cx));
                self.pay(true)
            }
            Pause::Easing(easing) => {
                ready!(easing.as_mut().poll(cx));
                None
            }
        })
    }

    fn count(&self, bytes: usize) {
        self.shared.metrics.messages_received.inc();
        self.shared.metrics.bytes_received.inc_by(bytes as u64);
    }

    fn control(&mut self) {
        if let Some(wait) = self.control.spend(self.shared.config.connection_control) {
            self.shared.metrics.slow("control_rate");
            self.queue.hold(wait);
        }
    }

    /// Waits until all is paid for. Meanwhile the socket fills up, and whoever sends has to wait.
    fn pay(&mut self, is_slowed: bool) -> Option<Stop> {
        let Some(TooFast { wait, reason }) = self.dues.pay() else { return self.ease() };
        if !is_slowed {
            self.shared.metrics.slow(reason);
        }
        Some(Stop::Pause(Pause::Owing(Box::pin(sleep(wait.min(NAP))))))
    }

    /// Waits while too much is on its way.
    fn ease(&self) -> Option<Stop> {
        match self.queue.leave_to_read(self.shared.config.answer_bytes_max) {
            Leave::Stop => return Some(Stop::End(End::Closing)),
            Leave::Read if !is_under_pressure(&self.shared) => return None,
            Leave::Read | Leave::Wait => {}
        }
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(&self.queue));
        Some(Stop::Pause(Pause::Easing(Box::pin(async move { ease(&shared, &queue).await }))))
    }
}

fn is_under_pressure(shared: &Shared) -> bool {
    let config = &shared.config;
    shared.archive.as_ref().is_some_and(|archive| archive.pressure().bytes() > config.archive_bytes_max)
        || (config.link != Link::None && is_link_full(shared))
}

fn is_link_full(shared: &Shared) -> bool {
    shared.plane.hub().waiting_for_link() > shared.config.peer_backlog_bytes_max
}

/// Waits while too much is on its way: to this connection, to the disk, or to other relays.
pub(crate) async fn ease(shared: &Shared, queue: &Queue) {
    let config = &shared.config;
    queue.drained(config.answer_bytes_max).await;
    if let Some(pressure) = shared.archive.as_ref().map(|archive| archive.pressure())
        && pressure.bytes() > config.archive_bytes_max
    {
        Box::pin(pressure.below(config.archive_bytes_max)).await;
    }
    if config.link != Link::None {
        while is_link_full(shared) {
            // Boxed: most connections never need it.
            Box::pin(sleep(BREATH)).await;
        }
    }
}

/// A message for the dialect. Judging a large one takes its time: other connections must not wait for it on this
/// thread. Without its dialect a connection is over.
pub(crate) async fn judge(dialect: &mut Speaker, payload: Bytes) -> Result<(), Closing> {
    if payload.len() > LARGE_BYTES {
        let result;
        (*dialect, result) = Box::pin(judge_aside(dialect.take(), payload)).await;
        return result;
    }
    dialect.as_mut().map_or_else(|| Err(lost()), |dialect| dialect.message(payload))
}

async fn judge_aside(dialect: Speaker, payload: Bytes) -> Judged {
    let Some(mut judging) = dialect else { return (None, Err(lost())) };
    let aside = tokio::task::spawn_blocking(move || {
        let result = judging.message(payload);
        (Some(judging), result)
    });
    aside.await.unwrap_or_else(|_| (None, Err(lost())))
}

/// A bug of ours, of which the other connections notice nothing.
fn lost() -> Closing {
    Closing::refused(1011, "the server failed at a message", "failed")
}

pub(super) fn refused(code: u16, words: &str, reason: &'static str) -> End {
    End::Ours(Closing::refused(code, words, reason))
}

fn end_for(broken: Broken) -> End {
    let (code, reason) = match broken {
        Broken::TooBig => (1009, "message_too_big"),
        Broken::Protocol => (1002, "websocket_protocol"),
        Broken::NotUtf8 => (1007, "not_utf8"),
    };
    End::Ours(Closing::refused(code, &broken, reason))
}
