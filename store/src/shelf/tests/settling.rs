//! A kill amid a write, an opening that finds what the system's memory has, and then a power cut that takes it away.

use std::sync::Arc;

use super::super::census;
use super::super::layout::Layout;
use super::*;

const LAYOUT: Layout = Layout { count: 1, mark: Mark(*b"\xd4ROWmark"), engine: Engine::Sled };

fn open(model: MemoryShelf, folder: &std::path::Path) -> (Result<OpenShelf, ShelfError>, Arc<MemoryShelf>) {
    let model = Arc::new(model);
    (over(&model, folder), model)
}

fn over(model: &Arc<MemoryShelf>, folder: &std::path::Path) -> Result<OpenShelf, ShelfError> {
    let expected = census::expected(folder, &LAYOUT).unwrap();
    OpenShelf::over(Box::new(Shared::of(model)), folder, LAYOUT, &expected)
}

/// Neither is anything lost without a word, nor a document called damaged that is not.
#[test]
fn what_was_found_after_a_kill_may_go_in_a_power_cut() {
    let (id, other) = (document(1), document(2));
    let (early, late) = (&ten(&id)[..5], &ten(&id)[5..]);
    let mut at = 0;
    for calls in 0..8 {
        for (cut_at_opening, folding) in [(None, false), (Some(0), false), (None, true), (Some(0), true)] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("0000");
            census::make(&folder, &LAYOUT).unwrap();
            let (shelf, model) = open(MemoryShelf::default(), &folder);
            let shelf = shelf.unwrap();
            fill(&shelf, early).unwrap();
            fill(&shelf, &[operation(other.clone(), 1, vec![9])]).unwrap();
            model.cut_after(calls);
            let write = |shelf: &OpenShelf| {
                if folding { fold(shelf, &id, 3, b"folded") } else { fill(shelf, late) }
            };
            at += u64::from(write(&shelf).is_err());
            drop(shelf);
            // Killed: what was written is still there, durable or not.
            model.cut_after(1000);
            if let Some(calls) = cut_at_opening {
                model.cut_after(calls);
                drop(over(&model, &folder));
                model.cut_after(1000);
            }
            let reopened = over(&model, &folder).unwrap();
            assert!(!reopened.is_faulty(), "after the kill, {calls}");
            drop(reopened);
            // Now the power goes, before anything was written.
            let (shelf, _) = open(model.image(|| false), &folder);
            let shelf = shelf.unwrap();
            assert!(!shelf.is_faulty(), "after the cut, {calls} {cut_at_opening:?} {folding}");
            // The journal still has what was not acknowledged as taken.
            fill(&shelf, early).unwrap();
            fill(&shelf, late).unwrap();
            let stored = shelf.load(&id, false).unwrap().unwrap();
            assert_eq!(stored.record.version.get(ReplicaId([1; 16])), Seq(10));
            let folded = if stored.snapshot.is_some() { 3 } else { 0 };
            assert_eq!(payloads(&stored.tail), payloads(&ten(&id)[folded..]));
            assert_eq!(read(&shelf, &other).tail, [Bytes::from_static(&[9])]);
        }
    }
    assert!(at > 12, "the power stayed on");
}
