//! Who joins a folded document that nobody has open: what is served without a look at its structs.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo::archive::StoreArchive;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_core::room::{Answer, MemberId, StoreRefused, Ticket};
use tombolo_core::update::{Coverage, StateVector, Update, diff};
use tombolo_relay::member::{Archive, RoomPort};
use tombolo_store::worker::{ThreadWorker, Worker};
use tombolo_store::{Store, StoreConfig};

struct Port(mpsc::Sender<Answer>);

impl RoomPort for Port {
    fn stored(&self, _results: &[(Ticket, Result<(), StoreRefused>)]) {}

    fn answered(&self, _asker: MemberId, result: Result<Answer, StoreRefused>) {
        self.0.send(result.unwrap()).unwrap();
    }

    fn released(&self, _update: Update) {}
}

/// What `client` typed at `clock`, and that it deleted the letter before.
fn letter(client: u8, clock: u8) -> Bytes {
    let mut bytes = vec![1, 1, client, clock];
    match clock {
        0 => bytes.extend([4, 1, 1, b't']),
        clock => bytes.extend([0x84, client, clock - 1]),
    }
    bytes.extend([1, b'a' + clock % 26]);
    match clock {
        0 => bytes.push(0),
        clock => bytes.extend([1, client, 1, clock - 1, 1]),
    }
    bytes.into()
}

fn open(folder: &Path) -> (Store, Arc<dyn Worker>) {
    let worker: Arc<dyn Worker> = ThreadWorker::start().unwrap();
    (Store::open(StoreConfig::new(folder), Arc::clone(&worker)).unwrap(), worker)
}

#[test]
fn a_cold_document_is_served_from_its_outline() {
    let folder = tempfile::tempdir().unwrap();
    let id = DocumentId::yjs("notes").unwrap();
    let (folded, tail): (Vec<_>, Vec<_>) = [(1, 0..100), (2, 0..60), (1, 100..110), (3, 0..2)]
        .into_iter()
        .flat_map(|(client, clocks)| clocks.map(move |clock| letter(client, clock)))
        .enumerate()
        .partition(|(at, _)| *at < 160);
    let [folded, tail] =
        [folded, tail].map(|part| part.into_iter().map(|(_, update)| update).collect::<Vec<_>>());
    let (store, _worker) = open(folder.path());
    let append = |update: &Bytes| {
        let document = store.document(&id).unwrap();
        document.append(Kind::YjsUpdate, update.clone(), Box::new(drop)).unwrap();
    };
    folded.iter().for_each(append);
    store.flush().unwrap();
    // It is folded when its last user leaves.
    let read = || store.document(&id).unwrap().read().unwrap();
    let start = Instant::now();
    while read().snapshot.is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "it was not folded");
        std::thread::sleep(Duration::from_millis(5));
    }
    tail.iter().for_each(append);
    store.flush().unwrap();
    let contents = read();
    assert!(contents.outline.is_some());
    let all: Vec<_> =
        contents.snapshot.into_iter().chain(contents.tail).map(|part| Update::parse(part).unwrap()).collect();
    store.close().unwrap();
    drop(store);

    let vectors = [
        vec![],
        vec![(1, 50)],
        vec![(1, 100), (2, 60)],
        vec![(1, 110), (2, 60), (3, 2)],
        vec![(1, 110), (2, 60), (3, 2), (9, 1)],
        vec![(1, 110), (3, 2)],
    ];
    for have in vectors.map(StateVector::from_iter) {
        let (store, worker) = open(folder.path());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let archive = {
            let _inside = runtime.enter();
            StoreArchive::start(store.clone(), &worker).unwrap()
        };
        let (sender, answers) = mpsc::channel();
        let seat = archive.open(&id, Arc::new(Port(sender)));
        // The first opens it, the second finds it open.
        for _ in 0..2 {
            seat.read(MemberId(1), have.clone());
            let answer = answers.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(answer.state_vector, StateVector::from_iter([(1, 110), (2, 60), (3, 2)]));
            assert_eq!(content(&answer.update), content(&diff(&all, &have)), "{have:?}");
        }
        drop((seat, archive, runtime));
        store.close().unwrap();
    }
}

fn content(update: &Bytes) -> (Vec<u8>, Vec<(u64, u64, u64)>) {
    let update = Update::parse(update.clone()).unwrap();
    let mut coverage = Coverage::default();
    coverage.add(&update);
    (coverage.encode_snapshot(), update.blocks().collect())
}
