//! Rooms: from a document's name to the connections around it.

mod driver;
mod farewell;
mod framing;
mod gather;
mod guest;
mod limits;
mod onlooker; // what each room does, for who looks
mod pairing;
mod registry;
mod topics;
pub(crate) mod turn;

pub(crate) use driver::Seated;
pub(crate) use framing::{Framing, Seat};
pub use guest::Guests;
pub(crate) use limits::RoomLimits;
pub use onlooker::{Onlooker, RoomStatus, Traffic};
pub(crate) use pairing::{Ear, Listener, Names, PROTOCOL_VERSION, PairRooms};
pub(crate) use registry::Rooms;
pub(crate) use topics::{Subscriber, Topics};
