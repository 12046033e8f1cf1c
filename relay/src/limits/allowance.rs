//! How often one connection may do one thing. It costs a counter until the thing was done a few times.

use std::time::Duration;

use super::gate::Gate;
use crate::config::Rate;

/// What is counted before a clock is looked at.
const LOT: u32 = 16;

/// What was done and is not paid for.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    owed: u32,
    /// Made when it is first needed: most connections never do.
    gate: Option<Box<Gate>>,
}

impl Allowance {
    /// Once more. Returns how long to wait before the next.
    pub(crate) fn spend(&mut self, rate: Rate) -> Option<Duration> {
        self.owed = self.owed.saturating_add(1);
        if self.owed < LOT.min(rate.burst) {
            return None;
        }
        self.gate.get_or_insert_with(|| Box::new(Gate::new(rate))).pay(&mut self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_a_thing_too_often_waits() {
        let mut allowance = Allowance::default();
        let rate = Rate { per_s: 1, burst: 100 };
        let free = (0..300).take_while(|_| allowance.spend(rate).is_none()).count();
        assert!((100..116).contains(&free), "{free} at once");
    }
}
