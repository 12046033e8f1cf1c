//! Any edits, evictions, fetches, breaks and restarts, and SIGKILL in the midst of evictions: no edit that returned is
//! lost. Long mode: `TOMBOLO_TEST_KILL_ROUNDS=1000 TOMBOLO_TEST_BUDGET_CASES=500`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use tombolo::replica::{
    Budget, DocumentId, Fetched, LinkOptions, ListenOptions, Replica, ReplicaError, YjsDocument,
};

use tombolo_store::StoreConfig;
use tombolo_store::worker::ThreadWorker;

use super::link::{LIMIT, in_sync, serve};

const DOCUMENTS: u8 = 4;
/// Set in the process that edits: its folder, and where the node is.
const FOLDER: &str = "TOMBOLO_TEST_BUDGET_FOLDER";
const NODE: &str = "TOMBOLO_TEST_BUDGET_NODE";

fn name(document: u8) -> String {
    format!("document {document}")
}

fn id(document: u8) -> DocumentId {
    DocumentId::yjs(&name(document)).unwrap()
}

/// With few files, so that a restart is quick.
fn small(folder: &Path) -> Replica {
    let config = StoreConfig { shelf_count: 1, ballast_bytes: 0, ..StoreConfig::new(folder) };
    Replica::open_with(config, ThreadWorker::start().unwrap()).unwrap()
}

fn all() -> Budget {
    Budget { warn_at_percent: 0, down_to_percent: 0, ..Budget::of(1 << 40) }
}

/// Opens a document, fetched if it has to be; none if nobody has it now.
fn open(replica: &Replica, document: u8, limit: Duration) -> Option<YjsDocument> {
    match replica.yjs(&name(document)) {
        Ok(open) => Some(open),
        Err(ReplicaError::Evicted { .. }) => match replica.fetch(&id(document), limit) {
            Ok(Fetched::Yjs(open)) => Some(open),
            Ok(Fetched::Automerge(_)) => panic!("it is of another format"),
            Err(ReplicaError::NotFetched { .. }) => None,
            Err(error) => panic!("{error}"),
        },
        Err(error) => panic!("{error}"),
    }
}

fn lines(document: &YjsDocument) -> Vec<u32> {
    let mut lines: Vec<u32> =
        document.text("text").unwrap().lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    lines
}

fn add_line(document: &YjsDocument, line: u32) {
    document
        .edit(|edit| {
            edit.text("text").push(&format!("{line}\n"));
            Ok(())
        })
        .unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Edit(u8),
    EditThere(u8),
    Sync,
    Evict,
    Fetch(u8),
    Delete(u8),
    Cut,
    Restart,
    RestartKeeper,
}

fn step() -> impl Strategy<Value = Step> {
    let document = || 0..DOCUMENTS;
    prop_oneof![
        6 => document().prop_map(Step::Edit),
        2 => document().prop_map(Step::EditThere),
        2 => Just(Step::Sync),
        4 => Just(Step::Evict),
        3 => document().prop_map(Step::Fetch),
        1 => document().prop_map(Step::Delete),
        1 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => Just(Step::RestartKeeper),
    ]
}

/// A replica with a budget, another that keeps what it has, and what was ever written in which document.
struct World {
    folder: tempfile::TempDir,
    one: Option<Replica>,
    keeper: Option<Replica>,
    address: SocketAddr,
    linked: bool,
    /// Where it was written does not matter: it is to be found in both.
    written: BTreeMap<u8, Vec<u32>>,
    deleted: [bool; DOCUMENTS as usize],
    next: u32,
    stubs: usize,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keeper = small(&folder.path().join("keeper"));
        let address = keeper
            .listen(
                "127.0.0.1:0".parse().unwrap(),
                ListenOptions { keeps_all: true, ..ListenOptions::default() },
            )
            .unwrap();
        let one = small(&folder.path().join("one"));
        let mut world = Self {
            folder,
            one: Some(one),
            keeper: Some(keeper),
            address,
            linked: false,
            written: BTreeMap::new(),
            deleted: [false; DOCUMENTS as usize],
            next: 0,
            stubs: 0,
        };
        world.link();
        world
    }

    fn one(&self) -> &Replica {
        self.one.as_ref().unwrap()
    }

    fn link(&mut self) {
        self.one().link(&format!("ws://{}", self.address), LinkOptions::default()).unwrap();
        self.linked = true;
    }

    fn restart(&mut self) {
        drop(self.one.take());
        self.one = Some(small(&self.folder.path().join("one")));
        self.link();
    }

    fn restart_keeper(&mut self) {
        self.keeper.take().unwrap().close().unwrap();
        let keeper = small(&self.folder.path().join("keeper"));
        keeper.listen(self.address, ListenOptions { keeps_all: true, ..ListenOptions::default() }).unwrap();
        self.keeper = Some(keeper);
        self.one().network_changed();
    }

    fn write(&mut self, document: u8, into: &YjsDocument) {
        add_line(into, self.next);
        self.written.entry(document).or_default().push(self.next);
        self.next += 1;
    }

    fn is_deleted(&self, document: u8) -> bool {
        self.deleted[usize::from(document)]
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Edit(document) | Step::EditThere(document) if self.is_deleted(document) => {}
            Step::Edit(document) => {
                let limit = if self.linked { LIMIT } else { Duration::from_millis(20) };
                if let Some(open) = open(self.one(), document, limit) {
                    self.write(document, &open);
                }
            }
            Step::EditThere(document) => {
                let open = self.keeper.as_ref().unwrap().yjs(&name(document)).unwrap();
                self.write(document, &open);
            }
            Step::Sync => {
                if !self.linked {
                    self.link();
                }
                in_sync(self.one());
            }
            Step::Evict => {
                self.one().set_budget(Some(all())).unwrap();
                self.one().make_room().unwrap();
                self.one().set_budget(None).unwrap();
                self.stubs += self.one().evicted().unwrap().len();
            }
            Step::Fetch(document) => {
                let limit = if self.linked { LIMIT } else { Duration::from_millis(20) };
                if !self.is_deleted(document) {
                    let found = open(self.one(), document, limit);
                    assert!(found.is_some() || !self.linked, "{document}");
                }
            }
            // Here alone: deletions do not travel.
            Step::Delete(document) => {
                self.deleted[usize::from(document)] |= self.one().remove(&name(document)).unwrap();
            }
            Step::Cut => {
                let _ = self.one().unlink(&format!("ws://{}", self.address));
                self.linked = false;
            }
            Step::Restart => self.restart(),
            Step::RestartKeeper => self.restart_keeper(),
        }
    }

    /// Everything is where it was written, and, unless it was deleted here, on both sides.
    fn check(mut self) -> usize {
        self.take(Step::Sync);
        for document in 0..DOCUMENTS {
            let written = self.written.get(&document).cloned().unwrap_or_default();
            if self.is_deleted(document) {
                continue;
            }
            let here = open(self.one(), document, LIMIT).unwrap();
            let there = self.keeper.as_ref().unwrap().yjs(&name(document)).unwrap();
            // What the other end has not told of yet, a sync does not wait for.
            let start = std::time::Instant::now();
            while (lines(&here), lines(&there)) != (written.clone(), written.clone()) {
                let found = (lines(&here), lines(&there));
                assert!(start.elapsed() < LIMIT, "document {document}: {written:?}, found {found:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.stubs
    }
}

/// More in a longer run.
fn cases() -> u32 {
    std::env::var("TOMBOLO_TEST_BUDGET_CASES").ok().map_or(4, |cases| cases.parse().unwrap())
}

fn replay(steps: &[Step]) -> usize {
    let mut world = World::new();
    steps.iter().for_each(|step| world.take(*step));
    world.check()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_is_lost_whatever_is_evicted(steps in prop::collection::vec(step(), 1..25)) {
        replay(&steps);
    }
}

/// The steps above do evict.
#[test]
fn edits_of_both_sides_meet_in_what_was_evicted() {
    use Step::{Cut, Edit, EditThere, Evict, Fetch, Restart, Sync};
    let steps = [
        Edit(0),
        Edit(1),
        Sync,
        Evict,
        EditThere(0),
        Restart,
        Edit(0),
        Sync,
        Evict,
        Cut,
        Evict,
        Edit(1),
        Sync,
        EditThere(1),
        Fetch(1),
        Evict,
        Restart,
        EditThere(2),
        Evict,
        Edit(2),
    ];
    assert!(replay(&steps) > 3);
}

#[test]
fn no_kill_amid_evictions_loses_an_edit() {
    if let (Some(folder), Some(node)) = (std::env::var_os(FOLDER), std::env::var(NODE).ok()) {
        edit_until_killed(Path::new(&folder), &node);
    }
    let rounds = std::env::var("TOMBOLO_TEST_KILL_ROUNDS").ok().map_or(8, |rounds| rounds.parse().unwrap());
    let (root, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let node = format!("ws://{}", server.address);
    let folder: PathBuf = root.path().join("one");
    let mut receipts: BTreeMap<u8, u32> = BTreeMap::new();
    let mut stubs = 0;
    for round in 0..rounds {
        edit_and_kill(&folder, &node, round, &mut receipts);
        let one = Replica::open(&folder).unwrap();
        one.link(&node, LinkOptions::default()).unwrap();
        stubs += one.evicted().unwrap().len();
        for (document, count) in &receipts {
            let lines = lines(&open(&one, *document, LIMIT).unwrap());
            let there = u32::try_from(lines.len()).unwrap();
            assert!(
                there >= *count && lines.iter().copied().eq(0..there),
                "round {round}: document {document} had {count} receipts, and {lines:?} are there"
            );
        }
        one.close().unwrap();
    }
    assert!(stubs > 0 && receipts.values().sum::<u32>() > 5 * rounds, "{stubs} stubs, {receipts:?}");
}

fn edit_and_kill(folder: &Path, node: &str, round: u32, receipts: &mut BTreeMap<u8, u32>) {
    let mut editor = Command::new(std::env::current_exe().unwrap())
        .args(["budget_random::no_kill_amid_evictions_loses_an_edit", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(NODE, node)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(editor.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut note = |line: &str| {
        let told = line.strip_prefix("receipt ").and_then(|told| told.split_once(' '));
        let Some((document, count)) = told else { return false };
        receipts.insert(document.parse().unwrap(), count.parse().unwrap());
        true
    };
    let mut heard = 0;
    while heard < 8 {
        heard += usize::from(note(&lines.next().expect("the editor ended by itself")));
    }
    // A different instant in each round.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 150)));
            editor.kill().unwrap();
            editor.wait().unwrap();
        });
        for line in lines {
            note(&line);
        }
    });
}

/// Edits one document after the other, and evicts all that can go all the time.
fn edit_until_killed(folder: &Path, node: &str) -> ! {
    let one = Replica::open(folder).unwrap();
    one.link(node, LinkOptions::default()).unwrap();
    one.set_budget(Some(all())).unwrap();
    for document in (0..DOCUMENTS).cycle() {
        let Some(into) = open(&one, document, LIMIT) else { continue };
        let next = u32::try_from(lines(&into).len()).unwrap();
        add_line(&into, next);
        std::io::stdout().write_all(format!("receipt {document} {}\n", next + 1).as_bytes()).unwrap();
        drop(into);
        if document == 1 {
            let _ = one.wait_for_sync(Duration::from_secs(1));
            one.make_room().unwrap();
        }
    }
    unreachable!("there is always another one")
}
