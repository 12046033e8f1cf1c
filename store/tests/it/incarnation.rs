//! Copies, moves, restores and resets of a data folder, and what a peer makes of each.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use tombolo_core::id::{Continuity, DocumentId, Identity, Seen, compare};
use tombolo_core::operation::{Kind, Version};
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Store, StoreConfig, maintain};

use super::corruption::copy_folder;
use super::typist::{keystroke, text, typed};

fn open(folder: &Path) -> Store {
    Store::open(StoreConfig::new(folder), ThreadWorker::start().unwrap()).unwrap()
}

/// Opens, types one more letter, says who it was.
fn write(folder: &Path, clock: u64) -> Identity {
    let store = open(folder);
    let document = store.document(&DocumentId::yjs("d").unwrap()).unwrap();
    let (sender, receiver) = channel();
    let done = Box::new(move |result: Result<_, _>| sender.send(result.unwrap()).unwrap());
    document.append(Kind::YjsUpdate, keystroke(7, clock), done).unwrap();
    receiver.recv().unwrap();
    assert_eq!(text(&document.read().unwrap()), typed(clock + 1));
    store.identity().clone()
}

fn judged(before: &Identity, after: &Identity) -> Continuity {
    let seen = Seen { replica: before.replica, incarnation: before.incarnation, version: Version::default() };
    compare(&seen, after, &Version::default())
}

#[test]
fn a_copy_goes_on_under_a_new_name_and_the_original_does_not() {
    let root = tempfile::tempdir().unwrap();
    let (original, copy) = (root.path().join("original"), root.path().join("copy"));
    let before = write(&original, 0);
    copy_folder(&original, &copy);
    let (there, here) = (write(&copy, 1), write(&original, 1));
    assert_eq!(here, before);
    assert_ne!(there.replica, before.replica, "both would give one name to two operations");
    assert_eq!(judged(&before, &there), Continuity::WentBackwards);
    assert_eq!(judged(&there, &write(&copy, 2)), Continuity::Same);
    assert_eq!(judged(&there, &here), Continuity::New);
}

#[test]
fn a_move_and_a_restart_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (here, there) = (root.path().join("here"), root.path().join("there"));
    let before = write(&here, 0);
    fs::rename(&here, &there).unwrap();
    assert_eq!(write(&there, 1), before);
    assert_eq!(write(&there, 2), before);
}

#[test]
fn a_restore_in_place_went_backwards_and_a_reset_is_new() {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let before = write(&data, 0);
    copy_folder(&data, &backup);
    write(&data, 1);
    // Over what is there, file by file, as `cp -a backup/. data/` does.
    copy_folder(&backup, &data);
    let restored = open(&data).identity().clone();
    assert_ne!(restored.replica, before.replica);
    assert_eq!(judged(&before, &restored), Continuity::WentBackwards);
    // And into an empty folder.
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&backup, &data);
    let again = open(&data).identity().clone();
    assert_eq!(judged(&before, &again), Continuity::WentBackwards);
    fs::remove_dir_all(&data).unwrap();
    assert_eq!(judged(&before, &write(&data, 0)), Continuity::New);
}

#[test]
fn a_repaired_folder_went_backwards() {
    let root = tempfile::tempdir().unwrap();
    let (data, repaired) = (root.path().join("data"), root.path().join("repaired"));
    let before = write(&data, 0);
    maintain::repair(&data, &repaired, &mut |_| ()).unwrap();
    maintain::apply(&data, &repaired).unwrap();
    assert_eq!(judged(&before, &write(&data, 1)), Continuity::WentBackwards);
}
