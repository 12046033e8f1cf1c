//! Rooms: from a document's name to the connections around it.

mod driver;
mod farewell;
mod framing;
mod gather;
mod gossip;
mod guest;
mod limits;
mod registry;
mod topics;
pub(crate) mod turn;

pub(crate) use driver::Seated;
pub(crate) use framing::{Framing, Seat};
pub(crate) use gossip::{Gossip, Listener};
pub use guest::Guests;
pub(crate) use limits::RoomLimits;
pub(crate) use registry::Rooms;
pub(crate) use topics::{Subscriber, Topics};
