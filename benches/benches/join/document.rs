//! A document of one megabyte that people wrote: several authors in turn, in chapters, each a stretch of a
//! recorded paper, letter by letter and with all that was deleted again.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::Value;
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, OffsetKind, Options, ReadTxn, StateVector, Text, Transact, Update};

const TRACE: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/traces/automerge-paper.json.gz"));
/// yrs walks to each position from the front of its text, so chapters are short.
const CHAPTER_EDITS: usize = 2_000;
const AUTHORS: u32 = 8;
const AUTHOR_BYTES: usize = 1024 * 1024 / AUTHORS as usize;

/// The whole document as one update. The bytes of two calls may differ, because there are hash maps inside yrs,
/// but not how many they are nor what they mean.
pub(crate) fn written() -> Bytes {
    let edits = edits();
    let mut chapters = (0..).flat_map(|pass| edits.chunks(CHAPTER_EDITS).map(move |edits| (pass, edits)));
    let whole = Doc::with_options(options(1));
    for author in 0..AUTHORS {
        let doc = Doc::with_options(options(0xa3c4_51e7 ^ (author * 0x0102_0305)));
        let mut update = Vec::new();
        for (number, (pass, edits)) in (0..).zip(&mut chapters) {
            type_chapter(&doc, &format!("chapter {author}.{number}"), edits, pass);
            update = doc.transact().encode_state_as_update_v1(&StateVector::default());
            if update.len() >= AUTHOR_BYTES {
                break;
            }
        }
        let update = Update::decode_v1(&update).expect("yrs reads what it wrote");
        whole.transact_mut().apply_update(update).expect("it leans on nothing");
    }
    whole.transact().encode_state_as_update_v1(&StateVector::default()).into()
}

/// One edit of the recording.
struct Edit {
    position: u32,
    deleted: u32,
    inserted: String,
}

/// The recording is too short, so it is used in several passes, each with other letters: a text that repeats
/// itself would be packed too well.
fn type_chapter(doc: &Doc, name: &str, edits: &[Edit], pass: u8) {
    let text = doc.get_or_insert_text(name);
    let mut transaction = doc.transact_mut();
    let start = edits.first().map_or(0, |edit| edit.position);
    let mut len = 0;
    for edit in edits {
        // What was edited outside this chapter goes to its nearer end.
        let position = edit.position.saturating_sub(start).min(len);
        let deleted = edit.deleted.min(len - position);
        if deleted > 0 {
            text.remove_range(&mut transaction, position, deleted);
        }
        let inserted: String = edit.inserted.chars().map(|letter| turned(letter, pass)).collect();
        if !inserted.is_empty() {
            text.insert(&mut transaction, position, &inserted);
        }
        len = text.len(&transaction);
    }
}

fn turned(letter: char, by: u8) -> char {
    match u8::try_from(letter) {
        Ok(letter @ b'a'..=b'z') => char::from(b'a' + (letter - b'a' + by % 26) % 26),
        _ => letter,
    }
}

fn edits() -> Vec<Edit> {
    let mut json = String::new();
    GzDecoder::new(TRACE).read_to_string(&mut json).expect("the trace unpacks");
    let trace: Value = serde_json::from_str(&json).expect("the trace is JSON");
    let transactions = trace.get("txns").and_then(Value::as_array).expect("the trace has transactions");
    let patches = transactions.iter().filter_map(|transaction| transaction.get("patches")?.as_array());
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let edit = |patch: &Value| {
        let inserted = patch.get(2)?.as_str()?.to_owned();
        Some(Edit { position: number(patch.get(0)?)?, deleted: number(patch.get(1)?)?, inserted })
    };
    patches.flatten().map(|patch| edit(patch).expect("a patch has three parts")).collect()
}

fn options(client: u32) -> Options {
    Options {
        offset_kind: OffsetKind::Utf16,
        ..Options::with_guid_and_client_id("bench".into(), ClientID::new(client.into()))
    }
}
