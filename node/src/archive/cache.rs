//! What was read of a document for one joiner, kept a while for the next: many who come together share one buffer.
//!
//! Guarantees: it is given away as soon as the document changes, or when nobody came for [`KEEP`]; so it costs
//! memory only where people are joining. What was read of another edition of the document is never kept.

use std::panic::catch_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::room::StoreRefused;
use tombolo_core::update::{self, Coverage, InvalidUpdate, Outlined, StateVector, Update};

/// How long it is kept without being used.
pub(super) const KEEP: Duration = Duration::from_secs(10);

/// A document as it was read.
pub(super) struct Parts {
    /// The snapshot, if its structs need not be read to serve it.
    outlined: Option<Outlined>,
    /// What is not in that.
    rest: Vec<Update>,
    /// All of it as one update, once somebody needed it.
    whole: OnceLock<Result<Bytes, InvalidUpdate>>,
}

impl Parts {
    pub(super) fn new(outlined: Option<Outlined>, rest: Vec<Update>) -> Arc<Self> {
        Arc::new(Self { outlined, rest, whole: OnceLock::new() })
    }

    /// Adds all of it to what is known.
    pub(super) fn add_to(&self, known: &mut Coverage) -> Result<(), InvalidUpdate> {
        self.outlined.as_ref().map_or(Ok(()), |outlined| outlined.add_to(known))?;
        for update in &self.rest {
            known.add(update);
        }
        Ok(())
    }

    /// What somebody lacks who has this.
    pub(super) fn answer(&self, have: &StateVector) -> Result<Bytes, StoreRefused> {
        // One asker's answer must not take those of others along.
        let answer = catch_unwind(|| {
            if have.is_empty() { self.whole.get_or_init(|| self.diff(have)).clone() } else { self.diff(have) }
        });
        match answer {
            Ok(Ok(update)) => Ok(update),
            Ok(Err(error)) => {
                tracing::error!(%error, "a stored document cannot be served");
                Err(StoreRefused::Trouble)
            }
            Err(_) => Err(StoreRefused::Trouble),
        }
    }

    fn diff(&self, have: &StateVector) -> Result<Bytes, InvalidUpdate> {
        match &self.outlined {
            Some(outlined) => outlined.diff(&self.rest, have),
            None => Ok(update::diff(&self.rest, have)),
        }
    }

    /// Whether an answer to somebody who has this costs nothing.
    pub(super) fn is_ready_for(&self, have: &StateVector) -> bool {
        have.is_empty() && self.whole.get().is_some()
    }
}

/// Which state of a document was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    edition: u64,
    changes: u64,
}

/// Keeps the parts of an open document.
pub(super) struct Cache {
    /// Of the document that was opened.
    edition: u64,
    parts: Option<Arc<Parts>>,
    used: bool,
    /// How often the document changed since it was opened.
    changes: u64,
}

impl Cache {
    pub(super) fn new(edition: u64) -> Self {
        Self { edition, parts: None, used: false, changes: 0 }
    }

    /// The edition that was opened.
    pub(super) fn edition(&self) -> u64 {
        self.edition
    }

    /// The parts, if they are still all there is.
    pub(super) fn get(&mut self) -> Option<Arc<Parts>> {
        self.used = true;
        self.parts.clone()
    }

    /// The document has changed.
    pub(super) fn changed(&mut self) {
        self.changes = self.changes.wrapping_add(1);
        self.parts = None;
    }

    /// Names the state that is read from now on.
    pub(super) fn state(&self) -> At {
        At { edition: self.edition, changes: self.changes }
    }

    /// Keeps what was read of this state, unless it has changed since; true if somebody is to come after [`KEEP`].
    pub(super) fn keep(&mut self, state: At, parts: &Arc<Parts>) -> bool {
        if state != self.state() || self.parts.is_some() {
            return false;
        }
        self.parts = Some(Arc::clone(parts));
        self.used = true;
        true
    }

    /// Gives it away if nobody used it since the last call; true if somebody is to come again.
    pub(super) fn age(&mut self) -> bool {
        if !std::mem::take(&mut self.used) {
            self.parts = None;
        }
        self.parts.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_until_it_changes_or_nobody_comes() {
        let mut cache = Cache::new(1);
        let (parts, state) = (Parts::new(None, Vec::new()), cache.state());
        assert!(cache.keep(state, &parts));
        assert!(!cache.keep(state, &parts), "somebody comes already");
        assert!(cache.age() && cache.get().is_some());
        assert!(cache.age());
        assert!(!cache.age(), "nobody came");
        assert!(cache.get().is_none());
        assert!(cache.keep(state, &parts));
        cache.changed();
        assert!(cache.get().is_none() && !cache.age());
        assert!(!cache.keep(state, &parts), "it was read before the change");
        assert!(!Cache::new(2).keep(Cache::new(1).state(), &parts), "it is of another edition");
    }

    #[test]
    fn those_who_come_together_share_one_buffer() {
        let update = Update::parse(Bytes::from_static(&[1, 1, 7, 0, 4, 1, 1, b't', 1, b'h', 0])).unwrap();
        let parts = Parts::new(None, vec![update.clone(), update]);
        let nothing = StateVector::default();
        assert!(!parts.is_ready_for(&nothing));
        let (one, two) = (parts.answer(&nothing).unwrap(), parts.answer(&nothing).unwrap());
        assert_eq!(one.as_ptr(), two.as_ptr());
        assert!(parts.is_ready_for(&nothing));
    }
}
