//! Files that are on the disk and not in the system's memory.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// Has the system forget what it holds of a file, or of all files in a folder.
pub(crate) fn forget(path: &Path) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("the folder is there");
        entries.for_each(|entry| forget(&entry.expect("the folder is there").path()));
        return;
    }
    let file = File::open(path).expect("the file is there");
    // Only what is on the disk can be forgotten.
    file.sync_all().expect("the disk takes it");
    fadvise(&file, 0, None, Advice::DontNeed).expect("the system forgets");
}
