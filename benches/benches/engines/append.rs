//! A group of small rows made durable, by all contestants in turns.

use std::time::{Duration, Instant};

use tombolo_benches::{Spread, Typist};

use super::journal::Ours;
use super::redb::Redb;
use super::rows::{CONTESTANTS, Rows};
use super::{Scale, folder};

pub(crate) fn run(scale: Scale) {
    for batch in [1, 16, 256] {
        group(batch, scale.turns);
    }
}

fn group(batch: usize, turns: u32) {
    let mut contestants: Vec<_> = CONTESTANTS
        .iter()
        .map(|(name, open)| {
            let folder = folder();
            (*name, open(folder.path()), folder, Vec::new())
        })
        .collect();
    let one_phase = folder();
    let redb: Box<dyn Rows> = Box::new(Redb::open(one_phase.path(), false));
    contestants.push(("redb in one phase", redb, one_phase, Vec::new()));
    let place = folder();
    let mut journal = Ours::open(place.path());
    let mut journaled: Vec<Duration> = Vec::new();
    let mut typist = Typist::new(0xa3c4_51e7);
    let letters = [9, 12, 40, 10, 75, 11, 22];
    let payloads: Vec<_> = letters.iter().cycle().take(batch).map(|n| typist.types(*n)).collect();
    let shared: Vec<_> = payloads.iter().cloned().map(Into::into).collect();
    let mut key = 0u64;
    for _ in 0..turns {
        let changes: Vec<_> = payloads
            .iter()
            .map(|payload| {
                key += 1;
                ([&[7; 16][..], &key.to_be_bytes()].concat(), Some(payload.clone()))
            })
            .collect();
        for (_, rows, _, times) in &mut contestants {
            let start = Instant::now();
            rows.commit(&changes);
            times.push(start.elapsed());
        }
        journaled.push(journal.group(&shared));
    }
    let median = |times: &[Duration]| Spread::of_times(times).median * 1e6;
    print!("engines append batch {batch}: journal {:.0} µs", median(&journaled));
    contestants.iter().for_each(|(name, _, _, times)| print!(", {name} {:.0} µs", median(times)));
    let (syncs, groups) = journal.syncs_and_groups(batch);
    println!(" (medians of {turns} turns; the journal needed {syncs} fdatasyncs for {groups} groups)");
}
