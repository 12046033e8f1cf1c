//! Automerge documents: what is said about them comes out of the store's sync state, one turn after the other.
//!
//! Each opening is a talk of its own, which begins fresh on both sides. The other end says where it stands only when that
//! is durable there, so what it has said to have is acknowledged.

use bytes::Bytes;

use super::effect::{Effect, Talk};
use super::machine::Session;
use crate::dialect::FrameError;
use crate::dialect::replica::{self, Handle, Outcome};
use crate::id::{DocumentId, Format};
use crate::time::Millis;

/// What came of one turn of a talk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// What to say, if there is something; all that it speaks of is durable here.
    pub message: Option<Bytes>,
    /// The other end has said where it stands.
    pub heard: bool,
    /// All that it said it has is here, and durable.
    pub caught_up: bool,
    /// All of the document up to this position, as it was given when the document was looked at, is there for good.
    pub acknowledged: u64,
}

impl Session {
    /// What became of [`Effect::Sync`]. What it brought is handed to [`Session::changed`] as well, before or after.
    pub fn synced(&mut self, now: Millis, talk: Talk, document: &DocumentId, result: Result<Synced, String>) {
        let (now, keeps) = (self.clock.tell(now), self.keeps());
        let Some(entry) = self.documents.get_mut(document) else { return };
        // It was shut meanwhile otherwise.
        let Some(handle) = entry.handle.filter(|_| entry.opening == talk.0) else { return };
        let synced = match result {
            Ok(synced) => synced,
            Err(reason) => {
                // Both sides begin anew.
                entry.refuse(now, Outcome::TROUBLE, reason);
                return self.shut(document);
            }
        };
        let asked = entry.turns.pop_front() == Some(false);
        entry.compared |= synced.heard;
        entry.answered |= synced.caught_up;
        if keeps {
            entry.acknowledged = entry.acknowledged.max(synced.acknowledged);
            entry.lower(entry.acknowledged);
        }
        let again = asked && std::mem::take(&mut entry.again);
        if let Some(message) = synced.message {
            self.send_about(handle, replica::packed(replica::sync(handle, &message)));
        }
        if again {
            self.ask(document);
        }
        self.settle(now, document);
    }

    /// A message of the other end.
    pub(super) fn sync_said(&mut self, handle: Handle, message: Bytes) -> Result<(), FrameError> {
        // It crossed with a Shut otherwise.
        let Some(document) = self.handles.get(&handle).cloned() else { return Ok(()) };
        if document.format() != Format::Automerge {
            return Err(FrameError::OtherFormat);
        }
        self.turn(&document, Some(message));
        Ok(())
    }

    /// There may be something to say about an open document: it was opened, or has changed.
    pub(super) fn ask(&mut self, document: &DocumentId) {
        let Some(entry) = self.documents.get_mut(document).filter(|entry| entry.handle.is_some()) else {
            return;
        };
        if entry.turns.contains(&false) {
            // That one may have looked already.
            entry.again = true;
            return;
        }
        self.turn(document, None);
    }

    fn turn(&mut self, document: &DocumentId, message: Option<Bytes>) {
        let Some(entry) = self.documents.get_mut(document) else { return };
        entry.turns.push_back(message.is_some());
        let talk = Talk(entry.opening);
        self.effects.push_back(Effect::Sync { talk, document: document.clone(), message });
    }

    /// How all of them end.
    pub(super) fn open_talks(&self) -> impl Iterator<Item = Effect> + '_ {
        let open = self.handles.values().filter(|id| id.format() == Format::Automerge);
        open.filter_map(|id| Some(Effect::Over(Talk(self.documents.get(id)?.opening))))
    }

    /// An open document is open no more.
    pub(super) fn talk_over(&mut self, document: &DocumentId, opening: u64) {
        if document.format() == Format::Automerge {
            self.effects.push_back(Effect::Over(Talk(opening)));
        }
    }
}

#[cfg(test)]
mod tests;
