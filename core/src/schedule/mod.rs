//! What goes out next over one link, and how much at once.
//!
//! [`Scheduler`] keeps what is to be sent in a **lane** for each document, hands one item after the other to the
//! driver, and takes it for in flight until the peer acknowledged its bytes. It is plain: times come in as values.
//!
//! - **Order.** What was pushed to a lane leaves it in that order. So an item lifts all that is before it in its
//!   lane to its own priority until it has left. Between lanes there is no order: those of the same class take
//!   turns, one item each, so a document with much to send delays another by one item and not by all.
//! - **Classes.** [`Priority::Critical`] goes strictly first. The others share what it leaves by bytes: High 5/8, Normal
//!   2/8, Low 1/8 (stride scheduling, Waldspurger and Weihl 1995); the share of a class with nothing to send goes to
//!   the others. So nothing but critical items, and what is before them in their lanes, can hold others up.
//! - **Pace.** What is in flight stays below a window of twice the measured bandwidth × round trip, as in BBR
//!   (Cardwell et al. 2016: a maximum over the delivery rates of 10 s, a minimum over the round trips). What waits in
//!   here can still be overtaken; what waits in a socket cannot. The last item may reach over the window, so items
//!   should not be larger than [`Scheduler::page_bytes`].
//! - **Modes.** With [`Mode::Saving`] Low waits for [`Mode::Normal`], and Normal is gathered for 30 s or 64 KiB and then
//!   sent together, so that a radio can sleep. High and critical items do not wait.
//!
//! Guarantees: nothing that was pushed is lost, sent twice between two resets, or sent out of order of its lane; a lane
//! with nothing to send costs no memory; bytes that a peer acknowledges without having got them change nothing but the
//! pace. What is acknowledged here is room on the way, and says nothing of what the peer keeps.

mod config;
mod lane; // what waits for one document
mod pace; // how much may be in flight
mod priority;
mod scheduler;
#[cfg(test)]
mod tests;
mod turns; // whose turn it is

pub use config::ScheduleConfig;
pub use priority::{Mode, Priority};
pub use scheduler::{Scheduler, Sending};
