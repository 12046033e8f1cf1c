//! The transports of the backplane, on real parts: a real nats-server, real relays, killed and started again.

mod conformance; // what all transports promise
mod cut; // networks that break
mod door; // who is let in at /native
mod nats; // what is NATS' own
pub mod world; // servers and participants
