//! Whole replicas, relays and archives in a world without sockets, threads or clocks: one seed, one run.
//!
//! A [`Plan`] says what there is and what happens: edits of Yjs and Automerge documents, subscriptions, links to relays,
//! nodes and other replicas, crashes that leave any part of what was not synced, restores, partitions, slow links, full
//! disks, clocks that are set, versions that differ. [`run`] plays it with the real [`session`](crate::session), [`link`](crate::link),
//! [`schedule`](crate::schedule), [`room`](crate::room) and documents of the real engine, wired as their drivers wire
//! them, and looks meanwhile and at rest whether what was promised is so:
//!
//! - what a session calls acknowledged is durable at that keeper, and what it calls reached is durable here;
//! - at rest whoever is joined has the same document, nothing lags, and nothing more is said;
//! - what is in flight and what is open stays within its bounds; a link never dials twice; no frame breaks a rule.
//!
//! Guarantees: the same plan gives the same [`Report::trace`]; [`shrink`] makes a plan that fails as small as it can.
//! What is a model here, and not the real thing: the network, the logs ([`log`]), the archive, the door, and what drives a
//! link, each after the code that it names.

mod answers; // large ones of a door, in pages
mod archive; // stores, calls stored, lists
mod chance;
mod door; // rooms and their seats
mod doorstep; // who is let in
mod draw; // what a seed draws
mod driver; // one link of a replica
mod faults; // what happens to them
mod feed; // what changed
mod host; // a replica behind a door
mod judge; // what must be so
mod log; // a disk
mod network;
mod pairs; // Automerge documents at an archive
mod plan; // what a seed stands for
mod replica;
mod scribble; // edits
mod shrink;
mod talks; // Automerge documents on a link
#[cfg(test)]
mod tests;
mod trace;
mod wiring; // what arrives and what goes out
mod world;

pub use plan::{Act, Kind, Plan, Shape, Step, Trouble};
pub use shrink::{run, shrink};
pub use world::Report;
