//! Which shelves were ever made: one whose folder and census are both gone would else pass for one that never was, and
//! its documents for new ones.
//!
//! The file `made`: the layout's 24 bytes under the magic `TMBLMAD1`, number (2) of each shelf, CRC-32C of the bytes
//! before (4). A shelf is added when it was made and before anything is put there. A folder of before there was this
//! file is given one that has what is there. A damaged one stays as it is, and protects nothing, until a repair.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::EngineFault;
use super::layout::{self, LAYOUT_LEN, Layout};
use super::open_shelf::OpenShelf;
use super::{ShelfError, Shelves, open};

const MAGIC: [u8; 8] = *b"TMBLMAD1";

/// What the file of some shelves says.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) shelves: BTreeSet<u16>,
    /// What is wrong with it.
    pub(super) fault: Option<&'static str>,
    is_there: bool,
}

/// Reads the file of this folder; changes nothing.
pub(super) fn read(folder: &Path, layout: &Layout) -> io::Result<Told> {
    match fs::read(folder.join("made")) {
        Ok(bytes) => Ok(match decode(&bytes, layout) {
            Some(shelves) => Told { shelves, fault: None, is_there: true },
            None => Told { fault: Some("it was changed, or belongs to other shelves"), ..Told::default() },
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Told::default()),
        Err(error) => Err(error),
    }
}

/// The error of a shelf that was made, if there is nothing of it in this folder.
fn check(folder: &Path, is_known: bool) -> Result<(), ShelfError> {
    if !is_known || open::is_made(folder) {
        return Ok(());
    }
    let words = LOST.to_owned();
    Err(ShelfError::Unopenable { path: folder.to_owned(), source: EngineFault { words } })
}

/// What is wrong with a shelf of which nothing is there.
pub(super) const LOST: &str = "it was made once, and its folder and its census are missing";

/// Which shelves of an open store were made.
#[derive(Debug)]
pub(super) struct Made {
    folder: PathBuf,
    layout: Layout,
    pub(super) fault: Option<&'static str>,
    shelves: Mutex<BTreeSet<u16>>,
}

impl Made {
    /// Goes on with the file of this folder.
    pub(super) fn open(folder: &Path, layout: Layout) -> io::Result<Self> {
        let told = read(folder, &layout)?;
        if let Some(fault) = told.fault {
            tracing::error!(file = %folder.join("made").display(), fault, "it is not known which shelves were made: one that is gone is not missed; run tombolo verify");
        }
        let there = (0..layout.count).filter(|index| open::is_made(&folder.join(format!("{index:04}"))));
        let all: BTreeSet<u16> = told.shelves.iter().copied().chain(there).collect();
        let is_new = told.fault.is_none() && all != told.shelves;
        let made = Self { folder: folder.to_owned(), layout, fault: told.fault, shelves: Mutex::new(all) };
        if is_new || (!told.is_there && told.fault.is_none()) {
            // A full disk must open; then it is written with the next shelf.
            if let Err(error) = made.write(&made.lock()) {
                tracing::warn!(%error, "it could not be noted which shelves were made");
            }
        }
        Ok(made)
    }

    pub(super) fn has(&self, index: u16) -> bool {
        self.lock().contains(&index)
    }

    /// A shelf was made; durable when it returns.
    pub(super) fn add(&self, index: u16) -> io::Result<()> {
        let mut shelves = self.lock();
        if shelves.contains(&index) {
            return Ok(());
        }
        let mut all = shelves.clone();
        all.insert(index);
        if self.fault.is_none() {
            self.write(&all)?;
        }
        *shelves = all;
        Ok(())
    }

    fn write(&self, shelves: &BTreeSet<u16>) -> io::Result<()> {
        layout::write(&self.folder.join("made"), &encode(shelves, &self.layout))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        // Replaced in one step.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    pub(super) fn was_made(&self, index: usize) -> bool {
        u16::try_from(index).is_ok_and(|index| self.made.has(index))
    }

    /// Opens a shelf, making it if it never was.
    pub(super) fn open_or_make(&self, index: usize) -> Result<OpenShelf, ShelfError> {
        let path = self.path(index);
        check(&path, self.was_made(index))?;
        let shelf = OpenShelf::open(&path, self.layout)?;
        // Before anything is put there.
        u16::try_from(index).map_or(Ok(()), |index| self.made.add(index))?;
        Ok(shelf)
    }
}

fn encode(shelves: &BTreeSet<u16>, layout: &Layout) -> Vec<u8> {
    let mut bytes = layout.encode(MAGIC).to_vec();
    bytes.extend(shelves.iter().flat_map(|index| index.to_be_bytes()));
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8], layout: &Layout) -> Option<BTreeSet<u16>> {
    let (whole, crc) = bytes.split_last_chunk::<4>()?;
    let (head, numbers) = whole.split_at_checked(LAYOUT_LEN)?;
    if crc32c::crc32c(whole) != u32::from_be_bytes(*crc) || Layout::decode(head, MAGIC) != Some(*layout) {
        return None;
    }
    let shelves: BTreeSet<u16> =
        numbers.chunks(2).filter_map(|number| Some(u16::from_be_bytes(number.try_into().ok()?))).collect();
    (encode(&shelves, layout) == bytes && shelves.iter().all(|index| *index < layout.count))
        .then_some(shelves)
}

/// Any bytes for the file, as they are and with a right beginning and checksum, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    let layout = &super::fuzzing::LAYOUT;
    let _ = decode(bytes, layout);
    let sealed = [&layout.encode(MAGIC)[..], bytes].concat();
    let sealed = [&sealed[..], &crc32c::crc32c(&sealed).to_be_bytes()].concat();
    if let Some(shelves) = decode(&sealed, layout) {
        assert_eq!(encode(&shelves, layout), sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine::Engine;
    use super::super::row::Mark;
    use super::*;

    #[test]
    fn golden_bytes_of_the_file() {
        let layout = Layout { count: 16, mark: Mark(*b"\xd4ROWmark"), engine: Engine::Sled };
        let mut golden = layout.encode(MAGIC).to_vec();
        golden.extend([0, 3, 0, 15]);
        golden.extend(crc32c::crc32c(&golden).to_be_bytes());
        assert_eq!(encode(&[15, 3].into(), &layout), golden);
        assert_eq!(decode(&golden, &layout), Some([3, 15].into()));
        assert_eq!(decode(&golden, &Layout { count: 17, ..layout }), None);
        for at in 0..golden.len() {
            let mut bytes = golden.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes, &layout), None, "byte {at}");
            assert_eq!(decode(&golden[..at], &layout), None);
        }
    }
}
