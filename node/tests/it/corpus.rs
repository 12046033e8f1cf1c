//! The inputs that fuzzers found worth keeping, through the bodies of their targets, without a fuzzer.
//!
//! `fixtures/fuzz/` has a file for each target, an input a line; `fuzz/README.md` says how it came to be. Inputs that
//! once broke a promise stand in it for ever.

use std::path::Path;

use tombolo_store::worker::{ProcessConfig, ProcessWorker, ThreadWorker, Worker};

#[path = "../../../fuzz/lib.rs"]
mod bodies;

/// The inputs of a file, an input a line in hex; `#` starts a comment.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/fuzz/{name}.hex"));
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let lines = std::fs::read_to_string(&file).unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| (0..line.len()).step_by(2).map(|at| byte(&line[at..at + 2])).collect()).collect()
}

/// Runs every input of a target.
fn replay(target: &str, inputs_min: usize, body: fn(&[u8])) {
    let inputs = inputs(target);
    inputs.iter().for_each(|input| body(input));
    assert!(inputs.len() >= inputs_min, "{target} has only {} inputs", inputs.len());
}

/// HAZARDS yrs-1, am-10. An input that harms no more may go.
#[test]
fn engines_that_panic_die_alone() {
    let arguments = vec!["merge-worker".into(), "--memory-bytes".into(), (2u64 << 30).to_string().into()];
    let program = env!("CARGO_BIN_EXE_tombolo").into();
    let process = ProcessWorker::start(ProcessConfig { program, arguments, request_ms_max: 60_000 }).unwrap();
    // What it answers is nobody's to say, but the next one is answered.
    for input in inputs("unsound") {
        bodies::died(&*process, &input);
        assert!(!bodies::died(&*process, b"\0\0\0"));
    }
    let thread = ThreadWorker::start().unwrap();
    for (number, input) in inputs("panics").iter().enumerate() {
        for worker in [&*process as &dyn Worker, &*thread] {
            assert!(bodies::died(worker, input), "input {number}");
        }
    }
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
fn what_another_relay_says() {
    replay("cluster", 50, bodies::cluster);
}

#[test]
fn what_passed_in_the_engines() {
    replay("worker", 100, bodies::worker);
}

#[test]
fn what_a_disk_may_hold() {
    replay("disk", 100, bodies::disk);
}
