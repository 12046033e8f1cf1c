//! The backplane: what joins relays. It carries opaque messages and knows neither rooms' meaning nor documents.
//!
//! What it guarantees: messages of one sender to the same addressee arrive in their order, once or not at all; nobody
//! hears what it said itself. What it does not: that anything arrives. Who needs that counts, and asks again.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::cluster::To;
use tombolo_core::id::DocumentId;

pub use tombolo_core::cluster::MESSAGE_BYTES_MAX;

/// What joins relays. Calls never block.
pub trait Backplane: Send + Sync + 'static {
    /// Says something of at most [`MESSAGE_BYTES_MAX`] bytes. While the backplane is away it is lost.
    fn say(&self, to: &To, message: Bytes);
    /// Hears what is said to a room from now on: all that is said after anything that this one says from now on.
    fn listen(&self, document: &DocumentId);
    /// Hears it no more.
    fn unlisten(&self, document: &DocumentId);
}

/// Who hears. Calls come one at a time, in order, and never block for long.
pub trait Hearer: Send + Sync + 'static {
    /// The backplane is there, for the first time or again; nothing is listened to yet but [`To::Everybody`] and
    /// [`To::Peer`] with the own name.
    fn up(&self, backplane: Arc<dyn Backplane>);
    /// Something was said by another.
    fn hear(&self, to: &To, message: Bytes);
    /// The backplane is away, or lost messages: nothing is known of the others any more until it is up again.
    fn down(&self, reason: &str);
}
