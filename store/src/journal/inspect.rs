//! Everything that is wrong with a journal, without changing a byte of it.
//!
//! Opening stops at the first damage; this goes on behind it and names all of it. A torn tail, for which nobody
//! had a receipt, is only noted.

use std::collections::HashMap;
use std::io;

use tombolo_core::id::{DocumentId, ReplicaId, Seq};

use super::Position;
use super::error::JournalError;
use super::finding::{Finding, Found, Inspection};
use super::handle::Journal;
use super::record::{ALIGNMENT, Entry, Head, Mark, NoRecord, Place, Record, decode};
use super::segment::{self, Chain, HEADER_LEN, Nonce, SegmentId};
use super::torn;
use super::walk::{self, Image};
use crate::disk::Disk;

/// Looks at a journal that nobody has open.
///
/// # Errors
/// What the system says to a list of the folder. A file that cannot be read is a finding.
pub fn inspect(disk: &dyn Disk) -> io::Result<Inspection> {
    let ids = segment::ids(&disk.list()?);
    let mut inspector = Inspector::default();
    for id in &ids {
        let extent = if Some(id) == ids.last() { Extent::Last } else { Extent::Followed };
        inspector.open(disk, *id, extent);
    }
    Ok(inspector.finish())
}

impl Journal {
    /// Looks at what is durable at the time of the call, while it is written to. Blocking, and reads everything.
    #[must_use]
    pub fn inspect_live(&self) -> Inspection {
        let (last, durable) = self.durable();
        let mut inspector = Inspector::default();
        for id in self.segments().into_iter().filter(|id| *id <= last) {
            let extent = if id == last { Extent::Durable(durable) } else { Extent::Followed };
            let before = inspector.inspection.findings.len();
            inspector.open(self.disk(), id, extent);
            if !self.has_segment(id) {
                // Reclaimed meanwhile, whatever was seen of it.
                inspector.inspection.findings.truncate(before);
                inspector.previous = None;
            }
        }
        inspector.finish()
    }
}

/// How much of a segment is known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it: there is a next one.
    Followed,
    /// What its records say.
    Last,
    /// So many bytes; what lies behind may be written right now.
    Durable(u64),
}

/// The segment before the one that is looked at.
struct Previous {
    id: SegmentId,
    end: u64,
    hash: Chain,
    damaged: bool,
}

#[derive(Default)]
struct Inspector {
    inspection: Inspection,
    previous: Option<Previous>,
    /// Every operation of a replica on a document.
    seqs: HashMap<(DocumentId, ReplicaId), Vec<(Seq, Position)>>,
}

impl Inspector {
    fn open(&mut self, disk: &dyn Disk, id: SegmentId, extent: Extent) {
        if let Some(previous) = self.previous.as_ref().map(|previous| previous.id)
            && previous.next() != id
        {
            self.find(previous.next(), 0, Found::Missing { before: id });
        }
        let limit = if let Extent::Durable(end) = extent { Some(end) } else { None };
        match disk.open(&id.file_name()).and_then(|file| Image::read(&*file, limit)) {
            Ok(image) => self.segment(id, &image, extent),
            Err(error) => {
                self.find(id, 0, Found::Unreadable(error.into()));
                self.seen(id, HEADER_LEN, &[], true);
            }
        }
    }

    fn segment(&mut self, id: SegmentId, image: &Image, extent: Extent) {
        let bytes = image.bytes.as_slice();
        if self.inspection.segments == 0 {
            self.inspection.shelved = (id, 0);
        }
        self.inspection.segments += 1;
        self.inspection.bytes += image.size;
        let before = self.inspection.findings.len();
        if let Some((offset, error)) = &image.unreadable {
            self.find(id, *offset, Found::Unreadable(error.clone()));
        }
        let head = match segment::read_header(bytes, id) {
            Ok(head) => Some(head),
            Err(JournalError::TooNew { version, .. }) => {
                self.find(id, 0, Found::TooNew(version));
                self.seen(id, HEADER_LEN, &[], true);
                return;
            }
            Err(error) => {
                let found = if let JournalError::Damaged { found, .. } = error { found } else { "no header" };
                self.find(id, 0, Found::Damaged(found));
                None
            }
        };
        if let Some(head) = &head {
            self.check_chain(id, &head.chain);
            if let Some(offset) = head.cut_at(image.size) {
                self.find(id, offset, Found::Damaged(segment::CUT));
            }
        }
        let mut end = HEADER_LEN;
        if let Some(nonce) = walk::nonce(bytes, id, head.as_ref()) {
            let records: Vec<_> = walk::records(bytes, id, nonce).collect();
            end = self.records(id, bytes, nonce, extent, records);
        }
        let damaged = self.inspection.findings.iter().skip(before).any(Finding::is_damage);
        self.seen(id, end, bytes, damaged);
    }

    /// Looks at what lies between and behind the records of a segment; says where they end.
    fn records(
        &mut self,
        id: SegmentId,
        bytes: &[u8],
        nonce: Nonce,
        extent: Extent,
        records: Vec<(usize, Record)>,
    ) -> usize {
        let proven = proven(extent, &records);
        let mut end = HEADER_LEN;
        for (offset, record) in records {
            if offset > end && !self.gap(id, bytes, nonce, (end, offset), proven) {
                return end;
            }
            end = offset + record.len;
            if matches!(record.entry, Entry::Mark(Mark::Taken)) {
                self.inspection.documents.clear();
                self.inspection.shelved = (id, offset as u64);
            }
            if let Entry::Operation(operation) = record.entry {
                self.inspection.operations += 1;
                self.inspection.documents.entry(operation.document.clone()).or_default().add(&operation);
                let seqs = self.seqs.entry((operation.document, operation.replica)).or_default();
                seqs.push((operation.seq, (id, offset as u64)));
            }
        }
        let behind = match extent {
            Extent::Durable(_) => bytes.len(),
            _ => bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
        };
        if behind > end {
            self.gap(id, bytes, nonce, (end, behind), proven);
        }
        end
    }

    /// Names what lies where no record is; false if it starts a torn tail.
    fn gap(
        &mut self,
        id: SegmentId,
        bytes: &[u8],
        nonce: Nonce,
        (from, to): (usize, usize),
        proven: u64,
    ) -> bool {
        let gap = bytes.get(from..to).unwrap_or_default();
        if from as u64 >= proven && torn::is_possible(bytes, from) {
            self.find(id, from as u64, Found::TornTail { bytes: gap.len() as u64 });
            return false;
        }
        if !gap.starts_with(&nonce) {
            // Blank, if nothing is there at all.
            let at = gap.iter().position(|byte| *byte != 0).unwrap_or_default();
            self.find(id, (from + at) as u64, Found::Damaged("there is no record here"));
        }
        for offset in (from..to).step_by(ALIGNMENT) {
            let rest = bytes.get(offset..).unwrap_or_default();
            if !rest.starts_with(&nonce) {
                continue;
            }
            let found = match decode(rest, Place { segment: id, nonce, offset: offset as u64 }) {
                Err(NoRecord::TooNew(version)) => Found::TooNew(version),
                Err(NoRecord::Broken(found)) => Found::Damaged(found),
                Err(NoRecord::Blank) | Ok(_) => Found::Damaged("the record is cut off"),
            };
            let document = Head::read(rest).and_then(|head| head.document(rest));
            let documents = document.into_iter().collect();
            self.inspection.findings.push(Finding { segment: id, offset: offset as u64, found, documents });
        }
        true
    }

    fn check_chain(&mut self, id: SegmentId, chain: &Chain) {
        let wrong =
            |previous: &&Previous| previous.id.next() == id && !previous.damaged && previous.hash != *chain;
        if let Some((id, end)) = self.previous.as_ref().filter(wrong).map(|wrong| (wrong.id, wrong.end)) {
            self.find(id, end, Found::Damaged(segment::UNCHAINED));
        }
    }

    fn seen(&mut self, id: SegmentId, end: usize, bytes: &[u8], damaged: bool) {
        let hash = *blake3::hash(bytes.get(..end).unwrap_or_default()).as_bytes();
        self.previous = Some(Previous { id, end: end as u64, hash, damaged });
    }

    fn find(&mut self, segment: SegmentId, offset: u64, found: Found) {
        self.inspection.findings.push(Finding { segment, offset, found, documents: Vec::new() });
    }

    /// Where an operation is missing between two others of its document, and damage lies there, it is part of
    /// that damage.
    fn finish(mut self) -> Inspection {
        let mut damage: Vec<_> =
            self.inspection.findings.iter_mut().filter(|finding| finding.is_damage()).collect();
        if damage.is_empty() {
            return self.inspection;
        }
        for ((document, _), mut seqs) in self.seqs {
            seqs.sort_unstable();
            for pair in seqs.windows(2) {
                let [(one, here), (two, there)] = pair else { continue };
                if *two <= one.next() {
                    continue;
                }
                let (from, to) = (here.min(there), here.max(there));
                let between = |finding: &Finding| {
                    let position = (finding.segment, finding.offset);
                    *from < position && position < *to && !finding.documents.contains(&document)
                };
                for finding in damage.iter_mut().filter(|finding| between(finding)) {
                    finding.documents.push(document.clone());
                }
            }
        }
        self.inspection
    }
}

/// Up to where a segment is known to be durable.
fn proven(extent: Extent, records: &[(usize, Record)]) -> u64 {
    let closed = records
        .last()
        .is_some_and(|(_, record)| matches!(record.entry, Entry::Mark(Mark::Closed | Mark::Taken)));
    match extent {
        Extent::Durable(end) => end,
        Extent::Last if !closed => records.iter().map(|(_, record)| record.durable).max().unwrap_or_default(),
        _ => u64::MAX,
    }
}
