//! Golden frames of stock clients and what may be done to them; property tests of every parser.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

mod automerge_repo;
mod hocuspocus;
mod native;
mod replica;
mod y_protocols;

type Frames = BTreeMap<&'static str, Bytes>;

/// The frames of a fixture: `name: hex` a line, `#` starts a comment.
fn frames(fixture: &'static str) -> Frames {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").unwrap()).map(|(name, hex)| (name, unhex(hex))).collect()
}

fn unhex(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Every proper beginning of `frame`.
fn truncations(frame: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..frame.len()).map(|len| frame.slice(..len))
}

/// `frame` with each single byte replaced by each other value.
fn mutations(frame: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..frame.len()).flat_map(move |at| {
        (1..=u8::MAX).map(move |change| {
            let mut mutated = frame.to_vec();
            mutated[at] ^= change;
            mutated.into()
        })
    })
}

fn followed_by(frame: &Bytes, byte: u8) -> Bytes {
    [&frame[..], &[byte]].concat().into()
}

/// Random bytes, and golden frames with a few bytes overwritten, cut out or put in.
fn garbage(frames: &Frames) -> impl Strategy<Value = Bytes> + use<> {
    let frames: Vec<Bytes> = frames.values().cloned().collect();
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6);
    let mangled = (prop::sample::select(frames), edits).prop_map(|(frame, edits)| {
        let mut bytes = frame.to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len() + 1);
            match edit {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes.into()
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from), mangled]
}
