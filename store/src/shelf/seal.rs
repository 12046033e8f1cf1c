//! What the files of a closed shelf were when it was closed: any byte of them that changes is seen, also where the
//! engine keeps nothing now.
//!
//! `NNNN.seal`, written when a shelf was closed whole, and removed before it is opened:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLSEA1` |
//! | 8 | 4 | number of files |
//! | | | for each: length of its name (2), length (8), BLAKE3 of its bytes (32), name |
//! | | 4 | CRC-32C of the bytes before |
//!
//! Names are relative to `shelf/`. The census is one of the files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::{census, layout};

const MAGIC: &[u8; 8] = b"TMBLSEA1";
const ENTRY: usize = 42;
/// An engine gives its files back on a thread of its own.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

/// What a file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sealed {
    len: u64,
    hash: [u8; 32],
}

type Files = BTreeMap<String, Sealed>;

/// The file that seals the shelf in this folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.with_extension("seal")
}

/// Seals the shelf in this folder, which must be closed: waits until the engine has let go of its files.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    wait_for_release(folder)?;
    layout::write(&path(folder), &encode(&look(folder)?))
}

/// The shelf is going to be written to.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(path(folder)) {
        Ok(()) => layout::sync_parent(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is not as it was sealed: files and what is wrong with them. None if the shelf is not sealed.
pub(super) fn check(folder: &Path) -> io::Result<Option<Vec<(String, &'static str)>>> {
    let bytes = match fs::read(path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(sealed) = decode(&bytes) else {
        return Ok(Some(vec![(name_of(&path(folder)), "the seal itself was changed")]));
    };
    let found = look(folder)?;
    let mut faults = Vec::new();
    for (name, was) in &sealed {
        match found.get(name) {
            Some(is) if is == was => {}
            Some(is) if is.len < was.len => {
                faults.push((name.clone(), "it was cut off after the shelf was closed"));
            }
            Some(_) => faults.push((name.clone(), "its bytes were changed after the shelf was closed")),
            None => faults.push((name.clone(), "it is missing")),
        }
    }
    let added = found.keys().filter(|name| !sealed.contains_key(*name));
    faults.extend(added.map(|name| (name.clone(), "it was added after the shelf was closed")));
    Ok(Some(faults))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of a shelf, its census with them.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut folders = vec![(name_of(folder), folder.to_owned())];
    while let Some((name, path)) = folders.pop() {
        if !path.exists() {
            continue;
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((name, entry.path()));
            } else {
                files.push((name, entry.path()));
            }
        }
    }
    let census = census::path(folder);
    if census.exists() {
        files.push((name_of(&census), census));
    }
    Ok(files)
}

fn look(folder: &Path) -> io::Result<Files> {
    let mut found = Files::new();
    for (name, path) in files(folder)? {
        let mut hash = blake3::Hasher::new();
        let len = io::copy(&mut File::open(path)?, &mut hash)?;
        found.insert(name, Sealed { len, hash: *hash.finalize().as_bytes() });
    }
    Ok(found)
}

/// Waits until nobody has the files of the shelf in this folder.
pub(super) fn wait_for_release(folder: &Path) -> io::Result<()> {
    let start = Instant::now();
    for (_, path) in files(folder)? {
        let file = match File::open(path) {
            // The engine has tidied up since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if start.elapsed() > RELEASE_PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

fn encode(files: &Files) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(files.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (name, sealed) in files {
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&sealed.len.to_be_bytes());
        bytes.extend_from_slice(&sealed.hash);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Files> {
    let (whole, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(whole) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (count, mut rest) = whole.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let mut files = Files::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (head, tail) = rest.split_first_chunk::<ENTRY>()?;
        let name_len = usize::from(u16::from_be_bytes(*head.first_chunk()?));
        let len = u64::from_be_bytes(head.get(2..10)?.try_into().ok()?);
        let (name, tail) = tail.split_at_checked(name_len)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        files.insert(name, Sealed { len, hash: *head.last_chunk()? });
        rest = tail;
    }
    rest.is_empty().then_some(files)
}

/// Any bytes for the file, as they are and with a right checksum, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub fn fuzz(bytes: &[u8]) {
    let _ = decode(bytes);
    let sealed = [MAGIC, bytes].concat();
    if let Some(files) = decode(&[&sealed[..], &crc32c::crc32c(&sealed).to_be_bytes()].concat()) {
        assert_eq!(decode(&encode(&files)), Some(files));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_every_file_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("0007");
        fs::create_dir_all(folder.join("blobs")).unwrap();
        fs::write(folder.join("db"), b"bytes of a database").unwrap();
        fs::write(root.path().join("0007.census"), b"names").unwrap();
        assert_eq!(check(&folder).unwrap(), None);
        write(&folder).unwrap();
        assert_eq!(check(&folder).unwrap(), Some(vec![]));
        for name in ["0007/db", "0007.census", "0007.seal"] {
            let file = root.path().join(name);
            let whole = fs::read(&file).unwrap();
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x20;
                fs::write(&file, &bytes).unwrap();
                let faults = check(&folder).unwrap().unwrap();
                assert_eq!(faults.len(), 1, "{name} {at}");
                assert_eq!(faults[0].0, name);
                fs::write(&file, &whole[..at]).unwrap();
                assert_eq!(check(&folder).unwrap().unwrap().len(), 1, "{name} {at}");
            }
            fs::write(&file, whole).unwrap();
        }
        fs::write(folder.join("blobs/1"), b"").unwrap();
        assert_eq!(check(&folder).unwrap().unwrap()[0].0, "0007/blobs/1");
        remove(&folder).unwrap();
        assert_eq!(check(&folder).unwrap(), None);
    }

    #[test]
    fn golden_bytes_of_a_seal() {
        let files = Files::from([("0000/db".to_owned(), Sealed { len: 5, hash: [7; 32] })]);
        let mut golden = b"TMBLSEA1\0\0\0\x01\0\x07\0\0\0\0\0\0\0\x05".to_vec();
        golden.extend([7; 32]);
        golden.extend(b"0000/db");
        golden.extend(crc32c::crc32c(&golden).to_be_bytes());
        assert_eq!(encode(&files), golden);
        assert_eq!(decode(&golden), Some(files));
    }
}
