//! A repaired copy in the place of the damaged folder, whatever stops that in between.
//!
//! From before the first of two renames until after the second, a link `NAME.applying` beside the folder leads to the
//! copy. So if the folder is missing and the link is there, the next start puts the copy in place instead of taking
//! the missing folder for a new one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MaintainError;
use super::mark::{self, absent};
use crate::error::OpenError;
use crate::identity;

/// Most links that lead to a data folder; the system follows as many.
const LINKS_MAX: usize = 40;

/// Puts a repaired copy in the place of the damaged folder; gives back where that is now.
///
/// # Errors
/// What the system says. If it has come between the two renames, [`finish_apply`] goes on from there.
pub fn apply(folder: &Path, repaired: &Path) -> Result<PathBuf, MaintainError> {
    let swap = Swap::new(folder, repaired)?;
    let _lock = identity::lock(&swap.folder, Duration::ZERO)?;
    STEPS.iter().try_for_each(|step| step(&swap))?;
    Ok(swap.aside)
}

/// Finishes an [`apply()`] that was stopped between its two renames; nothing else is touched.
///
/// # Errors
/// [`OpenError::Applying`] if that does not go: then there is no data folder, and a new one must not be made.
pub fn finish_apply(folder: &Path) -> Result<(), OpenError> {
    let Some(path) = place(folder).filter(|path| !path.exists()) else { return Ok(()) };
    let link = link_of(&path);
    // What is no link is none of ours.
    let Ok(copy) = fs::read_link(&link) else { return Ok(()) };
    let finished = put_in_place(&copy, &path).and_then(|()| end(&path, &link));
    finished.map_err(|source| OpenError::Applying {
        path: path.clone(),
        copy: copy.clone(),
        link,
        source,
    })?;
    tracing::warn!(folder = %path.display(), copy = %copy.display(), "a repair was stopped before its copy was in place; it is now");
    Ok(())
}

/// Removes what an [`apply()`] left that was stopped before or behind its renames. Whoever calls has the folder's lock.
pub(crate) fn tidy(folder: &Path) {
    let Some(path) = place(folder) else { return };
    let link = link_of(&path);
    let Ok(copy) = fs::read_link(&link) else { return };
    // Not begun: then the copy is still one.
    let tidied = if copy.exists() { fs::remove_file(&link) } else { end(&path, &link) };
    if let Err(error) = tidied {
        tracing::warn!(%error, link = %link.display(), "what a stopped repair left could not be removed");
    }
}

/// An exchange of two folders.
struct Swap {
    folder: PathBuf,
    copy: PathBuf,
    /// Where the damaged one goes.
    aside: PathBuf,
    link: PathBuf,
}

/// A stop behind any of them is made up for at the next start.
const STEPS: [fn(&Swap) -> io::Result<()>; 4] = [
    Swap::announce,
    |swap| fs::rename(&swap.folder, &swap.aside),
    |swap| put_in_place(&swap.copy, &swap.folder),
    |swap| end(&swap.folder, &swap.link),
];

impl Swap {
    fn new(folder: &Path, copy: &Path) -> io::Result<Self> {
        let (folder, copy) = (fs::canonicalize(folder)?, fs::canonicalize(copy)?);
        let aside = (1u32..).map(|n| beside(&folder, &format!("damaged-{n}"))).find(|path| !path.exists());
        let aside = aside.ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
        let link = link_of(&folder);
        Ok(Self { folder, copy, aside, link })
    }

    fn announce(&self) -> io::Result<()> {
        absent(fs::remove_file(&self.link))?;
        symlink(&self.copy, &self.link)?;
        sync_parent(&self.link)
    }
}

fn put_in_place(copy: &Path, folder: &Path) -> io::Result<()> {
    match fs::rename(copy, folder) {
        // Somebody who starts at this moment has finished it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.exists() => {}
        renamed => renamed?,
    }
    // Before anything is stored there.
    sync_parent(folder)?;
    sync_parent(copy)
}

fn end(folder: &Path, link: &Path) -> io::Result<()> {
    mark::remove(folder)?;
    absent(fs::remove_file(link))?;
    sync_parent(link)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Where a folder is or was, without links; none if that cannot be told, as of one that is to be made with its parent.
fn place(folder: &Path) -> Option<PathBuf> {
    if let Ok(path) = fs::canonicalize(folder) {
        return Some(path);
    }
    let mut path = std::path::absolute(folder).ok()?;
    for _ in 0..LINKS_MAX {
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent()?.join(to);
    }
    Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

fn link_of(folder: &Path) -> PathBuf {
    beside(folder, "applying")
}

/// `NAME.end` beside the folder `NAME`.
fn beside(folder: &Path, end: &str) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(".");
    path.push(end);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use bytes::Bytes;
    use tombolo_core::id::DocumentId;
    use tombolo_core::operation::Kind;

    use super::*;
    use crate::maintain::{repair, verify};
    use crate::worker::ThreadWorker;
    use crate::{Store, StoreConfig};

    const PAYLOAD: &[u8] = &[1, 1, 7, 0, 4, 1, 1, b't', 1, b'x', 0];

    fn id() -> DocumentId {
        DocumentId::yjs("d").unwrap()
    }

    fn open(folder: &Path) -> Store {
        let config = StoreConfig { ballast_bytes: 0, segment_bytes: 8192, ..StoreConfig::new(folder) };
        Store::open(config, ThreadWorker::start().unwrap()).unwrap()
    }

    /// A folder with one document, and a repaired copy of it that lies elsewhere.
    fn build(root: &Path) -> (PathBuf, PathBuf) {
        let (folder, copy) = (root.join("data"), root.join("else/where"));
        let store = open(&folder);
        let (sender, receiver) = channel();
        let done = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
        let document = store.document(&id()).unwrap();
        document.append(Kind::YjsUpdate, Bytes::from_static(PAYLOAD), done).unwrap();
        assert!(receiver.recv().unwrap());
        drop((document, store));
        repair(&folder, &copy, &mut |_| ()).unwrap();
        (folder, copy)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_stop_behind_any_step_is_made_up_for_by_whoever_comes_next() {
        for stop in 0..=STEPS.len() {
            for by_link in [false, true] {
                let root = tempfile::tempdir().unwrap();
                let (mut folder, copy) = build(root.path());
                if by_link {
                    let link = root.path().join("link");
                    symlink("data", &link).unwrap();
                    folder = link;
                }
                let swap = Swap::new(&folder, &copy).unwrap();
                STEPS.iter().take(stop).for_each(|step| step(&swap).unwrap());
                if stop % 2 == 0 {
                    assert_eq!(verify(&folder, &mut |_| ()).unwrap().findings, []);
                }
                let store = open(&folder);
                assert_eq!(store.document(&id()).unwrap().read().unwrap().tail, [PAYLOAD], "{stop}");
                drop(store);
                let mut expected = vec!["data", "else"];
                expected.extend((stop >= 2).then_some("data.damaged-1"));
                expected.extend(by_link.then_some("link"));
                expected.sort_unstable();
                assert_eq!(names(root.path()), expected, "{stop}");
                assert_eq!(copy.exists(), stop < 2);
                // What is used is no copy any more.
                assert!(stop < 2 || !folder.join("repaired").exists(), "{stop}");
            }
        }
    }

    #[test]
    fn what_cannot_be_finished_is_said_and_no_new_folder_is_made() {
        let root = tempfile::tempdir().unwrap();
        let (folder, copy) = build(root.path());
        let swap = Swap::new(&folder, &copy).unwrap();
        STEPS.iter().take(2).for_each(|step| step(&swap).unwrap());
        let hidden = root.path().join("hidden");
        fs::rename(&copy, &hidden).unwrap();
        let refused = Store::open(StoreConfig::new(&folder), ThreadWorker::start().unwrap());
        let refused = refused.err().unwrap().to_string();
        let command = format!("mv {} {}", swap.copy.display(), swap.folder.display());
        assert!(refused.contains(&command), "{refused}");
        assert!(!folder.exists());
        fs::rename(&hidden, &copy).unwrap();
        assert_eq!(count(&folder), 1);
    }

    /// Opens it and says how many operations its document has.
    fn count(folder: &Path) -> usize {
        open(folder).document(&id()).unwrap().read().unwrap().tail.len()
    }
}
