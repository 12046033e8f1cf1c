//! Relays that a backplane joins: who of them lives, who has which document open, and what they say to each other.
//!
//! A backplane carries opaque bytes to everybody, to those that listen to a room, or to one. What one sender says to
//! the same addressee arrives in order, once or not at all; what it says to different addressees may overtake.
//! [`Cluster`] makes rooms of that which know each other:
//!
//! - **Who lives.** Each says that it is there every second; who is silent for five has vanished. Each start on the
//!   backplane has a number, so whatever an earlier one said is known to be old.
//! - **Who has a room open.** Who opens one says its roll to the room and asks everybody. A peer has *come* when each
//!   side knows that the other one listens, and from which message on: a roll says whom it answers, and it lies in the
//!   same stream as what is said to the room. So nothing is missing between that and the first message, and nothing
//!   needs to be kept for later.
//! - **What is lost.** Messages to a room and messages to a peer are numbered. A gap ends in [`Output::Lost`] on both
//!   sides, and the rooms ask each other. The end of a stream is said again with the next beat, and all rooms are asked
//!   after in turn, so a loss that nothing follows is found as well.
//!
//! Guarantees: a message that was said to a room after [`Output::Came`] is handed over there once and in order, or one
//! of both sides learns of a loss or that the other went; every room that is opened is called within two seconds; no
//! bytes make the machine panic, and what one peer can make it keep is bounded. It trusts its peers to be who
//! they say: whoever may speak on the backplane is one of them.

mod address;
mod asks; // whom to ask about which room, a few at a time
mod beats; // what happens once a second
mod codec; // bytes
mod draft; // what is large, apart from the machine
mod envelope; // what is said
mod hearing;
mod links; // peers come and go
mod loss; // what is missing, and who must know
mod machine;
mod output;
mod parts; // what is larger than a message
mod rolls; // who has a room open
mod speech; // numbers on what is said
#[cfg(test)]
mod tests;

pub use address::To;
pub use codec::{InvalidEnvelope, MESSAGE_BYTES_MAX, Sender, bye, sender_of};
pub use draft::{Draft, Read, Unread};
pub use machine::{Cluster, Timing};
pub use output::{Output, TunnelFrame, TunnelId};
pub use parts::TooLarge;

#[doc(hidden)]
pub use envelope::Envelope;
