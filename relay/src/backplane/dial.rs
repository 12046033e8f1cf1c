//! Through the door `/native` of a relay: the connection, TLS, the WebSocket, Hello and Welcome.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tombolo_core::dialect::native::{self, Hello, Message};

use super::address::RelayAddress;
use super::link::Failure;

/// Time for a connection to be made, and for the welcome.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to a relay.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Makes a connection and says Hello; done when the Welcome has come. Longer messages than `message_bytes_max` end it
/// later.
///
/// # Errors
/// [`Failure`] in words for people, and whether the same will happen again.
pub async fn dial(address: &RelayAddress, hello: Hello, message_bytes_max: usize) -> Result<Socket, Failure> {
    match timeout(CONNECT, enter(address, hello, message_bytes_max)).await {
        Ok(entered) => entered,
        Err(_) => {
            Err(Failure::passing(format!("the relay at {address} does not answer; see whether it runs")))
        }
    }
}

async fn enter(address: &RelayAddress, hello: Hello, message_bytes_max: usize) -> Result<Socket, Failure> {
    let mut socket = open(address, message_bytes_max).await?;
    let broken = |why: String| {
        Failure::passing(format!("the relay at {address} hung up before it said welcome: {why}"))
    };
    let hello = Message::Hello(hello).encode();
    let sent = socket.send(tungstenite::Message::Binary(hello.into())).await;
    sent.map_err(|error| broken(error.to_string()))?;
    loop {
        let said = match read(socket.next().await).map_err(broken)? {
            None => continue,
            Some(frame) => native::parse(&frame).map_err(|error| broken(error.to_string()))?,
        };
        match said {
            Message::Welcome { version: native::VERSION, .. } => return Ok(socket),
            Message::Refused { refusal, reason } => {
                let words = format!("the relay at {address} does not let this program in: {reason}");
                return Err(Failure { words, is_permanent: refusal.is_permanent() });
            }
            _ => {
                let words =
                    format!("the relay at {address} says something else than welcome; see its version");
                return Err(Failure::permanent(words));
            }
        }
    }
}

/// The next binary message; nothing for what is for the socket itself; or why there will be none.
///
/// # Errors
/// Why the connection ended, in words.
pub fn read(next: Option<Result<tungstenite::Message, Error>>) -> Result<Option<Bytes>, String> {
    match next {
        None => Err("the connection ended".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(tungstenite::Message::Binary(frame))) => Ok(Some(frame)),
        Some(Ok(tungstenite::Message::Close(close))) => Err(close
            .map(|close| close.reason.to_string())
            .filter(|reason| !reason.is_empty())
            .unwrap_or_else(|| "it hung up".to_owned())),
        Some(Ok(_)) => Ok(None),
    }
}

async fn open(address: &RelayAddress, message_bytes_max: usize) -> Result<Socket, Failure> {
    let place = &address.place;
    let host = place.host.trim_start_matches('[').trim_end_matches(']');
    let unreachable = |why: &dyn std::fmt::Display| {
        Failure::passing(format!(
            "cannot reach the relay at {address}: {why}; start it, or correct the address"
        ))
    };
    let stream = TcpStream::connect((host, place.port)).await.map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    match shake_hands(address, stream, limits).await {
        Ok(socket) => Ok(socket),
        Err(Error::Http(response)) => {
            let status = response.status();
            let body = response.body().as_deref().unwrap_or_default();
            let said = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default());
            let words = format!("no relay opens at {address} ({status}): {}", said.trim());
            // One that is full, starts, or stands behind a proxy that does not find it yet has its place again soon.
            let is_permanent = matches!(status.as_u16(), 401 | 403 | 426);
            Err(Failure { words, is_permanent })
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
