//! A replica's hybrid logical clock: what it appends after what it has seen is stamped later, and nobody can push it
//! into the future.
//!
//! After S. Kulkarni, M. Demirbas, D. Madappa, B. Avva and M. Leone, *Logical Physical Clocks and Consistent Snapshots in
//! Globally Distributed Databases* (OPODIS 2014). A [`Stamp`] has 48 bits of physical time and 16 of a counter, and is
//! compared as one number.
//!
//! Guarantees: each stamp of a clock is greater than all that it gave before and, within the drift bound, than all that
//! it observed. A stamp that lies further ahead of the local time than the bound changes nothing here; it is only
//! counted. So no stamp of a clock lies further ahead of the latest local time that it was told than the bound, and one
//! for each time that it ticked since: 65,536 ticks are a millisecond.

use crate::operation::Stamp;

/// How far in ms the stamps of others may be ahead of the local time by default: more than clocks of devices that ask
/// for the time are apart, and less than people notice in an order.
pub const DRIFT_MS_DEFAULT: u64 = 60_000;

/// What became of another replica's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The next tick is later than it.
    Taken,
    /// It lies further ahead than the bound. The clock is as it was.
    Ahead {
        /// How far it lies ahead of the local time in ms.
        ms: u64,
    },
}

/// The clock of one replica. Times are milliseconds since 1970 as the device has them, which may be wrong and may
/// jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    last: Stamp,
    drift_ms: u64,
    ahead: u64,
}

impl Clock {
    /// A clock that goes on after `last`, the greatest stamp that this replica ever gave, and takes stamps that are up
    /// to `drift_ms` ahead.
    #[must_use]
    pub fn new(last: Stamp, drift_ms: u64) -> Self {
        Self { last, drift_ms, ahead: 0 }
    }

    /// The stamp of what happens here and now: greater than all before.
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        self.last = self.last.tick(now_ms);
        self.last
    }

    /// An operation of another replica came in.
    pub fn observe(&mut self, now_ms: u64, remote: Stamp) -> Observed {
        let ms = remote.ms().saturating_sub(now_ms);
        if ms > self.drift_ms {
            self.ahead = self.ahead.saturating_add(1);
            return Observed::Ahead { ms };
        }
        self.last = self.last.max(remote);
        Observed::Taken
    }

    /// Where a stamp counts in an order that people see: at most the drift bound ahead of the local time. So one that
    /// is years ahead does not stay on top for years.
    #[must_use]
    pub fn place(&self, now_ms: u64, stamp: Stamp) -> Stamp {
        let most_ms = now_ms.saturating_add(self.drift_ms);
        if stamp.ms() <= most_ms { stamp } else { Stamp::default().tick(most_ms) }
    }

    /// The greatest stamp that it gave or took.
    #[must_use]
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// How many stamps lay too far ahead since the clock was made.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        self.ahead
    }
}
