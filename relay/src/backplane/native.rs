//! The link to another relay, through its door `/native`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Error};
use tombolo_core::cluster::To;
use tombolo_core::dialect::native::{self, Hello, Message, Role};
use tombolo_core::id::PeerId;

use super::address::{RelayAddress, Token};
use super::dial::{self, Socket, dial};
use super::link::{End, Failure, Transport};
use super::local::Hub;
use super::outbox::{Outbox, Outward};

/// Time between pings.
const PING: Duration = Duration::from_secs(2);
/// Nothing was heard for so long, not even a pong: the relay is away.
const SILENCE: Duration = Duration::from_secs(6);

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
        let token = self.token.as_ref().map(|token| token.secret().to_owned()).unwrap_or_default();
        let hello = Hello { role: Role::Peer, peer: self.name, token };
        let socket = dial(address, hello, native::FRAME_BYTES_MAX).await?;
        Ok(Made { socket, address: address.clone() })
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
    let frame = dial::read(next)?;
    frame.map(|frame| native::parse(&frame).map_err(|error| error.to_string())).transpose()
}
