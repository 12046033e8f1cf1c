//! One socket's life: handshake done, read frames into a dialect, write what waits, say goodbye.

mod automerge;
mod dialects; // which one a connection speaks
pub(crate) mod frame;
mod hearing; // what becomes of a message
mod hocuspocus;
mod inbound; // frames of clients
mod native;
mod pace; // what happens because time has passed
pub(crate) mod pages; // large answers to a replica
pub(crate) mod queue;
mod read;
mod reader; // members that may only read
mod replica;
mod task; // the life of a connection
mod y_webrtc;
mod y_websocket;

pub(crate) use automerge::{Automerge, refuse_text};
pub(crate) use hearing::{ease, judge};
pub(crate) use native::{Native, binary_only};
pub(crate) use task::{Accepted, start};
pub(crate) use y_webrtc::YWebrtc;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::config::RelayConfig;
use crate::limits::Allowance;
use crate::listener::Shared;
use queue::Queue;

/// Why the server closes a connection: the code and a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// The label of the refusal metric, if it is a refusal.
    pub(crate) refusal: Option<&'static str>,
}

impl Closing {
    pub(crate) fn refused(code: u16, reason: &(impl ToString + ?Sized), refusal: &'static str) -> Self {
        Self { code, reason: reason.to_string(), refusal: Some(refusal) }
    }
}

/// What a connection may show of presence: whoever shows too much is read more slowly. Only news counts: stock clients
/// send whatever they hear back to the server.
#[derive(Debug, Default)]
struct PresenceAllowance(Mutex<Allowance>);

impl PresenceAllowance {
    /// One more message of it was news.
    fn spend(&self, shared: &Shared, queue: &Queue) {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = allowance.spend(shared.config.connection_presence) {
            shared.metrics.slow("presence_rate");
            queue.hold(wait);
        }
    }
}

/// What a dialect makes of a connection's messages; dropping it leaves its rooms.
pub(crate) trait Dialect: Send {
    /// One binary message.
    fn message(&mut self, payload: Bytes) -> Result<(), Closing>;
    /// The close code for who said nothing for too long. The client is there again when its machine wakes up, so it
    /// must be one after which it comes back.
    fn silent(&self) -> u16;
    /// How long it may say nothing, in ms, not even in answer to a ping.
    fn patience_ms(&self, config: &RelayConfig) -> u64 {
        config.silence_ms
    }
    /// One text message.
    fn text(&mut self, text: &str) -> Result<(), Closing>;
}
