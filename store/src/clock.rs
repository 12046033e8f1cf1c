//! The clock of a store: what is appended after something was seen is stamped later, in whatever document.
//!
//! The greatest stamp lies in the file `clock` after a close: `TMBLCLK1` (8 bytes), stamp (8), CRC-32C of the bytes before
//! (4). After a kill it is that of the journal. Neither is believed further than another replica would be: a device whose
//! clock ran years ahead goes by the right one again after the next start. Nothing is merged or ordered by stamps alone,
//! so a file that is lost or damaged costs nothing but that order.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tombolo_core::clock::{Clock, DRIFT_MS_DEFAULT, Observed};
use tombolo_core::operation::Stamp;

use crate::document::now_ms;

const MAGIC: &[u8; 8] = b"TMBLCLK1";

/// One clock for all documents of a store.
#[derive(Debug)]
pub(crate) struct StoreClock {
    path: PathBuf,
    clock: Mutex<Clock>,
}

impl StoreClock {
    /// Goes on after what lies in this folder and `greatest`, which the journal has.
    pub(crate) fn open(folder: &Path, greatest: Stamp) -> Self {
        let path = folder.join("clock");
        let kept = std::fs::read(&path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        let mut clock = Clock::new(Stamp::default(), DRIFT_MS_DEFAULT);
        for stamp in [kept, greatest] {
            if let Observed::Ahead { ms } = clock.observe(now_ms(), stamp) {
                tracing::warn!(
                    ms,
                    "what was stored last is stamped ahead of this device's clock; see whether that is right"
                );
            }
        }
        Self { path, clock: Mutex::new(clock) }
    }

    /// The stamp of what happens now.
    pub(crate) fn tick(&self) -> Stamp {
        self.lock().tick(now_ms())
    }

    /// Another replica is there in time.
    pub(crate) fn observe(&self, stamp: Stamp) -> Observed {
        self.lock().observe(now_ms(), stamp)
    }

    /// Keeps it, whole or not at all.
    pub(crate) fn keep(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, path = %self.path.display(), "the clock was not kept; the next start goes by the device's");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        // Who has the folder's lock is the only one who writes there.
        let draft = self.path.with_extension("new");
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(&encode(self.lock().last()))?;
        // Before its name, or a power loss may leave an empty one.
        file.sync_all()?;
        std::fs::rename(&draft, &self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Clock> {
        // Each change is a single assignment, so a poisoned clock is whole.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with the file in this folder.
pub(crate) fn fault(folder: &Path) -> Option<String> {
    let found = match std::fs::read(folder.join("clock")) {
        Ok(bytes) if decode(&bytes).is_some() => return None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Ok(_) => "it is damaged".to_owned(),
        Err(error) => format!("it cannot be read: {error}"),
    };
    Some(format!("{found}; nothing stored is lost, and the next start goes by the device's clock"))
}

fn encode(stamp: Stamp) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &stamp.0.to_be_bytes()].concat();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Stamp> {
    let (whole, crc) = bytes.split_last_chunk::<4>()?;
    let stamp = whole.strip_prefix(MAGIC)?;
    (crc32c::crc32c(whole) == u32::from_be_bytes(*crc))
        .then_some(Stamp(u64::from_be_bytes(stamp.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: u64 = 365 * 24 * 3_600_000;

    fn at(ms: u64) -> Stamp {
        Stamp(ms << 16)
    }

    #[test]
    fn its_bytes_are_these_and_what_is_damaged_is_no_time() {
        let golden = b"TMBLCLK1\x01\x02\x03\x04\x05\x06\x07\x08\x06\xf5\xe5\x2f";
        assert_eq!(
            encode(Stamp(0x0102_0304_0506_0708)),
            golden,
            "{:02x?}",
            encode(Stamp(0x0102_0304_0506_0708))
        );
        assert_eq!(decode(golden), Some(Stamp(0x0102_0304_0506_0708)));
        for cut in 0..golden.len() {
            assert_eq!(decode(&golden[..cut]), None);
        }
        for at in 0..golden.len() {
            let mut wrong = *golden;
            wrong[at] ^= 1;
            assert_eq!(decode(&wrong), None, "at {at}");
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(fault(folder.path()), None);
            std::fs::write(folder.path().join("clock"), wrong).unwrap();
            assert!(fault(folder.path()).is_some());
        }
        assert_eq!(decode(&[&golden[..], &[0]].concat()), None);
    }

    #[test]
    fn it_goes_on_after_what_was_kept_and_what_the_journal_has() {
        let folder = tempfile::tempdir().unwrap();
        let clock = StoreClock::open(folder.path(), Stamp::default());
        // Another replica is half a minute ahead.
        let seen = at(now_ms() + DRIFT_MS_DEFAULT / 2);
        assert_eq!(clock.observe(seen), Observed::Taken);
        assert!(clock.tick() > seen);
        clock.keep();
        assert!(StoreClock::open(folder.path(), Stamp::default()).tick() > seen);
        let later = at(seen.ms() + DRIFT_MS_DEFAULT / 4);
        assert!(StoreClock::open(folder.path(), later).tick() > later);
        std::fs::remove_file(folder.path().join("clock")).unwrap();
        assert!(StoreClock::open(folder.path(), Stamp::default()).tick() < seen);
    }

    #[test]
    fn who_ran_years_ahead_goes_by_the_right_time_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = at(now_ms() + 10 * YEAR_MS);
        std::fs::write(folder.path().join("clock"), encode(wrong)).unwrap();
        let clock = StoreClock::open(folder.path(), wrong);
        assert!(clock.tick() < at(now_ms() + DRIFT_MS_DEFAULT));
        assert!(matches!(clock.observe(wrong), Observed::Ahead { .. }));
    }
}
