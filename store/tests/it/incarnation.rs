//! Copies, moves, restores and resets of a data folder, and what a peer makes of each.

use std::ffi::OsString;
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

/// Puts back only what differs, each file as a new one, and removes what is too many: as `rsync -a --delete` does.
fn restore_what_differs(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(to).unwrap().map(Result::unwrap) {
        if !from.join(entry.file_name()).exists() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            restore_what_differs(&entry.path(), &target);
        } else if !target.exists() || fs::read(entry.path()).unwrap() != fs::read(&target).unwrap() {
            let new = target.with_extension("restored");
            fs::copy(entry.path(), &new).unwrap();
            fs::rename(new, target).unwrap();
        }
    }
}

fn witnesses(folder: &Path) -> Vec<OsString> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("witness-")).collect()
}

/// The backup was made while the store was at work, and nobody opened the store since.
#[test]
fn a_restore_of_what_differs_went_backwards() {
    let root = tempfile::tempdir().unwrap();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let config = StoreConfig { witness_ms: 1, shelf_idle_ms: 2, ..StoreConfig::new(&data) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let before = store.identity().clone();
    let document = store.document(&DocumentId::yjs("d").unwrap()).unwrap();
    let write = |clock| {
        let (sender, receiver) = channel();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.unwrap()).unwrap());
        document.append(Kind::YjsUpdate, keystroke(7, clock), done).unwrap();
        receiver.recv().unwrap();
    };
    // Each operation is followed by one other witness, and then all is quiet.
    let renewed = |clock| {
        let then = witnesses(&data);
        write(clock);
        while witnesses(&data) == then || witnesses(&data).len() != 1 {
            std::thread::yield_now();
        }
    };
    renewed(0);
    store.flush().unwrap();
    copy_folder(&data, &backup);
    renewed(1);
    drop((document, store));
    restore_what_differs(&backup, &data);
    let restored = open(&data).identity().clone();
    assert_ne!(restored.replica, before.replica, "it would give the name of the second letter again");
    assert_eq!(judged(&before, &restored), Continuity::WentBackwards);
}

/// The original was killed with operations in its journal only: the copy serves them and goes on behind them.
#[test]
fn what_a_former_life_left_in_the_journal_is_served_and_shelved() {
    let root = tempfile::tempdir().unwrap();
    let (original, copy) = (root.path().join("original"), root.path().join("copy"));
    let config = StoreConfig { takeover_ms: 600_000, ..StoreConfig::new(&original) };
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let document = store.document(&DocumentId::yjs("d").unwrap()).unwrap();
    let (sender, receiver) = channel();
    for clock in 0..40 {
        let sender = sender.clone();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.unwrap()).unwrap());
        document.append(Kind::YjsUpdate, keystroke(7, clock), done).unwrap();
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), 40);
    copy_folder(&original, &copy);
    for round in 0..3 {
        // A copy of a copy each time, and each leaves an operation of its own behind.
        write(&copy, 40 + round);
        let next = root.path().join(format!("copy-{round}"));
        copy_folder(&copy, &next);
        fs::remove_dir_all(&copy).unwrap();
        copy_folder(&next, &copy);
    }
    let store = open(&copy);
    assert_eq!(store.identity().former.len(), 4);
    store.flush().unwrap();
    let contents = store.document(&DocumentId::yjs("d").unwrap()).unwrap().read().unwrap();
    assert_eq!(text(&contents), typed(43));
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

fn run(program: &str, arguments: &[&str]) {
    let status = std::process::Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// What containers and administrators do to a folder at each start; nothing of it makes a copy.
#[test]
fn owners_modes_and_times_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let before = write(&data, 0);
    let folder = data.to_str().unwrap();
    let user = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&data).unwrap()).to_string();
    let all: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    let all: Vec<_> = all.iter().map(|path| path.to_str().unwrap()).collect();
    for round in 1..4 {
        run("chown", &["-R", &user, folder]);
        run("chmod", &["-R", "u+rwX,g+rX", folder]);
        run("touch", &all);
        run("touch", &[&["-h"], &all[..1]].concat());
        assert_eq!(write(&data, round), before, "round {round}");
    }
}

/// The backup has the very witness that is there: nobody opened the store since, and none was made anew.
#[test]
fn a_restore_over_the_same_witness_went_backwards() {
    for restore in ["-a", "-r"] {
        let root = tempfile::tempdir().unwrap();
        let (data, backup) = (root.path().join("data"), root.path().join("backup"));
        let before = write(&data, 0);
        let (from, to) = (format!("{}/.", data.display()), backup.display().to_string());
        fs::create_dir(&backup).unwrap();
        run("cp", &["-a", &from, &to]);
        assert_eq!(witnesses(&data), witnesses(&backup));
        run("cp", &[restore, &format!("{to}/."), data.to_str().unwrap()]);
        let restored = open(&data).identity().clone();
        assert_ne!(restored.replica, before.replica, "cp {restore}");
        assert_eq!(judged(&before, &restored), Continuity::WentBackwards);
    }
}

/// The way it is meant: repair, look at the copy, repair again with `--apply`.
#[test]
fn a_second_repair_makes_the_copy_anew_unless_it_was_used() {
    let root = tempfile::tempdir().unwrap();
    let (data, copy) = (root.path().join("data"), root.path().join("data.repaired"));
    let (other, foreign) = (root.path().join("other"), root.path().join("foreign"));
    let repair = |folder: &Path, to: &Path| maintain::repair(folder, to, &mut |_| ());
    let refused = |folder: &Path, to: &Path, why: &str| match repair(folder, to) {
        Err(error @ maintain::MaintainError::Taken { .. }) => {
            assert!(error.to_string().contains(why), "{error}");
            assert!(to.exists());
        }
        repaired => panic!("{repaired:?}"),
    };
    write(&data, 0);
    repair(&data, &copy).unwrap();
    assert_eq!(maintain::verify(&copy, &mut |_| ()).unwrap().findings, []);
    // The damaged folder was served meanwhile.
    write(&data, 1);
    repair(&data, &copy).unwrap();
    // A repair that was stopped amid its work left no replica file.
    fs::remove_file(copy.join("replica")).unwrap();
    assert_eq!(repair(&data, &copy).unwrap().whole, 1);

    write(&other, 0);
    refused(&other, &copy, "another folder");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("mine"), b"mine").unwrap();
    refused(&data, &foreign, "not what a repair made");
    assert!(foreign.join("mine").exists());

    let used = root.path().join("used");
    repair(&data, &used).unwrap();
    write(&used, 2);
    refused(&data, &used, "edits of its own");

    repair(&data, &copy).unwrap();
    maintain::apply(&data, &copy).unwrap();
    assert!(!data.join("repaired").exists());
    write(&data, 2);
    // What is in place now is an original itself.
    refused(&other, &data, "not what a repair made");
}
