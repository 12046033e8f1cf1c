//! The dialects: one client protocol's framing each, as types with parse and encode.
//!
//! Guarantees: a frame is read whole or refused; nothing is allocated from a claimed length, nothing is
//! left over behind a message, and in the Yjs dialects what a server alone may say is refused from a client
//! (automerge-repo peers are alike; who may say what depends on the session there). Updates and sync messages
//! inside are validated here, once, so that nothing behind the edge checks again. Every refusal is a
//! [`FrameError`]; no bytes reach a panic, a recursion or an unbounded loop.
//!
//! Golden frames of stock clients lie in `fixtures/frames`, those of our own dialect in `fixtures/native`.

pub mod automerge_repo;
mod error;
pub mod hocuspocus;
pub mod native;
pub(crate) mod payload;
pub mod replica;
pub mod y_protocols;
pub mod y_webrtc;
pub mod y_websocket;

#[cfg(test)]
mod tests;

pub use error::FrameError;
