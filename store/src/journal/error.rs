//! What can be wrong with a journal, by what the operator does about it.

use std::sync::Arc;

use super::segment::SegmentId;

/// Why a journal does not open or does not take an operation.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Bytes that were durable have changed.
    #[error(
        "journal segment {segment} is damaged at offset {offset} ({found}); nothing was changed; \
         save what is intact with `tombolo repair`, or restore the data folder from a backup"
    )]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// Where in it, in bytes.
        offset: u64,
        /// What is there.
        found: &'static str,
    },
    /// A segment between two others is not there.
    #[error(
        "journal segment {segment} is missing; save what is intact with `tombolo repair`, or restore the data folder from a backup"
    )]
    Missing {
        /// The segment.
        segment: SegmentId,
    },
    /// A later program wrote it.
    #[error(
        "journal segment {segment} has format {version}; use the version of tombolo that wrote it, or a later one"
    )]
    TooNew {
        /// The segment.
        segment: SegmentId,
        /// Its format.
        version: u8,
    },
    /// The disk said no while the journal was opened.
    #[error("the journal cannot be read or made")]
    Io(#[source] Arc<std::io::Error>),
    /// The disk said no once; what it holds since is unknown, so nothing is acknowledged any more.
    #[error("the store is read-only since a write failed; free or replace the disk and start again")]
    ReadOnly(#[source] Arc<std::io::Error>),
    /// The journal was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
