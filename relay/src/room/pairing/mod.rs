//! The members of Automerge documents: runs core's machine of each document that somebody has open and carries its
//! effects out to the connections.

mod driver;
mod ear;
mod listener;

pub(crate) use driver::PairRooms;
pub(crate) use ear::{Ear, Names, PROTOCOL_VERSION};
pub(crate) use listener::Listener;
