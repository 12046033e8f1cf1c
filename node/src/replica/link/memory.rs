//! What a link knows of the store at its other end from earlier connections: how far that has everything of this
//! replica, and how far this replica has everything of it.
//!
//! It saves work and is believed in nothing else: a file that is lost, old or damaged costs one comparison of all
//! documents. It is bound to both stores' lives, so a restore on either side makes it worthless, as it must.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_core::id::{Incarnation, ReplicaId};
use tombolo_store::Checkpoint;

/// What is known of one keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) keeper: (ReplicaId, Incarnation),
    /// In the feed of this replica.
    pub(super) acknowledged: Option<Checkpoint>,
    /// In that of the keeper, in its own words.
    pub(super) reached: Vec<u8>,
}

/// As the file has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    replica: String,
    incarnation: String,
    acknowledged: Option<String>,
    reached: String,
}

/// The first knew of Yjs documents only.
const VERSION: u32 = 2;

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
        let keeper = (ReplicaId(id(&stored.replica)?), Incarnation(id(&stored.incarnation)?));
        (stored.version == VERSION).then_some(Self { keeper, acknowledged, reached: unhex(&stored.reached)? })
    }

    /// Keeps it, whole or not at all. Not fsynced: an older one is as good.
    pub(super) fn save(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let stored = Stored {
            version: VERSION,
            replica: self.keeper.0.to_string(),
            incarnation: self.keeper.1.to_string(),
            acknowledged: self.acknowledged.map(|checkpoint| hex(&checkpoint.to_bytes())),
            reached: hex(&self.reached),
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

    #[test]
    fn it_comes_back_and_what_is_damaged_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "ws://a", &["notes/".to_owned()]);
        assert_ne!(path, super::path(folder.path(), "ws://a", &[]));
        assert_eq!(Memory::load(&path), None);
        let memory = Memory {
            keeper: (ReplicaId([1; 16]), Incarnation([2; 16])),
            acknowledged: Some(Checkpoint { feed: FeedId([3; 16]), number: 4 }),
            reached: vec![5, 6],
        };
        memory.save(&path).unwrap();
        assert_eq!(Memory::load(&path), Some(memory));
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Memory::load(&path), None, "cut to {cut}");
        }
    }
}
