//! Flipped bytes and cut-off files, anywhere in a real data folder: verify sees each, nothing wrong is served, and
//! repair saves what is intact. Long mode: `TOMBOLO_TEST_FLIPS=10000 TOMBOLO_TEST_CUTS=2000`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use tombolo_core::engine::yjs;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::maintain;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Engine, Store, StoreConfig};

use super::typist::{keystroke, parts, reach, text, typed};

const DOCUMENTS: u64 = 40;

/// splitmix64 (Vigna 2015).
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig { segment_bytes: 64 * 1024, shelf_count: 2, ballast_bytes: 8192, ..StoreConfig::new(folder) }
}

/// With whatever engine it was made with.
fn open(folder: &Path) -> Result<Store, tombolo_store::OpenError> {
    Store::open(config(folder), ThreadWorker::start().unwrap())
}

fn id(n: u64) -> DocumentId {
    DocumentId::yjs(&format!("notes/{n}")).unwrap()
}

/// How many operations each document has.
fn length(n: u64) -> u64 {
    20 + 37 * (n % 11)
}

fn append(store: &Store, n: u64, clocks: std::ops::Range<u64>) {
    let document = store.document(&id(n)).unwrap();
    let (sender, receiver) = channel();
    for clock in clocks {
        let sender = sender.clone();
        let done = Box::new(move |result| sender.send(result).unwrap());
        document.append(Kind::YjsUpdate, keystroke(7, clock), done).unwrap();
    }
    drop(sender);
    assert!(receiver.iter().all(|result| result.is_ok()));
}

/// A folder with folded and unfolded documents, closed cleanly.
fn build(folder: &Path, engine: Engine) {
    let config = StoreConfig { engine: Some(engine), ..config(folder) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    (0..DOCUMENTS).for_each(|n| append(&store, n, 0..length(n) - 5));
    store.flush().unwrap();
    // So that somebody follows its changes.
    store.changes(None, 1).unwrap();
    // Those of more than 100 operations are folded when their last user leaves.
    while (0..DOCUMENTS).any(|n| {
        let contents = store.document(&id(n)).unwrap().read().unwrap();
        length(n) > 105 && contents.snapshot.is_none()
    }) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    (0..DOCUMENTS).for_each(|n| append(&store, n, length(n) - 5..length(n)));
    store.close().unwrap();
}

/// The same, but that the last operations are in the journal alone, because the process was killed.
fn build_and_kill(folder: &Path, engine: Engine) {
    let closed = folder.with_extension("closed");
    build(&closed, engine);
    // Nothing is taken over for as long as this.
    let config = StoreConfig { takeover_ms: 3_600_000, ..config(&closed) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    (0..DOCUMENTS).for_each(|n| append(&store, n, length(n)..length(n) + 3));
    copy_folder(&closed, folder);
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.path().is_symlink() {
            // As `cp -a` does.
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if fs::symlink_metadata(&path).unwrap().is_file() && fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
}

/// What is right, and how many operations were recovered of how many.
#[derive(Default)]
struct Tally {
    rounds: u64,
    unseen: u64,
    killed: bool,
    /// Operations of each document.
    lengths: Vec<u64>,
    recovered: u64,
    stored: u64,
    by_file: BTreeMap<String, (u64, u64, u64)>,
}

/// Changes one file, then holds verify, serving and repair to what they promise.
fn round(golden: &Path, dice: &mut Dice, cut: bool, tally: &mut Tally) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("data");
    copy_folder(golden, &folder);
    let mut all = Vec::new();
    files(&folder, &mut all);
    all.sort();
    // Half of the rounds by file, half of them by the files that hold content.
    if dice.below(2) == 0 {
        let ends = [Some("journal"), Some("redb")];
        all.retain(|path| {
            path.ends_with("db") || ends.contains(&path.extension().and_then(|end| end.to_str()))
        });
    }
    let file = &all[usize::try_from(dice.below(all.len() as u64)).unwrap()];
    let mut bytes = fs::read(file).unwrap();
    let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
    if cut {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1 << dice.below(8);
    }
    fs::write(file, bytes).unwrap();
    let name = file.strip_prefix(&folder).unwrap().display().to_string();
    let what = format!("{name} {} {at}", if cut { "cut at" } else { "flipped at" });

    let verification = maintain::verify(&folder, &mut |_| ()).unwrap();
    let seen = verification.is_damaged();
    // A kill leaves files without a seal: what is not seen there must be bytes that hold nothing.
    assert!(seen || tally.killed, "not seen: {what}");
    tally.unseen += u64::from(!seen);

    let to = root.path().join("repaired");
    let repair = maintain::repair(&folder, &to, &mut |_| ()).unwrap();
    let repaired = open(&to).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (mut recovered, mut stored) = (0, 0);
    for n in 0..DOCUMENTS {
        let contents =
            repaired.document(&id(n)).unwrap().read().unwrap_or_else(|error| panic!("{what}: {error}"));
        let clock = reach(&contents, 7);
        // What leans on something that was lost is kept, and waits.
        if let Ok(text) = yjs::text(&parts(&contents), "t") {
            assert_eq!(text, typed(clock), "{what}: wrong content repaired: {repair:?}");
        } else {
            assert!(!repair.mended.is_empty(), "{what}: {repair:?}");
        }
        recovered += clock;
        stored += tally.lengths[usize::try_from(n).unwrap()];
    }
    assert!(seen || recovered == stored, "{what}: not seen, and {recovered} of {stored} are left");
    drop(repaired);
    let again = maintain::verify(&to, &mut |_| ()).unwrap();
    assert_eq!(again.findings, [], "{what}: the repaired folder is damaged");

    serve(&folder, &tally.lengths, seen, &what);
    tally.rounds += 1;
    tally.recovered += recovered;
    tally.stored += stored;
    let of = tally.by_file.entry(name).or_default();
    *of = (of.0 + 1, of.1 + recovered, of.2 + stored);
}

/// Every document is as it was written or refused; if the folder opens at all.
fn serve(folder: &Path, lengths: &[u64], damaged: bool, what: &str) {
    let Ok(store) = open(folder) else {
        assert!(damaged, "{what}: not seen, and it does not open");
        return;
    };
    for (n, length) in (0..).zip(lengths) {
        match store.document(&id(n)).and_then(|document| document.read()) {
            Ok(contents) => {
                assert_eq!(text(&contents), typed(*length), "{what}: document {n} is served wrong");
            }
            Err(error) => assert!(damaged, "{what}: not seen, and {error}"),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |number| number.parse().unwrap())
}

fn run(engine: Engine, rounds: u64, cut: bool, killed: bool) -> Tally {
    let root = tempfile::tempdir().unwrap();
    let golden = root.path().join("golden");
    if killed {
        build_and_kill(&golden, engine);
    } else {
        build(&golden, engine);
    }
    assert!(!maintain::verify(&golden, &mut |_| ()).unwrap().is_damaged());
    let more = if killed { 3 } else { 0 };
    let lengths = (0..DOCUMENTS).map(|n| length(n) + more).collect();
    let mut tally = Tally { killed, lengths, ..Tally::default() };
    let mut dice = Dice(number("TOMBOLO_TEST_SEED", rounds));
    for _ in 0..rounds {
        round(&golden, &mut dice, cut, &mut tally);
    }
    println!("{} rounds, {} of them without effect and not seen", tally.rounds, tally.unseen);
    for (name, (rounds, recovered, stored)) in &tally.by_file {
        println!(
            "{name}: {rounds} rounds, {:.2} % of operations",
            100.0 * *recovered as f64 / *stored as f64
        );
    }
    tally
}

on_each_engine! {
    every_flip_is_seen_and_nothing_else_is_lost,
    flips_after_a_kill_are_seen_or_without_effect,
    every_cut_is_seen_and_nothing_wrong_is_served,
}

fn every_flip_is_seen_and_nothing_else_is_lost(engine: Engine) {
    let tally = run(engine, number("TOMBOLO_TEST_FLIPS", 70), false, false);
    assert!(tally.recovered * 100 >= tally.stored * 99, "{} of {}", tally.recovered, tally.stored);
}

fn flips_after_a_kill_are_seen_or_without_effect(engine: Engine) {
    let tally = run(engine, number("TOMBOLO_TEST_FLIPS", 50), false, true);
    assert!(tally.recovered * 100 >= tally.stored * 99, "{} of {}", tally.recovered, tally.stored);
}

fn every_cut_is_seen_and_nothing_wrong_is_served(engine: Engine) {
    run(engine, number("TOMBOLO_TEST_CUTS", 25), true, false);
}
