//! Rows and small files of a shelf for the fuzz targets.

use tombolo_core::id::{DocumentId, ReplicaId, Seq};

use super::document::DocumentRecord;
use super::engine::Engine;
use super::layout::Layout;
use super::row::{Mark, Row, VERSION, body_bytes_max};
use super::{Tree, quarantine as aside, snapshot as pieces, tail as operations};

pub use super::census::fuzz as census;
pub use super::seal::fuzz as seal;

const MARK: Mark = Mark(*b"\xd4ROWmark");

/// What the rows and census of the fuzz targets belong to.
pub(super) const LAYOUT: Layout = Layout { count: 4, mark: MARK, engine: Engine::Sled };

/// Ends a row among others; a row of operations has it seldom.
const BETWEEN: &[u8] = &[0xf5, 0xf6];

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for at in memchr::memmem::find_iter(bytes, BETWEEN) {
        parts.push(bytes.get(start..at).unwrap_or_default());
        start = at + BETWEEN.len();
    }
    parts.push(bytes.get(start..).unwrap_or_default());
    parts
}

/// A row with its key, rows among other bytes, and the record that a row may hold.
pub fn row(bytes: &[u8]) {
    MARK.carve(bytes, |found| assert!(MARK.open(found.tree, found.key, found.row).is_ok()));
    for version in [1, VERSION] {
        let _ = DocumentRecord::decode(Row { version, body: bytes });
    }
    let Some((first, rest)) = bytes.split_first() else { return };
    let tree = Tree::of_tag(first & 3).unwrap_or(Tree::Quarantine);
    let (key, body) = rest.split_at(usize::from(first >> 2).min(rest.len()));
    let _ = MARK.open(tree, key, body);
    let body = body.get(..body_bytes_max(key.len())).unwrap_or(body);
    let sealed = MARK.seal(tree, key, body);
    assert_eq!(MARK.open(tree, key, &sealed), Ok(Row { version: VERSION, body }));
    let mut carved = 0u64;
    MARK.carve(&[bytes, &sealed, bytes].concat(), |found| carved += u64::from(found.row == sealed));
    assert!(carved > 0, "a row among other bytes is not found");
}

/// Rows of operations, one behind the other: the first byte of each is its piece and version.
pub fn tail(bytes: &[u8]) {
    let Ok(id) = DocumentId::yjs("d") else { return };
    let mut reading = operations::Reading::new(&id);
    for part in parts(bytes) {
        let Some((first, body)) = part.split_first() else { continue };
        let version = if first & 1 == 0 { VERSION } else { 1 };
        if reading.take((first >> 1).into(), Row { version, body }).is_err() {
            return;
        }
    }
    let held: usize = reading.operations.iter().map(|operation| operation.payload.len()).sum();
    assert!(held <= bytes.len());
    let _ = operations::place_of(bytes);
}

/// Rows of an operation in quarantine: a key, and bodies.
pub fn quarantine(bytes: &[u8]) {
    let Ok(id) = DocumentId::yjs("d") else { return };
    let name = (ReplicaId([0; 16]), Seq(0));
    let all = parts(bytes);
    let mut bodies = all.into_iter();
    let _ = bodies.next().and_then(aside::place_of);
    let Some(first) = bodies.next() else { return };
    let held = aside::join(&id, name, first, &mut bodies);
    assert!(held.is_none_or(|aside| aside.operation.payload.len() <= bytes.len()));
}

/// The pieces of a snapshot, joined.
pub fn snapshot(bytes: &[u8]) {
    let _ = pieces::unpack(bytes);
}

/// The file that fixes how documents are spread.
pub fn layout(bytes: &[u8]) {
    super::layout::fuzz(bytes);
    super::made::fuzz(bytes);
}
