//! What a store costs by how much it holds: memory with many documents stored and none open, the time until a store
//! that was killed is open again, bytes on the disk for a byte of content; and how long a replica with 10,000 small
//! documents takes to open, to list them, to say that nothing changed, and to close.
//!
//! Each figure is read in a process of its own (this program, started again), because memory and page faults of an
//! earlier one would count. `TOMBOLO_BENCH_DOCUMENTS` (default 100,000) and `TOMBOLO_BENCH_MB` (default 1,000) make
//! it smaller. The disk's own cache is not emptied: a server that is started again finds it as it left it.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo::replica::Replica;
use tombolo_benches::Typist;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Checkpoint, Engine, Store, StoreConfig};

const PART: &str = "TOMBOLO_BENCH_PART";
const FOLDER: &str = "TOMBOLO_BENCH_FOLDER";

fn main() {
    if let (Ok(part), Some(folder)) = (std::env::var(PART), std::env::var_os(FOLDER)) {
        return act(&part, Path::new(&folder));
    }
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    if std::env::args().any(|argument| argument == "replicas") {
        return replicas();
    }
    let documents = number("TOMBOLO_BENCH_DOCUMENTS", 100_000);
    let megabytes = number("TOMBOLO_BENCH_MB", 1_000);
    replicas();
    for engine in [Engine::Sled, Engine::Redb] {
        let scratch = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
        let (empty, many, large) =
            (scratch.path().join("empty"), scratch.path().join("many"), scratch.path().join("large"));
        let name = engine.name();
        child("make", &empty, engine, 0);
        child("many", &many, engine, documents);
        let (nothing, idle) = (child("memory", &empty, engine, 0), child("memory", &many, engine, 0));
        println!(
            "{name}: {documents} documents stored and none open: {nothing} kB empty, {idle} kB, so {} kB more",
            signed(idle, nothing)
        );
        println!("{name}: with one of them open: {} kB", child("one", &many, engine, documents));
        child("large", &large, engine, megabytes);
        let ms = child("reopen", &large, engine, megabytes);
        println!("{name}: {megabytes} MB of documents, killed: open again after {ms} ms");
        println!("{name}: and one of them read {} ms after that", child("read", &large, engine, megabytes));
        let (disk, live) = (bytes_of(&large.join("shelf")) >> 20, megabytes);
        println!("{name}: {disk} MiB of shelves for {live} MB of content");
        let compacted = child("compact", &large, engine, megabytes);
        println!(
            "{name}: {} MiB after compaction, which took {compacted} ms",
            bytes_of(&large.join("shelf")) >> 20
        );
    }
}

/// Medians over processes of their own, because each opens the folder once.
fn replicas() {
    for engine in [Engine::Sled, Engine::Redb] {
        let scratch = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
        let folder = scratch.path().join("notes");
        child("many", &folder, engine, NOTES);
        child("followed", &folder, engine, NOTES);
        let name = engine.name();
        for part in ["open", "first", "list", "unchanged", "close"] {
            let mut times: Vec<_> = (0..RUNS).map(|_| child(part, &folder, engine, NOTES)).collect();
            times.sort_unstable();
            let median = times.get(RUNS / 2).copied().unwrap_or_default();
            println!("{name}: {part} with {NOTES} documents: {median} µs ({times:?})");
        }
    }
}

/// Documents of a replica.
const NOTES: u64 = 10_000;
const RUNS: usize = 7;

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap()
}

/// One of the things that a replica with many documents does.
fn replica(part: &str, folder: &Path) {
    let checkpoint = folder.with_extension("checkpoint");
    let start = Instant::now();
    let replica = Replica::open(folder).expect("it opens");
    let opened = start.elapsed();
    let start = Instant::now();
    let told = match part {
        "open" => opened,
        "first" => {
            replica.yjs(&format!("reports/{}", NOTES / 2)).unwrap().text("text").unwrap();
            start.elapsed()
        }
        "list" => {
            assert_eq!(replica.documents().count() as u64, NOTES);
            start.elapsed()
        }
        "unchanged" => {
            let known = Checkpoint::from_bytes(&std::fs::read(&checkpoint).unwrap()).unwrap();
            let changes = replica.store().changes(Some(&known), 1_000).unwrap();
            assert!(changes.documents.is_empty() && !changes.anew);
            start.elapsed()
        }
        "close" => {
            let start = Instant::now();
            replica.close().unwrap();
            return say(micros(start.elapsed()));
        }
        _ => {
            let changes = replica.store().changes(None, usize::MAX).unwrap();
            assert_eq!(changes.documents.len() as u64, NOTES);
            std::fs::write(&checkpoint, changes.up_to.to_bytes()).unwrap();
            start.elapsed()
        }
    };
    say(micros(told));
}

fn signed(a: u64, b: u64) -> i64 {
    i64::try_from(a).unwrap() - i64::try_from(b).unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |number| number.parse().expect("a number"))
}

/// Does one part in a process of its own, and gives back the number that it says.
fn child(part: &str, folder: &Path, engine: Engine, count: u64) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .env(PART, format!("{part} {} {count}", engine.name()))
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .output()
        .expect("it starts");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_default()
}

fn act(part: &str, folder: &Path) {
    let mut words = part.split(' ');
    let part = words.next().unwrap();
    let engine = if words.next() == Some(Engine::Redb.name()) { Engine::Redb } else { Engine::Sled };
    let count: u64 = words.next().unwrap().parse().unwrap();
    if ["followed", "open", "first", "list", "unchanged", "close"].contains(&part) {
        return replica(part, folder);
    }
    let start = Instant::now();
    let config = StoreConfig { engine: Some(engine), ..StoreConfig::new(folder) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).expect("it opens");
    let opened = start.elapsed();
    match part {
        "many" => write(&store, count, |typist| typist.types(60).into()),
        "large" => {
            let mut seed = 0x7b6f_0d29;
            write(&store, count, |_| noise(1_000_000, &mut seed));
            store.flush().unwrap();
            // Then some more that is in the journal alone.
            write(&store, 64, |_| noise(1_000_000, &mut seed));
            say(0);
            kill();
        }
        "memory" => say(resident()),
        "one" => {
            let document = store.document(&name(count / 2)).unwrap();
            assert!(!document.read().unwrap().tail.is_empty());
            say(resident());
        }
        "reopen" => {
            say(opened.as_millis().try_into().unwrap());
            kill();
        }
        "read" => {
            let start = Instant::now();
            store.document(&name(count / 2)).unwrap().read().unwrap();
            say(start.elapsed().as_millis().try_into().unwrap());
            store.flush().unwrap();
        }
        "compact" => {
            let start = Instant::now();
            store.compact(&mut |_| ()).unwrap();
            say(start.elapsed().as_millis().try_into().unwrap());
        }
        _ => {}
    }
    store.close().unwrap();
}

fn name(n: u64) -> DocumentId {
    DocumentId::yjs(&format!("reports/{n}")).expect("a plain name")
}

fn write(store: &Store, documents: u64, mut payload: impl FnMut(&mut Typist) -> Bytes) {
    let (sender, receiver) = channel();
    let mut waiting = 0;
    for n in 0..documents {
        let document = store.document(&name(n)).unwrap();
        let payload = payload(&mut Typist::new(7));
        loop {
            let sender = sender.clone();
            // Nobody listens any more only at the end.
            let done = Box::new(move |result: Result<_, _>| {
                let _ = sender.send(result.is_ok());
            });
            if document.append(Kind::YjsUpdate, payload.clone(), done).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20)); // As much waits as may.
        }
        waiting += 1;
    }
    assert!(receiver.iter().take(waiting).all(|stored| stored));
}

/// A valid update with so many letters that do not compress.
fn noise(len: usize, state: &mut u64) -> Bytes {
    let mut random = vec![0; len];
    for byte in &mut random {
        // xorshift64 (Marsaglia 2003).
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *byte = b' ' + u8::try_from(*state % 95).unwrap();
    }
    let mut update = vec![1, 1, 7, 0, 4, 1, 1, b't'];
    tombolo_core::wire::lib0::write_var_bytes(&mut update, &random);
    update.push(0);
    update.into()
}

fn resident() -> u64 {
    // What was freed may still be counted for a moment.
    std::thread::sleep(Duration::from_millis(200));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn say(number: u64) {
    println!("{number}");
    std::io::stdout().flush().unwrap();
}

/// As the system would kill it.
fn kill() {
    let process = rustix::process::getpid();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
        true => bytes_of(&entry.path()),
        false => entry.metadata().map_or(0, |file| file.len()),
    });
    bytes.sum()
}
