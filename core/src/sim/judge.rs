//! What must never be otherwise: looked at while a world runs, and when it is at rest.

use std::collections::BTreeMap;

use super::door::Door;
use super::feed::Keeper;
use super::log::{Kept, Log};
use super::network::Network;
use super::replica::Replica;
use crate::engine::{EngineError, automerge, yjs};
use crate::id::{DocumentId, Format};
use crate::session::Lag;
use crate::update::{Admitted, Coverage, admit};

/// Whatever is held at one moment.
pub(super) struct Everything<'w> {
    pub(super) replicas: &'w [Replica],
    pub(super) doors: &'w [Door],
    pub(super) network: &'w mut Network,
}

/// The log of a keeper, if it lives.
pub(super) fn keeper<'w>(all: &Everything<'w>, keeper: Keeper) -> Option<&'w Log> {
    let archives = all.doors.iter().filter_map(|door| door.archive.as_ref());
    let archives = archives.map(|archive| (archive.name, &archive.log));
    let replicas = all.replicas.iter().map(|replica| (replica.name, &replica.disk.log));
    archives.chain(replicas).find(|(name, _)| *name == keeper).map(|(_, log)| log)
}

/// Everything of a replica's session up to a position is durable at a keeper.
///
/// # Errors
/// What is not, as a sentence.
pub(super) fn acknowledged(replica: &Replica, until: u64, keeper: &Log) -> Result<(), String> {
    for position in 1..=until.min(replica.disk.log.durable()) {
        let Some(row) =
            replica.disk.log.row(position).filter(|row| replica.subscribed.contains(&row.document))
        else {
            continue;
        };
        let is_there = row.content.is_empty()
            || keeper.synced(&row.document).is_some_and(|kept| kept.covers(&row.content));
        if !is_there {
            let document = &row.document;
            return Err(format!(
                "acknowledged up to {until}, but the change of {document:?} at {position} is not durable there"
            ));
        }
    }
    Ok(())
}

/// What each session says of each document is so.
///
/// # Errors
/// What is not.
pub(super) fn standings(all: &Everything<'_>) -> Result<(), String> {
    for (r, replica) in all.replicas.iter().enumerate() {
        for (l, driver) in replica.links.iter().enumerate() {
            // Until all is listed it is not about all.
            let keeps = driver.peer.and_then(|peer| peer.keeps).filter(|_| driver.lists == 0);
            let Some(log) = keeps.and_then(|keeps| keeper(all, keeps)) else { continue };
            for document in &replica.subscribed {
                let Some(standing) = driver.session.standing(document) else { continue };
                for position in 1..=standing.acknowledged.min(replica.disk.log.durable()) {
                    let row = replica.disk.log.row(position).filter(|row| row.document == *document);
                    let is_there = |row: &super::log::Row| {
                        log.synced(document).is_some_and(|kept| kept.covers(&row.content))
                    };
                    if row.is_some_and(|row| !is_there(row)) {
                        let until = standing.acknowledged;
                        return Err(format!(
                            "replica {r} link {l}: {document:?} stands as acknowledged up to {until}, but its change at {position} is not durable there"
                        ));
                    }
                }
            }
            acknowledged(replica, driver.session.acknowledged(), log)
                .map_err(|words| format!("replica {r} link {l} says: {words}"))?;
        }
    }
    Ok(())
}

/// What was reached of a keeper's changes is durable here. A document is listed by its last change, so it counts when
/// that is reached.
///
/// # Errors
/// What is not.
pub(super) fn reached(replica: &Replica, until: u64, keeper: &Log) -> Result<(), String> {
    let is_reached = |row: &&super::log::Row| {
        let last = keeper.synced(&row.document).map_or(0, |kept| kept.last);
        last <= until && replica.subscribed.contains(&row.document)
    };
    for position in 1..=until.min(keeper.durable()) {
        let Some(row) = keeper.row(position).filter(is_reached) else { continue };
        let is_here = replica.disk.log.synced(&row.document).is_some_and(|kept| kept.covers(&row.content));
        if !is_here && !row.content.is_empty() {
            let document = &row.document;
            return Err(format!(
                "reached {until}, but the change of {document:?} there at {position} is not durable here"
            ));
        }
    }
    Ok(())
}

/// Nothing is left to do; or what is, as a sentence.
///
/// # Errors
/// That.
pub(super) fn at_rest(all: &Everything<'_>, documents: &[DocumentId]) -> Result<(), String> {
    for (r, replica) in all.replicas.iter().enumerate() {
        if replica.disk.log.end() > replica.disk.log.durable() {
            return Err(format!("replica {r} has not synced"));
        }
        for (l, driver) in replica.links.iter().enumerate() {
            if driver.lists > 0 {
                return Err(format!("replica {r} link {l} lists what changed here"));
            }
            let Some(peer) = driver.peer else {
                return Err(format!("replica {r} link {l} is not connected"));
            };
            if driver.wire.is_some_and(|wire| all.network.is_stalled(wire)) {
                return Err(format!("replica {r} link {l} has not noticed that nothing arrives"));
            }
            let is_left_out =
                |document: &DocumentId| replica.reads_only || !takes(all, driver.door, document);
            for (document, standing) in driver.session.lagging() {
                match standing.lag {
                    Some(Lag::Unkept) if peer.keeps.is_none() => {}
                    Some(Lag::Parked { .. }) if is_left_out(document) => {}
                    Some(lag) => return Err(format!("replica {r} link {l}: {document:?} lags: {lag:?}")),
                    None => {}
                }
            }
            let last = replica.subscribed.iter().map(|document| replica.last(document)).max().unwrap_or(0);
            let reached = driver.session.acknowledged();
            let takes_all = !replica.subscribed.iter().any(is_left_out);
            if peer.keeps.is_some() && takes_all && reached < last {
                return Err(format!("replica {r} link {l}: acknowledged up to {reached} of {last}"));
            }
        }
    }
    documents.iter().try_for_each(|document| same(all, document))
}

/// Who is joined by links has the same document.
fn same(all: &Everything<'_>, document: &DocumentId) -> Result<(), String> {
    // Each door's group: doors that a replica with the document joins, its own included.
    let mut group: Vec<usize> = (0..all.doors.len()).collect();
    let is_holder = |replica: &Replica| {
        // Whoever syncs an Automerge document may write in it.
        let may = document.format() == Format::Yjs || !replica.reads_only;
        may && replica.subscribed.contains(document)
    };
    let holders = || all.replicas.iter().enumerate().filter(|(_, replica)| is_holder(replica));
    let doors_of = |replica: &Replica| -> Vec<usize> {
        let doors = replica.doors.iter().chain(&replica.listens).copied();
        doors.filter(|door| takes(all, *door, document)).collect()
    };
    for (_, replica) in holders() {
        let doors = doors_of(replica);
        let joined: Vec<_> = doors.iter().filter_map(|door| group.get(*door).copied()).collect();
        let Some(least) = joined.iter().min().copied() else { continue };
        group.iter_mut().filter(|of| joined.contains(of)).for_each(|of| *of = least);
    }
    for number in 0..all.doors.len() {
        let is_in = |door: &usize| group.get(*door) == Some(&number);
        let replicas = holders().filter(|(_, replica)| doors_of(replica).iter().any(is_in));
        let of_replicas =
            replicas.map(|(r, replica)| (format!("replica {r}"), replica.reads_only, &replica.disk.log));
        // An archive that nobody joins is nobody's.
        let doors = all.doors.iter().enumerate().filter(|(d, _)| is_in(d));
        let is_joined =
            |d: usize| takes(all, d, document) && holders().any(|(_, replica)| replica.doors.contains(&d));
        let of_doors = doors
            .filter(|(d, _)| is_joined(*d))
            .filter_map(|(d, door)| Some((format!("door {d}"), false, log_behind(all, door)?)));
        let logs: Vec<_> = of_replicas.chain(of_doors).collect();
        same_of(&logs, document)?;
    }
    Ok(())
}

/// Whether such documents are synced at a door.
fn takes(all: &Everything<'_>, door: usize, document: &DocumentId) -> bool {
    document.format() == Format::Yjs || all.doors.get(door).is_some_and(|door| door.archive.is_some())
}

/// What is behind a door.
fn log_behind<'w>(all: &Everything<'w>, door: &'w Door) -> Option<&'w Log> {
    match door.host {
        Some(host) => all.replicas.get(host).map(|replica| &replica.disk.log),
        None => door.archive.as_ref().map(|archive| &archive.log),
    }
}

fn same_of(logs: &[(String, bool, &Log)], document: &DocumentId) -> Result<(), String> {
    let none = Kept::default();
    let mut all = Kept::default();
    for (_, _, log) in logs.iter().filter(|(_, reads_only, _)| !reads_only) {
        all.merge(log.synced(document).unwrap_or(&none));
    }
    for (name, _, log) in logs {
        if !log.synced(document).unwrap_or(&none).includes(&all) {
            return Err(format!("{name} lacks something of {document:?}"));
        }
    }
    let mut hashes = BTreeMap::new();
    for (name, _, log) in logs.iter().filter(|(_, reads_only, _)| !reads_only) {
        let hash = content(document, log.synced(document).unwrap_or(&none))
            .map_err(|error| format!("{name} cannot show {document:?}: {error}"))?;
        hashes.insert(hash, name);
    }
    match hashes.len() {
        0 | 1 => Ok(()),
        _ => Err(format!("{document:?} differs: {hashes:02x?}")),
    }
}

/// What stands for a document: of Yjs, the hash of all that has its ground; of Automerge, where all has it, the heads.
fn content(document: &DocumentId, kept: &Kept) -> Result<Vec<[u8; 32]>, EngineError> {
    if document.format() == Format::Automerge {
        return automerge::heads(&kept.chunks);
    }
    let updates = &kept.updates;
    let Admitted { order, together: _, part } = admit(&mut Coverage::default(), updates);
    let whole = order.iter().filter_map(|index| updates.get(*index));
    let parts: Vec<_> = whole.chain(&part).map(|update| update.bytes().clone()).collect();
    Ok(vec![yjs::state_hash(&parts)?])
}

/// What may never be more.
///
/// # Errors
/// What is.
pub(super) fn bounds(all: &mut Everything<'_>) -> Result<(), String> {
    for (r, replica) in all.replicas.iter().enumerate() {
        for (l, driver) in replica.links.iter().enumerate() {
            let (flight, window) = (driver.out.in_flight_bytes(), driver.out.window_bytes());
            // One item is always let through, and the window may have shrunk since.
            if flight > window.max(1 << 16) + (1 << 16) {
                return Err(format!(
                    "replica {r} link {l} has {flight} bytes in flight, the window is {window}"
                ));
            }
            let (open, most) = (driver.open.len(), replica.config.documents_max);
            if open > most {
                return Err(format!("replica {r} link {l} has {open} documents open, {most} are allowed"));
            }
        }
    }
    Ok(())
}
