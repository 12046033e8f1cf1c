//! The file as version 1 wrote it: read for ever, and written byte for byte.

use tombolo_core::id::{DocumentId, Incarnation};

use crate::disk::Disk;
use crate::disk::faulty::FaultyDisk;
use crate::feed::checkpoint::FeedId;
use crate::feed::file::FeedFile;
use crate::feed::page::page;
use crate::feed::row::Row;
use crate::journal::SegmentId;

const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/store/feed-v1");
const START: u64 = 1 << 40;

fn yjs(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

#[test]
fn it_is_written_as_it_was() {
    let disk = FaultyDisk::default();
    let mut file = FeedFile::begin(&disk, FeedId([7; 16]), Incarnation([8; 16])).unwrap();
    let (a, b, notes) = (yjs("a").to_key(), yjs("b").to_key(), yjs("notes/ä").to_key());
    let automerge: Vec<u8> = (2..3).chain(0..16).collect();
    let rows = [
        Row::Opened { number: 1000 },
        Row::Changed { number: 1001, key: &a, settles: false },
        Row::Changed { number: 1002, key: &automerge, settles: false },
        Row::Opened { number: START },
        Row::Covered((SegmentId(3), 64)),
        Row::Intended { key: &a },
        Row::Changed { number: START + 1, key: &notes, settles: false },
        Row::Changed { number: START + 2, key: &a, settles: true },
        Row::Intended { key: &b },
        Row::Covered((SegmentId(5), 0)),
    ];
    rows.iter().for_each(|row| file.put(row).unwrap());
    file.publish(&disk, 2).unwrap();
    assert_eq!(disk.bytes("feed"), GOLDEN);
}

#[test]
fn it_is_read() {
    let disk = FaultyDisk::default();
    disk.create("feed", 0).unwrap().write_at(0, GOLDEN).unwrap();
    let file = FeedFile::read(&disk).unwrap().unwrap();
    assert_eq!((file.header().feed, file.header().incarnation), (FeedId([7; 16]), Incarnation([8; 16])));
    assert_eq!((file.header().documents, file.openings()), (2, &[1000, START][..]));
    assert_eq!((file.covered(), file.is_cut_off()), ((SegmentId(5), 0), false));
    assert_eq!(file.intended().keys().collect::<Vec<_>>(), [&yjs("b").to_key()]);
    let found = page(&file, 0, Vec::new(), 10).unwrap().unwrap().documents;
    let automerge = DocumentId::from_key(&(2..3).chain(0..16).collect::<Vec<u8>>()).unwrap();
    assert_eq!(found, [(automerge, 1002), (yjs("notes/ä"), START + 1), (yjs("a"), START + 2)]);
    let found = page(&file, START + 1, Vec::new(), 10).unwrap().unwrap().documents;
    assert_eq!(found, [(yjs("a"), START + 2)]);
}
