//! What somebody waits for: that all there was at one moment has arrived, whatever has happened since.
//!
//! Here that is a position. There it is what the other end had listed when a mark was answered, and what of that was on its way
//! then: documents that are not caught up with, and updates that are not on the disk. A wish that comes while another
//! mark is under way is answered by the next one.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::Token;
use super::machine::Session;
use super::standing::Lag;
use crate::dialect::replica::{self, Identity};
use crate::id::{DocumentId, Format};
use crate::operation::Stamp;
use crate::time::Millis;

/// Whether something that came through this opening up to a token is on its way to the disk here.
pub(super) fn is_bringing(
    bringing: &BTreeMap<Token, (DocumentId, u64)>,
    id: &DocumentId,
    opening: u64,
    until: Token,
) -> bool {
    bringing.range(..=until).any(|(_, (of, through))| of == id && *through == opening)
}

/// What is waited for of the other end.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The last wish, and the stamp of then.
    wish: u64,
    stamp: Option<Stamp>,
    mark: Option<Mark>,
    /// All that was there at this wish is here, by what this connection heard.
    there: Option<u64>,
}

#[derive(Debug)]
struct Mark {
    wish: u64,
    /// What was on its way; none before the answer.
    left: Option<Left>,
}

#[derive(Debug)]
struct Left {
    documents: BTreeSet<DocumentId>,
    bringing: BTreeSet<Token>,
}

impl Waiting {
    /// It was asked what changed, on a new connection, which is as good as a mark.
    pub(super) fn begin(&mut self) {
        (self.mark, self.there) = (Some(Mark { wish: self.wish, left: None }), None);
    }

    /// The connection is gone.
    pub(super) fn end(&mut self) {
        (self.mark, self.there) = (None, None);
    }

    fn left(&mut self) -> Option<&mut Left> {
        self.mark.as_mut()?.left.as_mut()
    }

    /// All that was there of this document when it was opened is here, or nobody waits for it.
    pub(super) fn forget(&mut self, document: &DocumentId) {
        if let Some(left) = self.left() {
            left.documents.remove(document);
        }
    }

    /// It is on the disk, or will never be.
    pub(super) fn brought(&mut self, token: Token) {
        if let Some(left) = self.left() {
            left.bringing.remove(&token);
        }
    }
}

impl Session {
    /// Everything that is here up to this position is fsynced at the other end, and what was there when the connection
    /// began, or was heard before the last of it was acknowledged, is here; what is parked is left out. Unlike
    /// [`Session::is_in_sync`] it comes to pass while others edit on and on. 0 without a keeper.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let Some(Identity { keeps: Some(_), lists, .. }) = self.peer else { return 0 };
        let waits = self.adding || self.look || self.held() > 0 || !self.queue.is_empty();
        if waits || (lists && self.waiting.there.is_none()) {
            return 0;
        }
        let mut settled = self.latest;
        for entry in self.restless.iter().filter_map(|id| self.documents.get(id)) {
            match entry.standing(Some(true), &self.clock).lag {
                None | Some(Lag::Parked { .. } | Lag::Dropped { .. }) => {}
                Some(Lag::Storing | Lag::Unacknowledged) if entry.caught_up => {
                    if entry.last > entry.settled {
                        settled = settled.min(entry.settled);
                    }
                }
                Some(_) => return 0,
            }
        }
        settled
    }

    /// What is acknowledged counts when all that was heard before is durable here; not what is heard on and on.
    pub(super) fn advance(&mut self, id: &DocumentId) {
        let Some(entry) = self.documents.get_mut(id) else { return };
        let (opening, heard) = (entry.opening, Token(self.next_token.saturating_sub(1)));
        let is_here = |settles: &mut (u64, Token)| !is_bringing(&self.bringing, id, opening, settles.1);
        if entry.bringing == 0 {
            (entry.settled, entry.settles) = (entry.acknowledged, None);
        } else if let Some((position, _)) = entry.settles.take_if(is_here) {
            entry.settled = position;
        }
        if entry.bringing > 0 && entry.settles.is_none() && entry.settled < entry.acknowledged {
            entry.settles = Some((entry.acknowledged, heard));
        }
    }

    /// Everything that the other end had at this wish ([`Session::hurry`]) is here, but for what is parked. 0 if that is
    /// not known; of who does not list what changed it never is, and every wish is as good as fulfilled.
    #[must_use]
    pub fn fulfilled(&self) -> u64 {
        match &self.peer {
            None => 0,
            Some(peer) if !peer.lists => u64::MAX,
            Some(_) => self.waiting.there.unwrap_or(0),
        }
    }

    /// Somebody waits: whether what came from there is on the disk there is asked now, and what is there. `wish` is
    /// greater than those of earlier calls by others, `stamp` that of this moment of a clock.
    pub fn hurry(&mut self, now: Millis, wish: u64, stamp: Option<Stamp>) {
        let now = self.clock.tell(now);
        for id in &self.restless {
            if let Some(confirm) = self.documents.get_mut(id).and_then(|entry| entry.confirm.as_mut()) {
                *confirm = now;
            }
        }
        if wish > self.waiting.wish {
            (self.waiting.wish, self.waiting.stamp) = (wish, stamp);
            self.mark();
        }
    }

    /// Asks what is there, if somebody wants to know and nobody has asked.
    fn mark(&mut self) {
        let Waiting { wish, stamp, mark, there } = &mut self.waiting;
        let (wish, stamp) = (*wish, *stamp);
        if mark.is_some() || there.is_none_or(|there| there >= wish) {
            return;
        }
        *mark = Some(Mark { wish, left: None });
        self.send(replica::mark(wish, stamp));
    }

    /// All that had changed there when that was asked is listed.
    pub(super) fn marked(&mut self, token: Option<u64>) {
        let is_this = |mark: &&Mark| mark.left.is_none() && token.is_none_or(|token| token == mark.wish);
        if self.waiting.mark.as_ref().filter(is_this).is_none() {
            return;
        }
        let mut documents: BTreeSet<_> = self.listing.missing().cloned().collect();
        let (late, going_on) = documents
            .iter()
            .filter_map(|id| Some((id, self.documents.get(id).filter(|entry| entry.handle.is_some())?)))
            .partition::<Vec<_>, _>(|(_, entry)| entry.late);
        let late: Vec<_> = late.into_iter().map(|(id, _)| id.clone()).collect();
        // Of these all came before it was listed.
        let going_on =
            going_on.into_iter().filter(|(id, entry)| entry.caught_up && id.format() == Format::Yjs);
        let going_on: Vec<_> = going_on.map(|(id, _)| id.clone()).collect();
        for id in going_on.iter().chain(late.iter().filter(|_| token.is_none())) {
            documents.remove(id);
        }
        if let Some(mark) = &mut self.waiting.mark {
            mark.left = Some(Left { documents, bringing: self.bringing.keys().copied().collect() });
        }
        for id in late.iter().filter(|_| token.is_some()) {
            // Whether the talk has come that far, nobody can tell: the next one has.
            self.shut(id);
        }
        self.wait_on();
    }

    /// Something came that may have been waited for.
    pub(super) fn wait_on(&mut self) {
        let documents = &self.documents;
        let is_parked = |id: &DocumentId| documents.get(id).is_some_and(|entry| entry.is_parked());
        let is_there = |mark: &mut Mark| {
            let left = mark.left.as_ref();
            left.is_some_and(|left| left.bringing.is_empty() && left.documents.iter().all(is_parked))
        };
        if let Some(mark) = self.waiting.mark.take_if(is_there) {
            self.waiting.there = Some(mark.wish);
            self.mark();
        }
    }
}
