//! The inputs that fuzzers found worth keeping, through the bodies of their targets, without a fuzzer.
//!
//! `fixtures/fuzz/` has a file for each target, an input a line; `fuzz/README.md` says how it came to be. Inputs that
//! once broke a promise stand in it for ever.

use std::path::Path;

#[path = "../../../fuzz/lib.rs"]
mod bodies;

/// Runs every input of a target.
fn replay(target: &str, inputs_min: usize, body: fn(&[u8])) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/fuzz/{target}.hex"));
    let lines = std::fs::read_to_string(&file).unwrap();
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let mut inputs = 0;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let bytes: Vec<u8> = (0..line.len()).step_by(2).map(|at| byte(&line[at..at + 2])).collect();
        body(&bytes);
        inputs += 1;
    }
    assert!(inputs >= inputs_min, "{} has only {inputs} inputs", file.display());
}

#[test]
fn updates() {
    replay("update", 100, bodies::update);
}

#[test]
fn awareness_updates() {
    replay("awareness", 50, bodies::awareness);
}

#[test]
fn automerge_chunks_and_messages() {
    replay("automerge", 100, bodies::automerge);
}

#[test]
fn frames_of_all_dialects() {
    replay("dialects", 100, bodies::dialects);
}

#[test]
fn what_passed_in_the_engines() {
    replay("worker", 100, bodies::worker);
}

#[test]
fn what_a_disk_may_hold() {
    replay("disk", 100, bodies::disk);
}
