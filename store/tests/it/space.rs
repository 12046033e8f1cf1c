//! A disk that fills up, for real: new documents are refused in time, receipts wait, a kill on the full disk loses
//! nothing, and when there is room again everything goes on.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tombolo_core::id::{DocumentId, Seq};
use tombolo_core::operation::Kind;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{AppendError, Document, Level, Store, StoreConfig};

use super::mount::Mounted;
use super::typist::{paste, reach, text, typed};

const NAME: &str = "space::a_full_disk_makes_wait_and_loses_nothing";
/// Set in the writer process: the folder to write to.
const FOLDER: &str = "TOMBOLO_TEST_FULL_FOLDER";
const LETTERS: u64 = 50_000;

fn open(folder: &Path) -> Store {
    let config = StoreConfig {
        takeover_ms: 5,
        segment_bytes: 8 * 1024 * 1024,
        shelf_count: 1,
        shelf_idle_ms: 20,
        ..StoreConfig::new(folder)
    };
    Store::open(config, ThreadWorker::start().unwrap()).unwrap()
}

fn old() -> DocumentId {
    DocumentId::yjs("old").unwrap()
}

fn append(document: &Document, clock: u64) -> Result<Receiver<Result<Seq, AppendError>>, AppendError> {
    let (sender, receiver) = channel();
    // Who waits may have been killed by then.
    let done = Box::new(move |result| drop(sender.send(result)));
    document.append(Kind::YjsUpdate, paste(7, clock, LETTERS), done).map(|_| receiver)
}

fn until(reached: impl Fn() -> bool) {
    while !reached() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes into a file of somebody else's until the disk is so full.
fn fill(disk: &Path, reached: impl Fn() -> bool) {
    let mut file = File::options().append(true).create(true).open(disk.join("filler")).unwrap();
    // Up to the first refusal: what is given back then is not for this one.
    while !reached() && file.write_all(&[7; 4096]).is_ok() {}
}

fn used_percent(disk: &Path) -> u64 {
    let room = rustix::fs::statvfs(disk).unwrap();
    ((room.f_blocks - room.f_bfree) * 100).div_ceil(room.f_blocks)
}

#[test]
fn a_full_disk_makes_wait_and_loses_nothing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let Some(mounted) = Mounted::new(NAME, 256) else { return };
    let (disk, folder) = (mounted.path(), mounted.path().join("data"));

    // Nearly full: those that exist go on, new ones do not begin.
    let store = open(&folder);
    let document = store.document(&old()).unwrap();
    append(&document, 0).unwrap().recv().unwrap().unwrap();
    until(|| store.metrics().space.ballast);
    assert_eq!(store.metrics().space.level, Level::Fine);
    fill(&disk, || used_percent(&disk) >= 85);
    until(|| store.metrics().space.level == Level::Warn);
    let begun = store.document(&DocumentId::yjs("begun in time").unwrap()).unwrap();
    append(&begun, 0).unwrap().recv().unwrap().unwrap();
    fill(&disk, || used_percent(&disk) >= 91);
    until(|| store.metrics().space.level == Level::NoNewDocuments);
    let new = store.document(&DocumentId::yjs("new").unwrap()).unwrap();
    match append(&new, 0) {
        Err(AppendError::NoRoom { used_percent, .. }) => assert!((90..100).contains(&used_percent)),
        other => panic!("{other:?}"),
    }
    assert!(new.read().unwrap().tail.is_empty());
    append(&document, LETTERS).unwrap().recv().unwrap().unwrap();
    store.ready().unwrap();
    drop((document, begun, new, store));
    // One that was refused is new again, and one that has anything is not.
    let store = open(&folder);
    assert!(append(&store.document(&DocumentId::yjs("new").unwrap()).unwrap(), 0).is_err());
    append(&store.document(&old()).unwrap(), 2 * LETTERS).unwrap().recv().unwrap().unwrap();
    drop(store);

    // Full: what is allocated already is used up, then receipts wait, and the process is killed.
    let acknowledged = write_into_the_full(&folder, &disk);
    assert!(acknowledged > 100 * LETTERS, "the reserve took only {acknowledged}");
    leave_the_ballast(&folder, &disk);
    let store = open(&folder);
    assert!(!folder.join("ballast").exists(), "opening found no room and gave it back");
    assert!(store.ready().unwrap_err().contains("full"));
    let document = store.document(&old()).unwrap();
    let contents = document.read().unwrap();
    let reached = reach(&contents, 7);
    assert!(reached >= acknowledged, "{acknowledged} were acknowledged and {reached} are there");
    assert_eq!(text(&contents), typed(reached));
    assert_eq!(store.metrics().space.level, Level::Full);

    // Not a byte left, because somebody else took the ballast, too: it opens under the name that it has.
    let identity = store.identity().clone();
    drop((document, store));
    fill(&disk, || false);
    let store = open(&folder);
    assert_eq!(store.identity(), &identity);

    // Room again: everything goes on.
    std::fs::remove_file(disk.join("filler")).unwrap();
    let document = store.document(&old()).unwrap();
    append(&document, reached).unwrap().recv().unwrap().unwrap();
    until(|| store.metrics().space.ballast && store.metrics().space.level == Level::Fine);
    until(|| store.ready().is_ok());
    let new = store.document(&DocumentId::yjs("new").unwrap()).unwrap();
    append(&new, 0).unwrap().recv().unwrap().unwrap();
    store.flush().unwrap();
    drop(document);
    until(|| store.document(&old()).unwrap().read().unwrap().snapshot.is_some());
    assert_eq!(text(&store.document(&old()).unwrap().read().unwrap()), typed(reached + LETTERS));
}

/// What a full disk leaves of a snapshot that sled was about to write.
#[test]
fn half_a_snapshot_of_sled_stops_no_shelf() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    append(&store.document(&old()).unwrap(), 0).unwrap().recv().unwrap().unwrap();
    store.close().unwrap();
    drop(store);
    let half = folder.path().join("shelf/0000/snap.00000000FFFFFFFF.generating");
    File::create(&half).unwrap();
    let store = open(folder.path());
    assert_eq!(reach(&store.document(&old()).unwrap().read().unwrap(), 7), LETTERS);
    assert!(!half.exists());
    assert!(!folder.path().join("shelf/0000.damaged-1").exists(), "it was no damage");
}

/// Runs a writer, fills the disk under it, kills it when its receipts wait; gives back how far they came.
/// The filler may have been quick enough to take what the ballast gave back; that is looked at further on.
fn leave_the_ballast(folder: &Path, disk: &Path) {
    const BALLAST: u64 = 8 * 1024 * 1024;
    let room = rustix::fs::statvfs(disk).unwrap();
    if !folder.join("ballast").exists() && room.f_bavail * room.f_frsize < BALLAST / 2 {
        let filler = File::options().write(true).open(disk.join("filler")).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - BALLAST).unwrap();
        filler.sync_all().unwrap();
    }
}

fn write_into_the_full(folder: &Path, disk: &Path) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "opened"));
    fill(disk, || false);
    let mut acknowledged = 0;
    for line in lines.by_ref() {
        if let Some(clock) = line.strip_prefix("receipt ") {
            acknowledged = clock.parse().unwrap();
        } else if line == "waiting" {
            break;
        }
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    acknowledged
}

fn write_until_killed(folder: &Path) -> ! {
    let store = open(folder);
    let document = store.document(&old()).unwrap();
    let mut clock = reach(&document.read().unwrap(), 7);
    println!("opened");
    loop {
        let Ok(receipt) = append(&document, clock) else { continue };
        clock += LETTERS;
        loop {
            match receipt.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => {
                    result.unwrap();
                    println!("receipt {clock}");
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => panic!("a receipt is never dropped"),
                Err(RecvTimeoutError::Timeout) => {
                    // The ballast went, the shelf took what it could, and still there is no room for a segment.
                    let metrics = store.metrics();
                    if metrics.stalled.is_some()
                        && metrics.space.level == Level::Full
                        && !metrics.space.ballast
                    {
                        println!("waiting");
                    }
                }
            }
        }
    }
}
