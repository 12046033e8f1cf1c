//! The link to another relay, through its door `/native`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tombolo_core::cluster::To;
use tombolo_core::dialect::native::{self, Hello, Message, Role};
use tombolo_core::id::PeerId;

use super::address::{RelayAddress, Token};
use super::link::{End, Failure, Transport};
use super::local::Hub;
use super::outbox::{Outbox, Outward};

/// Time for a connection to be made, and for the welcome.
const CONNECT: Duration = Duration::from_secs(10);
/// Time between pings.
const PING: Duration = Duration::from_secs(2);
/// Nothing was heard for so long, not even a pong: the relay is away.
const SILENCE: Duration = Duration::from_secs(6);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The link of a process of this name, with the token that opens the door.
pub(super) struct DoorOf {
    pub(super) name: PeerId,
    pub(super) token: Option<Token>,
}

/// A connection that was welcomed.
pub(super) struct Made {
    socket: Socket,
    address: RelayAddress,
}

impl Transport for DoorOf {
    type Address = RelayAddress;
    type Made = Made;

    async fn connect(&self, address: &RelayAddress) -> Result<Made, Failure> {
        match timeout(CONNECT, self.enter(address)).await {
            Ok(entered) => entered.map(|socket| Made { socket, address: address.clone() }),
            Err(_) => {
                Err(Failure::passing(format!("the relay at {address} does not answer; see whether it runs")))
            }
        }
    }

    async fn carry(&self, made: Made, hub: &Hub, outbox: &Outbox) -> End {
        let (mut speaks, mut hears) = made.socket.split();
        let end = tokio::select! {
            biased;
            () = outbox.overflow() => Err("it takes less than is said here".to_owned()),
            end = speak(&mut speaks, outbox) => end,
            why = hear(&mut hears, hub) => Err(why),
        };
        match end {
            Ok(()) => End::Ours,
            Err(why) => {
                End::Broken(Failure::passing(format!("the relay at {} is away: {why}", made.address)))
            }
        }
    }
}

impl DoorOf {
    async fn enter(&self, address: &RelayAddress) -> Result<Socket, Failure> {
        let mut socket = open(address).await?;
        let token = self.token.as_ref().map(|token| token.secret().to_owned()).unwrap_or_default();
        let hello = Message::Hello(Hello { role: Role::Peer, peer: self.name, token });
        let broken = |why: String| {
            Failure::passing(format!("the relay at {address} hung up before it said welcome: {why}"))
        };
        socket.send(message(hello.encode())).await.map_err(|error| broken(error.to_string()))?;
        loop {
            match read(socket.next().await).map_err(broken)? {
                None => {}
                Some(Message::Welcome { version: native::VERSION, .. }) => return Ok(socket),
                Some(Message::Refused { refusal, reason }) => {
                    let words = format!("the relay at {address} does not let this server in: {reason}");
                    return Err(Failure { words, is_permanent: refusal.is_permanent() });
                }
                Some(_) => {
                    let words =
                        format!("the relay at {address} says something else than welcome; see its version");
                    return Err(Failure::permanent(words));
                }
            }
        }
    }
}

async fn open(address: &RelayAddress) -> Result<Socket, Failure> {
    let place = &address.place;
    let host = place.host.trim_start_matches('[').trim_end_matches(']');
    let unreachable = |why: &dyn std::fmt::Display| {
        Failure::passing(format!("cannot reach the relay at {address}: {why}; start it, or correct --relay"))
    };
    let stream = TcpStream::connect((host, place.port)).await.map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(native::FRAME_BYTES_MAX))
        .max_frame_size(Some(native::FRAME_BYTES_MAX));
    match shake_hands(address, stream, limits).await {
        Ok(socket) => Ok(socket),
        Err(Error::Http(response)) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let said = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default());
            let words = format!("no relay opens at {address} ({status}): {}", said.trim());
            // One that is full or starts has its place again soon.
            Err(Failure { words, is_permanent: status.is_client_error() })
        }
        Err(Error::Url(_)) => Err(Failure::permanent(format!(
            "this program was built without TLS and cannot reach {address}; build it with the feature nats"
        ))),
        Err(error) if is_about_tls(&error) => Err(Failure::passing(format!(
            "no TLS with the relay at {address}: {error}; it needs a certificate of an authority that this machine trusts, \
             or that SSL_CERT_FILE names"
        ))),
        Err(error) => Err(unreachable(&error)),
    }
}

/// What is wrong with TLS is said in words only.
fn is_about_tls(error: &Error) -> bool {
    let words = error.to_string();
    words.contains("certificate") || words.contains("corrupt message")
}

#[cfg(feature = "nats")]
async fn shake_hands(
    address: &RelayAddress,
    stream: TcpStream,
    limits: WebSocketConfig,
) -> Result<Socket, Error> {
    let url = address.to_string();
    let shaken = tokio_tungstenite::client_async_tls_with_config(url, stream, Some(limits), None).await;
    shaken.map(|(socket, _)| socket)
}

#[cfg(not(feature = "nats"))]
async fn shake_hands(
    address: &RelayAddress,
    stream: TcpStream,
    limits: WebSocketConfig,
) -> Result<Socket, Error> {
    if address.tls {
        return Err(Error::Url(tungstenite::error::UrlError::TlsFeatureNotEnabled));
    }
    let (url, stream) = (address.to_string(), MaybeTlsStream::Plain(stream));
    let shaken = tokio_tungstenite::client_async_with_config(url, stream, Some(limits)).await;
    shaken.map(|(socket, _)| socket)
}

fn message(frame: Vec<u8>) -> tungstenite::Message {
    tungstenite::Message::Binary(frame.into())
}

/// Says what is to be said, and listens and unlistens, in this order; pings when there is nothing.
async fn speak(socket: &mut SplitSink<Socket, tungstenite::Message>, outbox: &Outbox) -> Result<(), String> {
    loop {
        let entries = tokio::select! {
            biased;
            entries = outbox.take() => entries,
            () = sleep(PING) => {
                let ping = tungstenite::Message::Ping(Bytes::new());
                socket.send(ping).await.map_err(|error| error.to_string())?;
                continue;
            }
        };
        for entry in entries {
            let frame = match entry {
                Outward::Say(to, payload) => {
                    let mut frame = native::say_head(&to);
                    frame.extend_from_slice(&payload);
                    frame
                }
                Outward::Listen(To::Room(document)) => Message::Listen(document).encode(),
                Outward::Unlisten(To::Room(document)) => Message::Unlisten(document).encode(),
                // The relay knows the name, and sends what is for all.
                Outward::Listen(_) | Outward::Unlisten(_) => continue,
                Outward::End => {
                    let _ = socket.close().await;
                    return Ok(());
                }
            };
            socket.feed(message(frame)).await.map_err(|error| error.to_string())?;
        }
        socket.flush().await.map_err(|error| error.to_string())?;
    }
}

/// Hands on what is heard until the connection ends. Returns why.
async fn hear(socket: &mut SplitStream<Socket>, hub: &Hub) -> String {
    loop {
        let Ok(next) = timeout(SILENCE, socket.next()).await else {
            return "nothing was heard for too long".to_owned();
        };
        match read(next) {
            Ok(Some(Message::Heard { to, payload })) => {
                hub.deliver(&to, &payload);
                hub.takes_more().await;
            }
            Ok(None) => {}
            Ok(Some(_)) => return "it says what it should not; see its version".to_owned(),
            Err(why) => return why,
        }
    }
}

/// A message, or why there is none and will be none; nothing for what is for the socket itself.
fn read(next: Option<Result<tungstenite::Message, Error>>) -> Result<Option<Message>, String> {
    match next {
        None => Err("the connection ended".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(tungstenite::Message::Binary(frame))) => {
            native::parse(&frame).map(Some).map_err(|error| error.to_string())
        }
        Some(Ok(tungstenite::Message::Close(close))) => Err(close
            .map(|close| close.reason.to_string())
            .filter(|reason| !reason.is_empty())
            .unwrap_or_else(|| "it hung up".to_owned())),
        Some(Ok(_)) => Ok(None),
    }
}
