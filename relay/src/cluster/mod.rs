//! The relay among others: what its rooms say to those of its peers, and what it hears of them.
//!
//! The machine is in [`tombolo_core::cluster`], the carrier in [`crate::backplane`]; here one is driven over the
//! other. While nobody else is on the backplane, a room costs an entry here and says nothing.
//!
//! Guarantees: a room hears what concerns it in the order in which the machine says it; no call from a room waits for
//! the backplane or for another room. A lost backplane costs the members that are here nothing but the others.

mod driver;
mod events; // from the machine to the rooms, in order
mod lanes; // what is large, a little at a time
mod tunnel; // one tunnel where it ends
mod tunnels; // connections that another relay serves

pub(crate) use driver::Joint;
pub(crate) use lanes::Turn;
pub(crate) use tunnels::{Away, Handed, Tunnels};
