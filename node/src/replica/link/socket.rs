//! A link's connection, from which frames come one by one, and which writes what it is given.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite;
use tombolo_relay::backplane::dial;

/// A task's end of a connection.
pub(super) struct Connection {
    out: UnboundedSender<Vec<u8>>,
    writer: JoinHandle<()>,
    hears: SplitStream<dial::Socket>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Connection {
    pub(super) fn new(socket: dial::Socket) -> Self {
        let (speaks, hears) = socket.split();
        let (out, frames) = unbounded_channel();
        Self { out, writer: tokio::spawn(write(speaks, frames)), hears }
    }

    pub(super) fn send(&self, frame: Vec<u8>) {
        // A writer that has ended is noticed by who reads.
        let _ = self.out.send(frame);
    }
}

/// The next frame; none for what is for the socket itself. For ever, without a connection.
pub(super) async fn hear(connection: &mut Option<Connection>) -> Result<Option<Bytes>, String> {
    match connection {
        Some(connection) => dial::read(connection.hears.next().await),
        None => std::future::pending().await,
    }
}

/// Writes what comes, all that is there in one go.
async fn write(
    mut speaks: SplitSink<dial::Socket, tungstenite::Message>,
    mut frames: UnboundedReceiver<Vec<u8>>,
) {
    while let Some(frame) = frames.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if speaks.feed(tungstenite::Message::Binary(frame.into())).await.is_err() {
                return;
            }
            next = frames.try_recv().ok();
        }
        if speaks.flush().await.is_err() {
            return;
        }
    }
}
