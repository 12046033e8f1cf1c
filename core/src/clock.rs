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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    const NOW: u64 = 1_750_000_000_000;

    fn clock() -> Clock {
        Clock::new(Stamp::default(), DRIFT_MS_DEFAULT)
    }

    #[test]
    fn what_was_seen_comes_before_what_is_done_then() {
        let mut here = clock();
        let mut there = clock();
        // There it is half a minute later.
        let seen = there.tick(NOW + 30_000);
        assert_eq!(here.observe(NOW, seen), Observed::Taken);
        let done = here.tick(NOW + 1);
        assert!(done > seen);
        assert_eq!(done.ms(), NOW + 30_000);
        // When the time here has come so far, it is the time again.
        assert_eq!(here.tick(NOW + 40_000), Stamp((NOW + 40_000) << 16));
    }

    #[test]
    fn a_peer_years_ahead_changes_nothing_and_is_counted() {
        let mut here = clock();
        let before = here.tick(NOW);
        let wrong = clock().tick(NOW + 10 * YEAR_MS);
        assert_eq!(here.observe(NOW, wrong), Observed::Ahead { ms: 10 * YEAR_MS });
        assert_eq!(here.observe(NOW, Stamp(u64::MAX)), Observed::Ahead { ms: (1 << 48) - 1 - NOW });
        assert_eq!((here.last(), here.ahead()), (before, 2));
        assert_eq!(here.tick(NOW), Stamp(before.0 + 1));
        // Nor does it stay on top of an order for ten years.
        assert_eq!(here.place(NOW, wrong), Stamp((NOW + DRIFT_MS_DEFAULT) << 16));
        assert!(here.place(NOW, wrong) < here.tick(NOW + DRIFT_MS_DEFAULT + 1));
        assert_eq!(here.place(NOW, before), before);
    }

    #[test]
    fn the_bound_itself_is_within_it() {
        let mut here = clock();
        let last = Stamp((NOW + DRIFT_MS_DEFAULT) << 16 | 0xffff);
        assert_eq!(here.observe(NOW, last), Observed::Taken);
        assert_eq!(here.place(NOW, last), last);
        let next = Stamp((NOW + DRIFT_MS_DEFAULT + 1) << 16);
        assert_eq!(here.observe(NOW, next), Observed::Ahead { ms: DRIFT_MS_DEFAULT + 1 });
        assert_eq!(here.last(), last);
    }

    #[test]
    fn the_end_of_time_panics_nowhere() {
        let mut here = Clock::new(Stamp(u64::MAX - 1), u64::MAX);
        assert_eq!(here.tick(u64::MAX), Stamp(u64::MAX));
        assert_eq!(here.tick(u64::MAX), Stamp(u64::MAX));
        assert_eq!(here.observe(0, Stamp(u64::MAX)), Observed::Taken);
        assert_eq!(here.place(u64::MAX, Stamp(u64::MAX)), Stamp(u64::MAX));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Tick(u64),
        Observe(u64, u64),
    }

    /// A device's time: mostly now, sometimes years off.
    fn times() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => NOW..NOW + 300_000,
            1 => NOW - 10 * YEAR_MS..NOW + 10 * YEAR_MS,
            1 => any::<u64>(),
        ]
    }

    fn stamps() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => (NOW..NOW + 400_000, 0..1_u64 << 16).prop_map(|(ms, count)| ms << 16 | count),
            1 => any::<u64>(),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            times().prop_map(Step::Tick),
            (times(), stamps()).prop_map(|(now, stamp)| Step::Observe(now, stamp)),
        ];
        prop::collection::vec(step, 1..100)
    }

    proptest! {
        #[test]
        fn stamps_grow_stay_within_the_bound_and_follow_what_was_seen(
            steps in steps(),
            drift_ms in prop_oneof![Just(0), Just(DRIFT_MS_DEFAULT), 0..1_000_000_u64],
        ) {
            let mut clock = Clock::new(Stamp::default(), drift_ms);
            // The latest local time, the stamps given, the greatest that was taken.
            let (mut latest, mut ticks, mut ahead) = (0, 0_u64, 0);
            let (mut given, mut taken) = (Stamp::default(), Stamp::default());
            for step in steps {
                match step {
                    Step::Tick(now) => {
                        latest = now.min((1 << 48) - 1).max(latest);
                        let stamp = clock.tick(now);
                        ticks += 1;
                        prop_assert!(stamp > given || stamp == Stamp(u64::MAX), "{stamp:?} after {given:?}");
                        prop_assert!(stamp > taken || stamp == Stamp(u64::MAX), "{stamp:?} after {taken:?} was seen");
                        given = stamp;
                    }
                    Step::Observe(now, stamp) => {
                        latest = now.min((1 << 48) - 1).max(latest);
                        let before = clock.last();
                        match clock.observe(now, Stamp(stamp)) {
                            Observed::Taken => {
                                prop_assert!(stamp >> 16 <= now.saturating_add(drift_ms));
                                taken = taken.max(Stamp(stamp));
                            }
                            Observed::Ahead { ms } => {
                                ahead += 1;
                                prop_assert!(ms > drift_ms && now + ms == stamp >> 16);
                                prop_assert_eq!(clock.last(), before);
                            }
                        }
                    }
                }
                let bound = (latest.saturating_add(drift_ms).min((1 << 48) - 1) << 16 | 0xffff).saturating_add(ticks);
                prop_assert!(clock.last().0 <= bound, "{} ms ahead", clock.last().ms().saturating_sub(latest));
                prop_assert_eq!(clock.ahead(), ahead);
            }
        }

        /// Replicas whose clocks are within the bound of each other: what follows is stamped later, through any of them.
        #[test]
        fn causes_come_before_effects(
            offsets in prop::array::uniform3(0..DRIFT_MS_DEFAULT / 2),
            hops in prop::collection::vec((0..3_usize, 0..2_000_u64), 1..100),
        ) {
            let mut clocks = [clock(), clock(), clock()];
            let mut now = NOW;
            let mut message = Stamp::default();
            for (to, ms) in hops {
                now += ms;
                let local = now + offsets[to];
                prop_assert_eq!(clocks[to].observe(local, message), Observed::Taken);
                let effect = clocks[to].tick(local);
                prop_assert!(effect > message);
                message = effect;
            }
        }
    }
}
