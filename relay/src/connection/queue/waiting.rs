//! What is behind the lock of a queue: the pieces in their order, what is counted of them, and the socket.
//!
//! Guarantees: a frame of which the socket took the beginning is finished, whatever else is given up; what waits for
//! nothing holds nothing.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use rustix::net::{SendFlags, send};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

use super::Taken;
use crate::connection::frame;

/// Slices of one vectored write.
const SLICES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Forwarded,
    Answer,
    /// An answer whose frame goes on with what is behind it: nothing may come between.
    Unfinished,
}

/// What is made up for when everything was written.
pub(super) struct Debt(pub(super) Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Debt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Debt")
    }
}

/// How far it is with the end of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    None,
    /// What is said behind all that waits.
    Words(Bytes),
    /// They are among what waits, or are said.
    Said,
    /// The socket is gone.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    socket: Option<OwnedWriteHalf>,
    frames: VecDeque<(Bytes, Origin)>,
    /// The socket took the beginning of the frame in front, or of what that is a part of.
    is_begun: bool,
    /// The socket took the beginning of the piece in front. The rest is no longer counted: it is on its way.
    is_cut: bool,
    pub(super) forwarded_bytes: usize,
    pub(super) answer_bytes: usize,
    pub(super) debts: Vec<Debt>,
    /// Nothing more is read before.
    pub(super) held: Option<Instant>,
    /// Whether a message was put here since that was last asked.
    pub(super) spoke: bool,
    pub(super) end: End,
    /// Who is to hear of news. None while it is at work here and looks again before it rests.
    waker: Option<Waker>,
    /// It waits for what it said to be read.
    pub(super) wants_relief: bool,
}

impl Waiting {
    /// Nothing, of a connection whose socket is gone.
    pub(super) fn gone() -> Self {
        Self { end: End::Gone, ..Self::default() }
    }

    pub(super) fn open(&mut self, socket: OwnedWriteHalf) {
        self.socket = Some(socket);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let on_its_way = self.frames.front().filter(|_| self.is_cut).map_or(0, |(piece, _)| piece.len());
        self.forwarded_bytes + self.answer_bytes + on_its_way
    }

    /// Who rests from now on.
    pub(super) fn rest(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// Who is to be woken, once.
    pub(super) fn resting(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(super) fn push(&mut self, frame: Bytes, origin: Origin) {
        self.spoke |= frame::is_message(&frame);
        *self.counted(origin) += frame.len();
        self.frames.push_back((frame, origin));
    }

    fn counted(&mut self, origin: Origin) -> &mut usize {
        match origin {
            Origin::Forwarded => &mut self.forwarded_bytes,
            Origin::Answer | Origin::Unfinished => &mut self.answer_bytes,
        }
    }

    fn pop(&mut self) -> Option<(Bytes, Origin)> {
        let (frame, origin) = self.frames.pop_front()?;
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        if !std::mem::take(&mut self.is_cut) {
            let counted = self.counted(origin);
            *counted = counted.saturating_sub(frame.len());
        }
        Some((frame, origin))
    }

    /// Gives up all that nothing was written of.
    pub(super) fn clear(&mut self) {
        let mut rest = Vec::new();
        while self.is_begun && rest.last().is_none_or(|(_, origin)| *origin == Origin::Unfinished) {
            let Some(piece) = self.pop() else { break };
            rest.push(piece);
        }
        (self.frames, self.debts) = (VecDeque::new(), Vec::new());
        (self.forwarded_bytes, self.answer_bytes) = (0, 0);
        rest.into_iter().for_each(|(frame, origin)| self.push(frame, origin));
    }

    /// Moves up to so many bytes into `out`, but no part of a frame without the others. For who is the socket itself.
    pub(super) fn take(&mut self, out: &mut VecDeque<Bytes>, bytes: usize) -> Option<Taken> {
        let (mut taken, mut is_whole) = (0, true);
        while taken < bytes || !is_whole {
            let Some((frame, origin)) = self.pop() else { break };
            is_whole = origin != Origin::Unfinished;
            taken += frame.len();
            out.push_back(frame);
        }
        if self.frames.is_empty() {
            out.extend(self.last_words());
            if matches!(self.end, End::Said | End::Gone) {
                return Some(Taken::Last);
            }
        }
        (!out.is_empty()).then_some(Taken::Frames)
    }

    /// What is said at last, once.
    fn last_words(&mut self) -> Option<Bytes> {
        match std::mem::take(&mut self.end) {
            End::Words(words) => {
                self.end = End::Said;
                Some(words)
            }
            other => {
                self.end = other;
                None
            }
        }
    }

    /// Writes one forwarded piece before which nothing waits as far as the socket takes it at once; the rest waits. An
    /// error is left to be found by the connection.
    pub(super) fn write_one(&mut self, mut piece: Bytes) {
        self.spoke |= frame::is_message(&piece);
        // Past the runtime, which would look up first what it knows of the socket.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written =
            self.socket.as_ref().map_or(0, |socket| send(socket.as_ref(), &piece, flags).unwrap_or(0));
        if written == piece.len() {
            return;
        }
        if written == 0 {
            self.forwarded_bytes += piece.len();
        } else {
            piece.advance(written);
            (self.is_begun, self.is_cut) = (true, true);
        }
        self.frames.push_back((piece, Origin::Forwarded));
    }

    /// Writes all that waits, and the last words. Pending if the socket takes no more now; `progressed` if it took
    /// something.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, progressed: &mut bool) -> Poll<io::Result<()>> {
        loop {
            if self.frames.is_empty() {
                let Some(words) = self.last_words() else { return Poll::Ready(Ok(())) };
                self.push(words, Origin::Answer);
            }
            match self.write_some() {
                Ok(()) => *progressed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Some(socket) = &self.socket else { return Poll::Pending };
                    std::task::ready!(socket.as_ref().poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// As [`Waiting::write_one`], for all that waits; as far as one call takes it.
    pub(super) fn write_some(&mut self) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::WouldBlock.into()) };
        let mut written = match self.frames.front() {
            Some((one, _)) if self.frames.len() == 1 => socket.try_write(one)?,
            _ => {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let mut count = 0;
                for (slice, (frame, _)) in slices.iter_mut().zip(&self.frames) {
                    *slice = IoSlice::new(frame);
                    count += 1;
                }
                socket.try_write_vectored(slices.get(..count).unwrap_or_default())?
            }
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let Some((mut frame, origin)) = self.pop() else { break };
            let now = written.min(frame.len());
            written -= now;
            self.is_begun = now < frame.len() || origin == Origin::Unfinished;
            if now < frame.len() {
                frame.advance(now);
                self.is_cut = true;
                self.frames.push_front((frame, origin));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_frame_in_parts_none_is_given_up_when_one_was_written() {
        for (is_begun, kept) in [(true, 2), (false, 0)] {
            let mut waiting = Waiting { is_begun, ..Waiting::default() };
            for (piece, origin) in [
                ("b", Origin::Unfinished),
                ("c", Origin::Answer),
                ("d", Origin::Answer),
                ("e", Origin::Forwarded),
            ] {
                waiting.push(piece.into(), origin);
            }
            waiting.clear();
            assert_eq!((waiting.frames.len(), waiting.bytes()), (kept, kept));
        }
    }
}
