//! Folding tails in any order, with gaps, and with operations that an engine dies of.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use bytes::Bytes;
use proptest::prelude::*;
use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::Kind;
use tombolo_core::update::{Update, merge};
use tombolo_store::worker::{Reply, Request, ThreadWorker, Worker, WorkerError};
use tombolo_store::{AppendError, Engine, Release, Store, StoreConfig};

use super::typist::{keystroke, text, typed};

on_each_engine! {
    tails_in_any_order_fold_whole,
    what_waits_is_kept_and_folded_when_its_ground_comes,
    an_operation_that_kills_is_set_aside_and_nothing_else,
    what_cannot_be_asked_or_proved_sets_nothing_aside,
    the_last_straw_is_not_to_blame,
    who_brings_the_ground_of_a_deadly_change_is_not_to_blame,
    updates_that_are_ground_for_each_other_are_folded,
}

pub fn open(folder: &Path, engine: Engine, worker: Arc<dyn Worker>) -> Store {
    let config = StoreConfig { takeover_ms: 5, engine: Some(engine), ..StoreConfig::new(folder) };
    Store::open(config, worker).unwrap()
}

pub fn threads() -> Arc<dyn Worker> {
    ThreadWorker::start().unwrap()
}

pub fn document() -> DocumentId {
    DocumentId::yjs("d").unwrap()
}

/// Appends these, waits until each is durable.
pub fn append(store: &Store, payloads: impl IntoIterator<Item = Bytes>) -> Vec<Seq> {
    let document = store.document(&document()).unwrap();
    let (sender, receiver) = channel();
    for payload in payloads {
        let sender = sender.clone();
        let done = Box::new(move |result| sender.send(result).unwrap());
        document.append(Kind::YjsUpdate, payload, done).unwrap();
    }
    drop(sender);
    receiver.iter().map(Result::unwrap).collect()
}

pub fn fold(store: &Store) {
    store.fold_all(&mut |_| ()).unwrap();
}

/// Operations that are not folded.
pub fn tail(store: &Store) -> usize {
    store.document(&document()).unwrap().read().unwrap().tail.len()
}

pub fn read(store: &Store) -> String {
    text(&store.document(&document()).unwrap().read().unwrap())
}

/// The same numbers in an order without a rule.
fn shuffled(count: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    numbers.sort_by_key(|n| *blake3::hash(&n.to_le_bytes()).as_bytes());
    numbers
}

fn tails_in_any_order_fold_whole(engine: Engine) {
    const COUNT: u64 = 10_000;
    for order in [(0..COUNT).rev().collect(), shuffled(COUNT)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine, threads());
        append(&store, order.into_iter().map(|clock| keystroke(7, clock)));
        fold(&store);
        assert_eq!((tail(&store), read(&store)), (0, typed(COUNT)));
    }
}

fn what_waits_is_kept_and_folded_when_its_ground_comes(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), engine, threads());
    append(&store, shuffled(3_000).into_iter().filter(|n| *n != 1_000).map(|clock| keystroke(7, clock)));
    fold(&store);
    assert_eq!(tail(&store), 1_999, "what is behind the gap waits");
    fold(&store);
    drop(store);
    let store = open(folder.path(), engine, threads());
    assert_eq!(tail(&store), 1_999);
    append(&store, [keystroke(7, 1_000)]);
    fold(&store);
    assert_eq!((tail(&store), read(&store)), (0, typed(3_000)));
}

/// Dies of every request that has the letter that is typed at one of these clocks of client 9, as long as there is
/// an engine.
pub struct Deadly {
    engine: Arc<dyn Worker>,
    killers: Vec<u64>,
    error: WorkerError,
}

impl Deadly {
    pub fn start(killers: impl IntoIterator<Item = u64>, error: WorkerError) -> Arc<Self> {
        Arc::new(Self { engine: threads(), killers: killers.into_iter().collect(), error })
    }

    pub fn dies(killers: impl IntoIterator<Item = u64>) -> Arc<Self> {
        Self::start(killers, WorkerError::Died { reason: "of the letter".into() })
    }
}

impl Worker for Deadly {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let Request::Compact { parts, .. } = &request else { panic!("{request:?}") };
        if self.killers.iter().any(|clock| parts.contains(&keystroke(*clock, 0))) {
            return Err(self.error.clone());
        }
        self.engine.call(request)
    }
}

/// Dies of more parts than these, whichever they are.
struct Small {
    engine: Arc<dyn Worker>,
    most: usize,
    is_strained: AtomicBool,
}

impl Worker for Small {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let Request::Compact { parts, .. } = &request else { panic!("{request:?}") };
        if parts.len() > self.most {
            return Err(WorkerError::Died { reason: "of memory".into() });
        }
        self.is_strained.store(parts.len() > self.most / 4, Ordering::Relaxed);
        self.engine.call(request)
    }

    fn is_strained(&self) -> bool {
        self.is_strained.load(Ordering::Relaxed)
    }
}

fn the_last_straw_is_not_to_blame(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let small = Small { engine: threads(), most: 30, is_strained: AtomicBool::new(false) };
    let store = open(folder.path(), engine, Arc::new(small));
    append(&store, (0..31).map(|clock| keystroke(7, clock)));
    fold(&store);
    assert!(store.quarantine(&document()).unwrap().is_empty());
    assert_eq!(tail(&store), 1);
    assert_eq!(read(&store).len(), 31);
}

fn updates_that_are_ground_for_each_other_are_folded(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), engine, threads());
    // "a" and, behind a hole, "c", as one update; then "b".
    let [a, b, c] = [0, 1, 2].map(|clock| Update::parse(keystroke(7, clock)).unwrap());
    append(&store, [merge(&[a, c]), b.bytes().clone()]);
    fold(&store);
    assert_eq!((tail(&store), read(&store)), (0, "abc".to_owned()));
}

/// A change, and one behind it that is deadly when it is applied.
const GROUND: &str = "856f4a831ff7d319012f0010010101010101010101010101010101010101000000061503340142025602570170027f016b017f017f14017f00";
const DEADLY: &str = "856f4a835c4ac14c0157011ff7d3194b7f45a5bf58a957960bea5ff0c51375cab2efce5ad5a45bb0c1dd2d1001010101010101010101010101010101020200000008150334014202560257017002710273027f016b017f017f14027f017f007f01";

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Dies when the second change has its ground.
struct DeadlyTogether(Arc<dyn Worker>);

impl Worker for DeadlyTogether {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        let Request::Compact { parts, .. } = &request else { panic!("{request:?}") };
        if parts.contains(&bytes(DEADLY)) && (parts[0] != bytes(DEADLY) || parts.contains(&bytes(GROUND))) {
            return Err(WorkerError::Died { reason: "of both".into() });
        }
        self.0.call(request)
    }
}

fn who_brings_the_ground_of_a_deadly_change_is_not_to_blame(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), engine, Arc::new(DeadlyTogether(threads())));
    let id = DocumentId::Automerge([1; 16]);
    let document = store.document(&id).unwrap();
    let (sender, receiver) = channel();
    for payload in [DEADLY, GROUND] {
        let sender = sender.clone();
        let done = Box::new(move |result: Result<Seq, AppendError>| sender.send(result.unwrap()).unwrap());
        document.append(Kind::AutomergeChanges, bytes(payload), done).unwrap();
        receiver.recv().unwrap();
    }
    fold(&store);
    let aside: Vec<_> = store.quarantine(&id).unwrap().into_iter().map(|noted| noted.seq).collect();
    assert_eq!(aside, [Seq(1)]);
    let contents = document.read().unwrap();
    assert!(contents.snapshot.is_some() && contents.tail.is_empty());
}

/// A thousand letters of client 7, with one of each of these clients in between: that is what is deadly.
pub fn with_killers(killers: &[u64]) -> Vec<Bytes> {
    let mut payloads: Vec<_> = (0..1_000).map(|clock| keystroke(7, clock)).collect();
    for (at, client) in killers.iter().enumerate() {
        payloads.insert(at * 977 % 1_000, keystroke(*client, 0));
    }
    payloads
}

fn an_operation_that_kills_is_set_aside_and_nothing_else(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), engine, Deadly::dies([100, 102]));
    // Who has it open the whole time hears of it, too.
    let document_open = store.document(&document()).unwrap();
    let payloads = with_killers(&[100, 101, 102]);
    let seqs = append(&store, payloads.iter().cloned().chain([keystroke(100, 1), keystroke(7, 1_000)]));
    fold(&store);
    let held: BTreeSet<_> = store.quarantine(&document()).unwrap().iter().map(|noted| noted.seq).collect();
    let killers = [100, 102]
        .map(|client| seqs[payloads.iter().position(|payload| *payload == keystroke(client, 0)).unwrap()]);
    assert_eq!(held, killers.into());
    assert_eq!(tail(&store), 1, "what leans on an operation that was set aside waits for it");
    let again = |client| document_open.append(Kind::YjsUpdate, keystroke(client, 0), Box::new(|_| ()));
    assert!(matches!(again(100), Err(AppendError::Quarantined { .. })));
    assert!(again(101).is_ok());
    drop(document_open);
    drop(store);

    // An engine that does not die of it any more.
    let store = open(folder.path(), engine, threads());
    let document_open = store.document(&document()).unwrap();
    let refused = document_open.append(Kind::YjsUpdate, keystroke(102, 0), Box::new(|_| ()));
    assert!(matches!(refused, Err(AppendError::Quarantined { .. })));
    for seq in killers {
        assert!(store.release(&document(), (store.replica(), seq), Release::Retry).unwrap());
    }
    fold(&store);
    assert_eq!((tail(&store), store.quarantine(&document()).unwrap().len()), (0, 0));
    assert_eq!(read(&store).len(), 1_005);
}

fn what_cannot_be_asked_or_proved_sets_nothing_aside(engine: Engine) {
    let unavailable = WorkerError::Unavailable { reason: "no memory".into() };
    let diverged = WorkerError::Diverged { reason: "other text".into() };
    for (error, kept) in [(unavailable, 1_001), (WorkerError::Pending, 1), (diverged, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), engine, Deadly::start([100], error));
        append(&store, with_killers(&[100]));
        fold(&store);
        assert_eq!((tail(&store), store.quarantine(&document()).unwrap().len()), (kept, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any order, any gaps, any killers: each operation is folded, in the tail or in quarantine.
    #[test]
    fn folded_kept_and_set_aside_are_all(
        order in Just((0..60u64).collect::<Vec<_>>()).prop_shuffle(),
        lost in prop::collection::btree_set(0..60u64, 0..3),
        killers in prop::collection::btree_set(100..160u64, 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Engine::Sled, Deadly::dies(killers.clone()));
        // Clock n of client 7, and for every third also the first letter of client n + 100.
        let of = |n: &u64| [Some(keystroke(7, *n)), n.is_multiple_of(3).then(|| keystroke(n + 100, 0))];
        let payloads: Vec<_> = order.iter().filter(|n| !lost.contains(n)).flat_map(of).flatten().collect();
        append(&store, payloads.clone());
        fold(&store);
        let contents = store.document(&document()).unwrap().read().unwrap();
        let reach = lost.first().copied().unwrap_or(60);
        let waiting = (reach..60).filter(|n| !lost.contains(n)).map(|clock| keystroke(7, clock));
        prop_assert_eq!(contents.tail.iter().cloned().collect::<BTreeSet<_>>(), waiting.collect::<BTreeSet<_>>());
        let held = store.quarantine(&document()).unwrap().into_iter();
        let asides = held.map(|noted| {
            let aside = store.set_aside(&document(), (noted.replica, noted.seq)).unwrap().unwrap();
            aside.operation.payload
        });
        let stored = |client: &u64| payloads.contains(&keystroke(*client, 0));
        let expected: BTreeSet<_> = killers.iter().filter(|client| stored(client)).map(|client| keystroke(*client, 0)).collect();
        let folded = payloads.len() - contents.tail.len() - expected.len();
        prop_assert_eq!(asides.collect::<BTreeSet<_>>(), expected);

        prop_assert_eq!(text(&tombolo_store::Contents { tail: Vec::new(), ..contents }).len(), folded);
    }
}
