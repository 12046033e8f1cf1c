//! The file `replica`: who this store is, and the witness that it is not a copy.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLRPL3` |
//! | 8 | 16 | replica: what operations are named after |
//! | 24 | 16 | incarnation |
//! | 40 | 28 | witness: number in its name (8), inode (8), time of its birth in s (8) and ns (4) |
//! | 68 | 2 | number of former lives |
//! | 70 | | for each replica (16) and incarnation (16), the oldest first |
//! | | 4 | CRC-32C of the bytes before |
//!
//! Version 2, `TMBLRPL2`, has the time of the witness's last change; it is written where the system knows no birth.
//! Version 1 had only the replica: `TMBLRPL1` (8), replica (16), CRC-32 (4).

use tombolo_core::id::{FORMER_MAX, Identity, Incarnation, ReplicaId};

use super::witness::{Moment, WITNESS_LEN, Witness};

const MAGIC: &[u8; 8] = b"TMBLRPL3";
const MAGIC_2: &[u8; 8] = b"TMBLRPL2";
const MAGIC_1: &[u8; 8] = b"TMBLRPL1";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Version 1: nothing can tell whether it was copied.
    Named(ReplicaId),
    /// Version 2 or 3.
    Witnessed(Identity, Witness),
}

pub(super) fn encode(identity: &Identity, witness: &Witness) -> Vec<u8> {
    let magic = match witness.of {
        Moment::Birth => MAGIC,
        Moment::Change => MAGIC_2,
    };
    let mut bytes = [&magic[..], &identity.replica.0, &identity.incarnation.0, &witness.encode()].concat();
    let former = identity.former.len().saturating_sub(FORMER_MAX);
    let former = identity.former.get(former..).unwrap_or_default();
    bytes.extend_from_slice(&u16::try_from(former.len()).unwrap_or_default().to_be_bytes());
    for (replica, incarnation) in former {
        bytes.extend_from_slice(&replica.0);
        bytes.extend_from_slice(&incarnation.0);
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Stored> {
    let (whole, crc) = bytes.split_last_chunk::<4>()?;
    let crc = u32::from_be_bytes(*crc);
    if let Some(replica) = whole.strip_prefix(MAGIC_1) {
        let replica = ReplicaId(replica.try_into().ok()?);
        return (crc32fast::hash(whole) == crc).then_some(Stored::Named(replica));
    }
    if crc32c::crc32c(whole) != crc {
        return None;
    }
    let (of, rest) = match whole.strip_prefix(MAGIC) {
        Some(rest) => (Moment::Birth, rest),
        None => (Moment::Change, whole.strip_prefix(MAGIC_2)?),
    };
    let (replica, rest) = rest.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    let (witness, rest) = rest.split_first_chunk::<WITNESS_LEN>()?;
    let (count, rest) = rest.split_first_chunk()?;
    let lives = rest.chunks_exact(32);
    if rest.len() != usize::from(u16::from_be_bytes(*count)) * 32 {
        return None;
    }
    let life = |bytes: &[u8]| {
        let (replica, incarnation) = bytes.split_first_chunk()?;
        Some((ReplicaId(*replica), Incarnation(incarnation.try_into().ok()?)))
    };
    let former = lives.map(life).collect::<Option<_>>()?;
    let identity = Identity { replica: ReplicaId(*replica), incarnation: Incarnation(*incarnation), former };
    Some(Stored::Witnessed(identity, Witness::decode(witness, of)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_the_replica_file() {
        for (magic, of) in [(b"TMBLRPL3", Moment::Birth), (b"TMBLRPL2", Moment::Change)] {
            let identity = Identity {
                replica: ReplicaId([7; 16]),
                incarnation: Incarnation([8; 16]),
                former: vec![(ReplicaId([5; 16]), Incarnation([6; 16]))],
            };
            let witness =
                [1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5];
            let mut golden = magic.to_vec();
            golden.extend([7; 16]);
            golden.extend([8; 16]);
            golden.extend(witness);
            golden.extend([0, 1]);
            golden.extend([5; 16]);
            golden.extend([6; 16]);
            golden.extend(crc32c::crc32c(&golden).to_be_bytes());
            let witness = Witness::decode(&witness, of).unwrap();
            assert_eq!(encode(&identity, &witness), golden);
            assert_eq!(decode(&golden), Some(Stored::Witnessed(identity, witness)));
            for at in 0..golden.len() {
                let mut bytes = golden.clone();
                bytes[at] ^= 1;
                assert_eq!(decode(&bytes), None, "byte {at}");
                assert_eq!(decode(&golden[..at]), None);
            }
        }
    }

    #[test]
    fn version_1_is_read() {
        let mut golden = b"TMBLRPL1".to_vec();
        golden.extend([7; 16]);
        golden.extend(crc32fast::hash(&golden).to_be_bytes());
        assert_eq!(decode(&golden), Some(Stored::Named(ReplicaId([7; 16]))));
    }
}
