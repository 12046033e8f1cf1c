//! What automerge writes passes; what is forged is refused or at least does not hurt the engine often.

use automerge::sync::{State, SyncDoc as _};
use automerge::transaction::Transactable as _;
use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc as _, ScalarValue};
use proptest::prelude::*;

use super::*;

type Edit = (u8, u8, usize, String);

fn edit(doc: &mut AutoCommit, (_, kind, at, text): &Edit) {
    let find = |doc: &AutoCommit, key| doc.get(ROOT, key).unwrap().map(|(_, id)| id);
    let key = format!("k{}", at % 3);
    let list = find(doc, "list");
    let body = find(doc, "text");
    match kind % 10 {
        0 => doc.put(ROOT, key, text.as_str()).unwrap(),
        1 => doc.put(ROOT, key, ScalarValue::counter(3)).unwrap(),
        2 => {
            if let Ok(Some((value, _))) = doc.get(ROOT, key.as_str())
                && value.to_string().parse::<f64>().is_err()
            {
                drop(doc.increment(ROOT, key, 2));
            }
        }
        3 => drop(doc.delete(ROOT, key)),
        4 => drop(doc.put_object(ROOT, key, ObjType::Map)),
        5 | 6 => {
            if let Some(id) = body {
                let len = doc.length(&id);
                let from = at % (len + 1);
                doc.splice_text(&id, from, ((len - from) / 3) as isize, text).unwrap();
            }
        }
        7 => {
            if let Some(id) = list {
                doc.insert(&id, at % (doc.length(&id) + 1), -1.5 * *at as f64).unwrap();
            }
        }
        8 => {
            if let Some(id) = list.filter(|id| doc.length(id) > 0) {
                doc.delete(&id, at % doc.length(&id)).unwrap();
            }
        }
        _ => {
            if let Some(id) = body.filter(|id| doc.length(id) > 1) {
                let mark = automerge::marks::Mark::new("bold".into(), true, 0, doc.length(&id));
                doc.mark(&id, mark, automerge::marks::ExpandMark::Both).unwrap();
            }
        }
    }
    doc.commit();
}

/// Runs the edits on two documents that sync; returns the documents and every sync message.
fn history(edits: &[Edit]) -> (AutoCommit, Vec<Vec<u8>>) {
    let mut first = AutoCommit::new().with_actor(ActorId::from([7u8; 16]));
    first.put_object(ROOT, "list", ObjType::List).unwrap();
    first.put_object(ROOT, "text", ObjType::Text).unwrap();
    first.commit();
    let mut second = first.fork().with_actor(ActorId::from([3u8; 4]));
    let (mut one, mut two) = (State::new(), State::new());
    let mut messages = Vec::new();
    for edit_ in edits {
        edit(if edit_.0 % 2 == 0 { &mut first } else { &mut second }, edit_);
        if edit_.0 % 3 == 0 {
            for _ in 0..8 {
                let (a, b) = (
                    first.sync().generate_sync_message(&mut one),
                    second.sync().generate_sync_message(&mut two),
                );
                if a.is_none() && b.is_none() {
                    break;
                }
                if let Some(message) = a {
                    messages.push(message.clone().encode());
                    second.sync().receive_sync_message(&mut two, message).unwrap();
                }
                if let Some(message) = b {
                    messages.push(message.clone().encode());
                    first.sync().receive_sync_message(&mut one, message).unwrap();
                }
            }
        }
    }
    first.merge(&mut second).unwrap();
    (first, messages)
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0usize..1000, "[a-zé😀]{0,40}"), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_automerge_writes_passes(edits in edits()) {
        let (mut doc, messages) = history(&edits);
        prop_assert_eq!(validate_chunks(&doc.save()), Ok(()));
        prop_assert_eq!(validate_chunks(&doc.save_nocompress()), Ok(()));
        for mut change in doc.get_changes(&[]) {
            prop_assert_eq!(validate_chunks(change.raw_bytes()), Ok(()));
            prop_assert_eq!(validate_chunks(&change.bytes()), Ok(()));
        }
        for message in messages {
            prop_assert_eq!(validate_sync_message(&message), Ok(()));
            for len in 0..message.len() {
                let _ = validate_sync_message(&message[..len]);
            }
        }
    }
}

#[test]
fn captured_message_passes() {
    assert_eq!(validate_sync_message(&[0x42, 0, 0, 1, 0, 0, 0, 2, 2, 0x84]), Ok(()));
    assert_eq!(validate_sync_message(&[0x42, 0, 0, 1, 0, 3, 1, 0, 7, 0]), Err(InvalidAutomerge::Bloom));
    assert_eq!(validate_sync_message(&[0x44]), Err(InvalidAutomerge::UnknownMessage { found: 0x44 }));
    assert!(validate_sync_message(&[0x42, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

/// A change with these header counters and no operations.
fn change(seq: u8, start_op: &[u8]) -> Vec<u8> {
    let body = [&[0, 1, 9, seq][..], start_op, &[0, 0, 0, 0]].concat();
    [&[0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

#[test]
fn hostile_headers_are_refused() {
    assert_eq!(validate_chunks(&change(1, &[1])), Ok(()));
    assert_eq!(validate_chunks(&change(0, &[1])), Err(InvalidAutomerge::Counter));
    let near_2_to_32 = [0xf0, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(validate_chunks(&change(1, &near_2_to_32)), Err(InvalidAutomerge::Counter));
    let mut bundle = change(1, &[1]);
    bundle[8] = 3;
    assert_eq!(validate_chunks(&bundle), Err(InvalidAutomerge::UnknownChunk { found: 3 }));
}

#[test]
fn found_by_fuzzing() {
    let lines = include_str!("../../../../fixtures/fuzz/refused.hex").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let chunk: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
        assert_eq!(validate_chunks(&chunk), Err(InvalidAutomerge::Operation));
    }
}

#[test]
fn mutations_that_pass_seldom_hurt_the_engine() {
    let edits: Vec<Edit> =
        (0..30u8).map(|n| (n, n.wrapping_mul(7), usize::from(n) * 31, "häé".into())).collect();
    let (mut doc, _) = history(&edits);
    let mut sources: Vec<Vec<u8>> = vec![doc.save_nocompress()];
    sources.extend(doc.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()));
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut panicked, mut seed) = (0u32, 0u32, 1u64);
    for round in 0..20_000usize {
        let mut bytes = sources[round % sources.len()].clone();
        for _ in 0..=round % 3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 9 + (seed >> 33) as usize % (bytes.len() - 9);
            bytes[at] = (seed >> 20).to_le_bytes()[0];
        }
        if validate_chunks(&bytes).is_ok() {
            passed += 1;
            reseal(&mut bytes);
            let run = std::panic::catch_unwind(|| {
                if let Ok(mut doc) = AutoCommit::load(&bytes) {
                    drop(doc.put(ROOT, "after", 1));
                    drop(doc.save());
                }
            });
            panicked += u32::from(run.is_err());
        }
    }
    drop(std::panic::take_hook());
    println!("{passed} of 20000 mutations passed, {panicked} of these panicked in automerge");
    assert!(panicked * 20 <= passed, "{panicked} of {passed} accepted mutations panic");
}

/// Puts a right checksum into a single chunk, as a forger would.
fn reseal(bytes: &mut [u8]) {
    let digest = sha256(&bytes[8..]);
    bytes[4..8].copy_from_slice(&digest[..4]);
}

/// SHA-256 (FIPS 180-4) with its constants computed; the tests alone need it.
#[expect(clippy::cast_possible_truncation, reason = "the fraction is below 2^32")]
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes = (2u32..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64);
    let fraction = |root: f64| (root.fract() * 4_294_967_296.0) as u32;
    let k: Vec<u32> = primes.clone().map(|prime| fraction(f64::from(prime).cbrt())).collect();
    let mut state: Vec<u32> = primes.take(8).map(|prime| fraction(f64::from(prime).sqrt())).collect();
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut w: Vec<u32> =
            block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for i in 16..64 {
            let (a, b) = (w[i - 15], w[i - 2]);
            let low = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let high = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            w.push(w[i - 16].wrapping_add(low).wrapping_add(w[i - 7]).wrapping_add(high));
        }
        let mut v = state.clone();
        for i in 0..64 {
            let high = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let one = v[7].wrapping_add(high).wrapping_add(choice).wrapping_add(k[i]).wrapping_add(w[i]);
            let low = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let two = low.wrapping_add((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            v.rotate_right(1);
            v[4] = v[4].wrapping_add(one);
            v[0] = one.wrapping_add(two);
        }
        for (sum, word) in state.iter_mut().zip(v) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&state.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>());
    digest
}

#[test]
fn forged_checksums_are_right() {
    assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    let (mut doc, _) = history(&[(0, 0, 0, "x".into())]);
    let saved = doc.save_nocompress();
    let mut sealed = saved.clone();
    reseal(&mut sealed);
    assert_eq!(saved, sealed);
}

#[test]
fn large_compressed_documents_pass() {
    let mut doc = AutoCommit::new();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    let mut seed = 7u64;
    for round in 0..3000usize {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (len, at) = (doc.length(&text), usize::try_from(seed >> 33).unwrap());
        let cut = isize::from(round % 4 == 0 && len > 0);
        let from = at % (len + usize::from(cut == 0));
        doc.splice_text(&text, from, cut, &format!("{round}")).unwrap();
        if round % 10 == 0 {
            doc.put(ROOT, format!("k{}", at % 50), seed).unwrap();
            doc.commit();
        }
    }
    // One change of many operations is stored compressed.
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    for at in 0..2000 {
        doc.insert(&list, at, at as i64).unwrap();
    }
    let saved = doc.save();
    assert!(saved.len() < doc.save_nocompress().len());
    assert_eq!(validate_chunks(&saved), Ok(()));
    let mut changes = doc.get_changes(&[]);
    let last = changes.last_mut().unwrap().bytes().into_owned();
    assert_eq!(last[8], 2);
    assert_eq!(validate_chunks(&last), Ok(()));
    let message = doc.sync().generate_sync_message(&mut State::new()).unwrap().encode();
    assert_eq!(validate_sync_message(&message), Ok(()));
    let mut peer = AutoCommit::new();
    let (mut here, mut there) = (State::new(), State::new());
    for _ in 0..6 {
        if let Some(message) = doc.sync().generate_sync_message(&mut here) {
            assert_eq!(validate_sync_message(&message.clone().encode()), Ok(()));
            peer.sync().receive_sync_message(&mut there, message).unwrap();
        }
        if let Some(message) = peer.sync().generate_sync_message(&mut there) {
            assert_eq!(validate_sync_message(&message.clone().encode()), Ok(()));
            doc.sync().receive_sync_message(&mut here, message).unwrap();
        }
    }
    assert_eq!(peer.get_heads(), doc.get_heads());
}

/// Deleting all of a long text is a few bytes with hundreds of thousands of rows, and honest.
#[test]
fn a_whole_text_may_be_deleted_at_once_but_not_again_and_again() {
    let mut doc = AutoCommit::new();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, &"x".repeat(400_000)).unwrap();
    doc.commit();
    doc.splice_text(&text, 0, 400_000, "").unwrap();
    doc.commit();
    let change = doc.get_last_local_change().unwrap().raw_bytes().to_vec();
    assert!(change.len() < 200, "{} bytes", change.len());
    assert_eq!(validate_chunks(&change), Ok(()));
    assert_eq!(validate_chunks(&change.repeat(20)), Err(InvalidAutomerge::Rows));
}
