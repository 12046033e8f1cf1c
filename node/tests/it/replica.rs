//! SIGKILL of a program that edits its own replica, documents of both formats, at random instants: each edit that
//! returned is there when the folder is opened again, whole, and nothing is there twice; and so is what a sync message
//! said to be there. Long mode: `TOMBOLO_TEST_KILL_ROUNDS=1000`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo::automerge::sync::Message;
use tombolo::automerge::transaction::Transactable;
use tombolo::automerge::{ObjType, ROOT, ReadDoc};
use tombolo::replica::{AutomergeDocument, DocumentId, EditError, Replica, SyncState, YjsDocument};

/// Set in the process that edits: the folder.
const FOLDER: &str = "TOMBOLO_TEST_REPLICA_FOLDER";
const DOCUMENTS: u8 = 4;

/// A document in which each edit writes its number and notes it: both or neither.
enum Numbered {
    Yjs(YjsDocument),
    Automerge(AutomergeDocument),
}

impl Numbered {
    /// Of either format by turns.
    fn open(replica: &Replica, document: u8) -> Self {
        match document % 2 {
            0 => Self::Yjs(replica.yjs(&format!("document {document}")).unwrap()),
            _ => {
                let id = DocumentId::Automerge([document; 16]);
                Self::Automerge(replica.automerge(&id.to_string()).unwrap())
            }
        }
    }

    /// Gives back how many there are then.
    fn edit(&self) -> usize {
        match self {
            Self::Yjs(document) => document.edit(|edit| {
                let lines = edit.text("text").get().lines().count();
                edit.text("text").push(&format!("{lines}\n"));
                edit.map("noted").insert(&lines.to_string(), true);
                Ok(lines + 1)
            }),
            Self::Automerge(document) => document.edit(|edit| {
                if edit.get(ROOT, "list")?.is_none() {
                    edit.put_object(ROOT, "list", ObjType::List)?;
                    edit.put_object(ROOT, "noted", ObjType::Map)?;
                }
                let (_, list) = edit.get(ROOT, "list")?.ok_or(EditError::Cancelled)?;
                let (_, noted) = edit.get(ROOT, "noted")?.ok_or(EditError::Cancelled)?;
                let items = edit.length(&list);
                edit.insert(&list, items, items as u64)?;
                edit.put(&noted, items.to_string(), true)?;
                Ok(items + 1)
            }),
        }
        .unwrap()
    }

    fn has(&self, head: &str) -> bool {
        let Self::Automerge(document) = self else { return false };
        document.read(|view| view.get_change_by_hash(&head.parse().unwrap()).is_some()).unwrap()
    }

    /// What was written, and how much was noted.
    fn read(&self) -> (Vec<usize>, usize) {
        match self {
            Self::Yjs(document) => {
                let text = document.text("text").unwrap();
                let noted = document.read(|view| view.map("noted")).unwrap();
                let lines = text.lines().map(|line| line.parse().unwrap());
                (lines.collect(), noted.map_or(0, |noted| noted.len()))
            }
            Self::Automerge(document) => document
                .read(|view| {
                    let object = |key| view.get(ROOT, key).unwrap().map(|(_, id)| id);
                    let (Some(list), Some(noted)) = (object("list"), object("noted")) else {
                        return (Vec::new(), 0);
                    };
                    let items = view.values(&list).map(|(value, _)| value.as_u64().unwrap());
                    (items.map(|item| usize::try_from(item).unwrap()).collect(), view.length(&noted))
                })
                .unwrap(),
        }
    }
}

#[test]
fn no_kill_loses_an_edit_that_returned() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        edit_until_killed(Path::new(&folder));
    }
    let rounds = std::env::var("TOMBOLO_TEST_KILL_ROUNDS").ok().map_or(9, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut told = 0;
    let mut heard = Heard::default();
    for round in 0..rounds {
        edit_and_kill(folder.path(), &mut heard);
        let replica = Replica::open(folder.path()).unwrap();
        for document in 0..DOCUMENTS {
            let said = heard.returned.get(&document).copied().unwrap_or_default();
            let open = Numbered::open(&replica, document);
            for head in heard.told.remove(&document).unwrap_or_default() {
                told += 1;
                assert!(open.has(&head), "round {round}: {head} was told of and is not there");
            }
            let (lines, noted) = open.read();
            assert!(
                lines.len() >= said,
                "round {round}: {said} edits returned and {} are there",
                lines.len()
            );
            // In order and once.
            assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>(), "round {round}");
            assert_eq!(noted, lines.len(), "round {round}");
        }
        replica.close().unwrap();
    }
    assert_eq!(heard.returned.len(), usize::from(DOCUMENTS), "{:?}", heard.returned);
    assert!(told > rounds, "only {told} heads were told of in {rounds} rounds");
    let total: usize = heard.returned.values().sum();
    assert!(total > 5 * rounds, "only {total} edits in {rounds} rounds");
}

/// The heads that somebody who asks is told of.
fn heads_told(document: &AutomergeDocument) -> Vec<String> {
    let message = document.sync_generate(&mut SyncState::default()).unwrap().unwrap();
    Message::decode(&message).unwrap().heads.iter().map(ToString::to_string).collect()
}

/// What a program said before it was killed, by document.
#[derive(Default)]
struct Heard {
    /// How many edits returned, of all programs so far.
    returned: BTreeMap<u8, usize>,
    /// Heads in sync messages.
    told: BTreeMap<u8, BTreeSet<String>>,
}

impl Heard {
    /// False for a line of somebody else.
    fn note(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, document, said] = words[..] else { return false };
        let Ok(document) = document.parse() else { return false };
        // The last line may be torn.
        match (what, said.parse::<usize>()) {
            ("returned", Ok(count)) => {
                let known = self.returned.entry(document).or_default();
                *known = (*known).max(count);
            }
            ("told", _) if said.len() == 64 => {
                self.told.entry(document).or_default().insert(said.to_owned());
            }
            _ => return false,
        }
        true
    }
}

fn say(what: &str, document: usize, said: impl Display) {
    let line = format!("{what} {document} {said}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn edit_until_killed(folder: &Path) -> ! {
    let replica = Replica::open(folder).unwrap();
    let documents: Vec<_> = (0..DOCUMENTS).map(|document| Numbered::open(&replica, document)).collect();
    std::thread::scope(|scope| {
        for (at, document) in documents.iter().enumerate() {
            scope.spawn(move || {
                loop {
                    say("returned", at, document.edit());
                }
            });
            if let Numbered::Automerge(document) = document {
                scope.spawn(move || {
                    loop {
                        heads_told(document).iter().for_each(|head| say("told", at, head));
                    }
                });
            }
        }
    });
    unreachable!("it is killed")
}

fn edit_and_kill(folder: &Path, heard: &mut Heard) {
    let mut editor = Command::new(std::env::current_exe().unwrap())
        .args(["replica::no_kill_loses_an_edit_that_returned", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(editor.stdout.take().unwrap()).lines().map_while(Result::ok);
    while !heard.note(&lines.next().expect("it ended by itself")) {}
    let editor = Mutex::new(editor);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_micros(random(60_000)));
            editor.lock().unwrap().kill().unwrap();
        });
        for line in lines {
            heard.note(&line);
        }
    });
    editor.lock().unwrap().wait().unwrap();
}

/// Any instant will do, and a different one each time.
fn random(below: u64) -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) % below
}
