//! What a join costs on a server that has the document at rest only: a shelf to open, a snapshot to find,
//! unpack and check, a tail to merge, one `SyncStep2` to build, through the archive as a room uses it.
//!
//! The yardstick reads one file that holds the very bytes of that `SyncStep2`, which is what a server would
//! do that knew beforehand who comes and what it lacks. It is fair because both start with nothing in the
//! system's page cache and take turns; it is hard because the file has no index, no checksum and no writer.
//! Opening the store as such (its lock, its journal) is a start of the server and not counted.

#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

mod archive; // ours
mod cold; // forgetting files
mod document; // what is joined

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tombolo_benches::{Duel, Typist};
use tombolo_core::update::StateVector;

use archive::{Join, Server, Shelf};

/// Small updates behind the snapshot; one more would be folded when the last user leaves.
const TAIL: usize = 100;
/// Joins whose time on a processor is looked at.
const JOINS: usize = 25;

struct Scene {
    _folder: TempDir,
    store: PathBuf,
    file: PathBuf,
    runtime: Runtime,
}

impl Scene {
    fn make(snapshot: &Bytes, tail: usize) -> Self {
        let folder = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR")).expect("the folder is writable");
        let runtime = Runtime::new().expect("there are threads");
        let (store, file) = (folder.path().join("store"), folder.path().join("file"));
        let mut typist = Typist::new(0x7b6f_0d29);
        archive::fill(&store, snapshot.clone(), (0..tail).map(|_| typist.types(1).into()).collect());
        let scene = Self { _folder: folder, store, file, runtime };
        let whole = scene.print_processor_time(tail);
        std::fs::write(&scene.file, &whole).expect("the disk takes it");
        scene
    }

    fn file(&self) -> Duration {
        cold::forget(&self.file);
        let start = Instant::now();
        let bytes = std::fs::read(&self.file).expect("the file is there");
        let took = start.elapsed();
        std::hint::black_box(bytes);
        took
    }

    fn join(&self) -> Duration {
        self.cold(Shelf::Closed, &StateVector::default()).0.took
    }

    /// The first joiner of a server, and the one who comes right behind it for the whole document.
    fn cold(&self, shelf: Shelf, have: &StateVector) -> (Join, Join) {
        let server = Server::start(&self.runtime, &self.store, shelf);
        let visit = server.visit();
        let joins = (visit.join(have), visit.join(&StateVector::default()));
        drop(visit);
        server.stop();
        joins
    }

    /// Prints what joins take of a processor, by medians; gives back the whole document.
    fn print_processor_time(&self, tail: usize) -> Bytes {
        let nothing = StateVector::default();
        let (whole, _) = self.cold(Shelf::Open, &nothing);
        let all = whole.state_vector;
        let most = all.iter().map(|(client, clock)| (client, clock - clock / 10)).collect();
        println!("a join with a tail of {tail}: SyncStep2 of {} bytes", whole.message.len());
        let rows = [
            ("the first in a closed shelf", Shelf::Closed, &nothing, false),
            ("a cold document in an open shelf", Shelf::Open, &nothing, false),
            ("the same, with the shelf's file in memory", Shelf::InMemory, &nothing, false),
            ("one who joins right after", Shelf::InMemory, &nothing, true),
            ("the first, who comes back and lacks a tenth", Shelf::InMemory, &most, false),
            ("the first, who comes back and lacks nothing", Shelf::InMemory, &all, false),
        ];
        for (name, shelf, have, is_next) in rows {
            let joins = (0..JOINS).map(|_| self.cold(shelf, have));
            let joins: Vec<_> = joins.map(|(first, next)| if is_next { next } else { first }).collect();
            print_median(name, &joins, whole.message.len());
        }
        whole.message
    }
}

/// Time on a processor, in all and for each MB of the document.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn print_median(name: &str, joins: &[Join], document_bytes: usize) {
    let mut times: Vec<_> = joins.iter().map(|join| join.cpu).collect();
    times.sort_unstable();
    let ms = times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let answer = joins.last().map_or(0, |join| join.message.len());
    let each = ms / (document_bytes as f64 / 1e6);
    println!("processor time: {ms:.2} ms, {each:.2} for each MB; {name}, who gets {answer} bytes");
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let document = OnceCell::new();
    for tail in [0, TAIL] {
        // Made only if anything is run at all.
        let scene = OnceCell::new();
        let scene = || scene.get_or_init(|| Scene::make(document.get_or_init(document::written), tail));
        let mut duel = Duel::default();
        let mut group = criterion.benchmark_group(format!("join/tail {tail}"));
        group.sampling_mode(criterion::SamplingMode::Flat);
        group.bench_function("file", |b| b.iter_custom(|turns| (0..turns).map(|_| scene().file()).sum()));
        group.bench_function("join", |b| {
            b.iter_custom(|turns| duel.run(turns, || scene().file(), || scene().join()).ours);
        });
        group.finish();
        duel.print(&format!("join/file tail {tail}"), "page cache cold");
    }
    criterion.final_summary();
}
