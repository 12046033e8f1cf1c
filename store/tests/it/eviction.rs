//! Evicted documents: a stub that is opened by fetching only, and, whenever the process is killed, the whole document
//! or the stub.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::operation::Kind;
use tombolo_store::{Document, Engine, Held, Kept, Store, StoreError, maintain};

use super::fold::{self, Deadly};
use super::kill::{name, open, random};
use super::typist::{keystroke, paste, reach, text, typed};

/// Set in the writer process: the folder to write to.
const FOLDER: &str = "TOMBOLO_TEST_EVICTER_FOLDER";
/// For a longer run.
const ROUNDS: &str = "TOMBOLO_TEST_KILL_ROUNDS";
const DOCUMENTS: u64 = 4;

on_each_engine! {
    a_stub_is_opened_by_fetching_only,
    what_is_held_stays,
    what_is_in_quarantine_stays,
    a_kill_leaves_the_whole_document_or_the_stub,
}

fn append(document: &Document, payload: Bytes) {
    let (sender, receiver) = channel();
    let done = Box::new(move |result: Result<_, _>| sender.send(result.map(|_| ())).unwrap());
    document.append(Kind::YjsUpdate, payload, done).unwrap();
    receiver.recv().unwrap().unwrap();
}

fn kept(had: u64) -> Kept {
    let keeper = (ReplicaId([1; 16]), Incarnation([2; 16]));
    Kept { keeper, address: "ws://keeper".to_owned(), had: had.to_be_bytes().to_vec() }
}

/// Evicts a document as it is now.
fn evict(store: &Store, id: &DocumentId, had: u64) -> Result<u64, Held> {
    store.flush().unwrap();
    let standing = store.standing(id).unwrap();
    store.evict(id, &standing, &kept(had)).unwrap()
}

fn a_stub_is_opened_by_fetching_only(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let (id, other) = (name(1), name(2));
    let store = open(folder.path(), engine);
    (0..20).for_each(|clock| append(&store.document(&id).unwrap(), keystroke(7, clock)));
    append(&store.document(&other).unwrap(), keystroke(7, 0));
    let before = store.describe(&id).unwrap().unwrap();
    let latest = store.latest_change().unwrap();
    assert!(evict(&store, &id, 20).unwrap() > 100);
    assert_eq!(store.latest_change().unwrap(), latest, "nothing changed that a link would have to hear of");
    drop(store);

    for _ in 0..2 {
        let store = open(folder.path(), engine);
        let refused = store.document(&id).map(drop).unwrap_err();
        assert!(matches!(refused, StoreError::Evicted { .. }), "{refused}");
        assert!(refused.to_string().contains("ws://keeper has it"), "{refused}");
        assert_eq!(store.documents(None, 10).unwrap(), [id.clone(), other.clone()]);
        let [(stubbed, stub)] = &store.stubs().unwrap()[..] else { panic!() };
        assert_eq!((stubbed, &stub.keeper, &stub.had), (&id, &kept(20).keeper, &kept(20).had));
        assert!(stub.evicted_ms > 1_700_000_000_000 && stub.bytes > 100);
        let described = store.describe(&id).unwrap().unwrap();
        assert_eq!((described.bytes(), described.bytes_at_rest), (0, 0));
        assert_eq!((&described.version, described.stub.as_ref()), (&before.version, Some(stub)));
        assert_eq!(text(&store.document(&other).unwrap().read().unwrap()), typed(1));
        let verification = store.verify(&mut |_| ());
        assert!(!verification.is_damaged(), "{:?}", verification.findings);
    }

    let store = open(folder.path(), engine);
    let fetching = store.fetch(&id).unwrap();
    append(&fetching, paste(7, 0, 20));
    assert!(
        matches!(store.document(&id), Err(StoreError::Evicted { .. })),
        "not all of it is known to be here"
    );
    drop((fetching, store));
    let store = open(folder.path(), engine);
    assert!(matches!(store.document(&id), Err(StoreError::Evicted { .. })));
    store.fetched(&id).unwrap();
    assert_eq!(text(&store.document(&id).unwrap().read().unwrap()), typed(20));
    append(&store.document(&id).unwrap(), keystroke(7, 20));
    drop(store);
    let store = open(folder.path(), engine);
    assert_eq!(text(&store.document(&id).unwrap().read().unwrap()), typed(21));
    assert_eq!(store.stubs().unwrap(), []);
    let after = store.describe(&id).unwrap().unwrap();
    assert_eq!(after.operations(), before.operations() + 2, "no name of an operation is given twice");

    // A stub can be deleted.
    assert!(evict(&store, &id, 21).is_ok());
    assert!(store.remove(&id).unwrap());
    store.flush().unwrap();
    assert!(matches!(store.document(&id), Err(StoreError::Deleted { .. })));
    assert_eq!((store.stubs().unwrap(), store.describe(&id).unwrap()), (vec![], None));
    assert!(store.purge(&id).unwrap());
    assert_eq!(store.document(&id).unwrap().read().unwrap().tail.len(), 0);
}

fn what_is_held_stays(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let id = name(1);
    let store = open(folder.path(), engine);
    let document = store.document(&id).unwrap();
    append(&document, keystroke(7, 0));
    assert_eq!(evict(&store, &id, 1), Err(Held::InUse));
    drop(document);
    let standing = store.standing(&id).unwrap();
    append(&store.document(&id).unwrap(), keystroke(7, 1));
    store.flush().unwrap();
    assert_eq!(store.evict(&id, &standing, &kept(1)).unwrap(), Err(Held::Changed));
    assert_eq!(text(&store.document(&id).unwrap().read().unwrap()), typed(2));
    let never = name(9);
    let standing = store.standing(&never).unwrap();
    assert_eq!(store.evict(&never, &standing, &kept(0)).unwrap(), Err(Held::Nothing));
    assert_eq!(store.stubs().unwrap(), []);
    assert!(evict(&store, &id, 2).is_ok());
}

fn what_is_in_quarantine_stays(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = fold::open(folder.path(), engine, Deadly::dies([100]));
    fold::append(&store, (0..3).map(|clock| keystroke(7, clock)).chain([keystroke(100, 0)]));
    fold::fold(&store);
    while store.quarantine(&fold::document()).unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(evict(&store, &fold::document(), 3), Err(Held::Quarantine));
    assert_eq!(fold::read(&store), typed(3));
}

/// Repair hands a stub on, whatever else is damaged.
#[test]
fn repair_knows_stubs() {
    for engine in [Engine::Sled, Engine::Redb] {
        let root = tempfile::tempdir().unwrap();
        let (folder, copy) = (root.path().join("data"), root.path().join("copy"));
        let store = open(&folder, engine);
        (0..5).for_each(|clock| append(&store.document(&name(1)).unwrap(), keystroke(7, clock)));
        assert!(evict(&store, &name(1), 5).is_ok());
        let stubs = store.stubs().unwrap();
        drop(store);
        let repair = maintain::repair(&folder, &copy, &mut |_| ()).unwrap();
        assert_eq!((repair.whole, repair.lost), (1, vec![]));
        assert_eq!(open(&copy, engine).stubs().unwrap(), stubs);
    }
}

fn a_kill_leaves_the_whole_document_or_the_stub(engine: Engine) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        evict_until_killed(Path::new(&folder), engine);
    }
    let rounds = std::env::var(ROUNDS).ok().map_or(40, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut receipts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut stubs = 0;
    for round in 1..=rounds {
        work_and_kill(folder.path(), engine, &mut receipts);
        let store = open(folder.path(), engine);
        for (document, clock) in &receipts {
            let reached = match store.stub(&name(*document)).unwrap() {
                Some(stub) => {
                    stubs += 1;
                    u64::from_be_bytes(stub.had.try_into().unwrap())
                }
                None => {
                    let contents = store.document(&name(*document)).unwrap().read().unwrap();
                    let reached = reach(&contents, 7);
                    assert_eq!(text(&contents), typed(reached), "round {round}: document {document}");
                    reached
                }
            };
            assert!(
                reached >= *clock,
                "round {round}: document {document} had {clock} receipts, {reached} are there"
            );
        }
        store.close().unwrap();
    }
    assert!(stubs > 0, "no document was ever a stub");
}

fn work_and_kill(folder: &Path, engine: Engine, receipts: &mut BTreeMap<u64, u64>) {
    let test = format!("eviction::a_kill_leaves_the_whole_document_or_the_stub::{engine}");
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut note = |line: &str| {
        let Some((document, clock)) = super::kill::receipt(line) else { return false };
        let known = receipts.entry(document).or_default();
        *known = (*known).max(clock);
        true
    };
    while !note(&lines.next().expect("the writer ended by itself")) {}
    let killed = random(40_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_micros(killed));
            writer.kill().unwrap();
            writer.wait().unwrap();
        });
        for line in lines {
            note(&line);
        }
    });
}

/// Types, evicts and fetches again what it typed, which anybody knows who knows how far it came.
fn evict_until_killed(folder: &Path, engine: Engine) -> ! {
    let store = open(folder, engine);
    for document in (0..DOCUMENTS).cycle() {
        let id = name(document);
        if let Some(stub) = store.stub(&id).unwrap() {
            let had = u64::from_be_bytes(stub.had.try_into().unwrap());
            let fetching = store.fetch(&id).unwrap();
            // In two pieces, so that a kill may come in between.
            append(&fetching, paste(7, 0, had.div_ceil(2)));
            if had > 1 {
                append(&fetching, paste(7, had.div_ceil(2), had - had.div_ceil(2)));
            }
            store.fetched(&id).unwrap();
        }
        let open = store.document(&id).unwrap();
        let from = reach(&open.read().unwrap(), 7);
        for clock in from..=from + random(12) {
            append(&open, keystroke(7, clock));
            // One write for each line: a kill cuts between lines.
            std::io::stdout().write_all(format!("receipt {document} {}\n", clock + 1).as_bytes()).unwrap();
        }
        let had = reach(&open.read().unwrap(), 7);
        drop(open);
        // It may be in use by nobody but this, and change in no other way than by a fold.
        match evict(&store, &id, had) {
            Ok(_) | Err(Held::Changed) => {}
            Err(held) => panic!("{held:?}"),
        }
    }
    unreachable!("there is always another one");
}
