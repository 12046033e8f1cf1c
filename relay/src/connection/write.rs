//! The writing side of a socket: what waits is written in as few calls as possible, never by a timer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, sleep_until, timeout};

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
pub(crate) async fn run(mut socket: OwnedWriteHalf, queue: &Queue, pace: &Pace) -> io::Result<()> {
    let mut frames = VecDeque::new();
    let mut pulse = Pulse::new(pace.ping, Instant::now());
    let alarm = sleep_until(pulse.next());
    tokio::pin!(alarm);
    loop {
        // The alarm first: it is due once in a while, so it keeps nobody waiting, and no stream of frames may
        // keep it waiting.
        let taken = tokio::select! {
            biased;
            () = &mut alarm => {
                let due = pulse.due(Instant::now());
                alarm.as_mut().reset(pulse.next());
                frames.extend(due.word.then(|| pace.harmless.clone()).flatten());
                frames.extend(due.ping.then(frame::ping));
                Taken::Frames
            }
            taken = queue.take(&mut frames, TAKE_BYTES) => taken,
        };
        let spoke = frames.iter().any(|frame| frame::is_message(frame));
        write_all(&mut socket, &mut frames, pace.write).await?;
        if spoke {
            pulse.spoke(Instant::now());
        }
        if taken == Taken::Last {
            return timeout(pace.write, socket.shutdown()).await.unwrap_or(Ok(()));
        }
    }
}

/// When to write unasked: a ping at each interval, a word when no message went out for one.
#[derive(Debug)]
struct Pulse {
    interval: Duration,
    next_ping: Instant,
    next_word: Instant,
}

/// What is due now.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    ping: bool,
    word: bool,
}

impl Pulse {
    fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next_ping: now + interval, next_word: now + interval }
    }

    fn next(&self) -> Instant {
        self.next_ping.min(self.next_word)
    }

    /// A message went out.
    fn spoke(&mut self, now: Instant) {
        self.next_word = now + self.interval;
    }

    /// What is due counts as done.
    fn due(&mut self, now: Instant) -> Due {
        let due = Due { ping: self.next_ping <= now, word: self.next_word <= now };
        if due.ping {
            self.next_ping = now + self.interval;
        }
        if due.word {
            self.next_word = now + self.interval;
        }
        due
    }
}

async fn write_all(
    socket: &mut OwnedWriteHalf,
    frames: &mut VecDeque<Bytes>,
    limit: Duration,
) -> io::Result<()> {
    while let Some(first) = frames.front() {
        let written = if frames.len() == 1 {
            timeout(limit, socket.write(first)).await
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
                *slice = IoSlice::new(frame);
                count += 1;
            }
            timeout(limit, socket.write_vectored(slices.get(..count).unwrap_or_default())).await
        };
        let mut written = written.map_err(|_| io::ErrorKind::TimedOut)??;
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
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_one_interval_passes_without_a_message() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut pulse = Pulse::new(Duration::from_secs(20), start);
        pulse.spoke(at(1));
        assert_eq!(pulse.next(), at(20));
        assert_eq!(pulse.due(at(20)), Due { ping: true, word: false });
        assert_eq!(
            pulse.next(),
            at(21),
            "a message right behind the last ping does not put it off to the next"
        );
        assert_eq!(pulse.due(at(21)), Due { ping: false, word: true });
        assert_eq!(pulse.due(at(39)), Due { ping: false, word: false });
        assert_eq!(pulse.due(at(41)), Due { ping: true, word: true });
    }
}
