//! Stateless messages of Hocuspocus: what an application says to whoever has the document open now. They pass by the
//! room: nothing of them is merged, kept or made up for.
//!
//! Guarantees: those of one sender arrive in their order, each once or not at all, never back at the sender, and behind
//! the updates that it sent before. Who is
//! behind is left out: a message that no longer matters must not be why a reader has to resynchronise.

use std::sync::Arc;

use tombolo_core::dialect::hocuspocus;
use tombolo_core::id::DocumentId;

use super::framing::{Framing, PerFraming, Seat};
use super::listeners::{Listeners, Listening};
use crate::connection::frame;
use crate::metrics::Metrics;

/// Everybody who speaks Hocuspocus, by document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stateless(Arc<Listeners<DocumentId, Seat>>);

/// One who hears, and may speak; dropping it ends both.
#[derive(Debug)]
pub(crate) struct Speaker(Listening<DocumentId, Seat>);

impl Stateless {
    pub(crate) fn speaker(&self, document: &DocumentId, seat: Seat) -> Speaker {
        Speaker(self.0.listen(document.clone(), seat))
    }

    /// Tells everybody on a document what somebody at another relay said.
    pub(crate) fn tell(&self, document: &DocumentId, payload: &str, metrics: &Metrics) {
        spread(&self.0.of(document), payload, metrics);
    }
}

impl Speaker {
    pub(crate) fn document(&self) -> &DocumentId {
        self.0.key()
    }

    /// Tells all others on this document who are connected here.
    pub(crate) fn say(&self, payload: &str, metrics: &Metrics) {
        spread(&self.0.others(), payload, metrics);
    }
}

fn spread(seats: &[Seat], payload: &str, metrics: &Metrics) {
    let mut frames = PerFraming::new();
    for Seat { queue, framing, .. } in seats {
        let Framing::Addressed(address) = framing else { continue };
        if queue.is_behind() {
            metrics.refuse("stateless_behind");
            continue;
        }
        let frame = frames.of(framing, || frame::binary(&[&hocuspocus::stateless(address, payload)]));
        metrics.messages_sent.inc();
        metrics.bytes_sent.inc_by(frame.len() as u64);
        queue.forward(frame);
    }
}
