//! How full the disk is, and what follows from it before anything fails.
//!
//! A store that finds the disk full in the middle of a write can only wait. So it looks ahead: it warns, then takes
//! no new documents while those that exist go on, then lives on what the journal has allocated already. A ballast
//! file, written when there is room, is given back when there is none: then shelves can open, takeover and
//! compaction run, and the journal can give segments back. Nothing acknowledged depends on any of it.
//!
//! Guarantees: looking never fails an operation; no look is older than [`LOOK`] when a new document asks; each
//! change of level is logged once.

pub(crate) mod ballast; // the file that is given back
mod level; // from bytes to a level, with hysteresis
mod spend; // what the shelves may use of a disk that is nearly full

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use level::Level;
use level::{Thresholds, Usage};

use crate::config::StoreConfig;

/// How often it looks.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// What a store knows of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceMetrics {
    /// What follows from it.
    pub level: Level,
    /// How full it is, as `df` counts.
    pub used_percent: u8,
    /// Bytes that this process may still write.
    pub available_bytes: u64,
    /// Whether the ballast is there.
    pub ballast: bool,
}

/// Watches the disk of one folder.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    warn_percent: u8,
    refuse_new_percent: u8,
    ample_bytes: u64,
    segment_bytes: u64,
    ballast_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    level: Level,
    usage: Usage,
    ballast: bool,
    looked: Instant,
}

impl Space {
    /// Looks for the first time. On a full disk the ballast goes now, so that what comes next can open.
    pub(crate) fn open(config: &StoreConfig) -> Self {
        let usage = usage(&config.path).unwrap_or_default();
        let known = Known { level: Level::Fine, usage, ballast: false, looked: Instant::now() };
        let space = Self {
            folder: config.path.clone(),
            warn_percent: config.disk_warn_percent,
            refuse_new_percent: config.disk_refuse_new_percent,
            ample_bytes: config.disk_ample_bytes,
            segment_bytes: config.segment_bytes,
            ballast_bytes: config.ballast_bytes,
            known: Mutex::new(known),
        };
        if space.look() == Level::Full {
            space.give_back();
        }
        space
    }

    /// Looks, and makes the ballast or gives it back. For one thread, from time to time.
    pub(crate) fn tick(&self) {
        let level = self.look();
        let Known { usage, ballast, .. } = *self.lock();
        match (level, ballast) {
            (Level::Full, _) => self.give_back(),
            (_, true) => {}
            (_, false) => self.make(self.thresholds(&usage).ballast),
        }
    }

    /// How full the disk is, if it is too full for a new document.
    pub(crate) fn refuses_new(&self) -> Option<u8> {
        if self.lock().looked.elapsed() >= LOOK {
            self.look();
        }
        let known = self.lock();
        (known.level >= Level::NoNewDocuments).then(|| known.usage.used_percent())
    }

    /// What to do about a full disk, if it is full.
    pub(crate) fn full(&self) -> Option<String> {
        let known = self.lock();
        (known.level == Level::Full).then(|| {
            format!(
                "the disk of {} is full ({} bytes are left): acknowledgements may wait; make room",
                self.folder.display(),
                known.usage.available
            )
        })
    }

    /// What it knows.
    pub(crate) fn metrics(&self) -> SpaceMetrics {
        let known = self.lock();
        SpaceMetrics {
            level: known.level,
            used_percent: known.usage.used_percent(),
            available_bytes: known.usage.available,
            ballast: known.ballast,
        }
    }

    fn look(&self) -> Level {
        let looked = usage(&self.folder);
        let mut known = self.lock();
        known.looked = Instant::now();
        // Who cannot be asked is believed what was seen last.
        let Ok(usage) = looked else { return known.level };
        let thresholds = self.thresholds(&usage);
        known.usage = usage;
        known.ballast = ballast::is_there(&self.folder, thresholds.ballast);
        let missing = if known.ballast { 0 } else { thresholds.ballast };
        let level = known.level.next(&usage, &thresholds, missing);
        let before = std::mem::replace(&mut known.level, level);
        drop(known);
        if before != level {
            self.tell(before, level, &usage);
        }
        level
    }

    /// Without the lock: it takes as long as the disk does.
    fn make(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        match ballast::make(&self.folder, bytes) {
            Ok(()) => {
                self.look();
            }
            Err(error) => tracing::debug!(%error, "the ballast could not be made"),
        }
    }

    fn give_back(&self) {
        match ballast::give_back(&self.folder) {
            Ok(true) => {
                tracing::warn!("the disk is full: the ballast was given back, so that the shelves can go on");
                self.look();
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the disk is full and the ballast could not be removed"),
        }
    }

    fn thresholds(&self, usage: &Usage) -> Thresholds {
        // A small share of a small disk. The journal makes a segment only where there is room for two, so with at
        // most one segment it never takes what was given back for the shelves.
        let ballast = self.ballast_bytes.min(usage.total / 16).min(self.segment_bytes);
        Thresholds {
            warn_percent: self.warn_percent,
            refuse_new_percent: self.refuse_new_percent,
            ample: self.ample_bytes,
            // What the journal asks for before it makes another segment.
            reserve: self.segment_bytes.saturating_mul(2),
            full: (ballast / 4).max(1),
            ballast,
        }
    }

    fn tell(&self, before: Level, level: Level, usage: &Usage) {
        let (folder, percent, available) = (self.folder.display(), usage.used_percent(), usage.available);
        if level < before {
            tracing::info!(%folder, percent, available, ?level, "there is more room on the disk again");
            return;
        }
        let words = match level {
            Level::Fine => return,
            Level::Warn => "the disk fills up; make room before new documents are refused",
            Level::NoNewDocuments => {
                "the disk is too full for new documents; those that exist go on; make room"
            }
            Level::Reserve => {
                "the journal can soon make no more segments; acknowledgements go on while its reserve lasts; make room now"
            }
            Level::Full => {
                "the disk is full; acknowledgements wait when the journal's reserve is used; make room now"
            }
        };
        tracing::warn!(%folder, percent, available, ?level, "{words}");
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Plain values, each replaced in one step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usage(folder: &Path) -> io::Result<Usage> {
    let room = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
    Ok(Usage { total: bytes(room.f_blocks), free: bytes(room.f_bfree), available: bytes(room.f_bavail) })
}
