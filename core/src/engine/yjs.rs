//! Yjs documents through yrs: fold a tail into one update, hash a state, read a text.
//!
//! Every document is hydrated under one fixed client id and GUID and nothing is ever edited here, so no
//! operation can carry that id. Formatting is not cleaned up: a fold must not invent deletions.
//!
//! A yrs transaction commits in its destructor, also while a panic unwinds, on whatever half-integrated
//! state the panic left (HAZARDS yrs-1). Transactions and documents are therefore leaked when something
//! goes wrong between their opening and their explicit end; a leak is bounded by the document, the
//! alternative is a corrupted heap.

use std::mem::ManuallyDrop;

use bytes::Bytes;
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, OffsetKind, Options, ReadTxn, StateVector, Transact, Update};

use super::EngineError;
use super::yjs_canonical::canonical;

/// Folds v1 updates, in any order and with repetitions, into one v1 update that carries the same state.
///
/// The result is applied to a second document before it is handed out, and both must agree in state
/// vector, delete set and content hash (HAZARDS yrs-2, yrs-4). The bytes of two folds of one state may
/// differ (hash maps inside yrs); their [`state_hash`] does not.
///
/// # Errors
/// [`EngineError::Pending`] if an update or a deletion waits for another one, [`EngineError::Malformed`]
/// if a part does not decode, [`EngineError::Diverged`] if the fold is not the same document.
pub fn compact(parts: &[Bytes]) -> Result<Bytes, EngineError> {
    fold(parts).map(|(update, _)| update)
}

/// A hash that is equal for two sets of parts exactly if they give the same document: BLAKE3 over the
/// canonical form of the squashed v1 encoding, structs and delete set.
///
/// State vectors cannot tell diverged content (HAZARDS yrs-4) nor missing deletions (yrs-7); this can.
/// It is stable across processes, not promised across versions of yrs: compare, do not store for ever.
///
/// # Errors
/// As for [`compact`].
pub fn state_hash(parts: &[Bytes]) -> Result<[u8; 32], EngineError> {
    fold(parts).map(|(_, hash)| hash)
}

/// The text under a root name; empty if there is none. For tests and tools.
///
/// # Errors
/// As for [`compact`], without the comparison.
pub fn text(parts: &[Bytes], name: &str) -> Result<String, EngineError> {
    let document = Hydrated::new(parts)?;
    let text = {
        let txn = document.doc.transact();
        txn.get_text(name).map(|text| text.get_string(&txn)).unwrap_or_default()
    };
    document.close();
    Ok(text)
}

/// Hydrates three times: yrs splits structs by order of arrival, and only a document that got everything
/// in one update has them squashed. So the second encoding is the answer, the third is its proof.
fn fold(parts: &[Bytes]) -> Result<(Bytes, [u8; 32]), EngineError> {
    let first = Encoded::of(parts)?;
    let second = Encoded::of(std::slice::from_ref(&first.update)).map_err(|error| not_ours(&error))?;
    first.same_state(&second)?;
    let second_hash = second.hash()?;
    if first.hash()? != second_hash {
        let third = Encoded::of(std::slice::from_ref(&second.update)).map_err(|error| not_ours(&error))?;
        second.same_state(&third)?;
        if third.hash()? != second_hash {
            return Err(EngineError::diverged("a fold applied again gives other content"));
        }
    }
    Ok((second.update, second_hash))
}

/// The parts were fine; that their fold is not is the engine's doing.
fn not_ours(error: &EngineError) -> EngineError {
    EngineError::diverged(format_args!("the fold does not load: {error}"))
}

struct Encoded {
    update: Bytes,
    snapshot: yrs::Snapshot,
}

impl Encoded {
    fn of(parts: &[Bytes]) -> Result<Self, EngineError> {
        let document = Hydrated::new(parts)?;
        let (update, snapshot) = {
            let txn = document.doc.transact();
            (txn.encode_state_as_update_v1(&StateVector::default()).into(), txn.snapshot())
        };
        document.close();
        Ok(Self { update, snapshot })
    }

    fn same_state(&self, other: &Self) -> Result<(), EngineError> {
        if self.snapshot == other.snapshot {
            Ok(())
        } else {
            Err(EngineError::diverged("a fold has another state vector or delete set"))
        }
    }

    fn hash(&self) -> Result<[u8; 32], EngineError> {
        Ok(*blake3::hash(&canonical(&self.update).map_err(EngineError::diverged)?).as_bytes())
    }
}

/// A document in memory. Has no `Drop` on purpose: see the module.
pub(super) struct Hydrated {
    pub(super) doc: ManuallyDrop<Doc>,
}

impl Hydrated {
    fn new(parts: &[Bytes]) -> Result<Self, EngineError> {
        match Self::as_far_as_possible(parts)? {
            (document, false) => Ok(document),
            (document, true) => {
                document.close();
                Err(EngineError::Pending)
            }
        }
    }

    /// The document, and whether an edit in the parts waits for one that they lack.
    pub(super) fn as_far_as_possible(parts: &[Bytes]) -> Result<(Self, bool), EngineError> {
        // All decoded before the transaction opens, so that a bad part costs no leak.
        let updates = decoded(parts)?;
        let options = Options {
            offset_kind: OffsetKind::Utf16, // HAZARDS yrs-6
            cleanup_formatting: false,
            ..Options::with_guid_and_client_id("tombolo".into(), ClientID::new(1))
        };
        let doc = ManuallyDrop::new(Doc::with_options(options));
        let pending = {
            let mut txn = ManuallyDrop::new(doc.transact_mut());
            for update in updates {
                txn.apply_update(update).map_err(EngineError::malformed)?;
            }
            // yrs can hold back an update although all that it needs has arrived meanwhile, when writers
            // interleave out of order. Taking everything in again moves it on; without progress something
            // is really missing.
            let mut pending = txn.has_missing_updates();
            for _ in 0..PASSES_MAX {
                if !pending {
                    break;
                }
                let before = txn.snapshot();
                for update in decoded(parts)? {
                    txn.apply_update(update).map_err(EngineError::malformed)?;
                }
                pending = txn.has_missing_updates();
                if txn.snapshot() == before {
                    break;
                }
            }
            txn.commit();
            drop(ManuallyDrop::into_inner(txn));
            pending
        };
        Ok((Self { doc }, pending))
    }

    pub(super) fn close(self) {
        drop(ManuallyDrop::into_inner(self.doc));
    }
}

/// Passes over parts that arrived out of order before they count as pending; the tests need one or two.
const PASSES_MAX: usize = 16;

fn decoded(parts: &[Bytes]) -> Result<Vec<Update>, EngineError> {
    parts.iter().map(|part| Update::decode_v1(part).map_err(EngineError::malformed)).collect()
}

#[cfg(test)]
mod tests {
    use yrs::{Any, Array, Map, Text};

    use super::*;

    fn edited() -> (Vec<Bytes>, String) {
        let mut parts = Vec::new();
        let doc = Doc::with_options(Options {
            offset_kind: OffsetKind::Utf16,
            ..Options::with_client_id(ClientID::new(7))
        });
        let (text, map, list) =
            (doc.get_or_insert_text("t"), doc.get_or_insert_map("m"), doc.get_or_insert_array("a"));
        for i in 0..40u32 {
            let mut txn = doc.transact_mut();
            text.insert(&mut txn, i, if i % 2 == 0 { "x" } else { "y" });
            if i % 5 == 4 {
                text.remove_range(&mut txn, i / 2, 1);
                text.insert(&mut txn, 0, "é");
            }
            let object = Any::from_json(r#"{"a":1,"b":{"x":null,"y":[2]},"c":3,"d":"e"}"#).unwrap();
            map.insert(&mut txn, format!("{}", i % 3), object.clone());
            list.insert(&mut txn, 0, object);
            parts.push(Bytes::from(txn.encode_update_v1()));
        }
        let whole = text.get_string(&doc.transact());
        (parts, whole)
    }

    fn shuffled(parts: &[Bytes]) -> Vec<Bytes> {
        let mut order: Vec<usize> = (0..parts.len()).chain(0..parts.len()).collect();
        order.sort_by_key(|i| (i * 17 + 5) % 41);
        order.into_iter().map(|i| parts[i].clone()).collect()
    }

    #[test]
    fn shuffled_and_repeated_updates_fold_to_the_same_document() {
        let (parts, whole) = edited();
        let (tidy, mixed) = (compact(&parts).unwrap(), compact(&shuffled(&parts)).unwrap());
        for fold in [&tidy, &mixed] {
            assert_eq!(text(std::slice::from_ref(fold), "t").unwrap(), whole);
            assert_eq!(
                state_hash(std::slice::from_ref(fold)).unwrap(),
                state_hash(&shuffled(&parts)).unwrap()
            );
        }
        let total: usize = parts.iter().map(Bytes::len).sum();
        assert!(tidy.len() < total, "{} of {total}", tidy.len());
        assert_ne!(state_hash(&parts[..39]).unwrap(), state_hash(&parts).unwrap());
    }

    /// Three writers, concurrent edits, deletions of nested types while others still write into them.
    fn concurrent(mut seed: u64) -> Vec<Bytes> {
        let mut dice = move |sides: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(seed >> 33).unwrap() % sides
        };
        let docs: Vec<Doc> = (1..4).map(Doc::with_client_id).collect();
        let mut parts: Vec<Bytes> = Vec::new();
        let mut seen = [0usize; 3];
        for _ in 0..120 {
            let who = usize::try_from(dice(3)).unwrap();
            let doc = &docs[who];
            let (text, map) = (doc.get_or_insert_text("t"), doc.get_or_insert_map("m"));
            let before = doc.transact().state_vector();
            let mut txn = doc.transact_mut();
            if dice(4) == 0 {
                for part in &parts[seen[who]..] {
                    txn.apply_update(Update::decode_v1(part).unwrap()).unwrap();
                }
                seen[who] = parts.len();
                continue; // what this transaction took in is no new part
            }
            let len = text.len(&txn);
            match dice(6) {
                0 if len > 2 => text.remove_range(&mut txn, dice(len - 1), 1),
                1 if len > 2 => {
                    let bold = [("b".into(), Any::from(true))].into();
                    text.format(&mut txn, dice(len - 1), 1, bold);
                }
                2 => drop(map.insert(&mut txn, "list", yrs::ArrayPrelim::from([1, 2]))),
                3 => match map.get(&txn, "list") {
                    Some(yrs::Out::YArray(list)) => {
                        let at = list.len(&txn);
                        list.insert(&mut txn, dice(at + 1), "in");
                    }
                    _ => text.insert(&mut txn, 0, "z"),
                },
                4 => drop(map.remove(&mut txn, "list")),
                _ => text.insert(&mut txn, dice(len + 1), "word"),
            }
            drop(txn);
            parts.push(doc.transact().encode_diff_v1(&before).into());
        }
        parts
    }

    #[test]
    fn concurrent_writers_in_any_order_give_one_hash() {
        for seed in 0..60 {
            let parts = concurrent(seed);
            let tidy = state_hash(&parts).unwrap();
            let mut mixed = parts.clone();
            mixed.sort_by_key(|part| *blake3::hash(&[part, &seed.to_le_bytes()[..]].concat()).as_bytes());
            assert_eq!(state_hash(&mixed).unwrap(), tidy, "seed {seed}, shuffled");
            let half = compact(&parts[..60]).and_then(|fold| {
                let all: Vec<Bytes> = std::iter::once(fold).chain(parts[60..].iter().cloned()).collect();
                state_hash(&all)
            });
            if half != Err(EngineError::Pending) {
                assert_eq!(half.unwrap(), tidy, "seed {seed}, folded half-way");
            }
        }
    }

    #[test]
    fn a_snapshot_folds_with_the_tail_behind_it() {
        let (parts, whole) = edited();
        let snapshot = compact(&parts[..20]).unwrap();
        let all: Vec<Bytes> = std::iter::once(snapshot).chain(parts[15..].iter().cloned()).collect();
        assert_eq!(text(&all, "t").unwrap(), whole);
        assert_eq!(state_hash(&all).unwrap(), state_hash(&parts).unwrap());
    }

    #[test]
    fn equal_state_vectors_with_other_text_hash_differently() {
        let write = |content: &str| {
            let doc = Doc::with_client_id(9);
            let text = doc.get_or_insert_text("t");
            let mut txn = doc.transact_mut();
            text.insert(&mut txn, 0, content);
            Bytes::from(txn.encode_update_v1())
        };
        assert_ne!(state_hash(&[write("ab")]).unwrap(), state_hash(&[write("cd")]).unwrap());
    }

    #[test]
    fn gaps_poison_and_garbage_are_refused() {
        let (parts, _) = edited();
        assert_eq!(compact(&parts[1..]), Err(EngineError::Pending));
        let poison = [1u8, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1]; // HAZARDS yrs-2
        assert!(compact(&[Bytes::copy_from_slice(&poison)]).is_err());
        assert!(matches!(compact(&[Bytes::from_static(b"\xff\xff")]), Err(EngineError::Malformed { .. })));
        assert_eq!(compact(&[]).unwrap(), Bytes::from_static(&[0, 0]));
    }
}
