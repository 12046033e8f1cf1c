//! Why an engine refused, by what the caller does next.

/// Why an engine gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The bytes are no update, chunk or message. The sender's fault; the state is as before.
    #[error("the engine cannot read the bytes: {reason}")]
    Malformed {
        /// What was found.
        reason: String,
    },
    /// An edit refers to another one that the parts do not hold. Keep the tail and try again later.
    #[error("an edit waits for one that is not here")]
    Pending,
    /// The engine's answer does not agree with what went in, or it stopped half-way. Whatever is in
    /// memory must be given up; the stored parts are untouched.
    #[error("the engine's state cannot be trusted: {reason}")]
    Diverged {
        /// What does not agree.
        reason: String,
    },
    /// What is there has no such form, or is too large or too deep for it. Nothing is wrong with the document.
    #[error("{reason}")]
    Unfit {
        /// Why not.
        reason: String,
    },
    /// The peer never joined the session, or has left.
    #[error("peer {peer} has not joined the session")]
    UnknownPeer {
        /// Who.
        peer: u64,
    },
}

impl EngineError {
    pub(super) fn malformed(reason: impl std::fmt::Display) -> Self {
        Self::Malformed { reason: reason.to_string() }
    }

    pub(super) fn unfit(reason: impl std::fmt::Display) -> Self {
        Self::Unfit { reason: reason.to_string() }
    }

    pub(super) fn diverged(reason: impl std::fmt::Display) -> Self {
        Self::Diverged { reason: reason.to_string() }
    }
}
