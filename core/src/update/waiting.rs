//! Our own waiting place: which of many updates a document can take, and in which order.
//!
//! An engine must never see an update whose ground is missing (HAZARDS: yrs-2, yrs-3). An update that is
//! admitted may admit others that came before it; each waits under the clients that it lacks, so that the
//! whole costs a sort and not a search for each update.

use std::collections::{BTreeMap, BTreeSet};

use super::coverage::Coverage;
use super::parse::Update;

/// The indices of all `updates` that a document which holds exactly `known` can take, in an order in which
/// each finds its ground: that of the slice, but for those that had to wait. They are added to `known`; the
/// others wait for something that is not there.
pub fn admit(known: &mut Coverage, updates: &[Update]) -> Vec<usize> {
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
            let order = admit(&mut known, &updates);
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
        let order = admit(&mut Coverage::default(), &updates);
        assert_eq!(order, (0..100_000).rev().collect::<Vec<_>>());
        drop(updates.pop());
        assert_eq!(admit(&mut Coverage::default(), &updates), Vec::<usize>::new());
    }
}
