//! Plays worlds of replicas until it is stopped, or until one breaks a promise: then it prints the seed and the
//! smallest plan that still does, with all that happens in it.
//!
//! `cargo run --release -p tombolo-core --features sim --example simulate -- --seed 1 --for 1h`

use std::process::ExitCode;
use std::time::Duration;

use tombolo_core::sim::{Plan, Trouble, run, shrink};

const USAGE: &str =
    "simulate [--seed N] [--for 90s|30m|1h] [--only SEED] [--trouble nothing|network|all|wild] [--keep-going]
  --seed N      the first seed (1)
  --for TIME    stop after this time; without it, when it is stopped
  --only SEED   play this seed, show all that happens, and stop
  --trouble     what goes wrong (wild)
  --keep-going  do not stop at a failure, and do not make it small";

struct Wish {
    seed: u64,
    only: Option<u64>,
    time: Option<Duration>,
    trouble: Trouble,
    keeps_going: bool,
}

fn main() -> ExitCode {
    let Some(wish) = wish(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What panics in a world is told by its report.
    std::panic::set_hook(Box::new(|_| {}));
    match wish.only {
        Some(seed) => only(seed, wish.trouble),
        None => many(&wish),
    }
}

fn wish(mut words: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish { seed: 1, only: None, time: None, trouble: Trouble::Wild, keeps_going: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => wish.seed = words.next()?.parse().ok()?,
            "--only" => wish.only = Some(words.next()?.parse().ok()?),
            "--for" => wish.time = Some(time(&words.next()?)?),
            "--trouble" => {
                wish.trouble = match words.next()?.as_str() {
                    "nothing" => Trouble::Nothing,
                    "network" => Trouble::Network,
                    "all" => Trouble::All,
                    "wild" => Trouble::Wild,
                    _ => return None,
                }
            }
            "--keep-going" => wish.keeps_going = true,
            _ => return None,
        }
    }
    Some(wish)
}

fn time(text: &str) -> Option<Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    Some(Duration::from_secs(number.parse::<u64>().ok()? * seconds))
}

fn only(seed: u64, trouble: Trouble) -> ExitCode {
    let plan = Plan::of(seed, trouble);
    let report = run(&plan, true);
    println!("{plan}{}", report.lines.join("\n"));
    match report.broken {
        Some((at, words)) => {
            println!("broken at {at} ms: {words}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

// Wall time says only when to stop; nothing in a world knows it.
#[allow(clippy::disallowed_methods)]
fn many(wish: &Wish) -> ExitCode {
    let start = std::time::Instant::now();
    let (mut told, mut failures, mut tasks, mut virtual_ms) = (start, 0, 0, 0);
    let mut seed = wish.seed;
    while wish.time.is_none_or(|time| start.elapsed() < time) {
        let plan = Plan::of(seed, wish.trouble);
        let report = run(&plan, false);
        (tasks, virtual_ms) = (tasks + report.tasks, virtual_ms + report.rested);
        if let Some((at, words)) = report.broken {
            failures += 1;
            println!("seed {seed}, {:?}: broken at {at} ms: {words}", wish.trouble);
            if !wish.keeps_going {
                let small = shrink(&plan);
                let again = run(&small, true);
                println!("the smallest plan that breaks a promise:\n{small}{}", again.lines.join("\n"));
                let (at, words) = again.broken.unwrap_or_default();
                println!("broken at {at} ms: {words}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
        if told.elapsed() >= Duration::from_secs(10) {
            told = std::time::Instant::now();
            let (seconds, hours) = (start.elapsed().as_secs(), virtual_ms / 3_600_000);
            println!(
                "{seconds:>6} s: seeds {} to {}, {tasks} tasks, {hours} hours, {failures} failures",
                wish.seed,
                seed - 1
            );
        }
    }
    println!("seeds {} to {}: {failures} failures, {tasks} tasks", wish.seed, seed.saturating_sub(1));
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
