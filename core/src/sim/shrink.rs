//! Plays plans, and makes one that fails small.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::world::{Report, World};

/// Plays a plan; a panic of what is played is a failure like any other. Lines are kept if they are wanted.
#[must_use]
pub fn run(plan: &Plan, keeps_lines: bool) -> Report {
    let played = catch_unwind(AssertUnwindSafe(|| World::new(plan, keeps_lines).play(plan)));
    played.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        let broken = Some((0, format!("it panicked: {}", words.unwrap_or_default())));
        Report { trace: [0; 32], lines: Vec::new(), rested: 0, tasks: 0, broken }
    })
}

/// The smallest plan that still fails which dropping steps and replicas' other links leads to. Any failure counts:
/// what is left often fails for the simplest of several reasons.
#[must_use]
pub fn shrink(plan: &Plan) -> Plan {
    smallest(plan, |plan| run(plan, false).broken.is_some())
}

pub(super) fn smallest(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut small = plan.clone();
    let mut size = small.steps.len().div_ceil(2).max(1);
    loop {
        let mut dropped = false;
        let mut at = 0;
        while at < small.steps.len() {
            let mut less = small.clone();
            less.steps.drain(at..(at + size).min(less.steps.len()));
            if fails(&less) {
                (small, dropped) = (less, true);
            } else {
                at += size;
            }
        }
        if size == 1 && !dropped {
            break;
        }
        size = if dropped { size } else { size.div_ceil(2) };
    }
    for replica in 0..small.shape.replicas.len() {
        let mut less = small.clone();
        if let Some(links) = less.shape.replicas.get_mut(replica) {
            links.truncate(1);
        }
        if less != small && fails(&less) {
            small = less;
        }
    }
    small
}
