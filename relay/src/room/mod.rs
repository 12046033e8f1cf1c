//! Rooms: from a document's name to the connections around it.

mod driver;
mod farewell;
mod gossip;
mod guest;
mod registry;
mod shared_frame;

pub(crate) use driver::Seated;
pub(crate) use gossip::{Gossip, Listener};
pub use guest::Guests;
pub(crate) use registry::Rooms;
pub(crate) use shared_frame::{Framing, Seat};
