//! Names: of documents, of replicas, of what a replica appended.

mod document;
mod replica;

pub use document::{DocumentId, Format, InvalidName};
pub use replica::{OperationId, ReplicaId, Seq};
