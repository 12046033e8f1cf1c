//! One socket's life: handshake done, read frames into a dialect, write what waits, say goodbye.

mod automerge;
pub(crate) mod frame;
mod hocuspocus;
pub(crate) mod queue;
mod read;
mod task;
mod write;
mod y_webrtc;
mod y_websocket;

pub(crate) use task::{Accepted, run};

use bytes::Bytes;

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

/// What a dialect makes of a connection's messages; dropping it leaves its rooms.
pub(crate) trait Dialect: Send {
    /// One binary message.
    fn message(&mut self, payload: Bytes) -> Result<(), Closing>;
    /// The close code for who said nothing for too long. The client is there again when its machine wakes up, so it
    /// must be one after which it comes back.
    fn silent(&self) -> u16;
    /// One text message.
    fn text(&mut self, text: &str) -> Result<(), Closing>;
}
