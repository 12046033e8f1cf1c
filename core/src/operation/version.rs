//! What a holder has of a document: for each replica the highest seq below which nothing is missing.

use std::collections::BTreeMap;

use crate::id::{ReplicaId, Seq};

/// Replica → highest contiguous seq. An absent replica counts as seq 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version(BTreeMap<ReplicaId, Seq>);

impl Version {
    /// The highest contiguous seq of `replica`.
    #[must_use]
    pub fn get(&self, replica: ReplicaId) -> Seq {
        self.0.get(&replica).copied().unwrap_or_default()
    }

    /// Takes note of the operation `(replica, seq)`. Only the next one in order moves the version;
    /// returns whether it did. Seeing an operation twice or too early changes nothing.
    pub fn observe(&mut self, replica: ReplicaId, seq: Seq) -> bool {
        let known = self.0.entry(replica).or_default();
        let next = *known != Seq(u64::MAX) && seq == known.next();
        if next {
            *known = seq;
        }
        next
    }

    /// Takes note that everything of `replica` up to `seq` is here; never moves backwards.
    pub fn advance(&mut self, replica: ReplicaId, seq: Seq) {
        let known = self.0.entry(replica).or_default();
        *known = (*known).max(seq);
    }

    /// Becomes the least version that contains both.
    pub fn merge(&mut self, other: &Self) {
        for (replica, seq) in other.iter() {
            self.advance(replica, seq);
        }
    }

    /// Whether everything in `other` is in this version too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(replica, seq)| self.get(*replica) >= *seq)
    }

    /// Each replica with its seq, in the order of replica ids.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, Seq)> + '_ {
        self.0.iter().map(|(replica, seq)| (*replica, *seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId([n; 16])
    }

    proptest! {
        #[test]
        fn observing_is_idempotent_and_contiguous(events in prop::collection::vec((0u8..3, 1u64..6), 0..60)) {
            let mut version = Version::default();
            for (who, seq) in &events {
                version.observe(replica(*who), Seq(*seq));
            }
            for who in 0..3 {
                let have = version.get(replica(who)).0;
                for seq in 1..=have {
                    prop_assert!(events.contains(&(who, seq)));
                }
            }
            let before = version.clone();
            for (who, seq) in &events {
                if *seq <= version.get(replica(*who)).0 {
                    version.observe(replica(*who), Seq(*seq));
                }
            }
            prop_assert_eq!(before, version);
        }

        #[test]
        fn merge_is_a_least_upper_bound(a in prop::collection::vec(0u64..9, 3), b in prop::collection::vec(0u64..9, 3)) {
            let make = |v: &[u64]| Version(v.iter().enumerate().map(|(i, s)| (replica(u8::try_from(i).unwrap()), Seq(*s))).collect());
            let (a, b) = (make(&a), make(&b));
            let mut ab = a.clone();
            ab.merge(&b);
            let mut ba = b.clone();
            ba.merge(&a);
            prop_assert_eq!(&ab, &ba);
            prop_assert!(ab.contains(&a) && ab.contains(&b));
            let mut again = ab.clone();
            again.merge(&a);
            prop_assert_eq!(again, ab);
        }
    }
}
