//! The task of one connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tombolo_core::dialect::{hocuspocus, native, y_protocols, y_websocket};

use super::automerge::Automerge;
use super::hocuspocus::Hocuspocus;
use super::native::{Door, Native};
use super::queue::Queue;
use super::read::ReadSide;
use super::write::{self, Pace};
use super::y_webrtc::YWebrtc;
use super::y_websocket::YWebsocket;
use super::{Closing, Dialect, frame};
use crate::admission::{Claim, admit_writer};
use crate::backplane::Link;
use crate::cluster::{Away, Handed, Tunnels};
use crate::config::{Rate, RelayConfig};
use crate::http::Endpoint;
use crate::limits::{Allowance, Dues, TooFast};
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

/// Runs a connection to its end.
///
/// The beginning is done here and now: what only it needs would take its room in the task for as long as that lives.
pub(crate) fn run(shared: Arc<Shared>, accepted: Accepted) -> impl Future<Output = ()> + Send {
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
    let (dialect, harmless) = dialect_of(&shared, &queue, address, &endpoint);
    let (read, write) = socket.into_split();
    queue.open(write);
    let pace = Pace {
        ping: Duration::from_millis(config.ping_ms),
        write: Duration::from_millis(config.write_ms),
        harmless,
    };
    let side = ReadSide::new(early, read, Arc::clone(&queue), raw_bytes_max(bounds.message_bytes));
    serve(shared, counted, queue, (dialect, dues), pace, (side, bounds.message_bytes), address)
}

async fn serve(
    shared: Arc<Shared>,
    counted: Counted,
    queue: Arc<Queue>,
    (dialect, mut dues): (Box<dyn Dialect>, Dues),
    pace: Pace,
    (side, message_bytes): (ReadSide, usize),
    address: SocketAddr,
) {
    let _counted = counted;
    let _open = shared.open.enter(&queue);
    let mut dialect = Some(dialect);
    // Pinned where they are made: whatever is moved takes its room in the task twice.
    let mut reading = pin!(async {
        let mut socket =
            WebSocketStream::from_raw_socket(side, Role::Server, Some(limits(message_bytes))).await;
        let end = tokio::select! {
            biased;
            () = queue.closing() => End::Closing,
            end = read_all(&shared, &mut socket, &mut dialect, &queue, &mut dues) => end,
        };
        let gone = matches!(end, End::Gone);
        finish(&shared, &queue, address, end);
        // The seats are given up now: whoever does not take its last words is no member until then.
        drop(dialect);
        (!gone).then(|| socket.into_inner())
    });
    let mut writing = pin!(async {
        if let Err(error) = write::run(&queue, &pace).await {
            tracing::trace!(%address, %error, "write failed");
        }
        queue.end();
    });
    // The end of one is the end of the other.
    let side = tokio::select! {
        biased;
        side = &mut reading => {
            // Whoever does not take its last words in time is cut.
            // Boxed, as all that is rarely needed: it would take its room in the task from the start.
            let _ = Box::pin(timeout(pace.write, &mut writing)).await;
            side
        }
        () = &mut writing => reading.await,
    };
    if let Some(side) = side {
        Box::pin(side.linger()).await;
    }
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

/// What one connection may send, and what may wait for it.
struct Bounds {
    is_client: bool,
    rates: (Rate, Rate),
    queue_bytes: usize,
    message_bytes: usize,
}

impl Bounds {
    fn of(config: &RelayConfig, endpoint: &Endpoint) -> Self {
        match endpoint {
            // It speaks for all members of another process.
            Endpoint::Native { .. } => Self {
                is_client: false,
                rates: (config.peer_messages, config.peer_kib),
                queue_bytes: config.peer_queue_bytes_max,
                message_bytes: native::FRAME_BYTES_MAX,
            },
            _ => Self {
                is_client: true,
                rates: (config.connection_messages, config.connection_kib),
                queue_bytes: config.queue_bytes_max,
                message_bytes: config.message_bytes_max,
            },
        }
    }
}

/// The dialect, and a harmless message of it.
fn dialect_of(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    address: SocketAddr,
    endpoint: &Endpoint,
) -> (Box<dyn Dialect>, Option<Bytes>) {
    match endpoint {
        Endpoint::YWebsocket { room, token } => (
            Box::new(YWebsocket::new(shared, queue, address, room, token.as_deref())),
            Some(frame::binary(&[&y_protocols::EMPTY_AWARENESS])),
        ),
        Endpoint::Hocuspocus => {
            (Box::new(Hocuspocus::new(shared, queue, address)), Some(frame::binary(&[&hocuspocus::PING])))
        }
        Endpoint::Automerge { host, token } => {
            (handed(shared, queue, (address, token.as_deref()), (Handed::Automerge, host)), None)
        }
        Endpoint::Signaling { token } => {
            (handed(shared, queue, (address, token.as_deref()), (Handed::Signaling, "")), None)
        }
        Endpoint::Native { is_local } => {
            (Box::new(Native::new(shared, queue, address, Door::Peers { is_local: *is_local })), None)
        }
        Endpoint::Replica => {
            let native = Box::new(Native::new(shared, queue, address, Door::Replicas));
            if shared.archive.is_some() {
                return (native, None);
            }
            // Before it is welcomed, so that it hears of an archive that comes meanwhile.
            (Box::new(shared.tunnels.local(queue, true, native)), None)
        }
    }
}

/// A connection that may be served elsewhere. It is admitted where its socket is. Replicas are handed on later, when
/// they were welcomed.
fn handed(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    (address, token): (SocketAddr, Option<&str>),
    (handed, host): (Handed, &str),
) -> Box<dyn Dialect> {
    let admitted = admit_writer(&*shared.admission, &Claim { address, document: None, token });
    if let (Ok(()), Some(home)) = (&admitted, shared.joint.home_elsewhere()) {
        let away = Away::new(shared, queue, address, (handed, host), home);
        if shared.joint.home_elsewhere() != Some(home) {
            // It moved before this one was among those that are told.
            Tunnels::move_on(queue);
        }
        return Box::new(away);
    }
    let is_admitted = admitted.is_ok();
    let dialect: Box<dyn Dialect> = match (handed.is_text(), admitted) {
        (false, Ok(())) => Box::new(Automerge::new(shared, queue, address, host)),
        (false, Err(denied)) => Box::new(Automerge::new(shared, queue, address, host).denied(denied)),
        (true, Ok(())) => Box::new(YWebrtc::new(shared, queue)),
        (true, Err(denied)) => Box::new(YWebrtc::new(shared, queue).denied(&denied)),
    };
    let local = shared.tunnels.local(queue, false, dialect);
    if is_admitted && shared.joint.home_elsewhere().is_some() {
        Tunnels::move_on(queue);
    }
    Box::new(local)
}

/// How reading ended.
enum End {
    /// The other side is gone.
    Gone,
    /// This side ends it.
    Ours(Closing),
    /// The last words wait in the queue already.
    Closing,
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

/// Read buffer of one connection: most messages fit. The library's 128 KiB are paid by each idle connection; here a
/// thread's connections share a large one ([`ReadSide`]).
const READ_BUFFER_BYTES: usize = 512;

fn limits(message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes))
}

/// Bytes of one message with all heads of its fragments and the control frames between them; who cuts it into
/// ordinary pieces needs a small part of this.
fn raw_bytes_max(message_bytes: usize) -> usize {
    message_bytes.saturating_mul(2).saturating_add(64 * 1024)
}

/// A message for the dialect. Judging a large one takes its time: other connections must not wait for it on this
/// thread. Without its dialect a connection is over.
pub(crate) async fn judge(dialect: &mut Option<Box<dyn Dialect>>, payload: Bytes) -> Result<(), Closing> {
    let mut judging = dialect.take().ok_or_else(lost)?;
    let (judged, result) = if payload.len() > LARGE_BYTES {
        let aside = tokio::task::spawn_blocking(move || {
            let result = judging.message(payload);
            (judging, result)
        });
        Box::pin(aside).await.map_err(|_| lost())?
    } else {
        let result = judging.message(payload);
        (judging, result)
    };
    *dialect = Some(judged);
    result
}

/// A bug of ours, of which the other connections notice nothing.
fn lost() -> Closing {
    Closing::refused(1011, "the server failed at a message", "failed")
}

/// From this size on a message is judged aside, in bytes.
const LARGE_BYTES: usize = 256 * 1024;

/// Reads until the connection ends.
async fn read_all(
    shared: &Shared,
    socket: &mut WebSocketStream<ReadSide>,
    dialect: &mut Option<Box<dyn Dialect>>,
    queue: &Queue,
    dues: &mut Dues,
) -> End {
    let config = &shared.config;
    let mut control = Allowance::default();
    let mut alarm = pin!(sleep(Duration::from_millis(config.first_frame_ms)));
    let mut silence = Silence::default();
    loop {
        let message = tokio::select! {
            biased;
            message = socket.next() => message,
            () = &mut alarm => {
                if silence.is_too_long(socket.get_ref()) {
                    let code = dialect.as_ref().map_or(frame::NO_CODE, |dialect| dialect.silent());
                    return refused(code, "nothing was heard for too long", "silent");
                }
                let patience = dialect.as_ref().map_or(config.silence_ms, |dialect| dialect.patience_ms(config));
                alarm.as_mut().reset(Instant::now() + Duration::from_millis(patience / 2));
                continue;
            }
        };
        let message = match message {
            None => return End::Gone,
            Some(Err(_)) if socket.get_ref().is_endless() => {
                return refused(1009, "the message does not end", "endless_message");
            }
            Some(Err(error)) => return end_for(&error),
            Some(Ok(message)) => message,
        };
        let result = match message {
            Message::Binary(payload) => {
                socket.get_mut().message_ended();
                shared.metrics.messages_received.inc();
                shared.metrics.bytes_received.inc_by(payload.len() as u64);
                judge(dialect, payload).await
            }
            Message::Text(text) => {
                socket.get_mut().message_ended();
                shared.metrics.messages_received.inc();
                shared.metrics.bytes_received.inc_by(text.len() as u64);
                dialect.as_mut().map_or_else(|| Err(lost()), |dialect| dialect.text(&text))
            }
            Message::Close(close) => {
                let code = close.map_or(frame::NO_CODE, |close| close.code.into());
                return End::Ours(Closing { code, reason: String::new(), refusal: None });
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                if let Some(wait) = control.spend(config.connection_control) {
                    shared.metrics.slow("control_rate");
                    queue.hold(wait);
                }
                Ok(())
            }
        };
        if let Err(closing) = result {
            return End::Ours(closing);
        }
        if dues.count(socket.get_ref().heard()) {
            slow_down(shared, dues).await;
        }
        ease(shared, queue).await;
    }
}

/// Time between two looks at what waits for the link.
const BREATH: Duration = Duration::from_millis(5);

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
        while shared.plane.hub().waiting_for_link() > config.peer_backlog_bytes_max {
            // Boxed: most connections never need it.
            Box::pin(sleep(BREATH)).await;
        }
    }
}

/// Longest time between two looks at what is owed: others may have paid less than was thought.
const NAP: Duration = Duration::from_secs(1);

/// Waits until all is paid for. Meanwhile the socket fills up, and whoever sends has to wait.
async fn slow_down(shared: &Shared, dues: &mut Dues) {
    let mut is_slowed = false;
    while let Some(TooFast { wait, reason }) = dues.pay() {
        if !std::mem::replace(&mut is_slowed, true) {
            shared.metrics.slow(reason);
        }
        // Boxed: most connections never need it.
        Box::pin(sleep(wait.min(NAP))).await;
    }
}

/// Whether something comes. It is looked at now and then and not set anew with each message: that would cost as
/// much as the message.
#[derive(Debug, Default)]
struct Silence {
    heard: u64,
    looks: u32,
}

impl Silence {
    /// To be asked when the first message must have been there, then twice in each time of silence allowed.
    fn is_too_long(&mut self, side: &ReadSide) -> bool {
        // A large message on a thin line is not silence, but the first is never large.
        let heard = if side.has_heard_a_message() { side.heard() } else { self.heard };
        self.looks = if heard == self.heard { self.looks + 1 } else { 0 };
        self.heard = heard;
        self.looks >= 2 || !side.has_heard_a_message()
    }
}

fn refused(code: u16, words: &str, reason: &'static str) -> End {
    End::Ours(Closing::refused(code, words, reason))
}

fn end_for(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            refused(1009, "the message is too big", "message_too_big")
        }
        // Nothing was broken: the socket ended without a goodbye, as sockets do.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => refused(1002, "WebSocket protocol error", "websocket_protocol"),
        Error::Utf8(_) => refused(1007, "text that is not UTF-8", "not_utf8"),
        _ => End::Gone,
    }
}
