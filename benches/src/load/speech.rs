//! How to talk to a server: where its rooms are and what stands before each message.

/// One server's way.
#[derive(Clone, Debug)]
pub enum Speech {
    /// Frames forwarded as they are, no protocol: the yardstick.
    None,
    /// y-websocket; the path of a room is this with `{}` for its name.
    YWebsocket(&'static str),
    /// Hocuspocus at the root path, one document on each socket.
    Hocuspocus(&'static str),
}

impl Speech {
    /// The path to connect to.
    #[must_use]
    pub fn path(&self, room: &str) -> String {
        match self {
            Self::None => format!("/{room}"),
            Self::YWebsocket(path) | Self::Hocuspocus(path) => path.replace("{}", room),
        }
    }

    /// What stands before each message of a room.
    #[must_use]
    pub fn prefix(&self, room: &str) -> Vec<u8> {
        match self {
            Self::None | Self::YWebsocket(_) => Vec::new(),
            Self::Hocuspocus(_) => string(room),
        }
    }

    /// What a client says first.
    #[must_use]
    pub fn hello(&self) -> Option<Vec<u8>> {
        // Auth, a token, the provider's version.
        matches!(self, Self::Hocuspocus(_)).then(|| [vec![2, 0], string("token"), string("4.8.0")].concat())
    }

    /// Whether the server makes one update of several; then letters are counted, and an update may have but one.
    #[must_use]
    pub fn merges(&self) -> bool {
        matches!(self, Self::Hocuspocus(_))
    }

    /// Whether clients synchronise.
    #[must_use]
    pub fn syncs(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// A short string as lib0 writes it.
fn string(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or_default();
    [&[len], text.as_bytes()].concat()
}
