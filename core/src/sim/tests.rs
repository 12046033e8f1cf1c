//! Many seeds of each kind of trouble. `TOMBOLO_SIM_SEEDS` makes it more, `TOMBOLO_SIM_SEED` plays one.

use super::*;

fn play(seed: u64, trouble: Trouble) -> Report {
    let plan = Plan::of(seed, trouble);
    let report = run(&plan, false);
    if let Some((_, words)) = &report.broken {
        let small = shrink(&plan);
        let again = run(&small, true);
        let (at, less) = again.broken.unwrap_or_default();
        println!("{small}{}", again.lines.join("\n"));
        panic!("{trouble:?} with seed {seed}: {words}\nand of what is left above, at {at} ms: {less}");
    }
    report
}

#[test]
fn a_world_without_trouble_converges() {
    for seed in seeds() {
        play(seed, Trouble::Nothing);
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    match number("TOMBOLO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TOMBOLO_SIM_SEEDS").unwrap_or(100),
    }
}
