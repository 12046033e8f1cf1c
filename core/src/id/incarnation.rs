//! One life of a replica's store, and what a peer makes of meeting it again.
//!
//! A store that was reset, restored or copied lacks operations that it once had, or exists twice. If it went on under
//! its old name it would write other operations under names that are taken. So it gets a new incarnation and a new
//! replica id, and says which ones it had before. A peer keeps a [`Seen`] of each replica that it syncs with and
//! asks [`compare`] when they meet again:
//!
//! - [`Continuity::Same`]: go on from what was acknowledged.
//! - [`Continuity::WentBackwards`]: what was acknowledged may be gone there: forget it, compare versions anew, send
//!   what is missing.
//! - [`Continuity::New`]: nobody that is known.

use std::fmt;

use super::ReplicaId;
use crate::operation::Version;

/// One life of a store. 16 random bytes, made outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// Who a store says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What its operations are named after from now on.
    pub replica: ReplicaId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What it was before, the newest last; at most [`FORMER_MAX`].
    pub former: Vec<(ReplicaId, Incarnation)>,
}

/// Most former lives that a store remembers.
pub const FORMER_MAX: usize = 64;

/// What a peer remembers of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name then.
    pub replica: ReplicaId,
    /// Its life then.
    pub incarnation: Incarnation,
    /// What it had of a document then.
    pub version: Version,
}

/// What has become of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The one that was seen; everything that it had it has.
    Same,
    /// The one that was seen, and what it had may be gone.
    WentBackwards,
    /// Another one.
    New,
}

/// Whether a replica that says it is `now`, and has this version of a document, is the one that was seen.
#[must_use]
pub fn compare(seen: &Seen, now: &Identity, version: &Version) -> Continuity {
    let was = (seen.replica, seen.incarnation);
    if (now.replica, now.incarnation) == was {
        // A restore that nothing gave away still shows in what is missing.
        return if version.contains(&seen.version) { Continuity::Same } else { Continuity::WentBackwards };
    }
    if now.former.contains(&was) || now.replica == seen.replica {
        return Continuity::WentBackwards;
    }
    Continuity::New
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Seq;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId([n; 16])
    }

    fn version(seq: u64) -> Version {
        let mut version = Version::default();
        version.advance(replica(1), Seq(seq));
        version
    }

    fn seen() -> Seen {
        Seen { replica: replica(1), incarnation: Incarnation([1; 16]), version: version(5) }
    }

    fn identity(replica_id: u8, incarnation: u8, former: &[(u8, u8)]) -> Identity {
        let former = former.iter().map(|(r, i)| (replica(*r), Incarnation([*i; 16]))).collect();
        Identity { replica: replica(replica_id), incarnation: Incarnation([incarnation; 16]), former }
    }

    #[test]
    fn each_way_of_meeting_again() {
        let rows = [
            (identity(1, 1, &[]), 5, Continuity::Same),
            (identity(1, 1, &[]), 9, Continuity::Same),
            (identity(1, 1, &[]), 4, Continuity::WentBackwards),
            (identity(2, 2, &[(1, 1)]), 9, Continuity::WentBackwards),
            (identity(3, 3, &[(1, 1), (2, 2)]), 9, Continuity::WentBackwards),
            (identity(1, 2, &[]), 9, Continuity::WentBackwards),
            (identity(2, 2, &[]), 9, Continuity::New),
            (identity(2, 2, &[(1, 9)]), 9, Continuity::New),
        ];
        for (now, seq, continuity) in rows {
            assert_eq!(compare(&seen(), &now, &version(seq)), continuity, "{now:?} {seq}");
        }
    }

    proptest! {
        /// Nobody passes for the same who lacks anything that was seen.
        #[test]
        fn same_means_nothing_is_missing(r in 0u8..3, i in 0u8..3, seq in 0u64..10) {
            let now = identity(r, i, &[]);
            if compare(&seen(), &now, &version(seq)) == Continuity::Same {
                prop_assert!((r, i) == (1, 1) && seq >= 5);
            }
        }
    }
}
