//! Our own waiting place: which of many updates a document can take, and in which order.
//!
//! An engine must never see an update whose ground is missing (HAZARDS: yrs-2, yrs-3). An update that is
//! admitted may admit others that came before it; each waits under the clients that it lacks, so that the
//! whole costs a sort and not a search for each update.
//!
//! Most updates are taken whole or not at all. But one that was collected of others may be ground for what it waits
//! for itself, or two may be ground for each other; so what is left is looked at once more, struct by struct.

use std::collections::{BTreeMap, BTreeSet};

use super::coverage::Coverage;
use super::merge::merge;
use super::parse::Update;

/// What of many updates has its ground.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// Indices of updates that each find their ground in the order given.
    pub order: Vec<usize>,
    /// Indices of others that find it only together, ascending.
    pub together: Vec<usize>,
    /// What is to be taken behind `order` in the place of `together`: those, and what has its ground of the rest.
    pub part: Option<Update>,
}

/// What of `updates` a document which holds exactly `known` can take, in the order of the slice but for those that
/// had to wait. It is added to `known`; the rest waits for something that is not there.
pub fn admit(known: &mut Coverage, updates: &[Update]) -> Admitted {
    let order = whole(known, updates);
    let taken: BTreeSet<usize> = order.iter().copied().collect();
    let left = || updates.iter().enumerate().filter(|(index, _)| !taken.contains(index));
    let rest: Vec<Update> = left().map(|(_, update)| update.clone()).collect();
    // All together they may be no update; then they wait.
    let part = Update::parse(merge(&rest)).ok().and_then(|rest| known.admit_part(&rest));
    let together = left().filter(|(_, update)| part.is_some() && known.covers(update));
    let together = together.map(|(index, _)| index).collect();
    Admitted { order, together, part }
}

/// The indices of the updates that can be taken whole, in an order in which each finds its ground.
fn whole(known: &mut Coverage, updates: &[Update]) -> Vec<usize> {
    let mut waiting = Waiting::default();
    let mut order = Vec::with_capacity(updates.len());
    for (index, update) in updates.iter().enumerate() {
        if waiting.must_wait(known, index, update) {
            continue;
        }
        let mut ready = BTreeSet::from([index]);
        while let Some(index) = ready.pop_first() {
            let Some(update) = updates.get(index) else { continue };
            known.add(update);
            order.push(index);
            for client in update.clients() {
                waiting.reached(client, known.reach(client), &mut ready);
            }
        }
    }
    order
}

#[derive(Default)]
struct Waiting {
    /// By client, by the clock that it must reach: who waits for that.
    clients: BTreeMap<u64, BTreeMap<u64, Vec<usize>>>,
    /// For how many clients each of them still waits.
    lacks: BTreeMap<usize, usize>,
}

impl Waiting {
    /// Whether an update lacks anything; then it waits from now on.
    fn must_wait(&mut self, known: &Coverage, index: usize, update: &Update) -> bool {
        let ground = update.ground();
        let lacking = ground.into_iter().filter(|(client, clock)| *clock > known.reach(*client));
        let mut count = 0;
        for (client, clock) in lacking {
            self.clients.entry(client).or_default().entry(clock).or_default().push(index);
            count += 1;
        }
        if count > 0 {
            self.lacks.insert(index, count);
        }
        count > 0
    }

    /// A client is known so far now; those that lack nothing more are ready.
    fn reached(&mut self, client: u64, reach: u64, ready: &mut BTreeSet<usize>) {
        let Some(waiting) = self.clients.get_mut(&client) else { return };
        while let Some(first) = waiting.first_entry().filter(|first| *first.key() <= reach) {
            for index in first.remove() {
                let Some(lacks) = self.lacks.get_mut(&index) else { continue };
                *lacks -= 1;
                if *lacks == 0 {
                    self.lacks.remove(&index);
                    ready.insert(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::lib0::write_var_u64;

    /// An item of client 1 to 3 that leans on the one before it and maybe on one of another client, and deletes.
    fn update(clients: &mut [u64; 3], (client, other, delete): (usize, usize, bool)) -> Update {
        let (clock, at) = (clients[client], clients[other]);
        let mut bytes = vec![1, 1];
        write_var_u64(&mut bytes, client as u64 + 1);
        write_var_u64(&mut bytes, clock);
        let origins = [(client, clock), (other, at)];
        let origins: Vec<_> = origins.into_iter().filter(|(_, behind)| *behind > 0).collect();
        match (clock > 0, at > 0) {
            (true, true) => bytes.push(0xc4),
            (true, false) => bytes.push(0x84),
            (false, true) => bytes.push(0x44),
            (false, false) => bytes.extend([4, 1, 1, b't']),
        }
        for (client, behind) in &origins {
            write_var_u64(&mut bytes, *client as u64 + 1);
            write_var_u64(&mut bytes, behind - 1);
        }
        bytes.extend([2, b'h', b'i']);
        if delete && at > 0 {
            bytes.extend([1, u8::try_from(other + 1).unwrap(), 1]);
            write_var_u64(&mut bytes, at - 1);
            bytes.push(1);
        } else {
            bytes.push(0);
        }
        clients[client] += 2;
        Update::parse(bytes.into()).unwrap()
    }

    fn naive(known: &mut Coverage, updates: &[Update]) -> BTreeSet<usize> {
        let mut taken = BTreeSet::new();
        loop {
            let next = (0..updates.len()).find(|at| !taken.contains(at) && known.admits(&updates[*at]));
            let Some(next) = next else { return taken };
            known.add(&updates[next]);
            taken.insert(next);
        }
    }

    proptest! {
        #[test]
        fn everything_that_has_its_ground_is_taken_and_nothing_else(
            edits in prop::collection::vec((0usize..3, 0usize..3, any::<bool>(), any::<u32>(), 0u8..10), 0..60),
        ) {
            let mut clients = [0; 3];
            let mut updates: Vec<_> = edits
                .iter()
                .map(|(client, other, delete, place, _)| (*place, update(&mut clients, (*client, *other, *delete))))
                .collect();
            let mut lost = edits.iter().map(|edit| edit.4 == 0);
            updates.retain(|_| !lost.next().unwrap());
            updates.sort_by_key(|(place, _)| *place);
            let updates: Vec<_> = updates.into_iter().map(|(_, update)| update).collect();
            let (mut known, mut step) = (Coverage::default(), Coverage::default());
            let Admitted { order, together, .. } = admit(&mut known, &updates);
            prop_assert!(together.is_empty());
            for index in &order {
                prop_assert!(step.admits(&updates[*index]));
                step.add(&updates[*index]);
            }
            let mut again = Coverage::default();
            prop_assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), naive(&mut again, &updates));
            prop_assert_eq!(known.state_vector(), again.state_vector());
        }
    }

    #[test]
    fn a_hundred_thousand_in_reverse_order_find_their_ground() {
        let mut clients = [0; 3];
        let mut updates: Vec<_> =
            (0..100_000).map(|n| update(&mut clients, (n % 3, (n + 2) % 3, false))).collect();
        updates.reverse();
        let order = admit(&mut Coverage::default(), &updates).order;
        assert_eq!(order, (0..100_000).rev().collect::<Vec<_>>());
        drop(updates.pop());
        assert!(admit(&mut Coverage::default(), &updates).order.is_empty());
    }

    #[test]
    fn collected_updates_that_are_ground_for_each_other_are_taken() {
        let parse = |bytes: &'static [u8]| Update::parse(bytes::Bytes::from_static(bytes)).unwrap();
        // Clock 0 and, behind a hole, clock 2 with a delete of 1 and 2; then the hole.
        let holed = parse(&[1, 3, 3, 0, 0, 1, 10, 1, 0, 1, 1, 3, 1, 1, 2]);
        let hole = parse(&[1, 1, 3, 1, 0, 1, 0]);
        let mut known = Coverage::default();
        let Admitted { order, together, part } = admit(&mut known, std::slice::from_ref(&holed));
        assert_eq!((order, together), (vec![], vec![]));
        let part = part.unwrap();
        assert_eq!((part.blocks().collect::<Vec<_>>(), part.deletes().count()), (vec![(3, 0, 1)], 0));
        let Admitted { order, together, part } = admit(&mut Coverage::default(), &[holed, hole]);
        assert_eq!((order, together), (vec![], vec![0, 1]));
        let part = part.unwrap();
        assert_eq!(part.deletes().collect::<Vec<_>>(), [(3, 1, 2)]);
        assert_eq!(part.blocks().map(|(_, start, end)| end - start).sum::<u64>(), 3);
        // Two clients, each leaning with its second struct on the first of the other.
        let one = parse(&[1, 2, 1, 0, 4, 1, 1, b't', 1, b'a', 0x84, 2, 0, 1, b'b', 0]);
        let two = parse(&[1, 2, 2, 0, 4, 1, 1, b't', 1, b'c', 0x84, 1, 0, 1, b'd', 0]);
        let mut known = Coverage::default();
        assert!(admit(&mut known, std::slice::from_ref(&one)).together.is_empty());
        assert_eq!(known.state_vector().get(1), 1);
        assert_eq!(admit(&mut Coverage::default(), &[one, two]).together, [0, 1]);
    }

    proptest! {
        /// Structs of three clients, some with holes before them, with deletes as ground in others.
        #[test]
        fn what_is_given_to_an_engine_has_its_ground(
            seeds in prop::collection::vec((0u8..3, 0u8..6, 0u8..3, 0u8..6, any::<bool>()), 0..40),
        ) {
            let updates: Vec<Update> = seeds
                .iter()
                .map(|(client, clock, other, need, holed)| {
                    let mut bytes = match holed {
                        true => vec![1, 3, *client, *clock, 0, 2, 10, 1, 0, 1],
                        false => vec![1, 1, *client, *clock, 0, 2],
                    };
                    match need {
                        0 => bytes.push(0),
                        need => bytes.extend([1, *other, 1, 0, *need]),
                    }
                    Update::parse(bytes.into()).unwrap()
                })
                .collect();
            let Admitted { order, together, part } = admit(&mut Coverage::default(), &updates);
            let mut again = Coverage::default();
            for update in order.iter().map(|index| &updates[*index]).chain(&part) {
                prop_assert!(again.admits(update));
                again.add(update);
            }
            for (index, update) in updates.iter().enumerate() {
                let is_in = order.contains(&index) || together.contains(&index);
                prop_assert_eq!(is_in, again.admits(update));
                prop_assert_eq!(is_in, again.covers(update));
            }
        }
    }
}
