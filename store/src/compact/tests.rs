//! The compaction thread at rest, at work and at its end.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;

use super::Compactor;
use crate::worker::{Reply, Request, ThreadWorker, Worker, WorkerError};
use crate::{Store, StoreConfig};

fn id(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

#[test]
fn a_rest_holds_up_neither_who_waits_nor_the_end() {
    let hour = Instant::now() + Duration::from_secs(3600);
    let compactor = Compactor::default();
    compactor.consider(&id("due"));
    compactor.suspect(&id("suspect"));
    assert_eq!(compactor.next(hour).unwrap().id, id("suspect"));
    std::thread::scope(|scope| {
        // Whichever comes first.
        let waiter = scope.spawn(|| compactor.fold_now(&id("asked")));
        let task = compactor.next(hour).unwrap();
        assert_eq!(task.id, id("asked"));
        drop(task);
        waiter.join().unwrap();
        let resting = scope.spawn(|| compactor.next(hour).is_none());
        compactor.close();
        assert!(resting.join().unwrap());
    });
    compactor.fold_now(&id("too late"));
    assert!(compactor.next(Instant::now()).is_none());
}

/// Says when it is asked, and answers when it is told to.
struct Slow {
    engine: Arc<dyn Worker>,
    asked: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
}

impl Worker for Slow {
    fn call(&self, request: Request) -> Result<Reply, WorkerError> {
        self.asked.lock().unwrap().send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        self.engine.call(request)
    }
}

fn open(folder: &Path, worker: Arc<dyn Worker>) -> Store {
    Store::open(StoreConfig { takeover_ms: 5, ..StoreConfig::new(folder) }, worker).unwrap()
}

#[test]
fn a_fold_that_the_store_is_closed_in_changes_nothing_and_is_done_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let ((asked, is_asked), (go, told)) = (channel(), channel());
    let engine = ThreadWorker::start().unwrap();
    let slow = Slow { engine: engine.clone(), asked: Mutex::new(asked), go: Mutex::new(told) };
    let store = open(folder.path(), Arc::new(slow));
    let document = store.document(&id("d")).unwrap();
    let (sender, receiver) = channel();
    for clock in 0..200 {
        let payload = [&[1, 1, 7, 0, 4, 1, 1, b't', 200, 1][..], &[b'x'; 200], &[0]].concat();
        let done = Box::new(move |result: Result<_, _>| assert!(result.is_ok(), "{clock}"));
        document.append(Kind::YjsUpdate, Bytes::from(payload), done).unwrap();
    }
    document.barrier(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap().unwrap();
    store.flush().unwrap();
    drop(document);
    is_asked.recv().unwrap();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| store.close());
        while !store.inner().compactor.is_closing() {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        closing.join().unwrap().unwrap();
    });
    drop(store);
    let store = open(folder.path(), engine);
    let read = || store.document(&id("d")).unwrap().read().unwrap();
    assert_eq!((read().snapshot, read().tail.len()), (None, 200));
    while read().snapshot.is_none() {
        // Each time its last user leaves it.
        std::thread::yield_now();
    }
    assert_eq!(read().tail.len(), 0);
}
