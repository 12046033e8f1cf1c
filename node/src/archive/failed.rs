//! Documents that opened no session or did not validate, so that what nobody can help costs nobody else the time of trying again.
//!
//! Guarantee: one that failed twice as it stands is not tried again before it has changed or the server was started
//! anew. Twice, because once may have been the machine's fault.

use std::collections::BTreeMap;

use tombolo_core::id::DocumentId;
use tombolo_store::Standing;

/// How often a document is tried as it stands.
const TRIES: u8 = 2;
/// Most documents that are remembered; of more some are tried again.
const FAILED_MAX: usize = 1_000;

/// How often documents failed, and as what.
#[derive(Default)]
pub(super) struct Failed(BTreeMap<DocumentId, (Standing, u8)>);

impl Failed {
    /// Whether it need not be tried.
    pub(super) fn is_hopeless(&self, id: &DocumentId, standing: &Standing) -> bool {
        self.0.get(id).is_some_and(|(failed, times)| failed == standing && *times >= TRIES)
    }

    /// It has failed.
    pub(super) fn note(&mut self, id: &DocumentId, standing: Standing) {
        let times = match self.0.get(id) {
            Some((failed, times)) if *failed == standing => times.saturating_add(1),
            _ => 1,
        };
        if self.0.len() >= FAILED_MAX && !self.0.contains_key(id) {
            self.0.clear();
        }
        self.0.insert(id.clone(), (standing, times));
    }

    /// It opens, or validates.
    pub(super) fn forget(&mut self, id: &DocumentId) {
        self.0.remove(id);
    }
}
