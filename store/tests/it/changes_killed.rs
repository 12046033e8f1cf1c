//! SIGKILL at random instants under a store whose changes somebody follows: with whatever checkpoint they ask
//! afterwards, no document that has more receipts since is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tombolo_core::operation::Kind;
use tombolo_store::Engine;

use super::kill::{name, open, random, receipt};
use super::typist::{keystroke, reach};

/// Set in the writer process: the folder to write to.
const FOLDER: &str = "TOMBOLO_TEST_CHANGES_FOLDER";
/// For a longer run.
const ROUNDS: &str = "TOMBOLO_TEST_KILL_ROUNDS";
const DOCUMENTS: u64 = 200;

type Receipts = BTreeMap<u64, u64>;

#[test]
fn no_kill_hides_a_change() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let rounds = std::env::var(ROUNDS).ok().map_or(25, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut receipts = Receipts::new();
    let mut known = Vec::new();
    let (mut anew, mut told_less) = (0, 0);
    for round in 0..rounds {
        write_and_kill(folder.path(), &mut receipts);
        let store = open(folder.path(), Engine::Redb);
        for (checkpoint, then) in &known {
            let changes = store.changes(Some(checkpoint), 10_000).unwrap();
            let told: BTreeSet<_> = changes.documents.iter().map(|(id, _)| id.clone()).collect();
            let more = |(document, clock): &(&u64, &u64)| then_less(then, **document, **clock);
            let missing: Vec<_> = receipts
                .iter()
                .filter(more)
                .map(|(document, _)| name(*document))
                .filter(|id| !told.contains(id))
                .collect();
            assert!(missing.is_empty(), "round {round}: {missing:?}");
            anew += u64::from(changes.anew);
            told_less += u64::from(told.len() < receipts.len());
        }
        known.push((store.changes(None, 10_000).unwrap().up_to, receipts.clone()));
        // Some old ones, and the last.
        if known.len() > 4 {
            let at = usize::try_from(random(4)).unwrap();
            known.remove(at);
        }
        if random(3) == 0 {
            store.close().unwrap();
        }
    }
    assert!(
        told_less > 0 && anew < rounds,
        "{told_less} answers told less than everything, {anew} everything anew"
    );
}

/// Whether a document has more receipts than it had then.
fn then_less(then: &Receipts, document: u64, clock: u64) -> bool {
    then.get(&document).is_none_or(|known| *known < clock)
}

fn write_and_kill(folder: &Path, receipts: &mut Receipts) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["changes_killed::no_kill_hides_a_change", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut receipts_until_kill = 1 + random(60);
    for (document, clock) in lines.filter_map(|line| receipt(&line)) {
        let known = receipts.entry(document).or_default();
        *known = (*known).max(clock);
        receipts_until_kill = receipts_until_kill.saturating_sub(1);
        if receipts_until_kill == 0 {
            std::thread::sleep(Duration::from_micros(random(5_000)));
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
}

fn write_until_killed(folder: &Path) -> ! {
    let store = open(folder, Engine::Redb);
    loop {
        let document = random(DOCUMENTS);
        let open = store.document(&name(document)).unwrap();
        let mut clock = reach(&open.read().unwrap(), 7);
        for _ in 0..=random(4) {
            clock += 1;
            let told = clock;
            let done = Box::new(move |result: Result<_, _>| {
                result.unwrap();
                // One write for each line: a kill cuts between lines.
                std::io::stdout().write_all(format!("receipt {document} {told}\n").as_bytes()).unwrap();
            });
            open.append(Kind::YjsUpdate, keystroke(7, clock - 1), done).unwrap();
        }
        if random(4) == 0 {
            store.changes(None, 10).unwrap();
        }
        std::thread::sleep(Duration::from_micros(random(3000)));
    }
}
