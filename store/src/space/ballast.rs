//! The ballast: a file of no use but its room, which is given back when there is none.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Bytes written at once.
const PIECE: usize = 64 * 1024;
/// Bytes that all others are made of.
const SEED: usize = 32;
/// The seed and the length.
const HEAD: u64 = 40;

fn path(folder: &Path) -> PathBuf {
    folder.join("ballast")
}

/// Whether it is there, whole.
pub(super) fn is_there(folder: &Path, bytes: u64) -> bool {
    bytes > 0 && fs::metadata(path(folder)).is_ok_and(|file| file.len() >= bytes)
}

/// Writes it: bytes that no file system can squeeze, so that they are really allocated.
pub(super) fn make(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut seed = [0; SEED];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    let path = path(folder);
    let written = File::create(&path).and_then(|mut file| {
        each_piece(&seed, bytes, |piece| file.write_all(piece))?;
        file.sync_all()
    });
    written.inspect_err(|_| {
        // Half a ballast would be counted as none, and its room is needed.
        let _ = fs::remove_file(&path);
    })
}

/// Hands over a ballast in pieces: the seed, its length (8), and what the seed makes (BLAKE3's stream) of the rest.
fn each_piece(
    seed: &[u8; SEED],
    bytes: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut noise = blake3::Hasher::new_keyed(seed).finalize_xof();
    let mut piece = [&seed[..], &bytes.to_be_bytes()].concat();
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE).min(piece.len());
        take(piece.get(..len).unwrap_or_default())?;
        left -= len as u64;
        piece.resize(PIECE, 0);
        noise.fill(&mut piece);
    }
    Ok(())
}

/// Whether it is as it was written; one that is not there is.
pub(crate) fn is_whole(folder: &Path) -> io::Result<bool> {
    let mut file = match File::open(path(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    if len < HEAD {
        return Ok(false);
    }
    let mut seed = [0; SEED];
    file.read_exact(&mut seed)?;
    file.rewind()?;
    let mut found = vec![0; PIECE];
    let mut same = true;
    each_piece(&seed, len, |piece| {
        let found = found.get_mut(..piece.len()).unwrap_or_default();
        file.read_exact(found)?;
        same &= found == piece;
        Ok(())
    })?;
    Ok(same)
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
        assert!(is_whole(folder.path()).unwrap());
        let whole = fs::read(path(folder.path())).unwrap();
        for at in (0..whole.len()).step_by(997).chain(0..50) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(path(folder.path()), &bytes).unwrap();
            assert!(!is_whole(folder.path()).unwrap(), "flipped at {at}");
            fs::write(path(folder.path()), &whole[..at]).unwrap();
            assert!(!is_whole(folder.path()).unwrap(), "cut at {at}");
        }
        assert!(give_back(folder.path()).unwrap());
        assert!(is_whole(folder.path()).unwrap());
        assert!(!give_back(folder.path()).unwrap());
        assert!(!is_there(folder.path(), bytes));
    }
}
