//! SIGKILL at random instants: a writer process appends and says what it had receipts for; whatever it said
//! must be there when the folder is opened again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Engine, Store, StoreConfig};

use super::typist::{keystroke, reach, text, typed};

/// Set in the writer process: the folder to write to.
const FOLDER: &str = "TOMBOLO_TEST_WRITER_FOLDER";
/// For a longer run.
const ROUNDS: &str = "TOMBOLO_TEST_KILL_ROUNDS";
const DOCUMENTS: u64 = 5;

on_each_engine! {
    no_kill_loses_what_had_a_receipt,
}

fn no_kill_loses_what_had_a_receipt(engine: Engine) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder), engine);
    }
    let rounds = std::env::var(ROUNDS).ok().map_or(100, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut receipts: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 1..=rounds {
        write_and_kill(folder.path(), engine, &mut receipts);
        let store = open(folder.path(), engine);
        for (document, clock) in &receipts {
            let contents = store.document(&name(*document)).unwrap().read().unwrap();
            let reached = reach(&contents, 7);
            assert!(
                reached >= *clock,
                "round {round}: document {document} had {clock} receipts and reaches {reached}"
            );
            if round % 25 == 0 || round == rounds {
                assert_eq!(text(&contents), typed(reached), "round {round}: document {document}");
            }
        }
        store.close().unwrap();
    }
    let total: u64 = receipts.values().sum();
    assert!(total > 10 * rounds, "only {total} receipts in {rounds} rounds");
}

pub fn name(document: u64) -> DocumentId {
    DocumentId::yjs(&format!("document {document}")).unwrap()
}

/// Small segments and quick takeover, so that a kill meets every part of the store at work.
pub fn open(folder: &Path, engine: Engine) -> Store {
    let config = StoreConfig {
        engine: Some(engine),
        takeover_ms: 3,
        segment_bytes: 64 * 1024,
        shelf_count: 2,
        ..StoreConfig::new(folder)
    };
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

/// A process that writes to this folder and prints its receipts until it is killed.
pub fn writer(folder: &Path, engine: Engine) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("kill::no_kill_loses_what_had_a_receipt::{engine}"), "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The document and clock of a line that a writer printed, if it is a receipt; the harness prints lines of its own.
pub fn receipt(line: &str) -> Option<(u64, u64)> {
    let (document, clock) = line.strip_prefix("receipt ")?.split_once(' ')?;
    Some((document.parse().unwrap(), clock.parse().unwrap()))
}

/// Runs a writer, kills it some time after its first receipt, and notes the receipts that it told of.
fn write_and_kill(folder: &Path, engine: Engine, receipts: &mut BTreeMap<u64, u64>) {
    let mut writer = writer(folder, engine);
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut note = |line: &str| {
        let Some((document, clock)) = receipt(line) else { return false };
        let known = receipts.entry(document).or_default();
        *known = (*known).max(clock);
        true
    };
    while !note(&lines.next().expect("the writer ended by itself")) {}
    let (killed, writer) = (random(60_000), std::sync::Mutex::new(writer));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_micros(killed));
            writer.lock().unwrap().kill().unwrap();
        });
        for line in lines {
            note(&line);
        }
    });
    writer.lock().unwrap().wait().unwrap();
}

/// Any instant will do, and a different one each time.
pub fn random(below: u64) -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) % below
}

fn write_until_killed(folder: &Path, engine: Engine) -> ! {
    let store = open(folder, engine);
    let mut clocks: Vec<u64> = (0..DOCUMENTS)
        .map(|document| reach(&store.document(&name(document)).unwrap().read().unwrap(), 7))
        .collect();
    loop {
        for (document, clock) in (0..).zip(&mut clocks) {
            // Opened anew each time, so that leaving and folding are under way, too.
            let open = store.document(&name(document)).unwrap();
            for _ in 0..=random(20) {
                *clock += 1;
                let told = *clock;
                let done = Box::new(move |result: Result<_, _>| {
                    result.unwrap();
                    // One write for each line: a kill cuts between lines.
                    std::io::stdout().write_all(format!("receipt {document} {told}\n").as_bytes()).unwrap();
                });
                open.append(Kind::YjsUpdate, keystroke(7, *clock - 1), done).unwrap();
            }
        }
        std::thread::sleep(Duration::from_micros(random(3000)));
    }
}
