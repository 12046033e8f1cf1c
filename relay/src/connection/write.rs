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
    let mut next_ping = Instant::now() + pace.ping;
    let mut spoke = false;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(next_ping) => {
                frames.push_back(frame::ping());
                if let Some(harmless) = pace.harmless.as_ref().filter(|_| !spoke) {
                    frames.push_back(harmless.clone());
                }
                write_all(&mut socket, &mut frames, pace.write).await?;
                next_ping = Instant::now() + pace.ping;
                spoke = false;
            }
            taken = queue.take(&mut frames, TAKE_BYTES) => {
                write_all(&mut socket, &mut frames, pace.write).await?;
                spoke = true;
                if taken == Taken::Last {
                    return timeout(pace.write, socket.shutdown()).await.unwrap_or(Ok(()));
                }
            }
        }
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
