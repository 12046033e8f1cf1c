//! One connection to one peer: whether it is there, how good it is, and when to try again.
//!
//! [`Link`] is a plain state machine: times come in as values, what to do comes out of [`Link::poll`], and
//! [`Link::deadline`] says when to poll at the latest. It opens no socket and reads no clock; the only chance in it
//! comes from the seed.
//!
//! - **States.** [`LinkState::Online`]: welcomed, heard and good. [`LinkState::Degraded`]: welcomed, but slow, losing
//!   heartbeats, or silent for 15 s. [`LinkState::Transitioning`]: not there, and this has not lasted for the
//!   transition window (5 s). [`LinkState::Offline`]: not there for longer, silent for 60 s, refused for good, or
//!   closed. A connection that was lost and is welcomed again within the window is at no moment offline.
//! - **Heartbeats.** A ping every 5 s, one at a time. What is bad or silent is measured against what is usual here: the
//!   time to wait for a pong follows the round trip and its variation (RFC 6298), the time to wait for anything follows
//!   that and the loss, so a link with a round trip of 4 s is degraded, and stays that instead of flapping.
//! - **Again.** Waits are drawn evenly between nothing and 1 s, 2 s, 4 s … 5 min ("full jitter", M. Brooker,
//!   *Exponential Backoff And Jitter*, AWS Architecture Blog 2015), so that a thousand clients of a relay that restarts
//!   do not come back in step. Only a peer that welcomed us and stayed for 30 s ends the doubling: a peer that accepts
//!   and fails is not worth more attempts than one that does not answer. What a peer refused for good
//!   ([`End::Permanent`]) is not tried again before [`Link::retry`].
//!
//! Guarantees: at most one connection at a time is asked for; polled until it says nothing more, a link has a deadline
//! that lies ahead or none; a driver whose clock is set back or ahead makes it neither panic nor wait longer than it
//! would have.

mod backoff;
mod config;
mod heartbeat; // pings, silence
mod machine;
mod quality; // round trips
mod state; // what goes in and comes out
#[cfg(test)]
mod tests;

pub use config::LinkConfig;
pub use machine::Link;
pub use state::{End, HangUpReason, LinkEffect, LinkState};
