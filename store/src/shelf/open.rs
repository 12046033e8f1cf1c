//! Opening: the ladder for a database that does not open.
//!
//! The ladder: open, which after a kill includes the engine's own repair; if the engine finds damage, let it make
//! anew in a *copy* what it can derive (of sled its `snap.*`, HAZARDS sled-5; of redb what says where there is
//! room) and open that; if it opens and has as many documents as there should be, it takes the place of the
//! original, which is kept beside it. The last rung is [`super::salvage`], by hand. Never is an empty shelf made
//! where there was one.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::census;
use super::engine::Engine;
use super::error::EngineFault;
use super::layout::{sync_folder, sync_parent};
use super::{Shelf, ShelfError, Tree, reclaim, seal};

/// sled gives its lock back on a thread of its own.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is a shelf in this folder, or should be.
pub(super) fn is_made(folder: &Path) -> bool {
    folder.exists() || census::path(folder).exists() || copy_of(folder).exists()
}

/// Opens the shelf in this folder, which should have so many documents; makes it if there never was one.
pub(super) fn open(folder: &Path, expected: u64, engine: Engine) -> Result<Box<dyn Shelf>, ShelfError> {
    finish_swap(folder)?;
    if !folder.exists() {
        if expected > 0 {
            return Err(unopenable(folder, format!("it had {expected} documents and its folder is missing")));
        }
        make(folder, engine)?;
    }
    match open_patiently(folder, engine) {
        Err(ShelfError::Engine(fault)) => {
            tracing::error!(folder = %folder.display(), %fault, "a shelf does not open; trying a copy");
            let kept = salvage(folder, expected, engine)
                .map_err(|error| unopenable(folder, format!("{fault}; and a copy: {error}")))?;
            tracing::warn!(kept = %kept.display(), "the copy opened; the original is kept");
            open_patiently(folder, engine)
        }
        // What is wrong otherwise is not damage: a full disk, no descriptors, a lock that is still held.
        opened => opened,
    }
}

/// Where the shelf of this folder lies: a kill may have come between the two renames of a swap.
pub(super) fn present(folder: &Path) -> PathBuf {
    let copy = copy_of(folder);
    if !folder.exists() && copy.exists() { copy } else { folder.to_owned() }
}

/// Where [`salvage`] makes its copy.
fn copy_of(folder: &Path) -> PathBuf {
    folder.with_extension("copy")
}

fn unopenable(folder: &Path, words: String) -> ShelfError {
    ShelfError::Unopenable { path: folder.to_owned(), source: EngineFault { words } }
}

fn count(shelf: &dyn Shelf) -> Result<u64, ShelfError> {
    let mut count = 0;
    shelf.scan(Tree::Documents, &[], None, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// A kill may have come between the two renames of [`salvage`]: the original is aside, the copy whole.
fn finish_swap(folder: &Path) -> Result<(), ShelfError> {
    let copy = copy_of(folder);
    if !folder.exists() && copy.exists() {
        fs::rename(&copy, folder)?;
        sync_parent(folder)?;
    }
    // What a swap left, or did not come to.
    for left in [folder.with_extension("old"), copy] {
        if folder.exists() && left.exists() {
            fs::remove_dir_all(left)?;
        }
    }
    Ok(())
}

/// A new shelf appears whole or not at all: a kill in between leaves a draft, which is made anew.
fn make(folder: &Path, engine: Engine) -> Result<(), ShelfError> {
    drop(draft(folder, engine)?);
    close_draft(folder, engine)?;
    fs::rename(draft_of(folder), folder)?;
    sync_parent(folder)?;
    Ok(())
}

fn draft_of(folder: &Path) -> PathBuf {
    folder.with_extension("draft")
}

/// An empty database to be filled, beside this shelf.
pub(super) fn draft(folder: &Path, engine: Engine) -> Result<Box<dyn Shelf>, ShelfError> {
    let draft = draft_of(folder);
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    engine.create(&draft)
}

/// Removes what there is of a draft; what stays is removed before the next one.
pub(super) fn drop_draft(folder: &Path) {
    // There need not be any.
    let _ = fs::remove_dir_all(draft_of(folder));
}

fn close_draft(folder: &Path, engine: Engine) -> Result<(), ShelfError> {
    let draft = draft_of(folder);
    // Its lock must be free before its place changes: sled knows its files by path.
    drop(open_patiently(&draft, engine)?);
    seal::wait_for_release(&draft)?;
    Ok(sync_files(&draft)?)
}

/// The draft, which was closed, is whole: from now on it may take the shelf's place.
pub(super) fn finish_draft(folder: &Path, engine: Engine) -> Result<(), ShelfError> {
    close_draft(folder, engine)?;
    let copy = copy_of(folder);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::rename(draft_of(folder), copy)?;
    Ok(sync_parent(folder)?)
}

/// Puts the copy into the place of the shelf, which must be closed, and removes the old one.
pub(super) fn swap(folder: &Path) -> Result<(), ShelfError> {
    seal::wait_for_release(folder)?;
    let old = folder.with_extension("old");
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    fs::rename(folder, &old)?;
    fs::rename(copy_of(folder), folder)?;
    sync_parent(folder)?;
    Ok(fs::remove_dir_all(&old)?)
}

/// Writes the files of a shelf that nobody has open anew, as they are read now, and puts them in its place.
pub(super) fn rewrite(folder: &Path) -> Result<(), ShelfError> {
    finish_swap(folder)?;
    if !folder.exists() {
        return Ok(()); // Opening says what that means.
    }
    seal::remove(folder)?;
    seal::wait_for_release(folder)?;
    // Nor must the journal run out of room by it.
    let room = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
    if room.f_bavail.saturating_mul(room.f_frsize) < reclaim::size(folder).saturating_mul(2) {
        return Err(io::Error::from(io::ErrorKind::StorageFull).into());
    }
    let (draft, copy) = (draft_of(folder), copy_of(folder));
    drop_draft(folder);
    copy_files(folder, &draft, &|_| true)
        .and_then(|()| sync_files(&draft))
        .inspect_err(|_| drop_draft(folder))?;
    fs::rename(draft, copy)?;
    sync_parent(folder)?;
    swap(folder)
}

/// Copies the files of a database for which this says yes.
fn copy_files(folder: &Path, to: &Path, is_wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
    fs::create_dir_all(to.join("blobs"))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && is_wanted(&name.to_string_lossy()) {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn open_patiently(folder: &Path, engine: Engine) -> Result<Box<dyn Shelf>, ShelfError> {
    let start = Instant::now();
    loop {
        match engine.open(folder) {
            // sled says so in words only; redb says it in these words, too.
            Err(ShelfError::Io(error))
                if error.to_string().contains("acquire lock") && start.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// Puts a mended copy in the place of the original, if it has as many documents as there should be; gives back
/// where the original is now.
fn salvage(folder: &Path, expected: u64, engine: Engine) -> Result<PathBuf, ShelfError> {
    let copy = copy_of(folder);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_files(folder, &copy, &|name| !engine.is_derived(name))?;
    let found = count(&*engine.open_mended(&copy)?)?;
    drop(open_patiently(&copy, engine)?);
    if found < expected {
        fs::remove_dir_all(&copy)?;
        return Err(unopenable(folder, format!("it has {found} of {expected} documents")));
    }
    sync_files(&copy)?;
    let kept = (1u32..).map(|n| folder.with_extension(format!("damaged-{n}"))).find(|path| !path.exists());
    let kept = kept.ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
    fs::rename(folder, &kept)?;
    fs::rename(&copy, folder)?;
    sync_parent(folder)?;
    Ok(kept)
}

fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}
