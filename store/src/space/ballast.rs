//! The ballast: a file of no use but its room, which is given back when there is none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes written at once.
const PIECE: usize = 64 * 1024;

fn path(folder: &Path) -> PathBuf {
    folder.join("ballast")
}

/// Whether it is there, whole.
pub(super) fn is_there(folder: &Path, bytes: u64) -> bool {
    bytes > 0 && fs::metadata(path(folder)).is_ok_and(|file| file.len() >= bytes)
}

/// Writes it: bytes that no file system can squeeze, so that they are really allocated.
pub(super) fn make(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    let mut noise = blake3::Hasher::new_keyed(&seed).finalize_xof();
    let path = path(folder);
    let written = File::create(&path).and_then(|mut file| {
        let mut piece = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            noise.fill(&mut piece);
            let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            file.write_all(piece.get(..len).unwrap_or_default())?;
            left -= len as u64;
        }
        file.sync_all()
    });
    written.inspect_err(|_| {
        // Half a ballast would be counted as none, and its room is needed.
        let _ = fs::remove_file(&path);
    })
}

/// Removes it; false if there was none.
pub(super) fn give_back(folder: &Path) -> io::Result<bool> {
    match fs::remove_file(path(folder)) {
        Ok(()) => {
            // The room must be free on the disk, too, before others write into it.
            File::open(folder)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_takes_the_room_that_it_says_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = 3 * PIECE as u64 + 5;
        assert!(!is_there(folder.path(), bytes));
        make(folder.path(), bytes).unwrap();
        assert!(is_there(folder.path(), bytes) && !is_there(folder.path(), bytes + 1));
        let file = fs::metadata(path(folder.path())).unwrap();
        assert_eq!(file.len(), bytes);
        assert!(file.blocks() * 512 >= bytes, "allocated, not sparse");
        assert!(give_back(folder.path()).unwrap());
        assert!(!give_back(folder.path()).unwrap());
        assert!(!is_there(folder.path(), bytes));
    }
}
