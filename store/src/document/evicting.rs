//! Whether the content of a document may go, and what is left of it then.

use tombolo_core::id::ReplicaId;

use super::{Entry, Standing};
use crate::shelf::{DocumentRecord, Stub};

/// Why a document was not evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Somebody has it open.
    InUse,
    /// It is not what it was when it was looked at.
    Changed,
    /// Something of it is on its way to the shelf, and may stay there.
    OnItsWay,
    /// Operations of it are in quarantine; they are nowhere else.
    Quarantine,
    /// There is nothing of it here.
    Nothing,
}

impl Entry {
    /// From here on nobody opens it but to fetch it; to be called under the registry's lock, with one handle on it.
    pub(crate) fn begin_eviction(
        &self,
        replica: ReplicaId,
        as_it_was: &Standing,
        stub: &Stub,
    ) -> Result<(), Held> {
        let mut known = self.lock();
        let held = if self.handles() > 1 {
            Some(Held::InUse)
        } else if known.deleted || !known.has_content {
            Some(Held::Nothing)
        } else if !known.pending.is_empty() || known.stuck.is_some() || as_it_was.pending > 0 {
            Some(Held::OnItsWay)
        } else if !known.set_aside.is_empty() || as_it_was.set_aside > 0 {
            Some(Held::Quarantine)
        } else if known.last != Some(as_it_was.version.get(replica)) {
            Some(Held::Changed)
        } else {
            None
        };
        match held {
            Some(held) => Err(held),
            None => {
                known.stub.get_or_insert_with(|| stub.clone());
                Ok(())
            }
        }
    }

    /// What is left of it now, if it was evicted.
    pub(crate) fn set_stub(&self, stub: Option<Stub>) {
        self.lock().stub = stub;
        self.renew();
    }

    /// What is left of it if it was evicted, as far as it was loaded.
    pub(crate) fn stub(&self) -> Option<Stub> {
        self.lock().stub.clone()
    }
}

impl Standing {
    /// Whether this is still the record.
    pub(crate) fn is_of(&self, record: &DocumentRecord) -> bool {
        let of = (&record.version, record.life(), record.set_aside);
        (&self.version, self.life, self.set_aside) == of && record.deleted_ms == 0
    }
}
