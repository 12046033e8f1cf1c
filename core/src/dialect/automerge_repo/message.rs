//! The messages as types.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::id::DocumentId;

/// What a peer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerMetadata {
    /// The id of the storage behind it, a UUID; `None` if it keeps nothing.
    pub storage_id: Option<String>,
    /// "Keep no sync state for me"; false if it was not said.
    pub is_ephemeral: bool,
}

/// Where a storage stood at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteHeads {
    /// Hashes of changes in base58check, as their clients wrote them.
    pub heads: Vec<String>,
    /// Milliseconds since 1970; at most 2^53 − 1.
    pub timestamp: u64,
}

/// One message. Peer ids are any text that a client chose; only `sender` of a [`Message::Join`] can be new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A client's first message.
    Join {
        /// Who it is from now on.
        sender: String,
        /// What it says about itself.
        metadata: PeerMetadata,
        /// The protocol versions that it speaks; `["1"]` if it names none, as stock servers read it.
        versions: Vec<String>,
    },
    /// The server's answer to a [`Message::Join`].
    Peer {
        /// The server.
        sender: String,
        /// The client.
        target: String,
        /// What the server says about itself.
        metadata: PeerMetadata,
        /// The protocol version that both use.
        version: String,
    },
    /// What went wrong; a server closes behind it.
    Error {
        /// The server, if it says so.
        sender: Option<String>,
        /// The client, if the server knows it.
        target: Option<String>,
        /// Words for a person.
        message: String,
    },
    /// A client says goodbye.
    Leave {
        /// Who leaves.
        sender: String,
    },
    /// A sync message of a peer that has nothing of the document: "do you have it?"
    Request {
        /// Who asks.
        sender: String,
        /// Who is asked.
        target: String,
        /// The document.
        document: DocumentId,
        /// An Automerge sync message, validated.
        data: Bytes,
    },
    /// A sync message about a document.
    Sync {
        /// Whose.
        sender: String,
        /// For whom.
        target: String,
        /// The document.
        document: DocumentId,
        /// An Automerge sync message, validated.
        data: Bytes,
    },
    /// "Nobody here has it."
    DocUnavailable {
        /// Who says so.
        sender: String,
        /// Who asked.
        target: String,
        /// The document.
        document: DocumentId,
    },
    /// An application's message to everybody who has the document open.
    Ephemeral {
        /// Its author, who need not be the one who passes it on.
        sender: String,
        /// For whom.
        target: String,
        /// The document.
        document: DocumentId,
        /// Counts the author's messages within a session; at most 2^53 − 1.
        count: u64,
        /// The author's session; with `sender` and `count` it tells copies apart.
        session: String,
        /// CBOR of the application; opaque here.
        data: Bytes,
    },
    /// Which storages' heads a peer wants to hear of.
    RemoteSubscriptionChange {
        /// Who wants.
        sender: String,
        /// Of whom.
        target: String,
        /// Storage ids from now on.
        add: Vec<String>,
        /// Storage ids no longer.
        remove: Vec<String>,
    },
    /// Where storages stand.
    RemoteHeadsChanged {
        /// Who says so.
        sender: String,
        /// Who wanted to hear it.
        target: String,
        /// The document.
        document: DocumentId,
        /// By storage id.
        new_heads: BTreeMap<String, RemoteHeads>,
    },
}
