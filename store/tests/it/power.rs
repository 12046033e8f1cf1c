//! A power cut on a real file system: an ext4 image is copied under a running writer, mounted, and must have
//! everything that the writer had a receipt for. Long mode: `TOMBOLO_TEST_CUT_ROUNDS`.
//!
//! The copy is the device at one instant: what the system had not written back is not in it. The writer stands still
//! meanwhile, and a copy that is not byte for byte what the image still is afterwards is made again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tombolo_store::{Engine, maintain};

use super::kill::{name, open, random, receipt, writer};
use super::mount::Mounted;
use super::typist::{reach, text, typed};

on_each_engine! {
    no_power_cut_loses_what_had_a_receipt,
}

const MIB: u64 = 64;

fn no_power_cut_loses_what_had_a_receipt(engine: Engine) {
    let Some(disk) = Mounted::new("power", MIB) else { return };
    let rounds = std::env::var("TOMBOLO_TEST_CUT_ROUNDS").ok().map_or(5, |rounds| rounds.parse().unwrap());
    let receipts = Arc::new(Mutex::new(BTreeMap::<u64, u64>::new()));
    let mut running = Running(writer(&disk.path().join("data"), engine));
    let lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let noted = Arc::clone(&receipts);
    let reading = std::thread::spawn(move || {
        for (document, clock) in lines.filter_map(|line| receipt(&line)) {
            noted.lock().unwrap().insert(document, clock);
        }
    });
    while receipts.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    for round in 0..rounds {
        std::thread::sleep(Duration::from_millis(50 + random(400)));
        running.signal(Signal::STOP);
        let receipts = receipts.lock().unwrap().clone();
        let copy = tempfile::tempdir().unwrap();
        cut(&disk.image(), &copy.path().join("image"));
        running.signal(Signal::CONT);
        let Some(after) = Mounted::mount("power", copy) else { return };
        check(&after.path().join("data"), engine, &receipts, round);
    }
    drop(running);
    reading.join().unwrap();
    let total: u64 = receipts.lock().unwrap().values().sum();
    assert!(total > 20 * rounds, "only {total} receipts in {rounds} rounds");
}

/// Copies the image as it is at one instant.
fn cut(image: &Path, copy: &Path) {
    for _ in 0..20 {
        fs::copy(image, copy).unwrap();
        // Equal again after the copy was finished: nothing was written in between.
        if fs::read(image).unwrap() == fs::read(copy).unwrap() {
            return;
        }
    }
    panic!("the image never stood still");
}

fn check(folder: &Path, engine: Engine, receipts: &BTreeMap<u64, u64>, round: u64) {
    let verification = maintain::verify(folder, &mut |_| ()).unwrap();
    assert!(!verification.is_damaged(), "round {round}: {:?}", verification.findings);
    let store = open(folder, engine);
    for (document, clock) in receipts {
        let contents = store.document(&name(*document)).unwrap().read().unwrap();
        let reached = reach(&contents, 7);
        assert!(
            reached >= *clock,
            "round {round}: document {document} had {clock} receipts and reaches {reached}"
        );
        assert_eq!(text(&contents), typed(reached), "round {round}: document {document}");
    }
}

/// A writer that ends with the test.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
