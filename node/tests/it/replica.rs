//! SIGKILL of a program that edits its own replica, at random instants: each edit that returned is there when the
//! folder is opened again, whole, and nothing is there twice. Long mode: `TOMBOLO_TEST_KILL_ROUNDS=1000`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo::replica::Replica;

/// Set in the process that edits: the folder.
const FOLDER: &str = "TOMBOLO_TEST_REPLICA_FOLDER";
const DOCUMENTS: usize = 3;

#[test]
fn no_kill_loses_an_edit_that_returned() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        edit_until_killed(Path::new(&folder));
    }
    let rounds = std::env::var("TOMBOLO_TEST_KILL_ROUNDS").ok().map_or(12, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut returned: BTreeMap<usize, usize> = BTreeMap::new();
    for round in 0..rounds {
        edit_and_kill(folder.path(), &mut returned);
        let replica = Replica::open(folder.path()).unwrap();
        for document in 0..DOCUMENTS {
            let said = returned.get(&document).copied().unwrap_or_default();
            let open = replica.yjs(&name(document)).unwrap();
            let text = open.text("text").unwrap();
            let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
            assert!(
                lines.len() >= said,
                "round {round}: {said} edits returned and {} are there",
                lines.len()
            );
            // Each transaction wrote a line and noted it: both or neither, in order, once.
            assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>(), "round {round}");
            let noted = open.read(|view| view.map("noted")).unwrap().map_or(0, |noted| noted.len());
            assert_eq!(noted, lines.len(), "round {round}");
        }
        replica.close().unwrap();
    }
    let total: usize = returned.values().sum();
    assert!(total > 5 * rounds, "only {total} edits in {rounds} rounds");
}

fn name(document: usize) -> String {
    format!("document {document}")
}

fn edit_until_killed(folder: &Path) -> ! {
    let replica = Replica::open(folder).unwrap();
    let documents: Vec<_> = (0..DOCUMENTS).map(|document| replica.yjs(&name(document)).unwrap()).collect();
    std::thread::scope(|scope| {
        for (at, document) in documents.iter().enumerate() {
            scope.spawn(move || {
                loop {
                    let lines = document.edit(|edit| {
                        let lines = edit.text("text").get().lines().count();
                        edit.text("text").push(&format!("{lines}\n"));
                        edit.map("noted").insert(&lines.to_string(), true);
                        Ok(lines + 1)
                    });
                    let line = format!("returned {at} {}\n", lines.unwrap());
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    unreachable!("it is killed")
}

fn edit_and_kill(folder: &Path, returned: &mut BTreeMap<usize, usize>) {
    let mut editor = Command::new(std::env::current_exe().unwrap())
        .args(["replica::no_kill_loses_an_edit_that_returned", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(editor.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut note = |line: &str| {
        let Some((document, count)) = line.strip_prefix("returned ").and_then(|line| line.split_once(' '))
        else {
            return false;
        };
        // The last line may be torn.
        let (Ok(document), Ok(count)) = (document.parse(), count.parse::<usize>()) else { return false };
        let known = returned.entry(document).or_default();
        *known = (*known).max(count);
        true
    };
    while !note(&lines.next().expect("it ended by itself")) {}
    let editor = Mutex::new(editor);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_micros(random(60_000)));
            editor.lock().unwrap().kill().unwrap();
        });
        for line in lines {
            note(&line);
        }
    });
    editor.lock().unwrap().wait().unwrap();
}

/// Any instant will do, and a different one each time.
fn random(below: u64) -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) % below
}
