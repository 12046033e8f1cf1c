//! The one line that each comparison ends in.

use std::time::Duration;

/// Prints `ratio <name>: <ratio> (<notes>)`. Above 1 we are better than the yardstick.
pub fn print_ratio(name: &str, ratio: f64, notes: &str) {
    println!("ratio {name}: {ratio:.2} ({notes})");
}

/// Where numbers lie.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these numbers; not a number if there are none.
    #[must_use]
    pub fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        Self { min: at(0), median: at(numbers.len() / 2), max: at(numbers.len().saturating_sub(1)) }
    }

    /// Of these times, in seconds.
    #[must_use]
    pub fn of_times(times: &[Duration]) -> Self {
        Self::of(times.iter().map(Duration::as_secs_f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_three() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }
}
