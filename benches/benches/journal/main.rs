//! What durable costs: append until the receipt, against the least that a disk asks for.
//!
//! The yardstick writes the same payloads, each behind four bytes of length, with one `write` and one
//! `fdatasync` for a group into a file that was filled with zeros before. It is fair because nothing that
//! can be read back costs less on this disk: no file metadata changes, and both take turns after every
//! group. It is hard because the yardstick has no checksum, no names, no thread to hand over to, and its file
//! never ends, while the journal's time has the making and removing of its segments in it.
//!
//! Batch 1 is one writer who waits for each receipt; batch 16 and 256 are as many operations appended at
//! once by one thread that then waits for all of their receipts. The journal does not know that they are a
//! group: how many `fdatasync` it needed for one is printed with the ratio.
//!
//! `edit` is the same for a program that embeds a replica: one letter typed through it, transaction, validation,
//! the hand-over to the journal's thread and back included, beside the bytes of one such update.

#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

mod edit; // a replica
mod ours; // the journal
mod raw; // the yardstick

use std::cell::OnceCell;
use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use edit::Typing;
use ours::Ours;
use raw::Raw;
use tempfile::TempDir;
use tombolo_benches::{Duel, Typist};

/// Preallocated by both: the store's default.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

struct Scene {
    raw: Raw,
    ours: Ours,
    payloads: Vec<Bytes>,
    _folder: TempDir,
}

impl Scene {
    fn make(batch: usize) -> Self {
        let folder = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
        Self {
            raw: Raw::make(&folder.path().join("raw")).expect("the disk takes it"),
            ours: Ours::open(&folder.path().join("journal")),
            payloads: payloads(batch),
            _folder: folder,
        }
    }
}

/// Typing with a pasted line now and then: 30 to 100 bytes each.
fn payloads(count: usize) -> Vec<Bytes> {
    let mut typist = Typist::new(0xa3c4_51e7);
    let letters = [9, 12, 40, 10, 75, 11, 22].into_iter().cycle();
    letters.take(count).map(|letters| typist.types(letters).into()).collect()
}

fn bench(criterion: &mut Criterion, batch: usize) {
    // Made only if anything is run at all.
    let mut scene = OnceCell::new();
    let mut duel = Duel::default();
    let mut run = |turns| {
        scene.get_or_init(|| Scene::make(batch));
        let Scene { raw, ours, payloads, .. } = scene.get_mut().expect("just made");
        duel.run(turns, || raw.group(payloads), || ours.group(payloads))
    };
    let mut group = criterion.benchmark_group(format!("journal/batch {batch}"));
    group.bench_function("raw", |b| b.iter_custom(|turns| run(turns).yardstick));
    group.bench_function("journal", |b| b.iter_custom(|turns| run(turns).ours));
    group.finish();
    if let Some(scene) = scene.get() {
        let (syncs, groups) = scene.ours.syncs_and_groups(batch);
        duel.print(&format!("journal/raw batch {batch}"), &format!("{syncs} fdatasyncs for {groups} groups"));
    }
}

/// One letter at a time through a replica.
fn bench_edits(criterion: &mut Criterion) {
    let mut scene = OnceCell::new();
    let mut duel = Duel::default();
    let payloads = payloads(1);
    let mut run = |turns| {
        scene.get_or_init(|| {
            let folder =
                tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
            let raw = Raw::make(&folder.path().join("raw")).expect("the disk takes it");
            (raw, Typing::open(&folder.path().join("replica")), folder)
        });
        let (raw, typing, _) = scene.get_mut().expect("just made");
        duel.run(turns, || raw.group(&payloads), || typing.letter())
    };
    let mut group = criterion.benchmark_group("journal/edit");
    group.bench_function("raw", |b| b.iter_custom(|turns| run(turns).yardstick));
    group.bench_function("replica", |b| b.iter_custom(|turns| run(turns).ours));
    group.finish();
    duel.print("journal/raw edit", "one letter through a replica");
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(50)
        .configure_from_args();
    for batch in [1, 16, 256] {
        bench(&mut criterion, batch);
    }
    bench_edits(&mut criterion);
    criterion.final_summary();
}
