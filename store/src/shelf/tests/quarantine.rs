//! What is set aside: what reading of it costs, and what is saved of it when some is damaged.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::super::document::place;
use super::super::{SetAside, quarantine};
use super::*;

pub(super) fn all_aside(shelf: &OpenShelf, id: &DocumentId) -> Vec<SetAside> {
    quarantine::read_all(&shelf.rows, id, &place(id).0).unwrap()
}

/// Ten operations, of which all but the last three are set aside.
fn setting_aside(operations: &[Operation]) -> Fold {
    let aside = |operation: &Operation| SetAside::new(operation.clone(), "deadly".to_owned(), 5);
    Fold { count: 7, set_aside: operations[..7].iter().map(aside).collect(), ..Fold::default() }
}

fn large(id: &DocumentId) -> Vec<Operation> {
    (1..=10).map(|seq| operation(id.clone(), seq, noise(usize::try_from(seq).unwrap() * 30_000))).collect()
}

#[test]
fn opening_a_document_reads_no_payload_of_what_is_set_aside() {
    let engine = Shared::default();
    let bytes = std::sync::Arc::clone(&engine.looked_at);
    let shelf = OpenShelf::uncounted(Box::new(engine));
    let (id, operations) = (document(1), large(&document(1)));
    fill(&shelf, &operations).unwrap();
    shelf.fold(&id, &setting_aside(&operations)).unwrap();
    bytes.store(0, Ordering::Relaxed);
    let noted = shelf.noted(&id).unwrap();
    assert!(bytes.load(Ordering::Relaxed) <= 7 * VALUE_BYTES_MAX, "{bytes:?}");
    let told: Vec<_> =
        noted.iter().map(|noted| (noted.replica, noted.seq, noted.bytes, noted.hash)).collect();
    let of =
        |op: &Operation| (op.replica, op.seq, op.payload.len() as u64, *blake3::hash(&op.payload).as_bytes());
    assert_eq!(told, operations[..7].iter().map(of).collect::<Vec<_>>());
    bytes.store(0, Ordering::Relaxed);
    let aside = shelf.set_aside(&id, (ReplicaId([1; 16]), Seq(3))).unwrap().unwrap();
    assert_eq!(aside.operation, operations[2]);
    assert!(bytes.load(Ordering::Relaxed) < 100_000, "only that one: {bytes:?}");
    assert_eq!(shelf.set_aside(&id, (ReplicaId([1; 16]), Seq(8))).unwrap(), None);
}

/// One operation in quarantine loses a piece; the others of it, and what is served, are saved, and one is missing.
#[test]
fn one_that_is_not_whole_takes_none_of_the_others_along() {
    for engine in Engine::ALL {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("shelf");
        let shelves = Shelves::open(&folder, 1, Some(engine)).unwrap();
        let (id, operations) = (document(1), large(&document(1)));
        shelves.fill(&operations).unwrap();
        shelves.fold(&id, &setting_aside(&operations)).unwrap();
        let mark = shelves.layout.mark;
        shelves.close().unwrap();
        drop(shelves);
        // Every row of the third from its second piece on is changed where it lies, whatever the engine keeps.
        let damage = |bytes: &mut Vec<u8>| {
            let mut places = Vec::new();
            mark.carve(bytes, |found| {
                let third = quarantine::place_of(found.key)
                    .is_some_and(|(name, piece)| name == (ReplicaId([1; 16]), Seq(3)) && piece > 0);
                if found.tree == Tree::Quarantine && third {
                    places.push(found.row.as_ptr() as usize + 60 - bytes.as_ptr() as usize);
                }
            });
            assert!(!places.is_empty());
            places.iter().for_each(|at| bytes[*at] ^= 1);
        };
        let file = folder.join(if engine == Engine::Sled { "0000/db" } else { "0000/shelf.redb" });
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, bytes).unwrap();

        let mut rescued = Vec::new();
        let closed = ClosedShelves::open(&folder).unwrap().unwrap();
        let take = &mut |one| {
            rescued.push(one);
            Ok::<_, std::io::Error>(())
        };
        closed.salvage(0, &root.path().join("scratch"), take).unwrap();
        let [one] = &rescued[..] else { panic!("{rescued:?}") };
        let seqs: Vec<_> = one.set_aside.iter().map(|aside| aside.operation.seq.0).collect();
        assert_eq!(seqs, [1, 2, 4, 5, 6, 7], "{engine}");
        assert_eq!((one.missing, one.whole), (1, false), "{engine}");
        assert_eq!(one.stored.tail, operations[7..], "{engine}");
        assert!(one.set_aside.iter().all(|aside| operations.contains(&aside.operation)));
    }
}

/// What was dropped has fewer rows than when it was held; an engine may leave the older ones behind.
#[test]
fn a_dropped_one_is_whole_without_its_payload() {
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    let (id, operations) = (document(1), large(&document(1)));
    fill(&shelf, &operations).unwrap();
    shelf.fold(&id, &setting_aside(&operations)).unwrap();
    let name = (ReplicaId([1; 16]), Seq(3));
    assert!(shelf.release(&id, name, super::super::Release::Drop).unwrap());
    let noted = shelf.noted(&id).unwrap();
    assert_eq!((noted[2].bytes, noted[2].dropped, noted.len()), (0, true, 7));
    let mut rows = 0;
    let prefix = place(&id).0;
    let (from, below) = quarantine::bounds(&prefix);
    let count = &mut |key: &[u8], _: &[u8]| {
        rows += usize::from(quarantine::place_of(key).is_some_and(|(found, _)| found == name));
        ControlFlow::Continue(())
    };
    shelf.rows.engine.scan(Tree::Quarantine, &from, Some(&below), count).unwrap();
    assert_eq!(rows, 1);
}

/// A stop while one is put back leaves it in both places; putting it back once more must not cost another one.
#[test]
fn one_that_a_stop_left_in_both_places_counts_until_it_goes() {
    let (id, operations) = (document(1), ten(&document(1)));
    let name = |seq: u64| (ReplicaId([1; 16]), Seq(seq));
    for calls in 0..8 {
        let model = std::sync::Arc::new(MemoryShelf::default());
        let shelf = OpenShelf::uncounted(Box::new(Shared::of(&model)));
        fill(&shelf, &operations).unwrap();
        let aside = |operation: &Operation| SetAside::new(operation.clone(), "deadly".to_owned(), 5);
        let set_aside = operations[..2].iter().map(aside).collect();
        shelf.fold(&id, &Fold { count: 2, set_aside, ..Fold::default() }).unwrap();
        model.cut_after(calls);
        let _ = shelf.release(&id, name(1), super::super::Release::Retry);
        let shelf = OpenShelf::uncounted(Box::new(model.image(|| true)));
        shelf.release(&id, name(1), super::super::Release::Retry).unwrap();
        let record = shelf.record(&id, false).unwrap().unwrap();
        assert_eq!((record.set_aside, all_aside(&shelf, &id).len()), (1, 1), "{calls}");
        assert_eq!(all_aside(&shelf, &id)[0].operation, operations[1]);
        assert!(read(&shelf, &id).tail.contains(&operations[0].payload));
        assert!(shelf.release(&id, name(2), super::super::Release::Retry).unwrap(), "{calls}");
        assert_eq!(shelf.record(&id, false).unwrap().unwrap().set_aside, 0);
    }
}
