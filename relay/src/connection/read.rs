//! The reading side of a socket: bytes into messages, out of a buffer that all connections of a thread share.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::inbound::{Broken, Inbound, Message};

/// How long the other side has to hang up after the last words, and how much it may still say.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes read in one system call.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where all connections of a thread read into, so that none needs a buffer of this size while it is idle. Empty
    /// while one is at work.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a socket brings.
#[derive(Debug)]
pub(super) struct ReadSide {
    socket: OwnedReadHalf,
    inbound: Inbound,
    /// What was read and not looked at yet.
    early: Bytes,
    heard: u64,
    message_start: u64,
    raw_bytes_max: u64,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Came {
    Message(Message),
    /// Nothing can be made of it.
    Broken(Broken),
    /// Something that is no message and does not end: nothing else bounds one in endlessly many empty fragments.
    Endless,
    /// The end of the socket.
    End,
}

impl ReadSide {
    /// `early` is what came behind the handshake already.
    pub(super) fn new(early: Bytes, socket: OwnedReadHalf, message_bytes_max: usize) -> Self {
        let inbound = Inbound::new(message_bytes_max);
        let raw_bytes_max = raw_bytes_max(message_bytes_max) as u64;
        Self { socket, inbound, early, heard: 0, message_start: 0, raw_bytes_max }
    }

    /// Bytes that came and were looked at, of whatever.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Whether a message came whole.
    pub(super) fn has_heard_a_message(&self) -> bool {
        self.message_start > 0
    }

    /// Hands what comes to `take`, with the number of bytes that came until then, until that has enough of it; what it
    /// does not get is kept for the next call.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Came, u64) -> Option<T>,
    ) -> Poll<T> {
        loop {
            if !self.early.is_empty() {
                let early = std::mem::take(&mut self.early);
                let mut rest = &early[..];
                let taken = self.messages(&mut rest, &mut take);
                self.early = early.slice(early.len() - rest.len()..);
                if let Some(taken) = taken {
                    return Poll::Ready(taken);
                }
            }
            let mut scratch = SCRATCH.take();
            scratch.resize(SCRATCH_BYTES, 0);
            let taken = self.poll_socket(cx, &mut scratch, &mut take);
            SCRATCH.set(scratch);
            if let Some(taken) = ready!(taken) {
                return Poll::Ready(taken);
            }
        }
    }

    fn poll_socket<T>(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        take: &mut impl FnMut(Came, u64) -> Option<T>,
    ) -> Poll<Option<T>> {
        let mut scratch = ReadBuf::new(scratch);
        let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut scratch));
        let mut came = scratch.filled();
        if read.is_err() || came.is_empty() {
            return Poll::Ready(take(Came::End, self.heard));
        }
        let taken = self.messages(&mut came, take);
        self.early = Bytes::copy_from_slice(came);
        Poll::Ready(taken)
    }

    fn messages<T>(&mut self, bytes: &mut &[u8], take: &mut impl FnMut(Came, u64) -> Option<T>) -> Option<T> {
        loop {
            let before = bytes.len();
            let next = self.inbound.next(bytes);
            self.heard += (before - bytes.len()) as u64;
            let came = match next {
                Ok(Some(message)) => Came::Message(message),
                Ok(None) if self.heard - self.message_start > self.raw_bytes_max => Came::Endless,
                Ok(None) => return None,
                Err(broken) => Came::Broken(broken),
            };
            if matches!(came, Came::Message(Message::Binary(_) | Message::Text(_))) {
                self.message_start = self.heard;
            }
            let taken = take(came, self.heard);
            if taken.is_some() {
                return taken;
            }
        }
    }

    /// Reads on for a moment after the last words. A socket that is dropped with something unread is reset,
    /// and a reset overtakes the close frame and its code on many systems.
    pub(super) async fn linger(mut self) {
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
}

/// Bytes of one message with all heads of its fragments and the control frames between them; who cuts it into
/// ordinary pieces needs a small part of this.
fn raw_bytes_max(message_bytes: usize) -> usize {
    message_bytes.saturating_mul(2).saturating_add(64 * 1024)
}
