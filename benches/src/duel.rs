//! Two ways to do the same work, timed in turns.
//!
//! A shared machine changes its speed within seconds, so the yardstick and ours take turns after every single
//! piece of work: whatever slows one slows the other. Totals count everything, also the rare expensive
//! piece; medians leave it out. Both are kept.

use std::time::Duration;

use crate::ratio::{Spread, print_ratio};

/// Fewer turns say nothing.
const TURNS_MIN: usize = 20;

/// The times of both, since it was made.
#[derive(Clone, Debug, Default)]
pub struct Duel {
    yardstick: Vec<Duration>,
    ours: Vec<Duration>,
}

/// What a number of turns took, each in total.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// The yardstick.
    pub yardstick: Duration,
    /// Ours.
    pub ours: Duration,
}

impl Duel {
    /// Lets both work `turns` times, one after the other; each says how long it took.
    pub fn run(
        &mut self,
        turns: u64,
        mut yardstick: impl FnMut() -> Duration,
        mut ours: impl FnMut() -> Duration,
    ) -> Turns {
        let mut sum = Turns::default();
        for _ in 0..turns {
            let (theirs, ours) = (yardstick(), ours());
            sum.yardstick += theirs;
            sum.ours += ours;
            self.yardstick.push(theirs);
            self.ours.push(ours);
        }
        sum
    }

    /// Prints yardstick time / our time, with a note; nothing if a test only tried it out.
    pub fn print(&self, name: &str, note: &str) {
        let sum = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
        if self.ours.len() < TURNS_MIN {
            return;
        }
        print_ratio(name, sum(&self.yardstick) / sum(&self.ours), &format!("{}; {note}", self.times()));
    }

    fn times(&self) -> String {
        let (theirs, ours) = (Spread::of_times(&self.yardstick), Spread::of_times(&self.ours));
        format!(
            "by medians {:.2}; yardstick {:.0} µs, ours {:.0} µs",
            theirs.median / ours.median,
            theirs.median * 1e6,
            ours.median * 1e6
        )
    }
}
