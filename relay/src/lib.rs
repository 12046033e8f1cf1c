//! What forwards: sockets, connections, rooms, fan-out, back-pressure and admission.
//!
//! A relay holds connections and rooms, never a document and nothing on disk: it can be killed at any
//! instant and replaced by an empty one. Whatever stores is attached through [`member::Archive`].
//!
//! Guarantees: a malformed frame closes its own connection and reaches nobody; a slow reader costs bounded
//! memory; forwarding never waits for a disk, an acknowledgement always does.
//! Start at [`Relay::start`]; the way of a frame is [`connection`] → room → the members' queues.

pub mod admission;
pub mod backplane;
mod cluster; // the rooms of several relays as one
pub mod config;
mod connection;
mod door; // which web pages may speak to a listener
mod drop_in; // standing in for other servers
mod error;
mod forwarded; // who is behind a proxy
mod http;
mod limits;
mod listener;
pub mod member;
pub mod metrics;
mod open;
mod patient;
mod room;
mod shards;
mod shutdown;

pub use config::{AcknowledgeWithoutArchive, Rate, RelayConfig};
pub use door::{AllowedOrigins, InvalidOrigin};
pub use drop_in::{DropIn, UnknownDropIn};
pub use error::StartError;
pub use forwarded::{InvalidProxy, TrustedProxy};
pub use http::{Body, Routes, text_response};
pub use listener::{Parts, Relay};
pub use room::{Guests, Onlooker, RoomStatus, Traffic};
