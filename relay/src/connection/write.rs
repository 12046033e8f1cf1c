//! The writing side of a socket: what waits is written in as few calls as possible, never by a timer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep, timeout};

use super::frame;
use super::queue::{Queue, Taken};

/// Slices of one vectored write.
const SLICES: usize = 64;
/// Bytes taken out of the queue at once; what is taken no longer counts as waiting.
const TAKE_BYTES: usize = 256 * 1024;

/// How long writing may take and how a quiet connection is kept alive.
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) ping: Duration,
    pub(crate) write: Duration,
    /// A harmless message of the dialect: stock clients do not count pings as signs of life.
    pub(crate) harmless: Option<Bytes>,
}

/// Writes until the queue ends or the socket fails.
pub(crate) async fn run(queue: &Queue, pace: &Pace) -> io::Result<()> {
    let mut frames = VecDeque::new();
    let mut pulse = Pulse::default();
    let beat = pace.ping / 2;
    let mut alarm = pin!(sleep(beat));
    loop {
        // The alarm first: it is due once in a while, so it keeps nobody waiting, and no stream of frames may
        // keep it waiting.
        let (socket, taken) = tokio::select! {
            biased;
            () = &mut alarm => {
                alarm.as_mut().reset(Instant::now() + beat);
                let due = pulse.beat(queue.spoke());
                let word = due.word.then(|| pace.harmless.clone()).flatten();
                word.into_iter().chain(due.ping.then(frame::ping)).for_each(|frame| queue.answer(frame));
                continue;
            }
            taken = queue.take(&mut frames, TAKE_BYTES) => taken,
        };
        let Some(mut socket) = socket else { return Ok(()) };
        write_all(&socket, &mut frames, pace.write).await?;
        if taken == Taken::Last {
            return Box::pin(timeout(pace.write, socket.shutdown())).await.unwrap_or(Ok(()));
        }
        queue.give_back(socket);
    }
}

/// What to write unasked: a ping at every other beat, a word at each beat since which no message went out. So a quiet
/// connection hears a word and a ping in turn, and never waits longer than two beats for a message.
#[derive(Debug, Default)]
struct Pulse {
    pinged: bool,
}

/// What is due now.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    ping: bool,
    word: bool,
}

impl Pulse {
    /// `spoke` if a message went out since the last beat.
    fn beat(&mut self, spoke: bool) -> Due {
        self.pinged = !self.pinged;
        Due { ping: self.pinged, word: !spoke }
    }
}

async fn write_all(socket: &OwnedWriteHalf, frames: &mut VecDeque<Bytes>, limit: Duration) -> io::Result<()> {
    while !frames.is_empty() {
        match write_some(socket, frames) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Boxed: most connections never need it.
                Box::pin(timeout(limit, socket.writable())).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes once. Not in the task: the slices would be kept there for as long as the connection lives.
fn write_some(socket: &OwnedWriteHalf, frames: &mut VecDeque<Bytes>) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
        *slice = IoSlice::new(frame);
        count += 1;
    }
    let mut written = match slices.get(..count).unwrap_or_default() {
        [one] => socket.try_write(one)?,
        several => socket.try_write_vectored(several)?,
    };
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    while let Some(frame) = frames.front_mut() {
        if written < frame.len() {
            frame.advance(written);
            break;
        }
        written -= frame.len();
        frames.pop_front();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_two_beats_pass_without_a_message() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.beat(true), Due { ping: true, word: false });
        assert_eq!(pulse.beat(false), Due { ping: false, word: true });
        // The word was a message.
        assert_eq!(pulse.beat(true), Due { ping: true, word: false });
        assert_eq!(pulse.beat(false), Due { ping: false, word: true });
    }
}
