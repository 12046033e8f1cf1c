//! Which documents a shelf has, and which record of each was written last, kept outside its engine: a damaged
//! database can lose rows, or go back to older ones, without a word (HAZARDS sled-5).
//!
//! The file `NNNN.census` begins with the layout (magic `TMBLCNS2`); entries follow, appended:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 4 | CRC-32C, begun with the second half of the mark, of the entry's offset (8) and the rest |
//! | 4 | 1 | 1 first of a group, 2 another of that group, 3 everything before is done |
//! | 5 | 2 | length of the key |
//! | 7 | 8 | first bytes of BLAKE3 of the record's row; zeros if it is to go |
//! | 15 | | key of the document |
//!
//! A group is durable before the rows that it announces are written, and a shelf writes one group at a time. So
//! every record must be the one that was announced last; only of the last group, if nothing says that it was done,
//! it may still be the one before. What is neither is named by [`Found::faults`]. A shelf whose census is gone gets
//! one under the magic `TMBLCNSL`, which says so for as long as nobody repairs it. Version 1 only counted:
//! `TMBLCNS1` (8), number of documents (8), CRC-32 of the bytes before (4).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::{self, LAYOUT_LEN, Layout};
use super::rows::Rows;
use super::{ShelfError, Tree};

pub(super) const MAGIC: [u8; 8] = *b"TMBLCNS2";
const MAGIC_1: &[u8; 8] = b"TMBLCNS1";
/// Of one that was begun because the one before was gone: documents that it does not name may have been here.
const MAGIC_LOST: [u8; 8] = *b"TMBLCNSL";
const HEAD: usize = 15;
const FIRST: u8 = 1;
const NEXT: u8 = 2;
const DONE: u8 = 3;
/// The file is written anew when it has grown to twice what it needs and this much.
const SLACK_BYTES: u64 = 256 * 1024;

/// Names a record's row; none if there is to be none.
pub(super) type Digest = Option<[u8; 8]>;

/// The digest of a record's row.
pub(super) fn digest(row: &[u8]) -> Digest {
    blake3::hash(row).as_bytes().first_chunk().copied()
}

/// What the file says of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    newest: Digest,
    /// What may be there instead, because the newest may not have been written.
    or: Option<Digest>,
}

/// What a census says.
#[derive(Debug, Default)]
pub(super) struct Expected {
    documents: HashMap<Vec<u8>, Announced>,
    /// Documents that there were and that have no names here: version 1, or a damaged file.
    unnamed: Option<u64>,
    /// Where the next entry goes; none if the file is to be written anew.
    end: Option<u64>,
    /// There is no file, and there should be.
    is_missing: bool,
    /// What is wrong with the file.
    pub(super) fault: Option<&'static str>,
}

impl Expected {
    /// Keys of documents that should be here.
    pub(super) fn keys(&self) -> BTreeSet<Vec<u8>> {
        let there = self.documents.iter().filter(|(_, announced)| announced.newest.is_some());
        there.filter(|(_, announced)| announced.or != Some(None)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether opening announces nothing that is not announced already as durably there.
    pub(super) fn is_settled(&self) -> bool {
        self.end.is_some() && self.documents.values().all(|announced| announced.or.is_none())
    }

    /// How many documents there are at least.
    pub(super) fn count(&self) -> u64 {
        let certain = self.documents.values().filter(|a| a.newest.is_some() && a.or.is_none()).count();
        self.unnamed.unwrap_or_default().max(certain as u64)
    }
}

/// What was found on a shelf, held against its census.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Documents that have a record.
    pub(super) count: u64,
    /// Keys of documents whose record is missing or is not the one that was written last, and which of both.
    pub(super) faults: BTreeMap<Vec<u8>, &'static str>,
    /// How many documents there should be, if some are missing that nobody can name.
    pub(super) nameless: Option<u64>,
}

/// The file that the census of the shelf in this folder lies in.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.with_extension("census")
}

/// Begins the census of a shelf that is going to be made in this folder.
pub(super) fn make(folder: &Path, layout: &Layout) -> io::Result<()> {
    layout::write(&path(folder), &whole(MAGIC, layout, &HashMap::new()))
}

/// What the census of the shelf in this folder, which was made, says. A shelf is made after its census, so if there
/// is none it was lost, and nobody knows which documents were here. Changes nothing.
pub(super) fn expected(folder: &Path, layout: &Layout) -> Result<Expected, ShelfError> {
    let bytes = match fs::read(path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fault = Some("its census is missing");
            return Ok(Expected { is_missing: true, unnamed: Some(u64::MAX), fault, ..Expected::default() });
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(count) = decode_1(&bytes) {
        return Ok(Expected { unnamed: Some(count), ..Expected::default() });
    }
    let head = |magic| bytes.get(..LAYOUT_LEN).and_then(|head| Layout::decode(head, magic)) == Some(*layout);
    let mut expected = read(&bytes, layout, !head(MAGIC));
    if head(MAGIC_LOST) {
        expected.fault = Some("its census was missing and was begun anew");
    }
    Ok(expected)
}

fn decode_1(bytes: &[u8]) -> Option<u64> {
    let count = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    let mut expected = [&MAGIC_1[..], &count.to_be_bytes()].concat();
    expected.extend_from_slice(&crc32fast::hash(&expected).to_be_bytes());
    (bytes == expected).then_some(count)
}

/// Reads entries; goes on behind damage, so that everything that is whole counts.
fn read(bytes: &[u8], layout: &Layout, bad_head: bool) -> Expected {
    let mut expected = Expected::default();
    let mut group: Vec<Vec<u8>> = Vec::new();
    let (mut at, mut end, mut damaged) = (LAYOUT_LEN, LAYOUT_LEN, bad_head);
    while at < bytes.len() {
        let Some(entry) = Entry::read(bytes, at, layout) else {
            at += 1;
            continue;
        };
        // Bytes before a whole entry that are none were changed after they were written.
        damaged |= at != end;
        if entry.kind != NEXT {
            // A later group, or word that it was done: the one before was.
            for key in group.drain(..) {
                if let Some(announced) = expected.documents.get_mut(&key) {
                    announced.or = None;
                }
            }
        }
        if entry.kind != DONE {
            let before = expected.documents.get(entry.key);
            // The first of two in one group is what was there before the group.
            let or = before.map_or(Some(None), |before| before.or.or(Some(before.newest)));
            expected.documents.insert(entry.key.to_vec(), Announced { newest: entry.digest, or });
            group.push(entry.key.to_vec());
        }
        at += HEAD + entry.key.len();
        end = at;
    }
    if damaged {
        expected.fault = Some("entries of its census were changed");
        expected.unnamed = Some(u64::MAX);
    } else {
        expected.end = Some(end as u64);
    }
    expected
}

struct Entry<'a> {
    kind: u8,
    digest: Digest,
    key: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8], at: usize, layout: &Layout) -> Option<Self> {
        let rest = bytes.get(at..)?;
        let head = rest.first_chunk::<HEAD>()?;
        let [c0, c1, c2, c3, kind, k0, k1, digest @ ..] = *head;
        if !matches!(kind, FIRST | NEXT | DONE) {
            return None;
        }
        let len = HEAD + usize::from(u16::from_be_bytes([k0, k1]));
        let whole = rest.get(..len)?;
        if checksum(layout, at as u64, whole) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return None;
        }
        let digest = (digest != [0; 8]).then_some(digest);
        Some(Self { kind, digest, key: whole.get(HEAD..)? })
    }

    fn write(out: &mut Vec<u8>, at: u64, layout: &Layout, kind: u8, digest: Digest, key: &[u8]) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(kind);
        out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&digest.unwrap_or_default());
        out.extend_from_slice(key);
        let crc = checksum(layout, at, out.get(start..).unwrap_or_default());
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&crc.to_be_bytes());
        }
    }
}

fn checksum(layout: &Layout, at: u64, entry: &[u8]) -> u32 {
    let [.., a, b, c, d] = layout.mark.0;
    let crc = crc32c::crc32c_append(u32::from_be_bytes([a, b, c, d]), &at.to_be_bytes());
    crc32c::crc32c_append(crc, entry.get(4..).unwrap_or_default())
}

/// Holds what is on a shelf against its census.
pub(super) fn check(
    rows: &Rows,
    expected: &Expected,
) -> Result<(Found, HashMap<Vec<u8>, Digest>), ShelfError> {
    let mut found = Found::default();
    let mut digests = HashMap::new();
    rows.engine.scan(Tree::Documents, &[], None, &mut |key, row| {
        found.count += 1;
        digests.insert(key.to_vec(), digest(row));
        ControlFlow::Continue(())
    })?;
    for (key, announced) in &expected.documents {
        let is = digests.get(key).copied().flatten();
        if is != announced.newest && Some(is) != announced.or {
            let fault = if is.is_none() {
                "its record is missing"
            } else {
                "its record is not the one that was written last"
            };
            found.faults.insert(key.clone(), fault);
        }
    }
    if expected.unnamed.is_none() && expected.end.is_some() {
        let unknown = digests.keys().filter(|key| !expected.documents.contains_key(*key));
        found.faults.extend(unknown.map(|key| (key.clone(), "nobody announced its record")));
    }
    found.nameless = expected.unnamed.filter(|count| found.count < *count);
    Ok((found, digests))
}

#[derive(Debug)]
struct Writing {
    file: File,
    end: u64,
    /// Length that the file would have if it were written anew.
    live: u64,
    done: bool,
}

/// The census of an open shelf.
#[derive(Debug)]
pub(super) struct Census {
    folder: PathBuf,
    layout: Layout,
    /// None if the file is the only word of documents that are missing: then it stays.
    writing: Mutex<Option<Writing>>,
}

impl Census {
    /// Goes on with the census of the shelf in this folder. Faults stay as they were announced, so that they are
    /// found again; everything else is as it is on the shelf from now on.
    pub(super) fn open(
        folder: &Path,
        layout: Layout,
        expected: &Expected,
        found: &Found,
        digests: &HashMap<Vec<u8>, Digest>,
    ) -> io::Result<Self> {
        let path = path(folder);
        let mut all = digests.clone();
        for key in found.faults.keys() {
            if let Some(announced) = expected.documents.get(key) {
                all.insert(key.clone(), announced.newest);
            }
        }
        let magic = if expected.is_missing { MAGIC_LOST } else { MAGIC };
        let live = whole(magic, &layout, &all);
        let open = |end| {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.set_len(end)?;
            Ok::<_, io::Error>(file)
        };
        let writing = match expected.end {
            Some(end) if end <= 2 * live.len() as u64 + SLACK_BYTES => {
                Writing { file: open(end)?, end, live: live.len() as u64, done: false }
            }
            // Damaged ones stay, so that it is known that documents may be missing.
            None if expected.fault.is_some() && !expected.is_missing => {
                let file = OpenOptions::new().read(true).write(true).open(&path)?;
                let end = file.metadata()?.len();
                // Never written anew: it is the only word of what may be missing.
                Writing { file, end, live: u64::MAX, done: true }
            }
            // So do those of version 1 that count more than there are.
            None if found.nameless.is_some() && !expected.is_missing => {
                return Ok(Self { folder: folder.to_owned(), layout, writing: Mutex::new(None) });
            }
            _ => {
                layout::write(&path, &live)?;
                let end = live.len() as u64;
                let live = if expected.is_missing { u64::MAX } else { end };
                Writing { file: open(end)?, end, live, done: true }
            }
        };
        let census = Self { folder: folder.to_owned(), layout, writing: Mutex::new(Some(writing)) };
        let unsettled = expected
            .documents
            .iter()
            .filter(|(key, announced)| announced.or.is_some() && !found.faults.contains_key(*key));
        let unsettled: Vec<_> =
            unsettled.map(|(key, _)| (key.clone(), digests.get(key).copied().flatten())).collect();
        census.announce(&unsettled)?;
        census.done()?;
        Ok(census)
    }

    /// Says which records are going to be written, durably.
    pub(super) fn announce(&self, records: &[(Vec<u8>, Digest)]) -> io::Result<()> {
        let mut writing = self.lock();
        let Some(writing) = writing.as_mut().filter(|_| !records.is_empty()) else { return Ok(()) };
        let mut bytes = Vec::new();
        for (index, (key, digest)) in records.iter().enumerate() {
            let at = writing.end + bytes.len() as u64;
            Entry::write(&mut bytes, at, &self.layout, if index == 0 { FIRST } else { NEXT }, *digest, key);
        }
        writing.append(&bytes)?;
        writing.done = false;
        Ok(())
    }

    /// Says that everything announced is on the shelf, durably there.
    pub(super) fn done(&self) -> io::Result<()> {
        let mut writing = self.lock();
        let Some(writing) = writing.as_mut().filter(|writing| !writing.done) else { return Ok(()) };
        let mut bytes = Vec::new();
        Entry::write(&mut bytes, writing.end, &self.layout, DONE, None, &[]);
        writing.append(&bytes)?;
        writing.done = true;
        Ok(())
    }

    /// Whether most of it is of the past.
    pub(super) fn is_long(&self) -> bool {
        let long =
            |writing: &Writing| writing.end > writing.live.saturating_mul(2).saturating_add(16 * SLACK_BYTES);
        self.lock().as_ref().is_some_and(long)
    }

    /// Writes it anew; everything announced must be on the shelf, durably there.
    pub(super) fn rewrite(
        &self,
        rows: &Rows,
        faults: &BTreeMap<Vec<u8>, &'static str>,
    ) -> Result<(), ShelfError> {
        let mut writing = self.lock();
        let known = expected(&self.folder, &self.layout)?;
        let mut all = HashMap::new();
        rows.engine.scan(Tree::Documents, &[], None, &mut |key, row| {
            all.insert(key.to_vec(), digest(row));
            ControlFlow::Continue(())
        })?;
        for key in faults.keys() {
            all.insert(key.clone(), known.documents.get(key).and_then(|announced| announced.newest));
        }
        let bytes = whole(MAGIC, &self.layout, &all);
        let path = path(&self.folder);
        layout::write(&path, &bytes)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let end = bytes.len() as u64;
        *writing = Some(Writing { file, end, live: end, done: true });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// A census as it is written anew.
fn whole(magic: [u8; 8], layout: &Layout, documents: &HashMap<Vec<u8>, Digest>) -> Vec<u8> {
    let mut bytes = layout.encode(magic).to_vec();
    let mut kind = FIRST;
    for (key, digest) in documents.iter().filter(|(_, digest)| digest.is_some()) {
        let at = bytes.len() as u64;
        Entry::write(&mut bytes, at, layout, kind, *digest, key);
        kind = NEXT;
    }
    let at = bytes.len() as u64;
    Entry::write(&mut bytes, at, layout, DONE, None, &[]);
    bytes
}

/// Any bytes for the file, as they are and with right checksums where an entry may start, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub fn fuzz(bytes: &[u8]) {
    let layout = &super::fuzzing::LAYOUT;
    let _ = decode_1(bytes);
    read(bytes, layout, true);
    let mut sealed = [&layout.encode(MAGIC)[..], bytes].concat();
    let mut at = LAYOUT_LEN;
    while let Some(&[_, _, _, _, _, k0, k1]) = sealed.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + HEAD + usize::from(u16::from_be_bytes([k0, k1]));
        let Some(entry) = sealed.get_mut(at..end) else { break };
        let crc = checksum(layout, at as u64, entry).to_be_bytes();
        entry.iter_mut().zip(crc).for_each(|(to, from)| *to = from);
        at = end;
    }
    let expected = read(&sealed, layout, false);
    let newest = expected.documents.iter().map(|(key, announced)| (key.clone(), announced.newest)).collect();
    let again = read(&whole(MAGIC, layout, &newest), layout, false);
    assert!(again.fault.is_none() && again.keys().is_superset(&expected.keys()));
}

#[cfg(test)]
mod tests;
