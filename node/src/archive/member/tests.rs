//! Documents that change while somebody waits for them, that do not validate, and that open no session.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use tombolo_core::engine::automerge::Session;
use tombolo_core::operation::Kind;
use tombolo_core::room::{Answer, StoreRefused};
use tombolo_relay::member::PairwisePort;
use tombolo_store::StoreConfig;
use tombolo_store::worker::{Reply, Request, ThreadWorker, WorkerError};

use super::super::reading::{Opened, ReadError, open};
use super::*;

/// Client 9 types something.
const DEADLY: Bytes = Bytes::from_static(&[1, 1, 9, 0, 4, 1, 1, b't', 1, b'!', 0]);

/// A change of one Automerge actor, and one of another that the engine dies of.
const CHANGES: [&str; 2] = [
    "856f4a831ff7d319012f0010010101010101010101010101010101010101000000061503340142025602570170027f016b017f017f14017f00",
    "856f4a837aba8c8b012f0010020202020202020202020202020202020101000000061503340142025602570170027f016f017f017f14017f00",
];

fn changes() -> [Bytes; 2] {
    let byte = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    CHANGES.map(|hex| (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect())
}

/// An engine that dies of some operations, and folds nothing before a gate is open.
struct Gated {
    engine: Arc<dyn Worker>,
    gate: Mutex<Receiver<()>>,
}

impl Worker for Gated {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        if matches!(request, Request::Compact { .. }) {
            // Its other end is dropped to open it.
            let _ = self.gate.lock().unwrap().recv();
        }
        if let Request::Compact { parts, .. } | Request::SessionOpen { parts, .. } = &request
            && (parts.contains(&DEADLY) || parts.contains(&changes()[1]))
        {
            return Err(WorkerError::Died { reason: "of a whim".into() });
        }
        self.engine.call(request)
    }
}

struct Port(Mutex<Sender<Result<Answer, StoreRefused>>>, Mutex<Sender<Result<(), StoreRefused>>>);

impl RoomPort for Port {
    fn stored(&self, results: &[(Ticket, Result<(), StoreRefused>)]) {
        results.iter().for_each(|(_, result)| self.1.lock().unwrap().send(*result).unwrap());
    }

    fn answered(&self, _: MemberId, result: Result<Answer, StoreRefused>) {
        self.0.lock().unwrap().send(result).unwrap();
    }

    fn released(&self, _: Update) {}
}

/// A store, its archive, and what opens the gate.
fn start(folder: &Path) -> (Store, StoreArchive, Sender<()>) {
    let (opens, gate) = channel();
    let engine: Arc<dyn Worker> = ThreadWorker::start().unwrap();
    let worker: Arc<dyn Worker> = Arc::new(Gated { engine, gate: Mutex::new(gate) });
    let store = Store::open(StoreConfig::new(folder), Arc::clone(&worker)).unwrap();
    let archive = StoreArchive::start(store.clone(), &worker).unwrap();
    (store, archive, opens)
}

/// Client 7 types a letter behind the others.
fn letter(clock: u8) -> Bytes {
    match clock {
        0 => Bytes::from_static(&[1, 1, 7, 0, 4, 1, 1, b't', 1, b'x', 0]),
        _ => Bytes::from(vec![1, 1, 7, clock, 0x84, 7, clock - 1, 1, b'x', 0]),
    }
}

fn append(store: &Store, id: &DocumentId, payloads: impl IntoIterator<Item = Bytes>) {
    let document = store.document(id).unwrap();
    let kind = if matches!(id, DocumentId::Yjs(_)) { Kind::YjsUpdate } else { Kind::AutomergeChanges };
    for payload in payloads {
        document.append(kind, payload, Box::new(drop)).unwrap();
    }
    store.flush().unwrap();
}

#[test]
fn what_is_served_and_what_is_asked_for_belong_together_whatever_is_set_aside_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (store, archive, gate) = start(folder.path());
    drop(gate);
    let id = DocumentId::yjs("d").unwrap();
    append(&store, &id, (0..50).map(letter).chain([DEADLY]));
    let ((sender, answers), (acknowledges, stored)) = (channel(), channel());
    let seat = archive.open(&id, Arc::new(Port(Mutex::new(sender), Mutex::new(acknowledges))));
    let read = |have: u64| seat.read(MemberId(1), [(7, have)].into_iter().collect());
    read(1);
    let knows = |answer: Answer| answer.state_vector.get(9);
    assert_eq!(knows(answers.recv().unwrap().unwrap()), 1);
    // What was read is not kept.
    seat.store(Ticket(1), Update::parse(letter(50)).unwrap(), Arrival::Change);
    stored.recv().unwrap().unwrap();
    let turns = u32::try_from(READING_MAX).unwrap();
    let turns = runtime.block_on(archive.common.reading.acquire_many(turns)).unwrap();
    read(1);
    store.fold_all(&mut |_| ()).unwrap();
    assert_eq!(store.quarantine(&id).unwrap().len(), 1);
    drop(turns);
    let answer = answers.recv().unwrap().unwrap();
    assert!(!Update::parse(answer.update.clone()).unwrap().blocks().any(|(client, ..)| client == 9));
    assert_eq!(knows(answer), 0, "who has it is asked for it");
}

#[test]
fn what_does_not_validate_is_not_parsed_anew_before_it_has_changed_and_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (store, archive, gate) = start(folder.path());
    let [id, other] = ["d", "other"].map(|name| DocumentId::yjs(name).unwrap());
    append(&store, &other, [letter(0)]);
    // The one who looks for what is to blame is busy with another document.
    store.suspect(&other);
    append(&store, &id, [letter(0), Bytes::from_static(b"no update")]);
    let open = || open(&archive.common, &id, false);
    for _ in 0..2 {
        for _ in 0..2 {
            assert!(matches!(open(), Err(ReadError::Invalid(_))));
        }
        for _ in 0..2 {
            let refused = open().err().unwrap();
            assert!(matches!(refused, ReadError::Hopeless) && refused.refusal() == StoreRefused::Damaged);
        }
        append(&store, &id, [letter(1)]);
    }
    drop(gate);
    while store.is_suspect(&id) {
        std::thread::yield_now();
    }
    let Opened { coverage, .. } = open().unwrap();
    assert_eq!(coverage.state_vector().get(7), 2);
    assert_eq!(store.quarantine(&id).unwrap().len(), 1);
}

/// What a connection is told: of which document, if it is a sync message.
struct Connection(Mutex<Sender<Option<DocumentId>>>);

impl PairwisePort for Connection {
    fn sync(&self, document: &DocumentId, _: Bytes) {
        self.0.lock().unwrap().send(Some(document.clone())).unwrap();
    }

    fn unavailable(&self, _: &DocumentId) {
        self.0.lock().unwrap().send(None).unwrap();
    }

    fn refuse(&self, _: &str) {
        self.0.lock().unwrap().send(None).unwrap();
    }
}

#[test]
fn a_document_that_is_being_examined_is_waited_for_and_others_on_its_connection_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (store, archive, gate) = start(folder.path());
    let [id, other] = [1, 2].map(|id| DocumentId::Automerge([id; 16]));
    append(&store, &id, changes());
    append(&store, &other, [changes()[0].clone()]);
    let (sender, told) = channel();
    let peer = archive.pairwise().join(Arc::new(Connection(Mutex::new(sender))));
    let ask = |id: &DocumentId| {
        let mut client = Session::open(&[]).unwrap();
        client.join(0);
        for (_, message) in client.generate() {
            archive.pairwise().receive(peer, id.clone(), message, true);
        }
    };
    ask(&id);
    while !store.is_suspect(&id) {
        std::thread::yield_now();
    }
    ask(&id);
    ask(&other);
    assert_eq!(told.recv().unwrap(), Some(other));
    drop(gate);
    assert_eq!(told.recv().unwrap(), Some(id.clone()));
    assert_eq!(store.quarantine(&id).unwrap().len(), 1);
    archive.pairwise().leave(peer);
}
