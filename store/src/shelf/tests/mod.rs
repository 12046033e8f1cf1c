//! The same claims on the model and on each engine: filling, folding, power cuts, damage.

use bytes::Bytes;
use proptest::prelude::*;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};

use super::memory::MemoryShelf;
use super::open_shelf::OpenShelf;
use super::row::Mark;
use super::rows::Rows;
use super::{
    ClosedShelves, Contents, Engine, Fold, Shelf, ShelfError, Shelves, Stored, Stuck, Tree, VALUE_BYTES_MAX,
};

mod deciding; // what a fold keeps, sets aside, gives back; deletion
mod failing; // writes that fail, and whoever waits meanwhile
mod lost_census; // a shelf whose census is gone
mod lost_shelf; // a shelf that is gone without a trace
mod quarantine; // what is set aside, read in parts and saved one by one
mod reclaim; // copies that take a shelf's place
mod settling; // what a census says after a stop, and after another
mod shared; // a model that two owners look at
mod survey; // what is known without structs

use shared::Shared;

fn document(n: u64) -> DocumentId {
    DocumentId::yjs(&format!("document {n}")).unwrap()
}

fn operation(document: DocumentId, seq: u64, payload: Vec<u8>) -> Operation {
    Operation {
        document,
        replica: ReplicaId([1; 16]),
        seq: Seq(seq),
        stamp: Stamp(seq),
        kind: Kind::YjsUpdate,
        payload: payload.into(),
    }
}

fn payload(seq: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at as u64 * 7 + seq) % 251).unwrap()).collect()
}

/// Lengths around the ends of rows, and one that takes many.
const LENGTHS: [usize; 8] = [0, 1, 2, 4053, 4054, 4055, 8145, 100_000];

fn ten(document: &DocumentId) -> Vec<Operation> {
    (1..=10)
        .map(|seq| operation(document.clone(), seq, payload(seq, LENGTHS[usize::try_from(seq).unwrap() % 8])))
        .collect()
}

fn fill(shelf: &OpenShelf, operations: &[Operation]) -> Result<(), ShelfError> {
    let mut stuck = Stuck::new();
    shelf.fill(&operations.iter().collect::<Vec<_>>(), &mut stuck, &mut None)?;
    stuck.pop_first().map_or(Ok(()), |(_, error)| Err(error))
}

fn fold(shelf: &OpenShelf, id: &DocumentId, count: u64, snapshot: &[u8]) -> Result<(), ShelfError> {
    let snapshot = Some(Bytes::copy_from_slice(snapshot));
    shelf.fold(id, &Fold { count, snapshot, ..Fold::default() })
}

fn read(shelf: &OpenShelf, id: &DocumentId) -> Contents {
    shelf.load(id, false).unwrap().map(Stored::into_contents).unwrap_or_default()
}

fn payloads(operations: &[Operation]) -> Vec<Bytes> {
    operations.iter().map(|operation| operation.payload.clone()).collect()
}

fn engines() -> Vec<(Box<dyn Shelf>, Option<tempfile::TempDir>)> {
    let mut engines: Vec<(Box<dyn Shelf>, _)> = vec![(Box::new(MemoryShelf::default()), None)];
    for engine in Engine::ALL {
        let folder = tempfile::tempdir().unwrap();
        engines.push((engine.create(folder.path()).unwrap(), Some(folder)));
    }
    engines
}

#[test]
fn filling_is_idempotent_and_folding_keeps_the_rest() {
    for (engine, _folder) in engines() {
        let shelf = OpenShelf::uncounted(engine);
        let (id, other) = (document(1), document(2));
        let operations = ten(&id);
        fill(&shelf, &operations[..4]).unwrap();
        fill(&shelf, &operations[2..10]).unwrap();
        fill(&shelf, &[operation(other.clone(), 1, vec![9])]).unwrap();
        let stored = shelf.load(&id, false).unwrap().unwrap();
        let record = stored.record.clone();
        assert_eq!(stored.tail, operations);
        assert_eq!((record.tail_count, record.version.get(ReplicaId([1; 16]))), (10, Seq(10)));

        let snapshot = payload(99, 300_000);
        fold(&shelf, &id, 7, &snapshot).unwrap();
        let stored = shelf.load(&id, false).unwrap().unwrap();
        let (record, contents) = (stored.record.clone(), stored.into_contents());
        let expected = Contents {
            snapshot: Some(snapshot.into()),
            tail: payloads(&operations[7..]),
            ..Contents::default()
        };
        assert_eq!(contents, expected);
        assert_eq!((record.tail_count, record.snapshot_bytes), (3, 300_000));
        fill(&shelf, &operations).unwrap();
        fill(&shelf, &[operation(id.clone(), 11, vec![1])]).unwrap();
        fold(&shelf, &id, 4, b"small").unwrap();
        assert_eq!(
            read(&shelf, &id),
            Contents { snapshot: Some(Bytes::from_static(b"small")), tail: vec![], ..Contents::default() }
        );
        assert_eq!(read(&shelf, &other).tail, [Bytes::from_static(&[9])]);

        // Old generations and folded operations are gone.
        let engine = shelf.into_engine();
        let mut rows = Vec::new();
        for tree in Tree::ALL {
            engine
                .scan(tree, &[], None, &mut |_, value| {
                    rows.push((tree, value.len()));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
        }
        assert!(rows.iter().all(|(_, len)| *len <= VALUE_BYTES_MAX));
        let count = |tree| rows.iter().filter(|(found, _)| *found == tree).count();
        assert_eq!((count(Tree::Documents), count(Tree::Tails), count(Tree::Snapshots)), (2, 1, 1));
    }
}

#[test]
fn a_gap_is_refused() {
    let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
    fill(&shelf, &ten(&document(1))[..2]).unwrap();
    let late = operation(document(1), 4, vec![]);
    assert!(matches!(fill(&shelf, &[late]), Err(ShelfError::Gap { have: 2, found: 4, .. })));
}

/// Cuts the power at each call of a run of fills and folds, keeps any of the unsynced batches, and goes on.
#[test]
fn a_power_cut_leaves_the_old_or_the_new() {
    let id = document(1);
    let operations = ten(&id);
    let run = |shelf: &OpenShelf| -> Result<(), ShelfError> {
        fill(shelf, &operations[..3])?;
        fill(shelf, &operations[3..8])?;
        fold(shelf, &id, 5, b"first five")?;
        fill(shelf, &operations[8..])?;
        fold(shelf, &id, 2, b"first seven")
    };
    let states: Vec<_> = [(None, 0), (Some(&b"first five"[..]), 5), (Some(&b"first seven"[..]), 7)].into();
    let mut images = 0;
    for calls in 0..40 {
        for fate in 0..16u32 {
            let engine = std::sync::Arc::new(MemoryShelf::default());
            engine.cut_after(calls);
            let shelf = OpenShelf::uncounted(Box::new(Shared::of(&engine)));
            let finished = run(&shelf).is_ok();
            let mut bit = 0;
            let image = engine.image(|| {
                bit += 1;
                fate >> (bit - 1) & 1 == 1
            });
            let shelf = OpenShelf::uncounted(Box::new(image));
            // The journal still has the first operation.
            let contents = shelf.load(&id, true).unwrap().map(Stored::into_contents).unwrap_or_default();
            let (_, folded) =
                states.iter().find(|(snapshot, _)| contents.snapshot.as_deref() == *snapshot).unwrap();
            assert_eq!(contents.tail, payloads(&operations[*folded..*folded + contents.tail.len()]));
            if finished {
                assert_eq!(folded + contents.tail.len(), 10);
            }
            // The journal repeats everything; what is here already is passed over.
            fill(&shelf, &operations).unwrap();
            let again = read(&shelf, &id);
            assert_eq!((again.snapshot, again.tail), (contents.snapshot, payloads(&operations[*folded..])));
            images += 1;
        }
    }
    assert!(images > 500);
}

#[test]
fn a_changed_or_missing_row_is_named_and_harms_its_document_only() {
    let model = std::sync::Arc::new(MemoryShelf::default());
    let shelf = OpenShelf::uncounted(Box::new(Shared::of(&model)));
    let (id, other) = (document(1), document(2));
    fill(&shelf, &ten(&id)).unwrap();
    fold(&shelf, &id, 3, &payload(5, 20_000)).unwrap();
    fill(&shelf, &[operation(other.clone(), 1, vec![9])]).unwrap();
    let key_of_other = other.to_key();
    let prefix = super::document::place(&other).0;
    for ((tree, key), row) in model.rows() {
        if key == key_of_other || key.starts_with(&prefix) {
            continue;
        }
        let mut flipped = row.clone();
        *flipped.last_mut().unwrap() ^= 0x40;
        for damage in [Some(flipped), None] {
            let damaged = model.image(|| true);
            damaged.batch(tree, vec![(key.clone(), damage)]).unwrap();
            let shelf = OpenShelf::uncounted(Box::new(damaged));
            assert!(
                matches!(shelf.load(&id, false), Err(ShelfError::Damaged { document, .. }) if document == id),
                "{tree:?} {key:?}"
            );
            assert_eq!(read(&shelf, &other).tail, [Bytes::from_static(&[9])]);
        }
    }
}

#[test]
fn documents_spread_over_shelves_close_and_come_back() {
    Engine::ALL.into_iter().for_each(spread_close_and_come_back);
}

fn spread_close_and_come_back(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(folder.path(), 4, Some(engine)).unwrap();
    assert_eq!(shelves.load(&document(0), false).unwrap(), None);
    assert_eq!(shelves.size_on_disk(), 0, "reading makes no shelf");
    let operations: Vec<_> = (0..40).map(|n| operation(document(n), 1, payload(n, 10))).collect();
    shelves.fill(&operations).unwrap();
    shelves.close_idle(std::time::Duration::ZERO);
    let mut ids: Vec<_> = (0..40).map(document).collect();
    ids.sort_by_key(DocumentId::to_key);
    let names = |after, limit| {
        let found = shelves.documents(after, limit).unwrap();
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 100), ids);
    assert_eq!(names(Some(&ids[9]), 5), ids[10..15]);
    shelves.close().unwrap();
    assert!(matches!(shelves.load(&document(0), false), Err(ShelfError::Closed)));
    drop(shelves);
    let shelves = Shelves::open(folder.path(), 99, None).unwrap();
    for operation in &operations {
        let stored = shelves.load(&operation.document, false).unwrap().unwrap();
        assert_eq!(stored.tail, std::slice::from_ref(operation));
    }
}

/// A fold that was cut off may leave more rows than the next one of the same generation writes.
#[test]
fn a_small_fold_after_a_large_one_that_was_cut_off_is_whole() {
    let id = document(1);
    for calls in 2..8 {
        let engine = std::sync::Arc::new(MemoryShelf::default());
        let shelf = OpenShelf::uncounted(Box::new(Shared::of(&engine)));
        fill(&shelf, &ten(&id)).unwrap();
        engine.cut_after(calls - 2);
        let cut = fold(&shelf, &id, 5, &noise(60_000)).is_err();
        let shelf = OpenShelf::uncounted(Box::new(engine.image(|| true)));
        let record = shelf.record(&id, false).unwrap().unwrap();
        fold(&shelf, &id, record.tail_count, b"small").unwrap();
        let contents = read(&shelf, &id);
        assert_eq!(
            contents,
            Contents { snapshot: Some(Bytes::from_static(b"small")), tail: vec![], ..Contents::default() }
        );
        assert!(cut || calls > 5, "the power stayed on");
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes
}

/// Damages the files of a closed shelf that had ten documents; then each of them is whole, or refused by name.
fn after_damage(engine: Engine, damage: impl Fn(&std::path::Path)) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
    for n in 0..10 {
        assert!(shelves.fill(&ten(&document(n))).unwrap().is_empty());
    }
    shelves.close().unwrap();
    drop(shelves);
    damage(folder.path());
    let shelves = Shelves::open(folder.path(), 1, None).unwrap();
    let (mut whole, mut refused) = (0, 0);
    for n in 0..10 {
        match shelves.load(&document(n), false) {
            Ok(Some(stored)) => {
                assert_eq!(stored.tail, ten(&document(n)));
                whole += 1;
            }
            Ok(None) => panic!("document {n} is gone without a word"),
            Err(error) => {
                assert!(error.is_contained(), "{error}");
                refused += 1;
            }
        }
    }
    (whole, refused)
}

fn overwrite(path: &std::path::Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn a_damaged_database_never_looks_like_an_empty_one() {
    for (engine, file) in [(Engine::Sled, "0000/db"), (Engine::Redb, "0000/shelf.redb")] {
        let data = |folder: &std::path::Path| folder.join(file);
        let snapshots = |folder: &std::path::Path| {
            for entry in std::fs::read_dir(folder.join("0000")).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        };
        assert_eq!(after_damage(engine, |_| ()), (10, 0));
        let refused = [
            after_damage(engine, |folder| overwrite(&data(folder), 0, &[0; 4096])),
            after_damage(engine, |folder| overwrite(&data(folder), 0, &[0xa5; 4096])),
            after_damage(engine, |folder| std::fs::write(data(folder), []).unwrap()),
            after_damage(engine, |folder| std::fs::remove_file(data(folder)).unwrap()),
            after_damage(engine, |folder| std::fs::remove_dir_all(folder.join("0000")).unwrap()),
            after_damage(engine, |folder| std::fs::write(folder.join("0000.census"), b"?").unwrap()),
            after_damage(engine, |folder| {
                snapshots(folder);
                let len = std::fs::metadata(data(folder)).unwrap().len();
                std::fs::OpenOptions::new().write(true).open(data(folder)).unwrap().set_len(len / 3).unwrap();
            }),
        ];
        // sled may mend the first ones by itself.
        assert!(refused.iter().all(|(whole, refused)| whole + refused == 10), "{refused:?}");
        // Without a whole census what is there is served; only what is not found is refused.
        assert_eq!(refused[2..], [(0, 10), (0, 10), (0, 10), (10, 0), (0, 10)], "{engine}");
    }
}

#[test]
fn an_interrupted_swap_is_finished() {
    for engine in Engine::ALL {
        let swap = |folder: &std::path::Path| {
            std::fs::rename(folder.join("0000"), folder.join("0000.copy")).unwrap();
        };
        assert_eq!(after_damage(engine, swap), (10, 0));
    }
}

#[test]
fn a_lost_record_is_refused_and_the_others_served() {
    for engine in Engine::ALL {
        let id = document(3);
        let lost = after_damage(engine, |folder| {
            let shelf = engine.open(&folder.join("0000")).unwrap();
            shelf.batch(Tree::Documents, vec![(id.to_key(), None)]).unwrap();
            shelf.sync().unwrap();
        });
        assert_eq!(lost, (9, 1));
        // Even with every row of it gone.
        let gone = after_damage(engine, |folder| {
            let engine = engine.open(&folder.join("0000")).unwrap();
            engine.batch(Tree::Documents, vec![(id.to_key(), None)]).unwrap();
            let rows = Rows { engine, mark: Mark([0; 8]) };
            let gone = super::tail::removals(&rows, &super::document::place(&id).0, 0..u64::MAX).unwrap();
            rows.engine.batch(Tree::Tails, gone).unwrap();
            rows.engine.sync().unwrap();
        });
        assert_eq!(gone, (9, 1));
    }
}

/// The second sync fails: what is then here already is not durable, and must not be taken for it.
#[test]
fn filling_again_after_a_failed_sync_syncs() {
    for calls in 0..4 {
        let model = std::sync::Arc::new(MemoryShelf::default());
        let shelf = OpenShelf::uncounted(Box::new(Shared::of(&model)));
        let operations = ten(&document(1));
        model.cut_after(calls);
        assert!(fill(&shelf, &operations).is_err());
        model.cut_after(1000);
        assert!(matches!(fill(&shelf, &operations), Err(ShelfError::Retired)), "it remembers");
        let shelf = OpenShelf::uncounted(Box::new(Shared::of(&model)));
        fill(&shelf, &operations).unwrap();
        let found = OpenShelf::uncounted(Box::new(model.image(|| false)));
        assert_eq!(read(&found, &document(1)).tail, payloads(&operations));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pieces of any size, repeated and folded anywhere, give each operation once and in order.
    #[test]
    fn any_pieces_give_the_same_document(pieces in prop::collection::vec((0usize..10, 0usize..10, 0u64..4), 1..12)) {
        let shelf = OpenShelf::uncounted(Box::new(MemoryShelf::default()));
        let id = document(1);
        let operations = ten(&id);
        let (mut have, mut folded) = (0, 0);
        for (from, len, count) in pieces {
            let from = from.min(have);
            let until = (from + len).min(operations.len());
            fill(&shelf, &operations[from..until]).unwrap();
            have = have.max(until);
            let count = usize::try_from(count).unwrap().min(have - folded);
            if count > 0 {
                fold(&shelf, &id, count as u64, &u64::to_be_bytes((folded + count) as u64)).unwrap();
                folded += count;
            }
            let contents = read(&shelf, &id);
            prop_assert_eq!(contents.tail, payloads(&operations[folded..have]));
            let snapshot = (folded > 0).then(|| Bytes::copy_from_slice(&(folded as u64).to_be_bytes()));
            prop_assert_eq!(contents.snapshot, snapshot);
        }
    }
}

/// Stops in the middle of making a shelf, and of swapping one, as verify finds them.
#[test]
fn verify_knows_a_shelf_that_is_half_made_or_half_swapped() {
    for engine in Engine::ALL {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let inspect = || {
            ClosedShelves::open(folder.path()).unwrap().unwrap().inspect(0, &scratch, &mut |_, _| ()).unwrap()
        };
        let shelves = Shelves::open(folder.path(), 1, Some(engine)).unwrap();
        shelves.fill(&ten(&DocumentId::Automerge([3; 16]))).unwrap();
        shelves.close().unwrap();
        let (shelf, copy) = (folder.path().join("0000"), folder.path().join("0000.copy"));
        std::fs::rename(&shelf, &copy).unwrap();
        std::fs::remove_file(folder.path().join("0000.seal")).unwrap();
        let found = inspect();
        assert_eq!((found.documents, found.faults), (1, vec![]), "{engine}");
        std::fs::remove_dir_all(&copy).unwrap();
        let faults = inspect().faults;
        assert!(faults.iter().any(|fault| fault.document.is_some()), "{engine}: {faults:?}");
        // A census that says nothing is what comes first.
        std::fs::remove_file(folder.path().join("0000.census")).unwrap();
        let layout = super::layout::read(folder.path()).unwrap().unwrap();
        super::census::make(&shelf, &layout).unwrap();
        assert_eq!(inspect().faults, [], "{engine}");
    }
}

/// A whole layout of another store, as a restore that went wrong leaves it.
#[test]
fn a_layout_of_other_shelves_is_not_believed() {
    for engine in Engine::ALL {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let shelves = Shelves::open(folder.path(), 2, Some(engine)).unwrap();
        let ids: Vec<_> = (0..8).map(document).collect();
        ids.iter().for_each(|id| drop(shelves.fill(&ten(id)).unwrap()));
        shelves.close().unwrap();
        let other = tempfile::tempdir().unwrap();
        Shelves::open(other.path(), 3, None).unwrap();
        std::fs::copy(other.path().join("layout"), folder.path().join("layout")).unwrap();
        assert!(matches!(Shelves::open(folder.path(), 2, None), Err(ShelfError::Layout { .. })));
        let closed = ClosedShelves::open(folder.path()).unwrap().unwrap();
        assert_eq!((closed.count(), closed.engine()), (2, engine));
        assert!(closed.layout_fault.is_some());
        let mut whole = 0;
        for index in 0..2 {
            assert_eq!(closed.inspect(index, &scratch, &mut |_, _| ()).unwrap().faults, []);
            let mut take = |rescued: super::Rescued| {
                assert_eq!((rescued.whole, rescued.stored.tail), (true, ten(&rescued.id)));
                whole += 1;
                Ok::<_, std::io::Error>(())
            };
            closed.salvage(index, &scratch, &mut take).unwrap();
        }
        assert_eq!(whole, 8, "{engine}");
    }
}
