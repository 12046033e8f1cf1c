//! The reading side of a socket, for tungstenite.
//!
//! tungstenite checks masks, fragments, control frames and UTF-8, and answers pings and closes by writing;
//! those few bytes are handed to the connection's queue, because the writer alone writes to the socket.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::queue::Queue;

/// How long the other side has to hang up after the last words, and how much it may still say.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes read in one system call.
const SCRATCH_BYTES: usize = 64 * 1024;

/// The socket as tungstenite sees it.
#[derive(Debug)]
pub(crate) struct ReadSide {
    /// What was read and not asked for yet.
    early: Bytes,
    socket: OwnedReadHalf,
    queue: Arc<Queue>,
    heard: u64,
    message_start: u64,
    message_bytes_max: u64,
}

impl ReadSide {
    /// `early` is what came behind the handshake already. Reading fails when `message_bytes_max` bytes came
    /// and no message ended in them: nothing else bounds a message in endlessly many empty fragments.
    pub(crate) fn new(
        early: Bytes,
        socket: OwnedReadHalf,
        queue: Arc<Queue>,
        message_bytes_max: usize,
    ) -> Self {
        let message_bytes_max = message_bytes_max as u64;
        Self { early, socket, queue, heard: 0, message_start: 0, message_bytes_max }
    }

    /// Bytes that came, of whatever.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// Whether a message came whole.
    pub(crate) fn has_heard_a_message(&self) -> bool {
        self.message_start > 0
    }

    /// A message ended.
    pub(crate) fn message_ended(&mut self) {
        self.message_start = self.heard;
    }

    /// Whether that is why reading failed.
    pub(crate) fn is_endless(&self) -> bool {
        self.heard - self.message_start > self.message_bytes_max
    }

    /// Reads on for a moment after the last words. A socket that is dropped with something unread is reset,
    /// and a reset overtakes the close frame and its code on many systems.
    pub(crate) async fn linger(mut self) {
        // Not on the stack: every connection's task would be larger by it from its start.
        let mut waste = vec![0; 4096];
        let mut left = LINGER_BYTES_MAX;
        let wasting = async {
            while let Ok(read @ 1..) = self.socket.read(&mut waste).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = timeout(LINGER, wasting).await;
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return SCRATCH.with_borrow_mut(|scratch| {
                let mut scratch = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut scratch))?;
                let came = scratch.filled();
                let (now, later) = came.split_at_checked(buf.remaining()).unwrap_or((came, &[]));
                buf.put_slice(now);
                self.early = Bytes::copy_from_slice(later);
                Poll::Ready(Ok(()))
            });
        }
        let len = self.early.len().min(buf.remaining());
        if let Some(head) = self.early.get(..len) {
            buf.put_slice(head);
        }
        self.early.advance(len);
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// Where all connections of a thread read into, so that none needs a buffer of this size while it is idle.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

impl AsyncRead for ReadSide {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_endless() {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buf.filled().len();
        let polled = self.poll_bytes(cx, buf);
        self.heard += (buf.filled().len() - before) as u64;
        polled
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
