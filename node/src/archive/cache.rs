//! What was read of a document for one joiner, kept a while for the next: many who come together share one buffer.
//!
//! Guarantees: it is given away as soon as the document changes, or when nobody came for [`KEEP`]; so it costs
//! memory only where people are joining. What was read of another edition of the document is never kept.

use std::iter::once;
use std::panic::catch_unwind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tombolo_core::room::{Answer, StoreRefused};
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
    /// How far it knows each client, once somebody needed that.
    reach: OnceLock<StateVector>,
}

impl Parts {
    pub(super) fn new(outlined: Option<Outlined>, rest: Vec<Update>) -> Arc<Self> {
        Arc::new(Self { outlined, rest, whole: OnceLock::new(), reach: OnceLock::new() })
    }

    /// Adds all of it to what is known.
    pub(super) fn add_to(&self, known: &mut Coverage) -> Result<(), InvalidUpdate> {
        self.outlined.as_ref().map_or(Ok(()), |outlined| outlined.add_to(known))?;
        for update in &self.rest {
            known.add(update);
        }
        Ok(())
    }

    /// What somebody lacks who has this, and how far the same parts reach: whatever became of the document since it
    /// was looked at, the two belong together.
    pub(super) fn answer(&self, have: &StateVector) -> Result<Answer, StoreRefused> {
        // One asker's answer must not take those of others along.
        match catch_unwind(|| self.try_answer(have)) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "a stored document cannot be served");
                Err(StoreRefused::Damaged)
            }
            Err(_) => Err(StoreRefused::Trouble),
        }
    }

    fn try_answer(&self, have: &StateVector) -> Result<Answer, InvalidUpdate> {
        let update = match have.is_empty() {
            true => self.whole.get_or_init(|| self.diff(have)).clone(),
            false => self.diff(have),
        };
        match (update, &self.outlined) {
            (Ok(update), _) => Ok(Answer { update, state_vector: self.state_vector() }),
            (Err(error), Some(outlined)) => {
                // A mistake of ours; the document is whole without it.
                tracing::error!(%error, "an outline is wrong; run tombolo verify");
                let snapshot = Update::parse(outlined.bytes().clone())?;
                Self::new(None, once(snapshot).chain(self.rest.iter().cloned()).collect()).try_answer(have)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn state_vector(&self) -> StateVector {
        let reach = || {
            let mut known = Coverage::default();
            if let Some(outlined) = &self.outlined {
                known.add_state_vector(&outlined.state_vector());
            }
            for update in &self.rest {
                known.add(update);
            }
            known.state_vector()
        };
        self.reach.get_or_init(reach).clone()
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

impl At {
    /// The edition that was read.
    pub(super) fn edition(self) -> u64 {
        self.edition
    }
}

/// Keeps the parts of an open document.
pub(super) struct Cache {
    /// Of the document that was opened.
    edition: u64,
    parts: Option<Arc<Parts>>,
    used: bool,
    /// Somebody comes after each [`KEEP`].
    watched: bool,
    /// How often the document changed since it was opened.
    changes: u64,
}

impl Cache {
    pub(super) fn new(edition: u64) -> Self {
        Self { edition, parts: None, used: false, watched: false, changes: 0 }
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

    /// Keeps what was read of this state, unless it has changed since; true if somebody is to come after each [`KEEP`]
    /// who does not come yet.
    pub(super) fn keep(&mut self, state: At, parts: &Arc<Parts>) -> bool {
        if state != self.state() || self.parts.is_some() {
            return false;
        }
        self.parts = Some(Arc::clone(parts));
        self.used = true;
        !std::mem::replace(&mut self.watched, true)
    }

    /// Gives it away if nobody used it since the last call; true if somebody is to come again. For who comes since
    /// that edition was opened.
    pub(super) fn age(&mut self, edition: u64) -> bool {
        if edition != self.edition {
            return false;
        }
        if !std::mem::take(&mut self.used) {
            self.parts = None;
        }
        self.watched = self.parts.is_some();
        self.watched
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::update::Outline;

    use super::*;

    #[test]
    fn it_is_kept_until_it_changes_or_nobody_comes() {
        let mut cache = Cache::new(1);
        let (parts, state) = (Parts::new(None, Vec::new()), cache.state());
        assert!(cache.keep(state, &parts));
        assert!(!cache.keep(state, &parts), "somebody comes already");
        assert!(cache.age(1) && cache.get().is_some());
        assert!(cache.age(1));
        assert!(!cache.age(1), "nobody came");
        assert!(cache.get().is_none());
        assert!(cache.keep(state, &parts));
        cache.changed();
        assert!(cache.get().is_none() && !cache.age(1));
        assert!(!cache.keep(state, &parts), "it was read before the change");
        assert!(cache.keep(cache.state(), &parts), "nobody comes any more");
        assert!(!Cache::new(2).keep(Cache::new(1).state(), &parts), "it is of another edition");
    }

    #[test]
    fn one_comes_however_often_it_changes() {
        let mut cache = Cache::new(1);
        let parts = Parts::new(None, Vec::new());
        let mut coming = 0;
        for _ in 0..5 {
            coming += u32::from(cache.keep(cache.state(), &parts));
            cache.changed();
        }
        assert_eq!(coming, 1);
        let mut other = Cache::new(2);
        assert!(other.keep(other.state(), &parts));
        assert!(!other.age(1), "who came to what it was before goes");
        assert!(other.age(2));
    }

    /// An update of three letters, of which the outline says that they lie elsewhere.
    #[test]
    fn an_outline_that_lies_costs_time_and_no_content() {
        let update = |bytes: &'static [u8]| Update::parse(Bytes::from_static(bytes)).unwrap();
        let whole = update(&[1, 2, 7, 0, 4, 1, 1, b't', 2, b'h', b'i', 0x84, 7, 1, 1, b'!', 0]);
        let lying = Outline::parse(&[1, 7, 2, 9, 4, 12]).unwrap();
        let outlined = Outlined::new(whole.bytes().clone(), lying).unwrap();
        let rest = update(&[1, 1, 7, 3, 0x84, 7, 2, 1, b'?', 0]);
        let have = StateVector::from_iter([(7, 4)]);
        let all = [whole, rest.clone()];
        let answer = Parts::new(Some(outlined), vec![rest]).answer(&have).unwrap();
        assert_eq!(answer.update, update::diff(&all, &have));
        assert_eq!(answer.state_vector, StateVector::from_iter([(7, 4)]));
    }

    #[test]
    fn those_who_come_together_share_one_buffer() {
        let update = Update::parse(Bytes::from_static(&[1, 1, 7, 0, 4, 1, 1, b't', 1, b'h', 0])).unwrap();
        let parts = Parts::new(None, vec![update.clone(), update]);
        let nothing = StateVector::default();
        assert!(!parts.is_ready_for(&nothing));
        let (one, two) = (parts.answer(&nothing).unwrap(), parts.answer(&nothing).unwrap());
        assert_eq!(one.update.as_ptr(), two.update.as_ptr());
        assert!(parts.is_ready_for(&nothing));
    }
}
