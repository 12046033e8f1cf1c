//! What a link is told, what it says, and what it asks for.

use std::fmt;

use thiserror::Error;

/// Whether the peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// Welcomed, heard, and good.
    Online,
    /// Welcomed, but slow, losing heartbeats, or silent for longer than it should be.
    Degraded,
    /// Not there, but for no longer than the transition window.
    Transitioning,
    /// Not there: for longer, for good, or closed.
    Offline,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Degraded => "degraded",
            Self::Transitioning => "transitioning",
            Self::Offline => "offline",
        })
    }
}

/// Why a connection, or the attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum End {
    /// It would end the same way again: a refused token, a version that the peer does not speak, an address that no
    /// transport knows.
    #[error("{reason}. It is not tried again by itself: change the settings of the link, or retry it")]
    Permanent {
        /// What happened, as a sentence without its full stop.
        reason: String,
    },
    /// The network, a peer that restarts, a time-out: it may be better next time.
    #[error("{reason}. It is tried again by itself")]
    Retriable {
        /// What happened, as a sentence without its full stop.
        reason: String,
    },
}

impl End {
    /// Whether it would end the same way again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent { .. })
    }
}

/// Why a link gives a connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HangUpReason {
    /// The transport did not come up.
    #[error("the peer did not answer for {ms} ms")]
    Unanswered {
        /// How long it had.
        ms: u64,
    },
    /// The transport came up, but no welcome came.
    #[error("the peer answered, but sent no welcome for {ms} ms")]
    Unwelcomed {
        /// How long it had.
        ms: u64,
    },
    /// Nothing was heard.
    #[error("nothing was heard from the peer for {ms} ms")]
    Silent {
        /// For how long.
        ms: u64,
    },
    /// [`Link::close`](super::Link::close).
    #[error("the link was closed here")]
    Closed,
}

/// What a driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEffect {
    /// Open a connection, then say [`Link::connected`](super::Link::connected) or
    /// [`Link::ended`](super::Link::ended).
    Dial,
    /// Send a heartbeat; its answer goes to [`Link::pong`](super::Link::pong).
    Ping {
        /// What the answer must carry.
        token: u64,
    },
    /// Drop the connection, or the attempt at one. The link takes it for ended: nothing more is to be said of it.
    HangUp {
        /// Why.
        reason: HangUpReason,
    },
}
