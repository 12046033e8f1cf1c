//! From bytes to a level: a pure function of what was, what is and the thresholds.
//!
//! A level rises at its threshold and falls only with a margin, so that a disk at a threshold does not make the
//! store change its mind with every look.

/// Points that a percentage must fall below its threshold before the level falls.
const MARGIN_PERCENT: u8 = 2;

/// What the system says of a disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) total: u64,
    /// Not used by anybody.
    pub(super) free: u64,
    /// Of these, what this process may use.
    pub(super) available: u64,
}

impl Usage {
    /// How full it is, as `df` counts: of what such a process can use at all, rounded up. A disk that says nothing
    /// is empty.
    pub(super) fn used_percent(&self) -> u8 {
        let used = u128::from(self.total.saturating_sub(self.free));
        let of = used + u128::from(self.available);
        if of == 0 {
            return 0;
        }
        u8::try_from((used * 100).div_ceil(of)).unwrap_or(100)
    }
}

/// Where levels begin. Bytes are of what is available beside the ballast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) warn_percent: u8,
    pub(super) refuse_new_percent: u8,
    /// With so many available bytes nothing is refused, whatever the percentage.
    pub(super) ample: u64,
    /// Fewer available bytes than this: the journal makes no more segments.
    pub(super) reserve: u64,
    /// Fewer available bytes than this: nothing can be counted on.
    pub(super) full: u64,
    /// Length of the ballast.
    pub(super) ballast: u64,
}

/// How full a disk is, by what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Fine,
    /// Somebody should make room.
    Warn,
    /// New documents are refused; those that have something stored go on.
    NoNewDocuments,
    /// The journal makes no more segments; what it has allocated is the reserve.
    Reserve,
    /// The ballast is given back; when the reserve is used up acknowledgements wait.
    Full,
}

impl Level {
    /// The level after a look; `missing` bytes of the ballast are not there and belong to it. So giving it back
    /// makes no disk less full, and making it again no disk fuller.
    pub(super) fn next(self, usage: &Usage, thresholds: &Thresholds, missing: u64) -> Self {
        let usage = Usage {
            total: usage.total,
            free: usage.free.saturating_sub(missing),
            available: usage.available.saturating_sub(missing),
        };
        let (percent, available) = (usage.used_percent(), usage.available);
        let at = Self::at(percent, available, thresholds);
        let eased = Thresholds {
            warn_percent: thresholds.warn_percent.saturating_sub(MARGIN_PERCENT),
            refuse_new_percent: thresholds.refuse_new_percent.saturating_sub(MARGIN_PERCENT),
            ample: with_margin(thresholds.ample),
            reserve: with_margin(thresholds.reserve),
            full: with_margin(thresholds.full),
            ballast: thresholds.ballast,
        };
        at.max(self.min(Self::at(percent, available, &eased)))
    }

    fn at(percent: u8, available: u64, thresholds: &Thresholds) -> Self {
        if available < thresholds.full {
            Self::Full
        } else if available < thresholds.reserve {
            Self::Reserve
        } else if percent >= thresholds.refuse_new_percent && available < thresholds.ample {
            Self::NoNewDocuments
        } else if percent >= thresholds.warn_percent {
            Self::Warn
        } else {
            Self::Fine
        }
    }
}

fn with_margin(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;
    const THRESHOLDS: Thresholds = Thresholds {
        warn_percent: 80,
        refuse_new_percent: 90,
        ample: 2_048 * MIB,
        reserve: 32 * MIB,
        full: 4 * MIB,
        ballast: 16 * MIB,
    };

    /// A disk of 10 GiB with so many MiB available.
    fn left(mib: u64) -> Usage {
        Usage { total: 10_240 * MIB, free: mib * MIB, available: mib * MIB }
    }

    #[test]
    fn levels_rise_at_their_thresholds_and_fall_with_a_margin() {
        let rows = [
            (5_000, Level::Fine),
            (2_048, Level::Warn), // 80 %
            (2_200, Level::Warn), // 79 %
            (2_300, Level::Warn), // 77.5 %, rounded up
            (2_400, Level::Fine),
            (1_024, Level::NoNewDocuments),
            (1_100, Level::NoNewDocuments),
            (33, Level::NoNewDocuments),
            (31, Level::Reserve),
            (39, Level::Reserve),
            (40, Level::NoNewDocuments),
            (3, Level::Full),
            (4, Level::Full),
            (5, Level::Reserve),
            (1_400, Level::Warn),
            (9_000, Level::Fine),
        ];
        let mut level = Level::Fine;
        for (mib, expected) in rows {
            level = level.next(&left(mib), &THRESHOLDS, 0);
            assert_eq!(level, expected, "{mib} MiB left");
        }
    }

    #[test]
    fn a_large_disk_is_not_full_while_much_is_left() {
        let large = |mib| Usage { total: 1 << 40, free: mib * MIB, available: mib * MIB };
        let rows = [
            (10_000, Level::Warn), // 99 %
            (2_048, Level::Warn),
            (2_047, Level::NoNewDocuments),
            (2_100, Level::NoNewDocuments),
            (2_560, Level::Warn),
        ];
        let mut level = Level::Fine;
        for (mib, expected) in rows {
            level = level.next(&large(mib), &THRESHOLDS, 0);
            assert_eq!(level, expected, "{mib} MiB left");
        }
    }

    #[test]
    fn a_disk_is_as_full_as_df_says() {
        let usage = |total, free, available| Usage { total, free, available }.used_percent();
        assert_eq!(usage(100, 100, 95), 0);
        assert_eq!(usage(100, 50, 45), 53, "what only root may use is nobody's");
        assert_eq!(usage(1000, 1, 1), 100, "rounded up");
        assert_eq!(usage(100, 5, 0), 100);
        assert_eq!(usage(0, 0, 0), 0);
        assert_eq!(usage(u64::MAX, 0, u64::MAX), 50);
        assert_eq!(usage(1, 7, 0), 0);
    }

    proptest! {
        /// Whether the ballast is there changes no level, so it is never made and given back in turns.
        #[test]
        fn giving_the_ballast_back_changes_no_level(before in 0usize..5, mib in 0u64..200) {
            const LEVELS: [Level; 5] =
                [Level::Fine, Level::Warn, Level::NoNewDocuments, Level::Reserve, Level::Full];
            let there = LEVELS[before].next(&left(mib), &THRESHOLDS, 0);
            let usage = left(mib + THRESHOLDS.ballast / MIB);
            prop_assert_eq!(LEVELS[before].next(&usage, &THRESHOLDS, THRESHOLDS.ballast), there);
            prop_assert_eq!(there.next(&left(mib), &THRESHOLDS, 0), there, "a second look changes nothing");
        }

        /// Less room never lowers a level.
        #[test]
        fn less_room_is_no_lower_level(before in 0u64..10_000, now in 0u64..10_000) {
            let level = Level::Fine.next(&left(before), &THRESHOLDS, 0);
            let next = level.next(&left(now), &THRESHOLDS, 0);
            let kept = if now <= before { next >= level } else { next <= level };
            prop_assert!(kept, "{level:?} to {next:?}");
        }
    }
}
