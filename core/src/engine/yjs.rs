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
use crate::update::{self, Admitted, Coverage, admit};

/// Folds v1 updates, in any order and with repetitions, into one v1 update that carries the same state.
///
/// yrs sees only what has its ground, in causal order (HAZARDS yrs-2, yrs-3). The result is loaded into a second
/// document before it is handed out, and both must agree in state vector, delete set and state hash (HAZARDS
/// yrs-4). The bytes of two folds of one state may differ (hash maps inside yrs); their [`state_hash`] does not.
///
/// # Errors
/// [`EngineError::Pending`] if an update or a deletion waits for another one, [`EngineError::Malformed`] if a part
/// does not validate or yrs does not take it, [`EngineError::Diverged`] if the fold is not the same document.
pub fn compact(parts: &[Bytes]) -> Result<Bytes, EngineError> {
    fold(&whole(parts)?).map(|(update, _)| update)
}

/// A hash that is equal for two sets of parts exactly if they give the same document: BLAKE3 over the
/// canonical form of the v1 encoding, structs and delete set.
///
/// State vectors cannot tell diverged content (HAZARDS yrs-4) nor missing deletions (yrs-7); this can.
/// It is stable across processes, not promised across versions of yrs: compare, do not store for ever.
///
/// # Errors
/// As for [`compact`].
pub fn state_hash(parts: &[Bytes]) -> Result<[u8; 32], EngineError> {
    fold(&whole(parts)?).map(|(_, hash)| hash)
}

/// The text under a root name; empty if there is none. For tests and tools.
///
/// # Errors
/// As for [`compact`], without the comparison.
pub fn text(parts: &[Bytes], name: &str) -> Result<String, EngineError> {
    let document = Hydrated::new(&whole(parts)?)?;
    let text = {
        let txn = document.doc.transact();
        txn.get_text(name).map(|text| text.get_string(&txn)).unwrap_or_default()
    };
    document.close();
    Ok(text)
}

/// The parts as one update, proved: loaded again they are the same document. The hash sees through how structs are
/// split, which depends on their order of arrival.
///
/// On two recorded traces (`yjs/traces.rs`, optimised): 36,981 updates take 221 ms to hydrate and encode and the
/// proof 40 ms, 259,778 updates 2.4 s and 20 ms. The proof costs what the result has, not what went in.
fn fold(parts: &[Bytes]) -> Result<(Bytes, [u8; 32]), EngineError> {
    let first = Encoded::of(parts)?;
    let second = Encoded::of(std::slice::from_ref(&first.update)).map_err(|error| not_ours(&error))?;
    if first.snapshot != second.snapshot {
        return Err(EngineError::diverged("a fold has another state vector or delete set"));
    }
    let hash = second.hash()?;
    if first.hash()? != hash {
        return Err(EngineError::diverged("a fold has another state hash"));
    }
    // The second encoding has fewer structs, and the same hash.
    Ok((second.update, hash))
}

/// What of the parts has its ground, in causal order, and whether something of them waits.
fn ready(parts: &[Bytes]) -> Result<(Vec<Bytes>, bool), EngineError> {
    let parse = |part: &Bytes| update::Update::parse(part.clone()).map_err(EngineError::malformed);
    let updates: Vec<update::Update> = parts.iter().map(parse).collect::<Result<_, _>>()?;
    let Admitted { order, together, part } = admit(&mut Coverage::default(), &updates);
    let waits = order.len() + together.len() < updates.len();
    let whole = order.into_iter().filter_map(|index| updates.get(index));
    Ok((whole.chain(&part).map(|update| update.bytes().clone()).collect(), waits))
}

/// The parts in causal order.
fn whole(parts: &[Bytes]) -> Result<Vec<Bytes>, EngineError> {
    match ready(parts)? {
        (ready, false) => Ok(ready),
        (_, true) => Err(EngineError::Pending),
    }
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

    fn hash(&self) -> Result<[u8; 32], EngineError> {
        Ok(*blake3::hash(&canonical(&self.update).map_err(EngineError::diverged)?).as_bytes())
    }
}

/// A document in memory. Has no `Drop` on purpose: see the module.
pub(super) struct Hydrated {
    pub(super) doc: ManuallyDrop<Doc>,
}

impl Hydrated {
    /// Of parts in causal order.
    fn new(parts: &[Bytes]) -> Result<Self, EngineError> {
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
            let pending = txn.has_missing_updates();
            txn.commit();
            drop(ManuallyDrop::into_inner(txn));
            pending
        };
        let document = Self { doc };
        if pending {
            document.close();
            return Err(EngineError::Pending);
        }
        Ok(document)
    }

    /// The document, and whether an edit in the parts waits for one that they lack; that one is not in it.
    pub(super) fn as_far_as_possible(parts: &[Bytes]) -> Result<(Self, bool), EngineError> {
        let (ready, waits) = ready(parts)?;
        Ok((Self::new(&ready)?, waits))
    }

    pub(super) fn close(self) {
        drop(ManuallyDrop::into_inner(self.doc));
    }
}

fn decoded(parts: &[Bytes]) -> Result<Vec<Update>, EngineError> {
    parts.iter().map(|part| Update::decode_v1(part).map_err(EngineError::malformed)).collect()
}

#[cfg(test)]
mod traces;

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
            // Folded half-way, whatever waits for the other half.
            for half in [&parts[..60], &mixed[..60]] {
                let updates: Vec<_> =
                    half.iter().map(|part| update::Update::parse(part.clone()).unwrap()).collect();
                let Admitted { order, together, .. } = admit(&mut Coverage::default(), &updates);
                let taken: Vec<Bytes> = order.iter().chain(&together).map(|at| half[*at].clone()).collect();
                let rest = parts.iter().filter(|part| !taken.contains(part)).cloned();
                let all: Vec<Bytes> = std::iter::once(compact(&taken).unwrap()).chain(rest).collect();
                assert_eq!(state_hash(&all).unwrap(), tidy, "seed {seed}, folded half-way");
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
        let poison = Bytes::from_static(&[1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1]); // HAZARDS yrs-2
        let with_poison: Vec<Bytes> = std::iter::once(poison).chain(parts.iter().cloned()).collect();
        assert_eq!(compact(&with_poison), Err(EngineError::Pending));
        // yrs never sees it.
        let (document, pending) = Hydrated::as_far_as_possible(&with_poison).unwrap();
        assert!(pending && !document.doc.transact().has_missing_updates());
        document.close();
        assert!(matches!(compact(&[Bytes::from_static(b"\xff\xff")]), Err(EngineError::Malformed { .. })));
        assert_eq!(compact(&[]).unwrap(), Bytes::from_static(&[0, 0]));
    }
}
