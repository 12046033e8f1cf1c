//! What a census sees: every change of a record that nobody announced, and every change of itself.

use proptest::prelude::*;

use super::super::engine::Engine;
use super::super::memory::MemoryShelf;
use super::super::row::Mark;
use super::*;

const LAYOUT: Layout = Layout { count: 4, mark: Mark(*b"\xd4ROWmark"), engine: Engine::Sled };

/// A shelf's rows with their census, as [`OpenShelf`](super::super::open_shelf::OpenShelf) uses it.
struct Counted {
    folder: tempfile::TempDir,
    rows: Rows,
}

impl Counted {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("0003"), &LAYOUT).unwrap();
        Self { folder, rows: Rows { engine: Box::new(MemoryShelf::default()), mark: LAYOUT.mark } }
    }

    fn shelf(&self) -> PathBuf {
        self.folder.path().join("0003")
    }

    fn open(&self) -> (Census, Found) {
        let expected = expected(&self.shelf(), &LAYOUT).unwrap();
        let (found, digests) = check(&self.rows, &expected).unwrap();
        (Census::open(&self.shelf(), LAYOUT, &expected, &found, &digests).unwrap(), found)
    }

    fn set(&self, key: &[u8], row: Option<&[u8]>) {
        let change = (key.to_vec(), row.map(<[u8]>::to_vec));
        self.rows.engine.batch(Tree::Documents, vec![change]).unwrap();
    }

    fn write(&self, census: &Census, key: &[u8], row: &[u8]) {
        census.announce(&[(key.to_vec(), digest(row))]).unwrap();
        self.set(key, Some(row));
    }

    fn faults(&self) -> Vec<(Vec<u8>, &'static str)> {
        self.open().1.faults.into_iter().collect()
    }
}

#[test]
fn lost_older_and_unannounced_records_are_named() {
    let counted = Counted::new();
    let (census, found) = counted.open();
    assert_eq!(found, Found::default());
    for n in 0..5 {
        counted.write(&census, &[1, n], b"old");
    }
    counted.write(&census, &[1, 2], b"new");
    census.done().unwrap();
    assert_eq!(counted.faults(), []);
    counted.set(&[1, 1], None);
    counted.set(&[1, 2], Some(b"old"));
    counted.set(&[1, 9], Some(b"of nobody"));
    let expected = vec![
        (vec![1, 1], "its record is missing"),
        (vec![1, 2], "its record is not the one that was written last"),
        (vec![1, 9], "nobody announced its record"),
    ];
    assert_eq!(counted.faults(), expected);
    assert_eq!(counted.faults(), expected, "opening does not make it right");
}

#[test]
fn only_the_last_group_may_not_have_been_written() {
    let counted = Counted::new();
    let (census, _) = counted.open();
    counted.write(&census, &[1, 1], b"one");
    counted.write(&census, &[1, 2], b"old");
    // Announced, and then the power went.
    census.announce(&[(vec![1, 2], digest(b"new")), (vec![1, 3], digest(b"new"))]).unwrap();
    assert_eq!(counted.faults(), []);
    // It has been looked at: from now on it is as it was found.
    counted.set(&[1, 3], Some(b"new"));
    assert_eq!(counted.faults(), [(vec![1, 3], "its record is not the one that was written last")]);
}

#[test]
fn a_long_one_is_written_anew() {
    let counted = Counted::new();
    let (census, _) = counted.open();
    let path = path(&counted.shelf());
    for n in 0..4_000u32 {
        let group: Vec<_> = (0..8).map(|key| (vec![key; 500], digest(&n.to_be_bytes()))).collect();
        census.announce(&group).unwrap();
        if census.is_long() {
            (0..8).for_each(|key| counted.set(&[key; 500], Some(&n.to_be_bytes())));
            census.rewrite(&counted.rows, &BTreeMap::new()).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 5000);
            assert_eq!(counted.faults(), []);
            return;
        }
    }
    panic!("it never got long");
}

#[test]
fn a_count_of_version_1_is_read() {
    let counted = Counted::new();
    let golden = b"TMBLCNS1\0\0\0\0\0\0\0\x02".to_vec();
    let golden = [&golden[..], &crc32fast::hash(&golden).to_be_bytes()].concat();
    fs::write(path(&counted.shelf()), &golden).unwrap();
    counted.set(&[1, 1], Some(b"row"));
    let (census, found) = counted.open();
    assert_eq!((found.count, found.nameless), (1, Some(2)));
    counted.write(&census, &[1, 3], b"row");
    counted.set(&[1, 3], None);
    assert_eq!(counted.open().1.nameless, Some(2), "the only word of it stays");
    counted.set(&[1, 2], Some(b"row"));
    assert_eq!(counted.open().1, Found { count: 2, ..Found::default() });
    counted.set(&[1, 2], None);
    assert_eq!(counted.faults(), [(vec![1, 2], "its record is missing")]);
}

/// Written by the second version; must be read for ever.
#[test]
fn golden_bytes_of_a_census() {
    let documents = HashMap::from([(b"\x01d".to_vec(), Some(*b"12345678"))]);
    let bytes = whole(MAGIC, &LAYOUT, &documents);
    let entry = b"\x81\xc9\x1e\xee\x01\0\x0212345678\x01d";
    let done = b"\x10\x69\x34\x03\x03\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(bytes[..24], LAYOUT.encode(*b"TMBLCNS2"));
    assert_eq!(bytes[24..], [&entry[..], done].concat());
}

/// Begun for a shelf that had lost it; must be read for ever.
#[test]
fn golden_bytes_of_a_census_that_was_lost() {
    let counted = Counted::new();
    fs::remove_file(path(&counted.shelf())).unwrap();
    counted.set(b"\x01d", Some(b"row"));
    counted.open().0.done().unwrap();
    let bytes = fs::read(path(&counted.shelf())).unwrap();
    let documents = HashMap::from([(b"\x01d".to_vec(), digest(b"row"))]);
    assert_eq!(bytes[..24], LAYOUT.encode(*b"TMBLCNSL"));
    assert_eq!(bytes[24..], whole(MAGIC, &LAYOUT, &documents)[24..]);
    let expected = expected(&counted.shelf(), &LAYOUT).unwrap();
    assert_eq!(expected.fault, Some("its census was missing and was begun anew"));
    assert_eq!((expected.count(), expected.keys()), (u64::MAX, BTreeSet::from([b"\x01d".to_vec()])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever byte changes or is cut off behind its beginning: seen, or a tail that is no word of anything.
    #[test]
    fn changed_bytes_are_seen(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let counted = Counted::new();
        let (census, _) = counted.open();
        for n in 0..6 {
            counted.write(&census, &[1, n], &[n; 20]);
        }
        census.done().unwrap();
        let path = path(&counted.shelf());
        let mut bytes = fs::read(&path).unwrap();
        let (at, last) = (at.index(bytes.len()), bytes.len() - HEAD);
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(&path, &bytes).unwrap();
        let expected = expected(&counted.shelf(), &LAYOUT).unwrap();
        let (found, _) = check(&counted.rows, &expected).unwrap();
        let seen = expected.fault.is_some() || !found.faults.is_empty();
        // The last entry only says that all is done.
        prop_assert!(seen || at >= last, "byte {}", at);
    }
}
