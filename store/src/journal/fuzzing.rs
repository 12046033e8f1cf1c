//! Records and segments of a journal for the fuzz targets.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::checksum::Version;
use super::record::{
    ALIGNMENT, Entry, HEAD, Head, Place, checksum_of_place, decode, encode_mark, encode_operation,
};
use super::segment::{self, HEADER_LEN, Nonce, SegmentId};
use super::{JournalConfig, inspect, replay, salvage};
use crate::disk::{Disk, DiskFile};

const SEGMENT: SegmentId = SegmentId(1);
const NONCE: Nonce = *b"FUZZ";
/// Right headers, lengths and checksums, by the bits of a segment's first byte.
const HEADER: u8 = 1;
const LENGTH: u8 = 2;
const RECORDS: u8 = 4;

/// One record behind a header.
pub fn journal_record(bytes: &[u8]) {
    let place = Place { segment: SEGMENT, nonce: NONCE, offset: HEADER_LEN as u64 };
    let _ = decode(bytes, place);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed, HEADER_LEN);
    let Ok(record) = decode(&sealed, place) else { return };
    let (mut again, version) = (Vec::new(), Version::LATEST);
    match &record.entry {
        Entry::Mark(mark) => {
            // One with a key or a payload is read, too; none is written.
            encode_mark(&mut again, version, place, record.durable, *mark);
            assert_eq!(decode(&again, place).map(|again| again.entry), Ok(record.entry));
        }
        Entry::Operation(operation) => {
            encode_operation(&mut again, version, place, record.durable, operation);
            assert_eq!(decode(&again, place), Ok(record));
        }
    }
}

/// A journal of one segment: replay, inspection and salvage. The first byte says what is made right.
pub fn journal_segment(bytes: &[u8]) {
    let Some((right, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if right & HEADER != 0 {
        bytes.resize(bytes.len().max(HEADER_LEN).next_multiple_of(ALIGNMENT), 0);
        let chain = bytes.get(24..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let len = (right & LENGTH != 0).then_some(bytes.len() as u64);
        let header = segment::header(SEGMENT, &segment::Head { chain, nonce: NONCE, len });
        bytes.splice(..HEADER_LEN, header);
    }
    if right & RECORDS != 0 {
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            at += seal(bytes.get_mut(at..).unwrap_or_default(), at);
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(Memory::of(SEGMENT.file_name(), bytes));
    let inspected = inspect(&*disk).map(|inspection| inspection.operations);
    let mut salvaged = 0u64;
    let _ = salvage(&*disk, &mut |_, _| salvaged += 1);
    let config = JournalConfig { segment_bytes: 4096 };
    if let Ok(opened) = replay::open(&disk, config) {
        // Everything that a start serves is whole for those who look, and there at the next start.
        let count = opened.replay.operations.len() as u64;
        assert!(inspected.is_ok_and(|found| found >= count) && salvaged >= count);
        let again = replay::open(&disk, config).map(|again| again.replay.operations).ok();
        assert_eq!(again, Some(opened.replay.operations));
    }
}

/// Makes nonce and checksum of the record right that starts here, if its length fits; returns how far it goes.
fn seal(bytes: &mut [u8], offset: usize) -> usize {
    let Some(head) = Head::read(bytes).filter(|head| *head != Head::default()) else { return ALIGNMENT };
    let len = head.record_len();
    let version = Version::from_tag(head.version).unwrap_or(Version::LATEST);
    let Some(record) = bytes.get_mut(..len.max(HEAD)) else { return ALIGNMENT };
    let rest = record.get(8..).unwrap_or_default();
    let crc = version.append(checksum_of_place(version, SEGMENT, offset as u64), rest);
    for (to, from) in record.iter_mut().zip(NONCE.into_iter().chain(crc.to_be_bytes())) {
        *to = from;
    }
    len
}

/// A disk in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Arc<MemoryFile>>>);

#[derive(Debug)]
struct MemoryFile(Mutex<Vec<u8>>);

impl Memory {
    fn of(name: String, bytes: Vec<u8>) -> Self {
        Self(Mutex::new(BTreeMap::from([(name, Arc::new(MemoryFile(Mutex::new(bytes))))])))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut BTreeMap<String, Arc<MemoryFile>>) -> Option<T>,
    ) -> io::Result<T> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut files).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|files| Some(files.keys().cloned().collect()))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(MemoryFile(Mutex::new(vec![0; usize::try_from(len).unwrap_or_default()])));
        self.with(|files| {
            files.insert(name.to_owned(), Arc::clone(&file));
            Some(file as Arc<dyn DiskFile>)
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|files| Some(Arc::clone(files.get(name)?) as Arc<dyn DiskFile>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|files| {
            let file = files.remove(from)?;
            files.insert(to.to_owned(), file);
            Some(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|files| files.remove(name).map(drop))
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryFile {
    fn part<T>(&self, offset: u64, len: usize, work: impl FnOnce(&mut [u8]) -> T) -> io::Result<T> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get_mut(start..start.saturating_add(len));
        part.map(work).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.part(offset, buffer.len(), |part| buffer.copy_from_slice(part))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.part(offset, bytes.len(), |part| part.copy_from_slice(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
