//! How fast and how much: rates, and who comes from where.
//!
//! A sender over its rate is read more slowly: its own socket fills up, nothing is lost, and nobody else waits. Only
//! who cannot be slowed is refused: a new socket at the door.

mod allowance;
mod dues;
mod gate;
mod neighbours;

pub(crate) use allowance::Allowance;
pub(crate) use dues::{Dues, Meter, Tab, TooFast};
pub(crate) use neighbours::{Neighbour, Neighbours, Stay};
