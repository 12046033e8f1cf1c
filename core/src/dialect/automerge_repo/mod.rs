//! automerge-repo: pairwise sync between repos over a WebSocket, protocol version "1".
//!
//! Each binary frame is one CBOR map with texts as keys, in any order:
//!
//! | type | fields besides `type` and `senderId` | sent by |
//! |---|---|---|
//! | `join` | `peerMetadata {storageId?, isEphemeral?}`, `supportedProtocolVersions` | client, first |
//! | `peer` | `targetId`, `peerMetadata`, `selectedProtocolVersion` | server, its answer |
//! | `error` | `targetId?`, `message`; `senderId` optional too | server, before it closes |
//! | `leave` | | client; stock ones never do |
//! | `request` | `targetId`, `documentId`, `data` | both |
//! | `sync` | `targetId`, `documentId`, `data` | both |
//! | `doc-unavailable` | `targetId`, `documentId` | both |
//! | `ephemeral` | `targetId`, `documentId`, `data`, `count`, `sessionId` | both |
//! | `remote-subscription-change` | `targetId`, `add?`, `remove?` | both |
//! | `remote-heads-changed` | `targetId`, `documentId`, `newHeads {storageId: {heads, timestamp}}` | both |
//!
//! Guarantees: a frame is read whole or refused; sync messages are validated before they are returned, so a
//! zero-length one (on which stock clients throw) or one that an engine would choke on comes no further; unknown
//! fields are passed over; a message of an unknown type is no error, because the next version of a client may
//! send one and stock servers ignore it. [`Message::encode`] writes the bytes that the JavaScript adapter 2.5
//! would write, field order and `undefined` included.

mod encode;
mod message;
mod parse;

pub use message::{Message, PeerMetadata, RemoteHeads};
pub use parse::parse;
