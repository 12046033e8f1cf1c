//! What happens on a connection because time has passed: it is kept alive, and found silent.
//!
//! One timer for both, looked at when it is due: to set it anew with each message would cost as much as the message.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep};

use super::frame;
use super::read::ReadSide;
use crate::config::RelayConfig;

/// Makes a finished frame.
pub(super) type Word = fn() -> Bytes;

/// When what is due.
#[derive(Debug)]
pub(super) struct Pace {
    pulse: Pulse,
    silence: Silence,
    beat_at: Instant,
    look_at: Instant,
    /// Whether the timer knows whom to wake.
    is_armed: bool,
    word: Option<Word>,
}

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) beat: bool,
    pub(super) look: bool,
}

impl Pace {
    /// `word` makes a harmless message, if the dialect has one.
    pub(super) fn new(config: &RelayConfig, word: Option<Word>) -> Self {
        let now = Instant::now();
        Self {
            pulse: Pulse::default(),
            silence: Silence::default(),
            beat_at: now + beat(config),
            look_at: now + Duration::from_millis(config.first_frame_ms),
            is_armed: false,
            word,
        }
    }

    /// When it has something to do.
    pub(super) fn next(&self) -> Instant {
        self.beat_at.min(self.look_at)
    }

    /// Has the timer wake the task. To be called first of all: later the task may have used up its turn.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) {
        self.is_armed = self.is_armed || alarm.poll(cx).is_pending();
    }

    /// What the timer says is due, if anything is; the timer is set anew by [`Pace::go_on`].
    pub(super) fn due(&self, alarm: Pin<&Sleep>) -> Option<Due> {
        if self.is_armed && !alarm.is_elapsed() {
            return None;
        }
        let now = Instant::now();
        Some(Due { beat: now >= self.beat_at, look: now >= self.look_at })
    }

    /// What was due is done; the next look is after so many ms.
    pub(super) fn go_on(
        &mut self,
        due: Due,
        config: &RelayConfig,
        look_ms: u64,
        cx: &mut Context<'_>,
        alarm: Pin<&mut Sleep>,
    ) {
        let now = Instant::now();
        if due.beat {
            self.beat_at = now + beat(config);
        }
        if due.look {
            self.look_at = now + Duration::from_millis(look_ms);
        }
        alarm.reset(self.next());
        self.is_armed = false;
        cx.waker().wake_by_ref();
    }

    /// A beat: what is to be written unasked. `spoke` if a message went out since the last.
    pub(super) fn beat(&mut self, spoke: bool) -> impl Iterator<Item = Bytes> {
        let words = self.pulse.beat(spoke);
        let word = self.word.filter(|_| words.word).map(|word| word());
        word.into_iter().chain(words.ping.then(frame::ping))
    }

    /// A look: whether nothing was heard for too long.
    pub(super) fn is_silent(&mut self, side: &ReadSide) -> bool {
        self.silence.is_too_long(side)
    }
}

fn beat(config: &RelayConfig) -> Duration {
    Duration::from_millis(config.ping_ms) / 2
}

/// What to write unasked: a ping at every other beat, a word at each beat since which no message went out. So a quiet
/// connection hears a word and a ping in turn, and never waits longer than two beats for a message.
#[derive(Debug, Default)]
struct Pulse {
    pinged: bool,
}

/// What one beat brings.
#[derive(Debug, PartialEq, Eq)]
struct Beat {
    ping: bool,
    word: bool,
}

impl Pulse {
    /// `spoke` if a message went out since the last beat.
    fn beat(&mut self, spoke: bool) -> Beat {
        self.pinged = !self.pinged;
        Beat { ping: self.pinged, word: !spoke }
    }
}

/// Whether something comes.
#[derive(Debug, Default)]
struct Silence {
    heard: u64,
    looks: u32,
}

impl Silence {
    /// To be asked when the first message must have been there, then twice in each time of silence allowed.
    fn is_too_long(&mut self, side: &ReadSide) -> bool {
        // A large message on a thin line is not silence, but the first is never large.
        let heard = if side.has_heard_a_message() { side.heard() } else { self.heard };
        self.looks = if heard == self.heard { self.looks + 1 } else { 0 };
        self.heard = heard;
        self.looks >= 2 || !side.has_heard_a_message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_two_beats_pass_without_a_message() {
        let mut pulse = Pulse::default();
        assert_eq!(pulse.beat(true), Beat { ping: true, word: false });
        assert_eq!(pulse.beat(false), Beat { ping: false, word: true });
        // The word was a message.
        assert_eq!(pulse.beat(true), Beat { ping: true, word: false });
        assert_eq!(pulse.beat(false), Beat { ping: false, word: true });
    }
}
