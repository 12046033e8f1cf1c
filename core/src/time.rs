//! Time as a plain value: handed in by the driver, never read from a system.

/// Milliseconds since an arbitrary start that the driver chose; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus `ms` milliseconds, stopping at the end of time.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A point of a [`Steady`] clock: milliseconds since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This moment plus `ms` milliseconds, stopping at the end of time.
    pub(crate) fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if that is later.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Longest time in ms that one call can bring: a day, more than anything waits for.
const STEP_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A clock that only grows, whatever it is told. Told an earlier time than before, it stands still for that call;
/// told one that is years later, it goes on by a day. So a driver whose clock is set makes nobody wait for years, and
/// no number of such jumps leads to the end of time, where everything would be due for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    told: Millis,
    passed: Moment,
}

impl Steady {
    pub(crate) fn new(now: Millis) -> Self {
        Self { told: now, passed: Moment(0) }
    }

    /// It is `now` by the driver's clock; what it is by this one.
    pub(crate) fn tell(&mut self, now: Millis) -> Moment {
        self.passed = self.passed.plus(now.0.saturating_sub(self.told.0).min(STEP_MS_MAX));
        self.told = now;
        self.passed
    }

    /// What it is since it was told last.
    pub(crate) fn passed(&self) -> Moment {
        self.passed
    }

    /// A moment in the driver's time, as its clock stood when it was told last.
    pub(crate) fn at(&self, moment: Moment) -> Millis {
        let past = self.passed.since(moment);
        Millis(self.told.0.saturating_sub(past)).plus(moment.since(self.passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_survives_jumps_of_the_one_it_follows() {
        let mut clock = Steady::new(Millis(1_000));
        let due = clock.tell(Millis(1_500)).plus(100);
        assert_eq!(clock.at(due), Millis(1_600));
        assert_eq!(clock.at(Moment(0)), Millis(1_000));
        // Set back: what was 100 ms away still is.
        assert_eq!(clock.tell(Millis(20)).since(due), 0);
        assert_eq!(clock.at(due), Millis(120));
        assert!(clock.tell(Millis(120)) == due);
        // Set ahead to the end of time, again and again: it is not the end of this one.
        for _ in 0..1_000 {
            clock.tell(Millis(u64::MAX));
            clock.tell(Millis(0));
        }
        assert!(clock.passed() <= due.plus(1_000 * STEP_MS_MAX));
        assert!(clock.passed() >= due.plus(1_000 * STEP_MS_MAX));
    }
}
