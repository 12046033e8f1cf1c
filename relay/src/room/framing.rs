//! How a member's dialect frames a message, and what is framed once for all members that share it.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::hocuspocus::Address;
use tombolo_core::dialect::replica::{self, Handle};

use crate::connection::frame;
use crate::connection::pages::Pages;
use crate::connection::queue::Queue;

/// How a member's dialect wraps a y-protocols message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// y-websocket: as it is.
    Bare,
    /// Hocuspocus: behind the address that the client chose, byte for byte.
    Addressed(Arc<Address>),
    /// Replicas: behind the number that the replica gave the document.
    Numbered(Handle),
}

impl Framing {
    /// The bytes before each message.
    pub(crate) fn prefix(&self) -> Bytes {
        match self {
            Self::Bare => Bytes::new(),
            Self::Addressed(address) => address.prefix(),
            Self::Numbered(handle) => replica::y_head(*handle).into(),
        }
    }

    pub(crate) fn frame(&self, body: &[u8]) -> Bytes {
        frame::binary(&[&self.prefix(), body])
    }

    /// The frame of a message that begins with `head` and goes on with so many bytes, up to these.
    pub(crate) fn frame_head(&self, head: &[u8], rest: usize) -> Bytes {
        frame::binary_head(&[&self.prefix(), head], rest)
    }
}

/// Where a member's messages go.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) queue: Arc<Queue>,
    pub(crate) framing: Framing,
    /// By what its large answers go out, if it is a replica's.
    pub(crate) pages: Option<Arc<Pages>>,
}

/// What is made once for all members with the same framing, when the first of them needs it. Members of one room
/// nearly always share one or two.
#[derive(Debug)]
pub(crate) struct PerFraming<'a, T> {
    made: Vec<(&'a Framing, T)>,
}

impl<'a, T: Clone> PerFraming<'a, T> {
    /// Framings remembered; a room in which each member has its own (session-aware providers) gains nothing.
    const REMEMBERED: usize = 4;

    pub(crate) fn new() -> Self {
        Self { made: Vec::new() }
    }

    pub(crate) fn of(&mut self, framing: &'a Framing, make: impl FnOnce() -> T) -> T {
        if let Some((_, made)) = self.made.iter().find(|(of, _)| *of == framing) {
            return made.clone();
        }
        let new = make();
        if self.made.len() < Self::REMEMBERED {
            self.made.push((framing, new.clone()));
        }
        new
    }
}
