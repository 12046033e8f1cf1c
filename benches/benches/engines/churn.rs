//! Space: what is left on the disk after rows were overwritten and deleted many times.

use std::collections::BTreeMap;

use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_core::operation::{Kind, Operation, Stamp};
use tombolo_store::Engine;
use tombolo_store::shelf::{Fold, Shelves};

use super::noise::Noise;
use super::rows::{CONTESTANTS, Change, disk_bytes};
use super::{Scale, folder};

const CHANGES: u64 = 10_000;
const KEYS: u64 = 10_000;
const CHANGES_PER_COMMIT: usize = 100;
const DOCUMENTS: u64 = 200;
const SNAPSHOT_BYTES: usize = 20_000;

pub(crate) fn run(scale: Scale) {
    for (name, open) in CONTESTANTS {
        let folder = folder();
        let mut rows = open(folder.path());
        let (mut noise, mut live) = (Noise(4), BTreeMap::new());
        for _ in 0..scale.churn_rounds {
            let changes: Vec<Change> = (0..CHANGES).map(|_| change(&mut noise)).collect();
            for changes in changes.chunks(CHANGES_PER_COMMIT) {
                rows.commit(changes);
            }
            for (key, value) in changes {
                live.insert(key, value.map_or(0, |value| value.len() + 24));
            }
        }
        drop(rows);
        say(name, scale, disk_bytes(folder.path()), live.values().sum::<usize>() as u64);
    }
    Engine::ALL.into_iter().for_each(|engine| through_the_store(engine, scale));
}

fn say(name: &str, scale: Scale, bytes: u64, live: u64) {
    println!(
        "engines churn {} rounds: {name} {:.1} bytes on the disk for each that counts ({:.1} MB for {:.1} MB)",
        scale.churn_rounds,
        bytes as f64 / live as f64,
        bytes as f64 / 1e6,
        live as f64 / 1e6,
    );
}

/// Four of five are put, one is removed.
fn change(noise: &mut Noise) -> Change {
    let key = noise.below(KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let len = 100 + usize::try_from(noise.below(900)).expect("it fits");
    let value = (noise.below(5) > 0).then(|| noise.bytes(len));
    ([&key[..], &[0; 16]].concat(), value)
}

/// Each round fills as many operations and folds every document; then shelves are copied anew, as the store does
/// by itself when it is worth it.
fn through_the_store(engine: Engine, scale: Scale) {
    let folder = folder();
    let shelves = Shelves::open(folder.path(), 16, Some(engine)).expect("the folder is writable");
    let mut noise = Noise(4);
    let each = CHANGES / DOCUMENTS;
    let id = |number: u64| DocumentId::yjs(&format!("document {number}")).expect("a plain name");
    for round in 0..scale.churn_rounds {
        for number in 0..DOCUMENTS {
            let operations = (1..=each).map(|seq| Operation {
                document: id(number),
                replica: ReplicaId([7; 16]),
                seq: Seq(round * each + seq),
                stamp: Stamp(seq),
                kind: Kind::YjsUpdate,
                payload: noise.bytes(30 + usize::try_from(seq).expect("it fits")).into(),
            });
            let stuck = shelves.fill(&operations.collect::<Vec<_>>()).expect("the disk takes it");
            assert!(stuck.is_empty(), "{stuck:?}");
            let snapshot = Some(noise.bytes(SNAPSHOT_BYTES).into());
            let fold = Fold { count: each, snapshot, ..Fold::default() };
            shelves.fold(&id(number), &fold).expect("the disk takes it");
        }
    }
    let live = (0..16).filter_map(|index| shelves.live_bytes(index).expect("the store reads")).sum();
    say(&format!("store on {engine}"), scale, shelves.size_on_disk(), live);
    for index in 0..16 {
        shelves.reclaim(index).expect("the disk takes it");
    }
    say(&format!("store on {engine}, copied"), scale, shelves.size_on_disk(), live);
    shelves.close().expect("the disk takes it");
}
