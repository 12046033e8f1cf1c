//! The file that fixes how documents are spread over shelves, and the mark of their rows.
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | magic and version `TMBLSHF2` |
//! | 8 | 8 | mark: random, what each row starts with |
//! | 16 | 2 | number of shelves |
//! | 18 | 1 | engine: 1 sled, 2 redb |
//! | 19 | 1 | zero |
//! | 20 | 4 | CRC-32C of the bytes before |
//!
//! The same bytes under another magic begin each census, so that repair can do without this file, and a file that
//! belongs to other shelves is not believed. Version 1 had
//! only the number of shelves: `TMBLSHF1` (8), number (2), CRC-32 of the bytes before (4); it is read, and written
//! anew as version 2.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::engine::Engine;
use super::row::Mark;
use super::{ShelfError, census};

const MAGIC: &[u8; 8] = b"TMBLSHF2";
const MAGIC_1: &[u8; 8] = b"TMBLSHF1";
/// Length of the file and of a census's beginning.
pub(super) const LAYOUT_LEN: usize = 24;

/// What all shelves of a store have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Number of shelves; at least one.
    pub(super) count: u16,
    pub(super) mark: Mark,
    /// Version 1 knew sled only.
    pub(super) engine: Engine,
}

impl Layout {
    /// Its bytes under this magic.
    pub(super) fn encode(&self, magic: [u8; 8]) -> [u8; LAYOUT_LEN] {
        let mut bytes =
            [&magic[..], &self.mark.0, &self.count.to_be_bytes(), &[self.engine.tag(), 0]].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes.try_into().unwrap_or([0; LAYOUT_LEN])
    }

    /// Reads what [`Layout::encode`] wrote.
    pub(super) fn decode(bytes: &[u8], magic: [u8; 8]) -> Option<Self> {
        let mark = Mark(bytes.get(8..16)?.try_into().ok()?);
        let count = u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?);
        let engine = Engine::of_tag(*bytes.get(18)?)?;
        let layout = Self { count, mark, engine };
        (bytes == layout.encode(magic) && count > 0).then_some(layout)
    }
}

/// The layout of this folder; a new one for `wanted` shelves if it has none. An engine that is asked for must be
/// the one that is there. A file that the censuses contradict is refused: a shelf that is looked at with another
/// store's mark seems to be damaged throughout, and with another number of shelves documents seem to be missing.
pub(super) fn open(folder: &Path, wanted: u16, engine: Option<Engine>) -> Result<Layout, ShelfError> {
    fs::create_dir_all(folder)?;
    let path = folder.join("layout");
    let (layout, is_written) = match (read(folder)?, read_1(folder)?) {
        // Version 1 knew no marks, and a new one would make every row that has one a row of nobody.
        (None, Some(_)) if told(folder)?.is_some() => return Err(ShelfError::Layout { path }),
        (None, Some(layout)) => (layout, false),
        (Some(layout), _) if disputed(folder, &layout)?.is_some() => return Err(ShelfError::Layout { path }),
        (None, None) if path.exists() || has_shelves(folder)? => return Err(ShelfError::Layout { path }),
        (Some(layout), _) => (layout, true),
        (None, None) => {
            let engine = engine.unwrap_or_default();
            (Layout { count: wanted.max(1), mark: Mark::random()?, engine }, false)
        }
    };
    if let Some(wanted) = engine.filter(|engine| *engine != layout.engine) {
        let path = folder.parent().unwrap_or(folder).to_owned();
        return Err(ShelfError::OtherEngine { path, is: layout.engine, wanted });
    }
    if is_written {
        return Ok(layout);
    }
    write(&path, &layout.encode(*MAGIC))?;
    sync_folder(folder)?;
    sync_parent(folder)?;
    Ok(layout)
}

/// Whether there are, or were, shelves in this folder: then they have a layout.
pub(super) fn has_shelves(folder: &Path) -> io::Result<bool> {
    let is_shelf = |name: &str| name.len() == 4 && name.parse::<u16>().is_ok();
    for entry in fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().split('.').next().is_some_and(is_shelf) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Layouts that censuses of this folder begin with, each with how many do.
fn votes(folder: &Path) -> io::Result<Vec<(Layout, usize)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut votes: Vec<(Layout, usize)> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let mut head = [0; LAYOUT_LEN];
        // One that cannot be read says nothing here; its shelf says so.
        let is_read = path.extension().is_some_and(|end| end == "census")
            && File::open(&path).and_then(|mut file| file.read_exact(&mut head)).is_ok();
        let Some(layout) = Layout::decode(&head, census::MAGIC).filter(|_| is_read) else { continue };
        match votes.iter_mut().find(|(known, _)| *known == layout) {
            Some((_, count)) => *count += 1,
            None => votes.push((layout, 1)),
        }
    }
    Ok(votes)
}

/// What most censuses of this folder say that the layout is, if any says so.
pub(super) fn told(folder: &Path) -> io::Result<Option<Layout>> {
    Ok(votes(folder)?.into_iter().max_by_key(|(_, count)| *count).map(|(layout, _)| layout))
}

/// What more censuses of this folder say than this layout, if there is such.
pub(super) fn disputed(folder: &Path, layout: &Layout) -> io::Result<Option<Layout>> {
    let votes = votes(folder)?;
    let own = votes.iter().find(|(told, _)| told == layout).map_or(0, |(_, count)| *count);
    let most = votes.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own);
    Ok(most.map(|(told, _)| told))
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
            Some(count) => Ok(Some(Layout { count, mark: Mark::random()?, engine: Engine::Sled })),
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

/// Any bytes for the file, as they are and with a right checksum, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = (Layout::decode(bytes, *MAGIC), decode_1(bytes));
    let sealed = [&MAGIC[..], bytes].concat();
    let sealed = [&sealed[..], &crc32c::crc32c(&sealed).to_be_bytes()].concat();
    if let Some(layout) = Layout::decode(&sealed, *MAGIC) {
        assert_eq!(layout.encode(*MAGIC)[..], sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_stays_and_damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), 16, None).unwrap();
        assert_eq!(first.count, 16);
        assert_eq!(open(folder.path(), 64, None).unwrap(), first);
        let path = folder.path().join("layout");
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(matches!(open(folder.path(), 16, None), Err(ShelfError::Layout { .. })), "byte {at}");
        }
    }

    #[test]
    fn golden_bytes_of_a_layout() {
        let goldens = [
            (Engine::Sled, *b"TMBLSHF2\xd4ROWmark\0\x10\x01\0\x3a\x48\x27\xbd"),
            (Engine::Redb, *b"TMBLSHF2\xd4ROWmark\0\x10\x02\0\x0e\xaf\x8f\x24"),
        ];
        for (engine, golden) in goldens {
            let layout = Layout { count: 16, mark: Mark(*b"\xd4ROWmark"), engine };
            assert_eq!(layout.encode(*MAGIC), golden);
            assert_eq!(Layout::decode(&golden, *MAGIC), Some(layout));
        }
    }

    /// A new mark would make every row that is there one of nobody.
    #[test]
    fn a_folder_with_shelves_gets_no_new_layout() {
        for name in ["0003", "0003.census", "0011.copy"] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(name)).unwrap();
            assert!(matches!(open(folder.path(), 16, None), Err(ShelfError::Layout { .. })), "{name}");
        }
    }

    /// Its checksum says that it is whole, not that it belongs here.
    #[test]
    fn a_layout_that_the_censuses_contradict_is_refused() {
        let right = Layout { count: 4, mark: Mark(*b"\xd4ROWmark"), engine: Engine::Sled };
        let wrong = [
            Layout { count: 5, ..right },
            Layout { engine: Engine::Redb, ..right },
            Layout { mark: Mark(*b"\xd4ROWmurk"), ..right },
        ];
        for wrong in wrong {
            let folder = tempfile::tempdir().unwrap();
            let census = |index: u8, layout: &Layout| {
                census::make(&folder.path().join(format!("{index:04}")), layout).unwrap();
            };
            fs::write(folder.path().join("layout"), wrong.encode(*MAGIC)).unwrap();
            assert_eq!(open(folder.path(), 1, None).unwrap(), wrong, "nobody contradicts");
            census(0, &right);
            assert!(matches!(open(folder.path(), 1, None), Err(ShelfError::Layout { .. })), "{wrong:?}");
            assert_eq!(disputed(folder.path(), &wrong).unwrap(), Some(right));
            assert_eq!(disputed(folder.path(), &right).unwrap(), None);
            // One census of another store among those of this one proves nothing.
            census(1, &wrong);
            census(2, &wrong);
            assert_eq!(open(folder.path(), 1, None).unwrap(), wrong);
            let old = [&b"TMBLSHF1\0\x10"[..], &[0xf0, 0x43, 0x81, 0x7a]].concat();
            fs::write(folder.path().join("layout"), old).unwrap();
            assert!(matches!(open(folder.path(), 1, None), Err(ShelfError::Layout { .. })), "an older one");
        }
    }

    #[test]
    fn version_1_is_read_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut golden = b"TMBLSHF1\0\x10".to_vec();
        golden.extend([0xf0, 0x43, 0x81, 0x7a]);
        fs::write(folder.path().join("layout"), golden).unwrap();
        let layout = open(folder.path(), 3, None).unwrap();
        assert_eq!((layout.count, layout.engine), (16, Engine::Sled));
        assert_eq!(open(folder.path(), 3, Some(Engine::Sled)).unwrap(), layout);
    }

    #[test]
    fn another_engine_than_the_one_that_is_there_is_refused() {
        for (is, wanted) in [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)] {
            let folder = tempfile::tempdir().unwrap();
            let shelf = folder.path().join("shelf");
            let layout = open(&shelf, 3, Some(is)).unwrap();
            let refused = open(&shelf, 3, Some(wanted)).unwrap_err().to_string();
            let right = format!("--data {is}:{}", folder.path().display());
            assert!(refused.contains(&right), "{refused}");
            assert_eq!(open(&shelf, 3, None).unwrap(), layout);
        }
    }
}
