//! The file that fixes how documents are spread over shelves, and the mark of their rows.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLSHF2` |
//! | 8 | 8 | mark: random, what each row starts with |
//! | 16 | 2 | number of shelves |
//! | 18 | 1 | engine: 1 sled |
//! | 19 | 1 | zero |
//! | 20 | 4 | CRC-32C of the bytes before |
//!
//! The same bytes under another magic begin each census, so that repair can do without this file. Version 1 had
//! only the number of shelves: `TMBLSHF1` (8), number (2), CRC-32 of the bytes before (4); it is read, and written
//! anew as version 2.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::ShelfError;
use super::row::Mark;

const MAGIC: &[u8; 8] = b"TMBLSHF2";
const MAGIC_1: &[u8; 8] = b"TMBLSHF1";
/// Length of the file and of a census's beginning.
pub(super) const LAYOUT_LEN: usize = 24;
const SLED: u8 = 1;

/// What all shelves of a store have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Number of shelves; at least one.
    pub(super) count: u16,
    pub(super) mark: Mark,
}

impl Layout {
    /// Its bytes under this magic.
    pub(super) fn encode(&self, magic: [u8; 8]) -> [u8; LAYOUT_LEN] {
        let mut bytes = [&magic[..], &self.mark.0, &self.count.to_be_bytes(), &[SLED, 0]].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes.try_into().unwrap_or([0; LAYOUT_LEN])
    }

    /// Reads what [`Layout::encode`] wrote.
    pub(super) fn decode(bytes: &[u8], magic: [u8; 8]) -> Option<Self> {
        let mark = Mark(bytes.get(8..16)?.try_into().ok()?);
        let count = u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?);
        let layout = Self { count, mark };
        (bytes == layout.encode(magic) && count > 0).then_some(layout)
    }
}

/// The layout of this folder; a new one for `wanted` shelves if it has none.
pub(super) fn open(folder: &Path, wanted: u16) -> Result<Layout, ShelfError> {
    fs::create_dir_all(folder)?;
    if let Some(layout) = read(folder)? {
        return Ok(layout);
    }
    let path = folder.join("layout");
    let layout = match read_1(folder)? {
        Some(layout) => layout,
        None if path.exists() => return Err(ShelfError::Layout { path }),
        None => Layout { count: wanted.max(1), mark: Mark::random()? },
    };
    write(&path, &layout.encode(*MAGIC))?;
    sync_folder(folder)?;
    Ok(layout)
}

/// The layout of this folder, if it has one of this version.
pub(super) fn read(folder: &Path) -> Result<Option<Layout>, ShelfError> {
    match fs::read(folder.join("layout")) {
        Ok(bytes) => Ok(Layout::decode(&bytes, *MAGIC)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The layout of this folder, if it has one of version 1: its rows have no mark, so it is given one.
pub(super) fn read_1(folder: &Path) -> Result<Option<Layout>, ShelfError> {
    match fs::read(folder.join("layout")) {
        Ok(bytes) => match decode_1(&bytes) {
            Some(count) => Ok(Some(Layout { count, mark: Mark::random()? })),
            None => Ok(None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn decode_1(bytes: &[u8]) -> Option<u16> {
    let count = u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?);
    let mut expected = [&MAGIC_1[..], &count.to_be_bytes()].concat();
    expected.extend_from_slice(&crc32fast::hash(&expected).to_be_bytes());
    (bytes == expected && count > 0).then_some(count)
}

/// Writes a small file, whole and durable or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_stays_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), 16).unwrap();
        assert_eq!(first.count, 16);
        assert_eq!(open(folder.path(), 64).unwrap(), first);
        let path = folder.path().join("layout");
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(matches!(open(folder.path(), 16), Err(ShelfError::Layout { .. })), "byte {at}");
        }
    }

    #[test]
    fn golden_bytes_of_a_layout() {
        let layout = Layout { count: 16, mark: Mark(*b"\xd4ROWmark") };
        let golden = *b"TMBLSHF2\xd4ROWmark\0\x10\x01\0\x3a\x48\x27\xbd";
        assert_eq!(layout.encode(*MAGIC), golden);
        assert_eq!(Layout::decode(&golden, *MAGIC), Some(layout));
    }

    #[test]
    fn version_1_is_read_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut golden = b"TMBLSHF1\0\x10".to_vec();
        golden.extend([0xf0, 0x43, 0x81, 0x7a]);
        fs::write(folder.path().join("layout"), golden).unwrap();
        let layout = open(folder.path(), 3).unwrap();
        assert_eq!(layout.count, 16);
        assert_eq!(open(folder.path(), 3).unwrap(), layout);
    }
}
