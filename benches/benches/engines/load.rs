//! One of many documents: raw as one scan, and through the store.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use tombolo_benches::Spread;
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};
use tombolo_store::shelf::{Shelves, Stored};
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Engine, Store, StoreConfig};

use super::noise::Noise;
use super::rows::{CONTESTANTS, Change, Rows};
use super::{Scale, folder};

const SNAPSHOT_BYTES: usize = 20_000;
const ROW_BYTES: usize = 4000;
const TAIL: u64 = 20;
const TAIL_BYTES: usize = 30;
const DOCUMENTS_PER_COMMIT: usize = 100;
const REPLICA: ReplicaId = ReplicaId([7; 16]);

/// Loads a document by its number; says how many bytes it has.
type Load = Box<dyn Fn(u64) -> usize>;

pub(crate) fn run(scale: Scale) {
    let (mut folders, mut contestants): (Vec<_>, Vec<(String, Load)>) = (Vec::new(), Vec::new());
    for (name, open) in CONTESTANTS {
        let folder = folder();
        let mut rows = open(folder.path());
        fill(&mut *rows, scale.documents);
        let load = move |number| rows.read(&key(number, 0), &key(number, u32::MAX));
        contestants.push((name.to_owned(), Box::new(load)));
        folders.push(folder);
    }
    for engine in Engine::ALL {
        let folder = folder();
        fill_store(engine, &folder.path().join("shelf"), scale.documents);
        let worker = ThreadWorker::start().expect("there are threads");
        let store = Store::open(StoreConfig::new(folder.path()), worker).expect("the folder is writable");
        contestants.push((format!("store on {engine}"), Box::new(move |number| load(&store, number))));
        folders.push(folder);
    }
    let mut noise = Noise(3);
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..scale.turns * 4 {
        let number = noise.below(scale.documents);
        for ((_, load), times) in contestants.iter().zip(&mut times) {
            let start = Instant::now();
            let bytes = black_box(load(number));
            times.push(start.elapsed());
            assert_eq!(bytes, SNAPSHOT_BYTES + usize::try_from(TAIL).expect("it fits") * TAIL_BYTES);
        }
    }
    print!("engines load one of {}:", scale.documents);
    for ((name, _), times) in contestants.iter().zip(&times) {
        print!(" {name} {:.0} µs,", Spread::of_times(times).median * 1e6);
    }
    println!(" medians of {} turns", scale.turns * 4);
}

fn key(number: u64, row: u32) -> Vec<u8> {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    [&spread[..], &[0; 12], &row.to_be_bytes()].concat()
}

fn fill(rows: &mut dyn Rows, documents: u64) {
    let mut noise = Noise(2);
    let numbers: Vec<u64> = (0..documents).collect();
    for numbers in numbers.chunks(DOCUMENTS_PER_COMMIT) {
        let mut changes: Vec<Change> = Vec::new();
        for number in numbers {
            let snapshot = noise.bytes(SNAPSHOT_BYTES);
            let tail = (0..TAIL).map(|_| noise.bytes(TAIL_BYTES));
            let values: Vec<_> = snapshot.chunks(ROW_BYTES).map(<[u8]>::to_vec).chain(tail).collect();
            changes.extend((0..).zip(values).map(|(row, value)| (key(*number, row), Some(value))));
        }
        rows.commit(&changes);
    }
}

fn id(number: u64) -> DocumentId {
    DocumentId::yjs(&format!("document {number}")).expect("a plain name")
}

fn fill_store(engine: Engine, folder: &std::path::Path, documents: u64) {
    fs::create_dir_all(folder).expect("the folder is writable");
    let shelves = Shelves::open(folder, 16, Some(engine)).expect("the folder is writable");
    let mut noise = Noise(2);
    for number in 0..documents {
        let tail = (1..=TAIL).map(|seq| Operation {
            document: id(number),
            replica: REPLICA,
            seq: Seq(seq),
            stamp: Stamp(seq),
            kind: Kind::YjsUpdate,
            payload: noise.bytes(TAIL_BYTES).into(),
        });
        let mut stored = Stored { tail: tail.collect(), ..Stored::default() };
        stored.snapshot = Some(noise.bytes(SNAPSHOT_BYTES).into());
        stored.record.version.advance(REPLICA, Seq(TAIL));
        shelves.put(&id(number), &stored, &[]).expect("the disk takes it");
    }
    shelves.close().expect("the disk takes it");
}

fn load(store: &Store, number: u64) -> usize {
    let document = store.document(&id(number)).expect("the store reads");
    let contents = document.read().expect("the store reads");
    let tail: usize = contents.tail.iter().map(bytes::Bytes::len).sum();
    contents.snapshot.map_or(0, |snapshot| snapshot.len()) + tail
}
