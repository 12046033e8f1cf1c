//! The life of one connection: one task, which reads, writes what waits and looks at the time whenever it is woken.
//!
//! It is a plain state machine and not a tree of futures: what each of those needs now and then would take its room in
//! the task of every connection, and each would be asked on the way of every message.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, sleep_until, timeout};
use tombolo_core::dialect::y_websocket;

use super::dialects::{Bounds, dialect_of};
use super::hearing::{End, Hearing, Pause, Stop, refused};
use super::pace::Pace;
use super::queue::{Queue, Written};
use super::read::ReadSide;
use crate::http::Endpoint;
use crate::limits::Dues;
use crate::listener::{self, Shared};
use crate::metrics::DialectLabel;

/// A socket whose handshake is done.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    /// What came behind the handshake already.
    pub(crate) early: Bytes,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) counted: listener::Counted,
}

/// Starts a connection, which runs to its end by itself.
///
/// The beginning is done here and now: what only it needs would take its room in the task for as long as that lives.
pub(crate) fn start(shared: Arc<Shared>, accepted: Accepted) {
    let Accepted { socket, early, address, endpoint, counted } = accepted;
    let config = &shared.config;
    let bounds = Bounds::of(config, &endpoint);
    let dues = Dues::new(bounds.rates, counted.neighbour().filter(|_| bounds.is_client));
    let queue = Arc::new(Queue::new(bounds.queue_bytes, shared.metrics.refusals_for("behind")));
    if counted.is_one_too_many() {
        // Before there is a seat to give up again. The dialect finds its queue closed.
        shared.metrics.refuse("address_connections");
        tracing::debug!(%address, reason = "address_connections", "connection refused");
        queue.close(y_websocket::CLOSE_VIOLATION, "too many connections of one address");
    }
    let counted = Counted::new(&shared, endpoint.dialect(), counted);
    let (dialect, word) = dialect_of(&shared, &queue, address, &endpoint);
    let (read, write) = socket.into_split();
    queue.open(write);
    let pace = Pace::new(config, word);
    let side = ReadSide::new(early, read, bounds.message_bytes);
    let hearing = Hearing::new(Arc::clone(&shared), queue, dialect, dues);
    let mut connection =
        Connection { side, hearing, pace, pause: None, stuck: None, address, _counted: counted };
    // Not a function with `async`: the arguments of one take their room twice.
    tokio::spawn(async move {
        let _open = shared.open.enter(&connection.hearing.queue);
        let ended = {
            let mut alarm = pin!(sleep_until(connection.pace.next()));
            poll_fn(|cx| connection.poll(cx, alarm.as_mut())).await
        };
        // Boxed, as all that is rarely needed: it would take its room in the task from the start.
        Box::pin(connection.leave(ended)).await;
    });
}

/// Counts a connection while it lives.
struct Counted {
    open: Gauge,
    _socket: listener::Counted,
}

impl Counted {
    fn new(shared: &Shared, dialect: &'static str, socket: listener::Counted) -> Self {
        let label = DialectLabel { dialect };
        shared.metrics.connections_opened.get_or_create(&label).inc();
        let open = shared.metrics.connections.get_or_create(&label).clone();
        open.inc();
        Self { open, _socket: socket }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A connection that is open.
struct Connection {
    side: ReadSide,
    hearing: Hearing,
    pace: Pace,
    /// Why nothing is read for now.
    pause: Option<Pause>,
    /// Runs while the socket takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
    address: SocketAddr,
    _counted: Counted,
}

/// What ended it first.
enum Ended {
    Reading(End),
    Writing(io::Result<()>),
}

impl Connection {
    /// Does what there is to do.
    fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<Ended> {
        self.pace.arm(cx, alarm.as_mut());
        if self.hearing.queue.attend() {
            return Poll::Ready(Ended::Reading(End::Closing));
        }
        if let Poll::Ready(end) = self.poll_read(cx) {
            return Poll::Ready(Ended::Reading(end));
        }
        if let Some(end) = self.look_at_the_time(cx, alarm) {
            return Poll::Ready(Ended::Reading(end));
        }
        self.poll_write(cx).map(Ended::Writing)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Self { side, hearing, pause, .. } = self;
        loop {
            let stop = match pause {
                Some(pausing) => {
                    let went_on = ready!(hearing.poll_pause(pausing, cx));
                    *pause = None;
                    went_on
                }
                None => Some(ready!(side.poll(cx, |came, heard| hearing.take(came, heard)))),
            };
            match stop {
                Some(Stop::End(end)) => return Poll::Ready(end),
                Some(Stop::Pause(next)) => *pause = Some(next),
                None => {}
            }
        }
    }

    fn look_at_the_time(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Option<End> {
        let Self { side, hearing, pace, pause, .. } = self;
        let due = pace.due(alarm.as_ref())?;
        if due.beat {
            pace.beat(hearing.queue.spoke()).for_each(|frame| hearing.queue.answer(frame));
        }
        // While nothing is read nothing can be heard.
        if due.look && pause.is_none() && pace.is_silent(side) {
            return Some(refused(hearing.silent(), "nothing was heard for too long", "silent"));
        }
        pace.go_on(due, &hearing.shared.config, hearing.patience_ms() / 2, cx, alarm);
        None
    }

    /// Writes what waits; ready when that was the last, or fails.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.hearing.queue.write(cx) {
            Ok(Written::All) => self.stuck = None,
            Ok(Written::Last) => return Poll::Ready(Ok(())),
            Ok(Written::Stuck { progressed }) => {
                if progressed {
                    self.stuck = None;
                }
                let limit = self.write_limit();
                let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(limit)));
                if stuck.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }

    fn write_limit(&self) -> Duration {
        Duration::from_millis(self.hearing.shared.config.write_ms)
    }

    /// Says the last words, unless there is nobody to hear them, and hangs up.
    async fn leave(mut self, ended: Ended) {
        let gone = matches!(ended, Ended::Reading(End::Gone));
        let written = match ended {
            Ended::Reading(end) => {
                finish(&self.hearing.shared, &self.hearing.queue, self.address, end);
                // The seats are given up now: whoever does not take its last words is no member until then.
                self.hearing.leave();
                self.pause = None;
                // Whoever does not take them in time is cut.
                timeout(self.write_limit(), poll_fn(|cx| self.poll_write(cx))).await.unwrap_or(Ok(()))
            }
            Ended::Writing(written) => written,
        };
        if let Err(error) = written {
            tracing::trace!(address = %self.address, %error, "write failed");
        }
        self.hearing.queue.end();
        self.hearing.leave();
        if !gone {
            self.side.linger().await;
        }
    }
}

fn finish(shared: &Shared, queue: &Queue, address: SocketAddr, end: End) {
    match end {
        End::Gone => queue.end(),
        End::Closing => {}
        End::Ours(closing) => {
            if let Some(reason) = closing.refusal {
                shared.metrics.refuse(reason);
                tracing::debug!(%address, reason, "connection refused");
            }
            queue.close(closing.code, &closing.reason);
        }
    }
}
