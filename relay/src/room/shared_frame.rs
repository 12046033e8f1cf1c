//! A message framed once for all members that share a framing.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::hocuspocus::Address;

use crate::connection::frame;
use crate::connection::queue::Queue;

/// How a member's dialect wraps a y-protocols message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// y-websocket: as it is.
    Bare,
    /// Hocuspocus: behind the address that the client chose, byte for byte.
    Addressed(Address),
}

impl Framing {
    pub(crate) fn frame(&self, body: &[u8]) -> Bytes {
        match self {
            Self::Bare => frame::binary(&[body]),
            Self::Addressed(address) => frame::binary(&[&address.prefix(), body]),
        }
    }

    /// The frame of a message that begins with `head` and goes on with so many bytes, up to these.
    pub(crate) fn frame_head(&self, head: &[u8], rest: usize) -> Bytes {
        match self {
            Self::Bare => frame::binary_head(&[head], rest),
            Self::Addressed(address) => frame::binary_head(&[&address.prefix(), head], rest),
        }
    }
}

/// Where a member's messages go.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) queue: Arc<Queue>,
    pub(crate) framing: Framing,
}

/// The frames of one body, made when first needed. Members of one room nearly always share one or two.
#[derive(Debug)]
pub(crate) struct SharedFrame<'a> {
    body: &'a [u8],
    made: Vec<(&'a Framing, Bytes)>,
}

impl<'a> SharedFrame<'a> {
    /// Framings remembered; a room in which each member has its own (session-aware providers) gains nothing.
    const REMEMBERED: usize = 4;

    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, made: Vec::new() }
    }

    pub(crate) fn for_framing(&mut self, framing: &'a Framing) -> Bytes {
        if let Some((_, frame)) = self.made.iter().find(|(made, _)| *made == framing) {
            return frame.clone();
        }
        let frame = framing.frame(self.body);
        if self.made.len() < Self::REMEMBERED {
            self.made.push((framing, frame.clone()));
        }
        frame
    }
}
