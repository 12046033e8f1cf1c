//! A large database, until its first row is read.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tombolo_benches::Spread;

use super::noise::Noise;
use super::rows::{CONTESTANTS, Change, Open, Rows, disk_bytes};
use super::{Scale, cold, folder};

const VALUE_BYTES: usize = 4096;
const COMMIT_ROWS: u64 = 256;
const TIMES: usize = 5;
/// Set in the process that fills a map and is killed: the contestant, how many rows, and the folder.
const FILL: &str = "TOMBOLO_BENCH_FILL";

pub(crate) fn run(scale: Scale) {
    let count = scale.open_bytes / VALUE_BYTES as u64;
    for (name, open) in CONTESTANTS {
        let folder = folder();
        let place = folder.path().join("rows");
        fs::create_dir_all(&place).expect("the folder is writable");
        fill_and_kill(name, &place, count);
        let bytes = disk_bytes(&place);
        let killed = first_row(open, &place, count);
        let clean: Vec<_> = (0..TIMES).map(|_| first_row(open, &place, count)).collect();
        println!(
            "engines open {} MB: {name} {:.0} ms closed cleanly, {:.0} ms after a kill, {:.0} MB on the disk",
            scale.open_bytes / 1_000_000,
            Spread::of_times(&clean).median * 1e3,
            killed.as_secs_f64() * 1e3,
            bytes as f64 / 1e6,
        );
    }
}

/// Has another process fill a map, and kills it when all of it is durable.
fn fill_and_kill(name: &str, place: &Path, count: u64) {
    let mut writer = Command::new(std::env::current_exe().expect("it runs"))
        .env(FILL, format!("{name} {count} {}", place.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let output = writer.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it speaks");
    assert_eq!(line.trim(), "filled");
    writer.kill().expect("it is ours");
    writer.wait().expect("it is ours");
}

/// Does what a process is to do that [`fill_and_kill`] started, and waits to be killed; returns in any other.
pub(crate) fn fill_if_told() {
    let Ok(told) = std::env::var(FILL) else { return };
    let mut words = told.splitn(3, ' ');
    let mut word = || words.next().expect("three words");
    let (name, count, place) = (word(), word().parse().expect("a number"), word());
    let (_, open) = CONTESTANTS.iter().find(|(known, _)| *known == name).expect("a contestant");
    let _rows = fill(*open, Path::new(place), count);
    println!("filled");
    loop {
        std::thread::park();
    }
}

fn key(number: u64) -> Vec<u8> {
    // Spread as hashes are.
    [&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[..], &[0; 16]].concat()
}

fn fill(open: Open, place: &Path, count: u64) -> Box<dyn Rows> {
    let mut noise = Noise(1);
    let mut rows = open(place);
    let numbers: Vec<u64> = (0..count).collect();
    for numbers in numbers.chunks(usize::try_from(COMMIT_ROWS).expect("it fits")) {
        let row = |number: &u64| -> Change { (key(*number), Some(noise.bytes(VALUE_BYTES))) };
        rows.commit(&numbers.iter().map(row).collect::<Vec<_>>());
    }
    rows
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
