//! What a link knows of the store at its other end from earlier connections: how far that has everything of this
//! replica, how far this replica has everything of it, and when both had.
//!
//! It saves work and is believed in nothing else: a file that is lost, old or damaged costs one comparison of all
//! documents. It is bound to both stores' lives, so a restore on either side makes it worthless, as it must.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tombolo_core::dialect::replica::Outcome;
use tombolo_core::id::{DocumentId, Incarnation, ReplicaId};
use tombolo_core::session::Dropped;
use tombolo_store::Checkpoint;

/// What is known of one keeper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Whose store it is; none of a relay that keeps nothing.
    pub(super) keeper: Option<(ReplicaId, Incarnation)>,
    /// In the feed of this replica.
    pub(super) acknowledged: Option<Checkpoint>,
    /// In that of the keeper, in its own words.
    pub(super) reached: Vec<u8>,
    /// When the link was in sync last, whoever was there.
    pub(super) synced: Option<SystemTime>,
    /// What counts as acknowledged there although it was refused.
    pub(super) dropped: BTreeMap<DocumentId, Dropped>,
}

/// As the file has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    replica: Option<String>,
    incarnation: Option<String>,
    acknowledged: Option<String>,
    reached: String,
    /// In ms since 1970.
    #[serde(default)]
    synced_ms: Option<u64>,
    #[serde(default)]
    dropped: Vec<StoredDropped>,
}

/// A document is its key in hex.
#[derive(Serialize, Deserialize)]
struct StoredDropped {
    document: String,
    outcome: u64,
    reason: String,
    may_read: bool,
}

impl StoredDropped {
    fn of((document, dropped): (&DocumentId, &Dropped)) -> Self {
        let Dropped { outcome, reason, may_read } = dropped.clone();
        Self { document: hex(&document.to_key()), outcome: outcome.0, reason, may_read }
    }

    fn read(self) -> Option<(DocumentId, Dropped)> {
        let Self { document, outcome, reason, may_read } = self;
        let document = DocumentId::from_key(&unhex(&document)?).ok()?;
        Some((document, Dropped { outcome: Outcome(outcome), reason, may_read }))
    }
}

/// The first knew of Yjs documents only, the second not when a link was in sync, the third of nothing that was dropped.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=VERSION;
const VERSION: u32 = 4;

/// Where the memory of the link to this place lies, for these subscriptions.
pub(super) fn path(folder: &Path, url: &str, prefixes: &[String]) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(url).chain(prefixes.iter().map(String::as_str)) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize().to_hex();
    folder.join("links").join(format!("{}.json", hash.get(..16).unwrap_or_default()))
}

impl Memory {
    /// What was kept; none if that cannot be read.
    pub(super) fn load(path: &Path) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let id = |hex: &str| <[u8; 16]>::try_from(unhex(hex)?).ok();
        let acknowledged = match &stored.acknowledged {
            Some(hex) => Some(Checkpoint::from_bytes(&unhex(hex)?)?),
            None => None,
        };
        let keeper = match (&stored.replica, &stored.incarnation) {
            (Some(replica), Some(incarnation)) => {
                Some((ReplicaId(id(replica)?), Incarnation(id(incarnation)?)))
            }
            _ => None,
        };
        let reached = unhex(&stored.reached)?;
        let synced = match stored.synced_ms {
            Some(ms) => Some(UNIX_EPOCH.checked_add(Duration::from_millis(ms))?),
            None => None,
        };
        let dropped: Option<_> = stored.dropped.into_iter().map(StoredDropped::read).collect();
        let memory = Self { keeper, acknowledged, reached, synced, dropped: dropped? };
        VERSIONS.contains(&stored.version).then_some(memory)
    }

    /// Keeps it, whole or not at all. Not fsynced: an older one is as good.
    pub(super) fn save(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let stored = Stored {
            version: VERSION,
            replica: self.keeper.map(|keeper| keeper.0.to_string()),
            incarnation: self.keeper.map(|keeper| keeper.1.to_string()),
            acknowledged: self.acknowledged.map(|checkpoint| hex(&checkpoint.to_bytes())),
            reached: hex(&self.reached),
            synced_ms: self.synced.map(|at| {
                let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
            dropped: self.dropped.iter().map(StoredDropped::of).collect(),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(&stored)?)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use tombolo_store::FeedId;

    use super::*;

    const VERSION_2: &str = r#"{
  "version": 2,
  "replica": "01010101010101010101010101010101",
  "incarnation": "02020202020202020202020202020202",
  "acknowledged": "01030303030303030303030303030303030000000000000004",
  "reached": "0506"
}"#;
    const VERSION_3: &str = r#"{
  "version": 3,
  "replica": "01010101010101010101010101010101",
  "incarnation": "02020202020202020202020202020202",
  "acknowledged": "01030303030303030303030303030303030000000000000004",
  "reached": "0506",
  "synced_ms": 7
}"#;
    const VERSION_4: &str = r#"{
  "version": 4,
  "replica": "01010101010101010101010101010101",
  "incarnation": "02020202020202020202020202020202",
  "acknowledged": "01030303030303030303030303030303030000000000000004",
  "reached": "0506",
  "synced_ms": 7,
  "dropped": [
    {
      "document": "0164",
      "outcome": 9,
      "reason": "no",
      "may_read": true
    }
  ]
}"#;

    #[test]
    fn it_comes_back_and_what_is_damaged_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "ws://a", &["notes/".to_owned()]);
        assert_ne!(path, super::path(folder.path(), "ws://a", &[]));
        assert_eq!(Memory::load(&path), None);
        let dropped = Dropped { outcome: Outcome(9), reason: "no".to_owned(), may_read: true };
        let memory = Memory {
            keeper: Some((ReplicaId([1; 16]), Incarnation([2; 16]))),
            acknowledged: Some(Checkpoint { feed: FeedId([3; 16]), number: 4 }),
            reached: vec![5, 6],
            synced: Some(UNIX_EPOCH + Duration::from_millis(7)),
            dropped: BTreeMap::from([(DocumentId::yjs("d").unwrap(), dropped)]),
        };
        memory.save(&path).unwrap();
        assert_eq!(Memory::load(&path), Some(memory.clone()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), VERSION_4);
        let of_before = Memory { dropped: BTreeMap::new(), ..memory.clone() };
        std::fs::write(&path, VERSION_3).unwrap();
        assert_eq!(Memory::load(&path), Some(of_before.clone()));
        std::fs::write(&path, VERSION_2).unwrap();
        assert_eq!(Memory::load(&path), Some(Memory { synced: None, ..of_before }));
        for version in [0, 1, 5] {
            std::fs::write(&path, VERSION_4.replace("\"version\": 4", &format!("\"version\": {version}")))
                .unwrap();
            assert_eq!(Memory::load(&path), None, "version {version}");
        }
        // Of a relay.
        let of_relay = Memory { synced: memory.synced, ..Memory::default() };
        of_relay.save(&path).unwrap();
        assert_eq!(Memory::load(&path), Some(of_relay));
        memory.save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Memory::load(&path), None, "cut to {cut}");
        }
    }
}
