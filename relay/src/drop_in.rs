//! Standing in for another server: listening on its usual port and speaking its dialect at any path, so that the code
//! of an app whose clients go there stays as it is.

use std::fmt;
use std::str::FromStr;

use crate::http::Endpoint;

/// A server that a listener stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropIn {
    /// y-websocket-server: the room is the path.
    Yjs,
    /// Hocuspocus: any path.
    Hocuspocus,
    /// automerge-repo-sync-server: any path.
    Automerge,
}

impl DropIn {
    /// The port that it listens on unless told otherwise.
    #[must_use]
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Yjs | Self::Hocuspocus => 1234,
            Self::Automerge => 3030,
        }
    }

    /// What is spoken at this path of it.
    pub(crate) fn endpoint(self, path: &str, token: Option<String>, host: &str) -> Endpoint {
        match self {
            Self::Yjs => {
                Endpoint::YWebsocket { room: path.strip_prefix('/').unwrap_or(path).to_owned(), token }
            }
            Self::Hocuspocus => Endpoint::Hocuspocus,
            Self::Automerge => Endpoint::Automerge { host: host.to_owned(), token },
        }
    }
}

impl fmt::Display for DropIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yjs => "yjs",
            Self::Hocuspocus => "hocuspocus",
            Self::Automerge => "automerge",
        })
    }
}

/// There is no such server to stand in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give yjs, hocuspocus or automerge")]
pub struct UnknownDropIn;

impl FromStr for DropIn {
    type Err = UnknownDropIn;

    fn from_str(text: &str) -> Result<Self, UnknownDropIn> {
        let all = [Self::Yjs, Self::Hocuspocus, Self::Automerge];
        all.into_iter().find(|drop_in| drop_in.to_string() == text).ok_or(UnknownDropIn)
    }
}
