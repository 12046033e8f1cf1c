//! A large database, until its first row is read.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tombolo_benches::Spread;

use super::noise::Noise;
use super::rows::{CONTESTANTS, Change, Open, disk_bytes};
use super::{Scale, cold, folder};

const VALUE_BYTES: usize = 4096;
const COMMIT_ROWS: u64 = 256;
const TIMES: usize = 5;

pub(crate) fn run(scale: Scale) {
    let count = scale.open_bytes / VALUE_BYTES as u64;
    for (name, open) in CONTESTANTS {
        let (folder, killed) = (folder(), folder());
        let (place, left) = (folder.path().join("rows"), killed.path().join("rows"));
        fs::create_dir_all(&place).expect("the folder is writable");
        fill(open, &place, &left, count);
        let bytes = disk_bytes(&place);
        let after_kill = first_row(open, &left, count);
        let clean: Vec<_> = (0..TIMES).map(|_| first_row(open, &place, count)).collect();
        println!(
            "engines open {} MB: {name} {:.0} ms closed cleanly, {:.0} ms after a kill, {:.0} MB on the disk",
            scale.open_bytes / 1_000_000,
            Spread::of_times(&clean).median * 1e3,
            after_kill.as_secs_f64() * 1e3,
            bytes as f64 / 1e6,
        );
    }
}

fn key(number: u64) -> Vec<u8> {
    // Spread as hashes are.
    [&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[..], &[0; 16]].concat()
}

/// Fills a map and closes it; `left` is how a kill would have left it.
fn fill(open: Open, place: &Path, left: &Path, count: u64) {
    let mut noise = Noise(1);
    let mut rows = open(place);
    let numbers: Vec<u64> = (0..count).collect();
    for numbers in numbers.chunks(usize::try_from(COMMIT_ROWS).expect("it fits")) {
        let row = |number: &u64| -> Change { (key(*number), Some(noise.bytes(VALUE_BYTES))) };
        rows.commit(&numbers.iter().map(row).collect::<Vec<_>>());
    }
    copy(place, left);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is writable");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder is there");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), target) {
            // Threads of an engine may remove a file meanwhile.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

fn first_row(open: Open, place: &Path, count: u64) -> Duration {
    cold::forget(place);
    let start = Instant::now();
    let rows = open(place);
    let (from, mut below) = (key(count / 2), key(count / 2));
    below.push(0);
    assert_eq!(rows.read(&from, &below), VALUE_BYTES);
    start.elapsed()
}
