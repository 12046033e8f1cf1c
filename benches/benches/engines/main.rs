//! The engines that can stand behind the shelf, beside two that people would think of: what each is better at.
//!
//! sled and redb are driven raw, exactly as the shelf drives them (sled: `flush` and our own `fdatasync`; redb: a
//! commit in two phases), with SQLite (WAL, `synchronous=FULL`) and fjall (each batch `SyncData`) beside them: one
//! map of keys and values, 64 MiB of cache each, which is what sixteen open shelves may use. What depends on the
//! store as much as on its engine is measured through the store, too, and then called `store on sled`.
//!
//! - *append*: a group of rows of about 30 bytes made durable as one. All take turns after every group. Nobody
//!   waits for this in Tombolo: an acknowledgement rests on the journal, which is in the race for that reason.
//! - *open*: a database of 4 KiB values, closed cleanly or as a kill leaves it, until the first row is read;
//!   nothing of it in the page cache.
//! - *load*: one of many documents, 20 KB of snapshot and 20 small rows; files in the page cache, all in turns.
//! - *churn*: bytes on the disk for each byte that counts, after many rows were overwritten and deleted.
//!
//! `TOMBOLO_BENCH_FULL=1` takes 500 MB and 10,000 documents, the sizes in `README.md`; without it all is a tenth.
//! Words behind `--` choose parts.

#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

mod append; // a durable group
mod churn; // space
#[path = "../join/cold.rs"]
mod cold; // files that are not in memory
mod fjall; // a contestant
#[path = "../journal/ours.rs"]
mod journal; // what acknowledgements rest on
mod load; // one document of many
mod noise; // bytes that do not compress
mod open; // until the first row
mod redb; // a contestant
mod rows; // what a contestant can
mod sled; // a contestant
mod sqlite; // a contestant

/// Preallocated by the journal: the store's default.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How much is done.
#[derive(Clone, Copy)]
struct Scale {
    open_bytes: u64,
    documents: u64,
    turns: u32,
    churn_rounds: u64,
}

/// One of the four comparisons.
type Part = fn(Scale);

const FULL: Scale = Scale { open_bytes: 500_000_000, documents: 10_000, turns: 500, churn_rounds: 20 };
const QUICK: Scale = Scale { open_bytes: 50_000_000, documents: 1_000, turns: 100, churn_rounds: 2 };
/// To see that it works at all: cargo says `--bench` when it is meant.
const TRIAL: Scale = Scale { open_bytes: 500_000, documents: 10, turns: 2, churn_rounds: 1 };

fn main() {
    open::fill_if_told();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    if flag("--list") {
        return;
    }
    let scale = match std::env::var_os("TOMBOLO_BENCH_FULL") {
        _ if !flag("--bench") => TRIAL,
        Some(_) => FULL,
        None => QUICK,
    };
    let words: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let parts: [(&str, Part); 4] =
        [("append", append::run), ("open", open::run), ("load", load::run), ("churn", churn::run)];
    for (name, part) in parts {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            part(scale);
        }
    }
}

fn folder() -> tempfile::TempDir {
    tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable")
}
