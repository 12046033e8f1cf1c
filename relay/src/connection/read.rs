//! The reading side of a socket, for tungstenite.
//!
//! tungstenite checks masks, fragments, control frames and UTF-8, and answers pings and closes by writing;
//! those few bytes are handed to the connection's queue, because the writer alone writes to the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

use super::queue::Queue;

/// The socket as tungstenite sees it.
#[derive(Debug)]
pub(crate) struct ReadSide {
    early: Bytes,
    socket: OwnedReadHalf,
    queue: Arc<Queue>,
}

impl ReadSide {
    /// `early` is what came behind the handshake already.
    pub(crate) fn new(early: Bytes, socket: OwnedReadHalf, queue: Arc<Queue>) -> Self {
        Self { early, socket, queue }
    }
}

impl AsyncRead for ReadSide {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let len = self.early.len().min(buf.remaining());
        if let Some(head) = self.early.get(..len) {
            buf.put_slice(head);
        }
        self.early.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadSide {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Always taken whole, so each call carries whole control frames. A flood of pings fills the queue
        // of the flooder and ends it.
        self.queue.forward(Bytes::copy_from_slice(buf));
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
