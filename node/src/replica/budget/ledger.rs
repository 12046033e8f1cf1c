//! Which documents are pinned, and when each was used last: a small file beside the store.
//!
//! Pins are fsynced. When something was used is written down now and then, by the hour: what is lost of it costs the
//! order in which documents go, and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tombolo_core::id::DocumentId;

use crate::replica::error::ReplicaError;

/// Its name in the folder.
const NAME: &str = "budget.json";
const VERSION: u32 = 1;

/// What is known of documents.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    path: Option<PathBuf>,
    evicted: bool,
    pinned: BTreeSet<DocumentId>,
    /// In hours since 1970.
    used: HashMap<DocumentId, u32>,
    changed: bool,
}

/// As the file has it; documents are keys in hex.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// Whether anything was ever evicted.
    evicted: bool,
    pinned: Vec<String>,
    /// Hours since 1970.
    used: Vec<(String, u32)>,
}

/// Hours since 1970.
pub(super) fn now_hours() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 3600).unwrap_or(u32::MAX)
}

impl Ledger {
    /// Reads the file of this folder, once.
    pub(super) fn open(&mut self, folder: &Path) -> Result<(), ReplicaError> {
        if self.path.is_some() {
            return Ok(());
        }
        let path = folder.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let read = Self::read(&bytes).ok_or_else(|| ReplicaError::Ledger {
                    path: path.clone(),
                    source: io::ErrorKind::InvalidData.into(),
                })?;
                let used = std::mem::take(&mut self.used);
                *self = read;
                self.used.extend(used);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ReplicaError::Ledger { path, source }),
        }
        self.path = Some(path);
        Ok(())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let pinned: Option<_> = stored.pinned.iter().map(|key| from_hex(key)).collect();
        let used: Option<_> = stored.used.iter().map(|(key, at)| Some((from_hex(key)?, *at))).collect();
        let ledger =
            Self { path: None, evicted: stored.evicted, pinned: pinned?, used: used?, changed: false };
        (stored.version == VERSION).then_some(ledger)
    }

    fn write(&self) -> Result<Vec<u8>, io::Error> {
        let mut used: Vec<_> = self.used.iter().map(|(id, at)| (to_hex(id), *at)).collect();
        used.sort_unstable();
        let pinned = self.pinned.iter().map(to_hex).collect();
        Ok(serde_json::to_vec(&Stored { version: VERSION, evicted: self.evicted, pinned, used })?)
    }

    /// Writes down what is new, whole or not at all, and fsyncs it.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.changed) else { return Ok(()) };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&self.write()?)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()?;
        self.changed = false;
        Ok(())
    }

    fn save_now(&mut self) -> Result<(), ReplicaError> {
        self.changed = true;
        let path = self.path.clone().unwrap_or_default();
        self.save().map_err(|source| ReplicaError::Ledger { path, source })
    }

    /// False if it is as it was.
    pub(super) fn pin(&mut self, document: &DocumentId, pinned: bool) -> Result<bool, ReplicaError> {
        let changed =
            if pinned { self.pinned.insert(document.clone()) } else { self.pinned.remove(document) };
        if changed {
            self.save_now()?;
        }
        Ok(changed)
    }

    pub(super) fn is_pinned(&self, document: &DocumentId) -> bool {
        self.pinned.contains(document)
    }

    pub(super) fn pinned(&self) -> impl Iterator<Item = &DocumentId> {
        self.pinned.iter()
    }

    /// From here on documents may be stubs. Before the first is.
    pub(super) fn note_evicted(&mut self) -> Result<(), ReplicaError> {
        if !std::mem::replace(&mut self.evicted, true) {
            self.save_now()?;
        }
        Ok(())
    }

    pub(super) fn has_evicted(&self) -> bool {
        // One that was not read may know of some.
        self.evicted || self.path.is_none()
    }

    pub(super) fn touch(&mut self, document: &DocumentId) {
        let now = now_hours();
        if self.used.get(document) != Some(&now) {
            self.used.insert(document.clone(), now);
            self.changed = true;
        }
    }

    /// When it was used last; one that nobody used was so now.
    pub(super) fn last_used(&mut self, document: &DocumentId) -> u32 {
        if let Some(at) = self.used.get(document) {
            return *at;
        }
        self.touch(document);
        now_hours()
    }

    /// What is not here any more is not remembered.
    pub(super) fn keep(&mut self, is_here: impl Fn(&DocumentId) -> bool) {
        let before = self.used.len();
        self.used.retain(|document, _| is_here(document));
        self.changed |= self.used.len() != before;
    }
}

fn to_hex(document: &DocumentId) -> String {
    document.to_key().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<DocumentId> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let key: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect();
    DocumentId::from_key(&key?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by the first version; must be read for ever.
    const GOLDEN: &str = r#"{"version":1,"evicted":true,"pinned":["0161"],"used":[["0161",5],["0162",6]]}"#;

    #[test]
    fn golden_bytes_and_what_is_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let id = |name: &str| DocumentId::yjs(name).unwrap();
        let path = folder.path().join(NAME);
        std::fs::write(&path, GOLDEN).unwrap();
        let mut ledger = Ledger::default();
        assert!(ledger.has_evicted(), "nobody has looked");
        ledger.open(folder.path()).unwrap();
        assert!(ledger.has_evicted() && ledger.is_pinned(&id("a")) && !ledger.is_pinned(&id("b")));
        assert_eq!((ledger.last_used(&id("a")), ledger.last_used(&id("b"))), (5, 6));
        assert_eq!(ledger.write().unwrap(), GOLDEN.as_bytes());
        for cut in 0..GOLDEN.len() {
            std::fs::write(&path, &GOLDEN[..cut]).unwrap();
            let refused = Ledger::default().open(folder.path());
            assert!(matches!(refused, Err(ReplicaError::Ledger { .. })), "cut to {cut}");
        }
        std::fs::write(&path, GOLDEN.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(Ledger::default().open(folder.path()).is_err());
    }

    #[test]
    fn pins_are_written_at_once_and_uses_when_they_are_saved() {
        let folder = tempfile::tempdir().unwrap();
        let id = DocumentId::yjs("a").unwrap();
        let again = || {
            let mut ledger = Ledger::default();
            ledger.open(folder.path()).unwrap();
            ledger
        };
        let mut ledger = again();
        assert!(!ledger.has_evicted());
        assert!(ledger.pin(&id, true).unwrap() && !ledger.pin(&id, true).unwrap());
        assert!(again().is_pinned(&id));
        ledger.touch(&id);
        assert_eq!(again().used.len(), 0);
        ledger.save().unwrap();
        assert_eq!(again().used, ledger.used);
        ledger.note_evicted().unwrap();
        assert!(again().has_evicted());
        assert!(ledger.pin(&id, false).unwrap());
        assert!(!again().is_pinned(&id));
    }
}
