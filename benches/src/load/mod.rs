//! A lean load generator: bare sockets that count what comes and decode no document.

#![expect(clippy::indexing_slicing, reason = "a bench that cannot go on stops")]

mod client;
mod crowd;
pub mod frames;
mod speech;

pub use client::Client;
pub use crowd::{Crowd, Load, Shape};
pub use speech::Speech;
