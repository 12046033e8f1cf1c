//! Rooms: from a document's name to the connections around it.

mod carry; // what the machine says, done
mod driver;
mod farewell;
mod framing;
mod gather;
mod guest;
mod limits;
mod listeners;
mod onlooker; // what each room does, for who looks
mod pairing;
mod peers; // among other relays
mod port;
mod registry;
mod seated;
mod stateless; // messages of applications
mod topics;
pub(crate) mod turn;

pub(crate) use framing::{Framing, Seat};
pub use guest::Guests;
pub(crate) use limits::{RoomLimits, Toll};
pub use onlooker::{Onlooker, RoomStatus, Traffic};
pub(crate) use pairing::{Ear, Listener, Names, PROTOCOL_VERSION, PairRooms};
pub(crate) use peers::{PeerEvent, PeerRead};
pub(crate) use registry::Rooms;
pub(crate) use seated::Seated;
pub(crate) use stateless::{Speaker, Stateless};
pub(crate) use topics::{Subscriber, Topics};
