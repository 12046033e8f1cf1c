//! Presence of one Yjs document as one of its clients sees it: the own state, and those of the others.
//!
//! As `awareness.js` of y-protocols 1.0.7 does it: the newest clock of a client counts; who is there says so again every
//! 15 s, and who was silent for 30 s is gone; nobody else takes the own state away. States are JSON text, handed on
//! unread.
//!
//! Guarantees: memory is bounded whatever comes in ([`AWARENESS_ROOM_MAX`] clients and [`AWARENESS_ROOM_BYTES_MAX`] bytes);
//! what is said late of somebody who said goodbye does not show them again while as many are remembered; a clock of the
//! driver that is set makes nobody stay.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::{AWARENESS_ROOM_BYTES_MAX, AWARENESS_ROOM_MAX, AWARENESS_STATE_BYTES_MAX};
use crate::time::{Millis, Moment, Steady};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

/// How old the own state becomes before it is said again, in ms.
pub const RENEW_MS: u64 = 15_000;
/// How long somebody may be silent, in ms.
pub const SILENT_MS: u64 = 30_000;

/// The state is larger than others take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state has {bytes} bytes, more than {AWARENESS_STATE_BYTES_MAX}; show less")]
pub struct TooLarge {
    /// Its length.
    pub bytes: usize,
}

/// What became of others' states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Clients whose states are new or others now.
    pub shown: Vec<u64>,
    /// Clients that are gone.
    pub gone: Vec<u64>,
    /// To be said to everybody.
    pub say: Option<AwarenessUpdate>,
}

#[derive(Clone, Debug)]
struct Other {
    clock: u64,
    /// None of who is gone.
    state: Option<Bytes>,
    heard: Moment,
    /// Through whom.
    via: u64,
}

impl Other {
    fn bytes(&self) -> usize {
        self.state.as_ref().map_or(0, Bytes::len)
    }
}

/// The presence of one document.
#[derive(Debug)]
pub struct Presence {
    time: Steady,
    client: u64,
    clock: u64,
    own: Option<Bytes>,
    said: Moment,
    others: BTreeMap<u64, Other>,
    /// Of all their states.
    bytes: usize,
}

impl Presence {
    /// Nobody is here yet. `client` is an id that nobody else has.
    #[must_use]
    pub fn new(client: u64, now: Millis) -> Self {
        let time = Steady::new(now);
        let said = time.passed();
        Self { time, client, clock: 0, own: None, said, others: BTreeMap::new(), bytes: 0 }
    }

    /// The own id.
    #[must_use]
    pub fn client(&self) -> u64 {
        self.client
    }

    /// The own state, JSON text.
    #[must_use]
    pub fn own(&self) -> Option<&Bytes> {
        self.own.as_ref()
    }

    /// Shows a state, JSON text, or nothing any more; what is to be said to everybody.
    ///
    /// # Errors
    /// [`TooLarge`]; what was shown still is.
    pub fn set(&mut self, now: Millis, state: Option<Bytes>) -> Result<Option<AwarenessUpdate>, TooLarge> {
        self.time.tell(now);
        if let Some(bytes) = state.as_ref().map(Bytes::len).filter(|bytes| *bytes > AWARENESS_STATE_BYTES_MAX)
        {
            return Err(TooLarge { bytes });
        }
        if self.own.is_none() && state.is_none() {
            return Ok(None);
        }
        self.own = state;
        Ok(Some(self.say()))
    }

    /// The own state, said anew.
    fn say(&mut self) -> AwarenessUpdate {
        self.clock += 1;
        self.said = self.time.passed();
        let entry = AwarenessEntry { client: self.client, clock: self.clock, state: self.own.clone() };
        AwarenessUpdate { entries: vec![entry] }
    }

    /// What is said over a new connection. With a new clock: those on the other side may have been told that this client
    /// is gone, when the last one broke.
    pub fn introduce(&mut self, now: Millis) -> Option<AwarenessUpdate> {
        self.time.tell(now);
        self.own.is_some().then(|| self.say())
    }

    /// Something came; `via` names the way, for [`Presence::lost`].
    pub fn hear(&mut self, now: Millis, via: u64, update: AwarenessUpdate) -> News {
        let heard = self.time.tell(now);
        let mut news = News::default();
        for AwarenessEntry { client, clock, state } in update.entries {
            if client == self.client {
                // Somebody says that this one is gone, or it is an echo.
                let is_denied = state.is_none() && self.own.is_some() && clock >= self.clock;
                self.clock = if is_denied { self.clock.max(clock) } else { self.clock };
                if is_denied {
                    news.say = Some(self.say());
                }
                continue;
            }
            let old = self.others.get(&client);
            let was_here = old.is_some_and(|old| old.state.is_some());
            let is_news = match old {
                None => state.is_some(),
                Some(old) => clock > old.clock || (clock == old.clock && state.is_none() && was_here),
            };
            let is_same = old.is_some_and(|old| old.state == state);
            let bytes = self.bytes - old.map_or(0, Other::bytes) + state.as_ref().map_or(0, Bytes::len);
            let is_new = old.is_none();
            if !is_news || bytes > AWARENESS_ROOM_BYTES_MAX || (is_new && !self.make_room()) {
                continue;
            }
            self.bytes = bytes;
            match (&state, was_here) {
                (Some(_), _) if !is_same => news.shown.push(client),
                (None, true) => news.gone.push(client),
                _ => {}
            }
            self.others.insert(client, Other { clock, state, heard, via });
        }
        news
    }

    /// Says again that this one is here, if it is time for that, and sees who was silent for too long.
    pub fn tick(&mut self, now: Millis) -> News {
        let now = self.time.tell(now);
        let is_due = self.own.is_some() && now.since(self.said) >= RENEW_MS;
        let say = is_due.then(|| self.say());
        News { gone: self.end(|other| now.since(other.heard) >= SILENT_MS), say, ..News::default() }
    }

    /// A way is gone, and so is who was heard through it. When it is back they are told as they were, so nothing of them is
    /// remembered.
    pub fn lost(&mut self, via: u64) -> News {
        let gone = self.end(|other| other.via == via);
        self.others.retain(|_, other| other.via != via);
        News { gone, ..News::default() }
    }

    fn end(&mut self, is_over: impl Fn(&Other) -> bool) -> Vec<u64> {
        let mut gone = Vec::new();
        for (client, other) in self.others.iter_mut().filter(|(_, other)| is_over(other)) {
            self.bytes -= other.bytes();
            if other.state.take().is_some() {
                gone.push(*client);
            }
        }
        gone
    }

    /// Whether one more may be remembered; who is gone makes room.
    fn make_room(&mut self) -> bool {
        if self.others.len() < AWARENESS_ROOM_MAX {
            return true;
        }
        let gone = self.others.iter().filter(|(_, other)| other.state.is_none());
        let eldest = gone.min_by_key(|(_, other)| other.heard).map(|(client, _)| *client);
        eldest.is_some_and(|client| self.others.remove(&client).is_some())
    }

    /// Who else is here, and what they show: JSON text.
    pub fn others(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.others.iter().filter_map(|(client, other)| Some((*client, other.state.as_ref()?)))
    }

    /// What one of them shows.
    #[must_use]
    pub fn state_of(&self, client: u64) -> Option<&Bytes> {
        self.others.get(&client)?.state.as_ref()
    }
}

#[cfg(test)]
mod tests;
