//! How people really write, folded; and what the proof of a fold costs.
//!
//! `TOMBOLO_MEASURE=1 cargo test -p tombolo-core --features engines traces -- --nocapture` takes the long trace, too,
//! and prints the times.

use std::io::Read as _;
use std::time::Instant;

use yrs::Text;

use super::*;
use crate::update::{Pager, merge};

/// The updates of a client that types a trace, and the text that it ends with.
fn typed(trace: &[u8]) -> (Vec<Bytes>, String) {
    let mut json = String::new();
    flate2::read::GzDecoder::new(trace).read_to_string(&mut json).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&json).unwrap();
    let doc = Doc::with_options(Options {
        offset_kind: OffsetKind::Utf16,
        ..Options::with_client_id(ClientID::new(7))
    });
    let text = doc.get_or_insert_text("t");
    let mut updates = Vec::new();
    for transaction in trace["txns"].as_array().unwrap() {
        let mut txn = doc.transact_mut();
        for patch in transaction["patches"].as_array().unwrap() {
            // All characters of the traces are one unit of UTF-16.
            let number = |at: usize| u32::try_from(patch[at].as_u64().unwrap()).unwrap();
            let (at, deleted, inserted) = (number(0), number(1), patch[2].as_str().unwrap());
            if deleted > 0 {
                text.remove_range(&mut txn, at, deleted);
            }
            if !inserted.is_empty() {
                text.insert(&mut txn, at, inserted);
            }
        }
        updates.push(Bytes::from(txn.encode_update_v1()));
    }
    (updates, trace["endContent"].as_str().unwrap().to_owned())
}

const RUST_CODE: &[u8] = include_bytes!("../../../../fixtures/traces/rustcode.json.gz");
const PAPER: &[u8] = include_bytes!("../../../../fixtures/traces/automerge-paper.json.gz");

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement, and nothing that is tested depends on it")]
fn traces_fold_to_their_texts() {
    let measure = std::env::var_os("TOMBOLO_MEASURE").is_some();
    let traces = [("rustcode", RUST_CODE), ("automerge-paper", PAPER)];
    for (name, trace) in traces.into_iter().take(if measure { 2 } else { 1 }) {
        let (updates, end) = typed(trace);
        let begun = Instant::now();
        let ready = whole(&updates).unwrap();
        let admitted = begun.elapsed();
        let first = Encoded::of(&ready).unwrap();
        let hydrated = begun.elapsed();
        let second = Encoded::of(std::slice::from_ref(&first.update)).unwrap();
        let loaded = begun.elapsed();
        assert_eq!(first.hash().unwrap(), second.hash().unwrap());
        let proved = begun.elapsed();
        assert_eq!(text(std::slice::from_ref(&second.update), "t").unwrap(), end);
        // In pages it is the same, folded or as it was typed.
        let parsed: Vec<_> =
            updates.iter().map(|bytes| update::Update::parse(bytes.clone()).unwrap()).collect();
        for whole in [second.update.clone(), merge(&parsed)] {
            let mut pager = Pager::new(update::Update::parse(whole).unwrap());
            let pages: Vec<_> = std::iter::from_fn(|| pager.page(16 * 1024)).collect();
            assert!(pages.len() > 2 && pages.iter().all(|page| page.len() <= 17 * 1024));
            assert_eq!(text(&pages, "t").unwrap(), end);
        }
        if measure {
            println!(
                "{name}: {} updates, {} bytes folded; admitted {admitted:?}, hydrated and encoded {:?}, loaded again \
                 {:?}, both hashed {:?}",
                updates.len(),
                second.update.len(),
                hydrated - admitted,
                loaded - hydrated,
                proved - loaded
            );
        }
    }
}
