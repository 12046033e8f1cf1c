//! The room: the connections gathered around one Yjs document, as a plain state machine.
//!
//! It decides who answers a `SyncStep1`, where a `SyncStep2` goes, what presence is forwarded and when an
//! update is acknowledged. It holds no document: only which ranges passed by, and who showed presence.
//!
//! On a backplane, the rooms of one document on several relays behave as one: what a member brings is published to
//! all peers, a question is put to one answerer among all members of all relays, and the archive acknowledges
//! wherever it is.
//!
//! Guarantees: a member becomes *synced* only after everything that the room can reach was handed to it;
//! an update is acknowledged only as the [`Acknowledgement`] policy says, or once an archive in reach has it; what a
//! member or a peer does costs the room bounded memory. Drive it with [`Room::join`], [`Room::handle`],
//! [`Room::leave`] and [`Room::handle_timeout`], on a backplane also with [`Room::clustered`], [`Room::alone`] and what
//! peers do ([`Room::peer_came`], [`Room::peer_said`], [`Room::peer_lost`], [`Room::peer_went`]), and carry out what
//! [`Room::poll_effect`] hands over, in order. Why each rule: the measured failures of naive forwarders with stock
//! clients.

mod answering; // what an answer is for
mod asking; // who answers a question
mod early; // what waits for an archive to come
mod effect;
mod machine;
mod member;
mod peer; // what peers say
mod peers; // who of them is there
mod presence;
mod referring; // what the archive has anyway
mod storing; // what is spread, stored and acknowledged
#[cfg(test)]
mod tests;

pub use effect::{Acknowledgement, Answer, Arrival, Effect, MemberId, StoreRefused, Ticket, Violation};
pub use machine::Room;
pub use peer::{AskId, PeerAnswer, PeerMessage, Roll};
pub use presence::PresenceLimits;
