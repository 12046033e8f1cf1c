//! Names: of documents, of replicas and their lives, of what a replica appended.

mod document;
mod incarnation;
mod peer;
mod replica;

pub use document::{DocumentId, Format, InvalidName};
pub use incarnation::{Continuity, FORMER_MAX, Identity, Incarnation, Seen, compare};
pub use peer::PeerId;
pub use replica::{OperationId, ReplicaId, Seq};
