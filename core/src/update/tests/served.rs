//! Documents that are folded at any moments, each served to somebody who knows any part of it and has typed on: who
//! joins has the same document in the end, whichever way it was served.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use yrs::updates::encoder::Encode as _;
use yrs::{ReadTxn as _, Text as _, Transact as _};

use super::super::*;
use super::random::{Edit, apply, doc, edits, history, state};

/// What an archive has of a document.
#[derive(Default)]
struct Stored {
    snapshot: Option<Update>,
    tail: Vec<Update>,
}

impl Stored {
    fn all(&self) -> Vec<Update> {
        self.snapshot.iter().chain(&self.tail).cloned().collect()
    }

    /// What has its ground goes into the snapshot, as an engine writes it; the rest stays.
    fn fold(&mut self) {
        let all = self.all();
        let mut known = Coverage::default();
        let Admitted { order, part, .. } = admit(&mut known, &all);
        let engine = doc(77);
        order
            .iter()
            .filter_map(|at| all.get(*at))
            .chain(&part)
            .for_each(|update| apply(&engine, update.bytes()));
        let written = engine.transact().encode_state_as_update_v1(&yrs::StateVector::default());
        self.snapshot = Some(Update::parse(written.into()).unwrap());
        self.tail.retain(|update| !known.covers(update));
    }

    /// The snapshot as it is read from the disk, if it has an outline.
    fn outlined(&self) -> Option<Outlined> {
        let snapshot = self.snapshot.as_ref()?;
        let outline = Outline::parse(&snapshot.outline()?.encode()).unwrap();
        Some(Outlined::new(snapshot.bytes().clone(), outline).unwrap())
    }

    /// What it is known to have, by the outline if there is one.
    fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        match self.outlined() {
            Some(outlined) => outlined.add_to(&mut coverage).unwrap(),
            None => coverage = known(self.snapshot.iter()),
        }
        for update in &self.tail {
            coverage.add(update);
        }
        coverage
    }

    /// What somebody lacks who has this.
    fn answer(&self, have: &StateVector) -> Bytes {
        match (self.coverage().deletes_if_all_is_in(have), self.outlined()) {
            (Some(deletes), _) => deletes.into(),
            (None, Some(outlined)) => outlined.diff(&self.tail, have).unwrap(),
            (None, None) => diff(&self.all(), have),
        }
    }
}

fn known<'a>(updates: impl Iterator<Item = &'a Update>) -> Coverage {
    let mut known = Coverage::default();
    updates.for_each(|update| {
        known.add(update);
    });
    known
}

/// Who has some of the updates, as far as they have their ground, and types on behind them.
fn joiner(updates: &[Update], has: &[bool], types: Option<&str>) -> (yrs::Doc, Vec<Bytes>) {
    let some: Vec<Update> = updates
        .iter()
        .zip(has.iter().cycle())
        .filter(|(_, has)| **has)
        .map(|(update, _)| update.clone())
        .collect();
    let peer = doc(1 << 41);
    for at in admit(&mut Coverage::default(), &some).order {
        apply(&peer, some[at].bytes());
    }
    let before = peer.transact().state_vector();
    if let Some(text) = types {
        let root = peer.get_or_insert_text("t");
        let mut txn = peer.transact_mut();
        let len = root.len(&txn);
        root.insert(&mut txn, len / 2, text);
        root.remove_range(&mut txn, len / 3, u32::from(len > 0));
    }
    let typed = peer.transact().encode_diff_v1(&before);
    (peer, vec![typed.into()])
}

fn vector(doc: &yrs::Doc) -> StateVector {
    StateVector::parse(&doc.transact().state_vector().encode_v1()).unwrap()
}

fn converges(edits: &[Edit], seed: u64, folds: &[bool], knows: (Index, &[bool]), types: Option<&str>) {
    let mut updates: Vec<Update> =
        history(edits).into_iter().map(|bytes| Update::parse(bytes).unwrap()).collect();
    let whole: Vec<Bytes> = updates.iter().map(|update| update.bytes().clone()).collect();
    let (peer, typed) = joiner(&updates[..knows.0.index(updates.len())], knows.1, types);
    updates
        .sort_by_key(|update| *blake3::hash(&[update.bytes(), &seed.to_le_bytes()[..]].concat()).as_bytes());
    let mut stored = Stored::default();
    for (update, fold) in updates.iter().zip(folds.iter().cycle()) {
        stored.tail.push(update.clone());
        if *fold {
            stored.fold();
        }
    }
    let turn = doc(98);
    whole.iter().chain(&typed).for_each(|bytes| apply(&turn, bytes));
    assert_eq!(stored.coverage().encode_snapshot(), known(stored.all().iter()).encode_snapshot());
    let have = vector(&peer);
    let answer = stored.answer(&have);
    assert!(Update::parse(answer.clone()).is_ok());
    apply(&peer, &answer);
    assert_eq!(state(&peer), state(&turn));
    // Who is told what the archive has can bring it the rest, and it knows all of that for new.
    let rest = peer.transact().encode_diff_v1(&yrs::StateVector::from_iter(
        stored
            .coverage()
            .state_vector()
            .iter()
            .map(|(client, clock)| (yrs::block::ClientID::new(client), u32::try_from(clock).unwrap())),
    ));
    stored.tail.push(Update::parse(rest.into()).unwrap());
    stored.fold();
    let second = doc(97);
    apply(&second, &stored.answer(&vector(&second)));
    assert_eq!(state(&second), state(&turn));
}

proptest! {
    #[test]
    fn who_joins_has_the_whole_document(
        edits in edits(),
        seed in any::<u64>(),
        folds in prop::collection::vec(prop::bool::weighted(0.3), 1..9),
        until in any::<Index>(),
        has in prop::collection::vec(prop::bool::weighted(0.8), 1..9),
        types in prop::option::of("[a-zé😀]{1,6}"),
    ) {
        converges(&edits, seed, &folds, (until, &has), types.as_deref());
    }
}
