//! What goes, and when.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tombolo_core::engine::automerge;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::update::{Coverage, Update};
use tombolo_store::{Contents, Kept, Store, StoreError};

use super::ledger::now_hours;
use super::look::{Could, Look};
use super::space::{Space, lock};
use crate::replica::error::ReplicaError;
use crate::replica::link::{Keeper, Links};
use crate::replica::open::on_a_large_stack;

/// Pauses between two looks while it stays narrow.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often it is seen to what nobody used for long.
const TTL_LOOK: Duration = Duration::from_secs(600);

/// What was evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) documents: usize,
    pub(super) bytes: u64,
}

/// Starts the thread that makes room when it gets narrow. It ends with the replica.
pub(super) fn start(links: &Arc<Links>) -> Result<(), ReplicaError> {
    let space = Arc::clone(&links.shelves().space);
    if !space.begin_hearing() {
        return Ok(());
    }
    let links = Arc::downgrade(links);
    let builder = std::thread::Builder::new().name("making-room".to_owned());
    builder.spawn(move || run(&space, &links)).map_err(ReplicaError::System)?;
    Ok(())
}

fn run(space: &Space, links: &Weak<Links>) {
    let mut pause = PAUSE_MIN;
    loop {
        let wait = if space.is_narrow() { pause } else { TTL_LOOK };
        if !space.hear(wait) {
            return;
        }
        // Edits ring all the time; what they have is looked at together.
        let evicted = match room(space, links) {
            None => return,
            Some(Ok(evicted)) => evicted,
            Some(Err(error)) => {
                tracing::warn!(%error, "no room was made; nothing is lost by that");
                Evicted::default()
            }
        };
        pause = if evicted.documents > 0 { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        if !space.rest(PAUSE_MIN) {
            return;
        }
    }
}

/// None if the replica is gone.
fn room(space: &Space, links: &Weak<Links>) -> Option<Result<Evicted, ReplicaError>> {
    // Held until the links are let go: who closes the replica waits for it, and then has the folder.
    let one = lock(&space.making_room);
    if space.is_closing() {
        return None;
    }
    let links = links.upgrade()?;
    let room = make_room(&links, false);
    match Arc::into_inner(links) {
        None => Some(room),
        // Everybody else has let go of the replica: it is closed here, and closing waits for this lock.
        Some(last) => {
            drop(one);
            drop(last);
            None
        }
    }
}

/// Makes room if it is narrow, or down to the low mark if it is `asked` for. Blocking; the caller has the lock.
pub(super) fn make_room(links: &Links, asked: bool) -> Result<Evicted, ReplicaError> {
    let shelves = links.shelves();
    let (store, space) = (&shelves.store, &*shelves.space);
    let Some(budget) = space.budget() else { return Ok(Evicted::default()) };
    // What is stuck stays where it is, and is seen so.
    match store.flush() {
        Ok(()) | Err(StoreError::Takeover { .. }) => {}
        Err(error) => return Err(ReplicaError::read(error)),
    }
    links.let_go();
    let look = Look::new(links)?;
    let is_narrow = look.used > budget.warn_at();
    let goal = if asked || is_narrow { budget.down_to() } else { u64::MAX };
    let oldest = budget.ttl.map(|ttl| {
        let hours = u32::try_from(ttl.as_secs() / 3600).unwrap_or(u32::MAX);
        now_hours().saturating_sub(hours)
    });
    let (mut left, mut room) = (look.used, look.evictable());
    let mut evicted = Evicted::default();
    for looked in &look.documents {
        let Could::Go(keeper) = &looked.could else { continue };
        let is_old = oldest.is_some_and(|oldest| looked.last_used <= oldest);
        if space.is_closing() || (!is_old && left <= goal) {
            continue;
        }
        room = room.saturating_sub(looked.bytes);
        if let Some(bytes) = evict(links, &look, &looked.id, keeper)? {
            left = left.saturating_sub(looked.bytes);
            evicted.documents += 1;
            evicted.bytes = evicted.bytes.saturating_add(bytes);
        }
    }
    space.found(left, look.added, room, look.bytes(|could| *could == Could::Unsynced));
    if let Err(error) = lock(&space.ledger).save() {
        tracing::warn!(%error, "when documents were used last was not written down");
    }
    if evicted.documents > 0 {
        let Evicted { documents, bytes } = evicted;
        tracing::info!(documents, bytes, "evicted what others keep");
    }
    Ok(evicted)
}

/// Evicts one document, if it is still what the keeper has; gives back its bytes then.
fn evict(links: &Links, look: &Look, id: &DocumentId, keeper: &Keeper) -> Result<Option<u64>, ReplicaError> {
    let shelves = links.shelves();
    let store = &shelves.store;
    let read = |error| ReplicaError::read(error);
    // One that cannot be read is not made a stub: that would hide the damage.
    let Ok(standing) = store.standing(id) else { return Ok(None) };
    let Some(had) =
        store.document(id).and_then(|document| document.read()).ok().and_then(|contents| had(id, contents))
    else {
        return Ok(None);
    };
    if changed_since(store, look, id).map_err(read)? {
        return Ok(None);
    }
    lock(&shelves.space.ledger).note_evicted()?;
    let kept = Kept { keeper: keeper.keeper, address: keeper.address.clone(), had };
    match store.evict(id, &standing, &kept).map_err(read)? {
        Ok(bytes) => {
            links.evicted(id);
            Ok(Some(bytes))
        }
        Err(held) => {
            tracing::debug!(document = %id, ?held, "not evicted");
            Ok(None)
        }
    }
}

/// Whether a document may have changed since its keeper was asked.
fn changed_since(store: &Store, look: &Look, id: &DocumentId) -> Result<bool, StoreError> {
    let mut since = Some(look.up_to);
    let mut changed = HashSet::new();
    loop {
        let page = store.changes(since.as_ref(), 1_000)?;
        changed.extend(page.documents.into_iter().map(|(document, _)| document));
        if page.anew || changed.contains(id) {
            return Ok(true);
        }
        if !page.more {
            return Ok(false);
        }
        since = Some(page.up_to);
    }
}

/// What there is of a document, in the words of its format; none if that cannot be told.
fn had(id: &DocumentId, contents: Contents) -> Option<Vec<u8>> {
    let parts: Vec<_> = contents.snapshot.into_iter().chain(contents.tail).collect();
    match id.format() {
        Format::Yjs => {
            let mut coverage = Coverage::default();
            for part in parts {
                coverage.add(&Update::parse(part).ok()?);
            }
            Some(coverage.state_vector().encode())
        }
        Format::Automerge => {
            let refused = |error| ReplicaError::unreadable(id, &error);
            Some(on_a_large_stack(|| automerge::heads(&parts), refused).ok()?.concat())
        }
    }
}
