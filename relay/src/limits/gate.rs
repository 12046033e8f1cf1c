//! One rate, kept by `governor`.
//!
//! What was read already cannot be refused any more, only paid for later: a debt is paid in pieces as they pass, and
//! what is left says how long to wait. In pieces, because several may pay at one gate, and a large debt would starve
//! among small ones.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::Rate;

/// Most that passes in one go.
const PIECE: u32 = 64;
/// Timers are not finer.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A gate through which so much passes in each second.
#[derive(Debug)]
pub(crate) struct Gate {
    limiter: DefaultDirectRateLimiter,
    per_s: NonZeroU32,
    piece: NonZeroU32,
}

impl Gate {
    pub(crate) fn new(rate: Rate) -> Self {
        let [per_s, burst] = [rate.per_s, rate.burst].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        let limiter = RateLimiter::direct(Quota::per_second(per_s).allow_burst(burst));
        Self { limiter, per_s, piece: NonZeroU32::new(PIECE).map_or(burst, |piece| piece.min(burst)) }
    }

    /// Whether one more passes now.
    pub(crate) fn admits(&self) -> bool {
        self.limiter.check().is_ok()
    }

    /// Takes off `owed` what passes now. Returns how long it will be, if nobody else comes, until the rest can.
    pub(crate) fn pay(&self, owed: &mut u32) -> Option<Duration> {
        while let Some(all) = NonZeroU32::new(*owed) {
            let piece = all.min(self.piece);
            if !matches!(self.limiter.check_n(piece), Ok(Ok(()))) {
                let wait = f64::from(all.get()) / f64::from(self.per_s.get());
                return Some(Duration::from_secs_f64(wait).max(WAIT_MIN));
            }
            *owed -= piece.get();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_as_far_as_it_passes() {
        let gate = Gate::new(Rate { per_s: 1, burst: 100 });
        let mut owed = 80;
        assert_eq!((gate.pay(&mut owed), owed), (None, 0));
        owed = 300;
        // Pieces of 64: the 20 that are left are too few for one.
        assert_eq!((gate.pay(&mut owed), owed), (Some(Duration::from_secs(300)), 300));
        let small = Gate::new(Rate { per_s: 1, burst: 3 });
        owed = 5;
        assert_eq!((small.pay(&mut owed), owed), (Some(Duration::from_secs(2)), 2));
        assert!(!small.admits());
    }

    #[test]
    fn a_rate_of_nothing_still_lets_one_through() {
        let gate = Gate::new(Rate { per_s: 0, burst: 0 });
        assert!(gate.admits());
        assert!(!gate.admits());
    }
}
