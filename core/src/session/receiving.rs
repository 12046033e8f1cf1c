//! What the other end says.

use bytes::Bytes;

use super::effect::{Effect, Token};
use super::machine::{Known, Session};
use super::waiting::is_bringing;
use crate::dialect::FrameError;
use crate::dialect::replica::{self, Handle, Identity, Message, Outcome};
use crate::dialect::y_protocols::Message as Said;
use crate::id::{DocumentId, Format};
use crate::operation::Stamp;
use crate::time::{Millis, Moment};

impl Session {
    /// A frame of the other end.
    ///
    /// # Errors
    /// [`FrameError`] if it breaks a rule: hang up, and come back later.
    pub fn receive(&mut self, now: Millis, frame: &Bytes) -> Result<(), FrameError> {
        let now = self.clock.tell(now);
        match replica::parse(frame)? {
            Message::Identity(identity, stamp) => self.met(identity, stamp),
            Message::Ping(token) => self.send(replica::pong(token)),
            // The link counts them.
            Message::Pong(_) => {}
            Message::Y { handle, message } => self.said(now, handle, message)?,
            Message::Sync { handle, message } => self.sync_said(handle, message)?,
            Message::Stored { handle, outcome } => self.stored(now, handle, outcome),
            Message::Shut { handle, outcome, reason } => self.refused(now, handle, outcome, reason),
            // Whether it is anew makes no difference: what is listed is compared.
            Message::Changes { more, until, documents, .. } => self.listed(more, until, documents),
            Message::Marked { token, stamp } => {
                self.effects.extend(stamp.map(Effect::Stamp));
                self.marked(Some(token));
            }
            Message::Open { .. } => return Err(FrameError::ServerOnly(33)),
            Message::Watch { .. } => return Err(FrameError::ServerOnly(39)),
            Message::Mark { .. } => return Err(FrameError::ServerOnly(43)),
        }
        Ok(())
    }

    fn met(&mut self, identity: Identity, stamp: Option<Stamp>) {
        if self.peer.is_some() {
            return;
        }
        self.effects.extend(stamp.map(Effect::Stamp));
        let is_known = self.known.as_ref().is_some_and(|known| Some(known.keeper) == identity.keeps);
        if !is_known {
            // Another store, or one that went backwards: what was acknowledged there may be gone.
            self.known =
                identity.keeps.map(|keeper| Known { keeper, acknowledged: 0, checkpoint: Bytes::new() });
            for document in self.documents.values_mut() {
                document.acknowledged = 0;
                document.take_up();
            }
            self.restless.extend(self.documents.keys().cloned());
        }
        if !is_known || !identity.lists {
            self.effects.push_back(Effect::All);
        }
        if identity.lists {
            let checkpoint = self.known.as_ref().map(|known| known.checkpoint.clone()).unwrap_or_default();
            self.send(replica::watch(&checkpoint, &self.config.prefixes));
            self.waiting.begin();
        } else {
            self.restless.extend(self.documents.keys().cloned());
        }
        self.peer = Some(identity);
        self.look();
    }

    fn said(&mut self, now: Moment, handle: Handle, message: Said) -> Result<(), FrameError> {
        // It crossed with a Shut otherwise.
        let Some(document) = self.handles.get(&handle).cloned() else { return Ok(()) };
        if document.format() != Format::Yjs {
            return Err(FrameError::OtherFormat);
        }
        match message {
            Said::SyncStep1(have) => {
                if let Some(entry) = self.documents.get_mut(&document) {
                    entry.reads += 1;
                }
                self.effects.push_back(Effect::Read { document, have });
            }
            Said::SyncStep2(update) => {
                let brings = u64::from(!update.is_empty());
                if let Some(entry) = self.documents.get_mut(&document) {
                    entry.answered = true;
                    entry.answer = Token((self.next_token + brings).saturating_sub(1));
                }
                if update.is_empty() {
                    self.settle(now, &document);
                } else {
                    self.bring(document, update);
                }
            }
            Said::Update(update) => self.bring(document, update),
            Said::Awareness(update) => self.effects.push_back(Effect::Presence { document, update }),
            // Who shows presence here says so again in time.
            Said::QueryAwareness => {}
        }
        Ok(())
    }

    fn stored(&mut self, now: Moment, handle: Handle, outcome: Outcome) {
        let Some(document) = self.handles.get(&handle).cloned() else { return };
        let Some(entry) = self.documents.get_mut(&document) else { return };
        let position = entry.in_flight.pop_front();
        if outcome == Outcome::WELL {
            let Some(position) = position else { return };
            entry.acknowledged = entry.acknowledged.max(position);
            self.settle(now, &document);
        } else {
            let words = if outcome == Outcome::READ_ONLY {
                "the token may read this document only; give one that may write"
            } else {
                "the other end did not take a change"
            };
            entry.refuse_change(now, outcome, words.to_owned());
            if outcome.is_permanent() {
                self.settle(now, &document);
            } else {
                self.shut(&document);
            }
        }
    }

    fn refused(&mut self, now: Moment, handle: Handle, outcome: Outcome, reason: String) {
        let Some(document) = self.handles.remove(&handle) else { return };
        self.done.remove(&document);
        let Some(entry) = self.documents.get_mut(&document) else { return };
        let opening = entry.opening;
        entry.closed();
        entry.refuse(now, outcome, reason);
        // Whatever one may do later, there is nothing of it to be had before it is listed anew.
        if matches!(outcome, Outcome::DELETED | Outcome::QUARANTINED) {
            entry.listed = false;
            if outcome == Outcome::DELETED {
                self.effects.push_back(Effect::Gone(document.clone()));
            }
            let is_strange = entry.last == 0 && !entry.watched;
            if outcome == Outcome::DELETED && is_strange {
                // It was never here either.
                self.documents.remove(&document);
                self.restless.remove(&document);
            }
            self.listing.forget(&document);
            self.waiting.forget(&document);
            self.reach();
        }
        self.talk_over(&document, opening);
        self.unsettle(&document);
    }

    /// Something of a document is done; perhaps all of it.
    pub(super) fn settle(&mut self, now: Moment, id: &DocumentId) {
        let keeps = self.keeps();
        let Some(entry) = self.documents.get_mut(id) else { return };
        if entry.answered && !entry.caught_up {
            // What came behind the answer is not waited for: there may always be something.
            entry.caught_up = !is_bringing(&self.bringing, id, entry.opening, entry.answer);
        }
        self.advance(id);
        let Some(entry) = self.documents.get_mut(id) else { return };
        let is_over = entry.compared && entry.in_flight.is_empty() && entry.confirm.is_none();
        // An Automerge document goes on until both sides have the same.
        let is_old = id.format() == Format::Yjs
            && keeps
            && is_over
            && entry.last > entry.acknowledged
            && !entry.is_parked();
        let is_sent = !keeps || (entry.compared && entry.last <= entry.acknowledged);
        if is_sent && entry.caught_up {
            entry.take_back_refusal(keeps);
        }
        if entry.caught_up && entry.bringing == 0 && (is_sent || entry.is_read_only()) {
            entry.seen = true;
            if entry.handle.is_some() && !entry.watched && entry.confirm.is_none() {
                self.done.insert(id.clone(), now);
                // Others may wait for its place.
                self.look();
            }
        }
        if is_old {
            // What was read for the comparison may have been older than what is here: once more.
            self.shut(id);
            self.look();
        }
        self.caught_up(id);
        self.tell_acknowledged();
    }
}
