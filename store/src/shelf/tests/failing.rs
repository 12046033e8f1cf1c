//! Engines whose writes fail, once, and who remember that: whoever waits opens the shelf anew and goes on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::super::error::EngineFault;
use super::super::open_shelf::OpenShelf;
use super::super::shelves::State;
use super::super::{Change, Engine, Shelf, ShelfError, Shelves, Tree, Visit};
use super::{MemoryShelf, document, operation, payload, payloads};

/// A real engine of which one write fails, after which it refuses everything, as redb does.
#[derive(Debug)]
struct Failing {
    inner: Box<dyn Shelf>,
    /// Writes that go well first.
    left: AtomicUsize,
    kind: io::ErrorKind,
    refuses: AtomicBool,
    /// Says that a write is about to fail, and when it may.
    amid: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Failing {
    fn check(&self) -> Result<(), ShelfError> {
        if self.refuses.load(Ordering::SeqCst) {
            let words = "a previous write failed; the database must be opened anew".to_owned();
            return Err(ShelfError::Engine(EngineFault { words }));
        }
        Ok(())
    }

    fn spend(&self) -> Result<(), ShelfError> {
        self.check()?;
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        self.refuses.store(true, Ordering::SeqCst);
        self.amid.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Err(io::Error::from(self.kind).into())
    }
}

impl Shelf for Failing {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.check()?;
        self.inner.get(tree, key)
    }

    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        below: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ShelfError> {
        self.check()?;
        self.inner.scan(tree, from, below, visit)
    }

    fn batch(&self, tree: Tree, changes: Vec<Change>) -> Result<(), ShelfError> {
        self.spend()?;
        self.inner.batch(tree, changes)
    }

    fn sync(&self) -> Result<(), ShelfError> {
        self.spend()?;
        self.inner.sync()
    }
}

/// Opens the only shelf so that the write behind `left` others fails.
fn open_failing(shelves: &Shelves, left: usize, kind: io::ErrorKind) -> (Receiver<()>, Sender<()>) {
    let mut shelf = OpenShelf::open(&shelves.path(0), shelves.layout).unwrap();
    let inner = std::mem::replace(&mut shelf.rows.engine, Box::new(MemoryShelf::default()));
    let ((amid, is_amid), (goes, go)) = (channel(), channel());
    let (left, refuses, go) = (AtomicUsize::new(left), AtomicBool::new(false), Mutex::new(go));
    shelf.rows.engine = Box::new(Failing { inner, left, kind, refuses, amid, go });
    *shelves.slots[0].lock() = State::Open { shelf: Arc::new(shelf), used: Instant::now() };
    (is_amid, goes)
}

/// One fails at each of the writes of a fill while another, and a reader, have the shelf in hand.
#[test]
fn whoever_waits_for_a_shelf_that_fails_goes_on_with_it_opened_anew() {
    for engine in Engine::ALL {
        // A full disk passes, so the one that failed is told; another error may be of that opening only.
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            (0..4).for_each(|left| one_fails_and_one_waits(engine, kind, left));
        }
    }
}

fn one_fails_and_one_waits(engine: Engine, kind: io::ErrorKind, left: usize) {
    let folder = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
    let of =
        |n: u64| -> Vec<_> { (1..=3).map(|seq| operation(document(n), seq, payload(seq, 50))).collect() };
    let (first, second) = (of(1), of(2));
    assert!(shelves.fill(&first[..1]).unwrap().is_empty());
    shelves.close_idle(std::time::Duration::ZERO);
    let (amid, go) = open_failing(&shelves, left, kind);
    let in_hand = shelves.slots[0].open_shelf().map(|shelf| Arc::downgrade(&shelf)).unwrap();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| shelves.fill(&first));
        amid.recv().unwrap();
        let waiting = scope.spawn(|| shelves.fill(&second));
        // The slot's, and one for each of both.
        while in_hand.strong_count() < 3 {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        let stuck = waiting.join().unwrap().unwrap();
        assert!(stuck.is_empty(), "{engine} {kind} {left}: {stuck:?}");
        match failing.join().unwrap() {
            Ok(stuck) => {
                assert!(stuck.is_empty() && kind == io::ErrorKind::Other, "{engine} {left}: {stuck:?}");
            }
            Err(error) => assert!(kind == io::ErrorKind::StorageFull, "{engine} {left}: {error}"),
        }
    });
    assert!(shelves.fill(&first).unwrap().is_empty());
    shelves.close().unwrap();
    let shelves = Shelves::open(folder.path(), 1, None).unwrap();
    for (n, operations) in [(1, first), (2, second)] {
        let stored = shelves.load(&document(n), false).unwrap().unwrap();
        assert_eq!(payloads(&stored.tail), payloads(&operations), "{engine} {kind} {left}");
    }
    assert_eq!(shelves.inspect(0, &mut |_, _| ()).unwrap().faults, []);
}

/// Nobody need write for readers to be served again.
#[test]
fn a_reader_of_a_shelf_that_failed_is_served() {
    for engine in Engine::ALL {
        let folder = tempfile::tempdir().unwrap();
        let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
        let operations = [operation(document(1), 1, payload(1, 50))];
        shelves.fill(&operations).unwrap();
        shelves.close_idle(std::time::Duration::ZERO);
        let (_amid, go) = open_failing(&shelves, 0, io::ErrorKind::Other);
        go.send(()).unwrap();
        // What a thread of the store's own does by itself.
        let shelf = shelves.slots[0].open_shelf().unwrap();
        assert!(shelf.purge(&[]).is_err());
        drop(shelf);
        assert_eq!(shelves.load(&document(1), false).unwrap().unwrap().tail, operations, "{engine}");
        shelves.close_idle(std::time::Duration::ZERO);
        // Nor does who joins by what is known without the structs.
        let (_amid, go) = open_failing(&shelves, 0, io::ErrorKind::Other);
        go.send(()).unwrap();
        let shelf = shelves.slots[0].open_shelf().unwrap();
        assert!(shelf.purge(&[]).is_err());
        drop(shelf);
        assert_eq!(shelves.survey(&document(1), false).unwrap(), None, "{engine}");
    }
}

/// The system keeps a page that it could not write as if it were written, so what is read there, and a sync, prove
/// nothing: only other files do.
#[test]
fn what_a_write_failed_for_is_not_believed_until_it_was_copied() {
    use std::os::unix::fs::MetadataExt;
    for engine in Engine::ALL {
        for (kind, is_doubted) in [(io::ErrorKind::Other, true), (io::ErrorKind::StorageFull, false)] {
            // By the process that saw it, and by the next.
            for restarted in [false, true] {
                let root = tempfile::tempdir().unwrap();
                let shelves = Shelves::open(root.path(), 1, Some(engine)).unwrap();
                let operations: Vec<_> =
                    (1..=3).map(|seq| operation(document(1), seq, payload(seq, 50))).collect();
                shelves.fill(&operations[..1]).unwrap();
                shelves.close_idle(std::time::Duration::ZERO);
                let name = if engine == Engine::Sled { "db" } else { "shelf.redb" };
                let inode = || std::fs::metadata(root.path().join("0000").join(name)).unwrap().ino();
                let before = inode();
                let (_amid, go) = open_failing(&shelves, 0, kind);
                go.send(()).unwrap();
                let shelf = shelves.slots[0].open_shelf().unwrap();
                let all: Vec<_> = operations.iter().collect();
                assert!(shelf.fill(&all, &mut super::Stuck::new(), &mut None).is_err());
                shelves.let_go(0, shelf);
                // Reading changes nothing.
                assert_eq!(shelves.load(&document(1), false).unwrap().unwrap().tail, operations[..1]);
                assert_eq!((inode(), shelves.is_in_doubt(0)), (before, is_doubted), "{engine} {kind}");
                let shelves = if restarted {
                    shelves.close().unwrap();
                    Shelves::open(root.path(), 1, None).unwrap()
                } else {
                    shelves
                };
                assert!(shelves.fill(&operations).unwrap().is_empty());
                assert_eq!(inode() != before, is_doubted, "{engine} {kind} {restarted}");
                assert!(!shelves.is_in_doubt(0));
                assert_eq!(shelves.load(&document(1), false).unwrap().unwrap().tail, operations);
                shelves.close().unwrap();
                assert!(!root.path().join("0000.doubt").exists());
            }
        }
    }
}
