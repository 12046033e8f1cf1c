//! Operations of documents that the shelf cannot take until somebody repairs them.
//!
//! They stay in memory and in the journal. So that they do not hold back the segments of all others, they are
//! written anew behind everything else when the journal has moved on: an operation has a name, so a second
//! copy of it changes nothing.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use tombolo_core::id::DocumentId;

use crate::journal::{Journal, SegmentId};
use crate::shelf::ShelfError;
use crate::takeover::Item;

/// Least number of segments that the journal moves on before stuck operations are written anew.
const SEGMENTS_BEHIND_MIN: u64 = 4;

/// The stuck documents.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    reasons: BTreeMap<DocumentId, String>,
    items: Vec<Item>,
}

impl Stuck {
    /// Keeps an operation; its document takes no more.
    pub(crate) fn keep(&mut self, item: Item, error: &ShelfError) {
        let entry = &item.entry;
        if !self.reasons.contains_key(&entry.id) {
            tracing::error!(document = %entry.id, %error, "a document cannot be taken over; the journal keeps it, others go on");
            self.reasons.insert(entry.id.clone(), error.to_string());
        }
        entry.refuse_from_now_on(error.to_string());
        self.items.push(item);
    }

    /// Why one of them is stuck, if any is.
    pub(crate) fn first_reason(&self) -> Option<String> {
        self.reasons.values().next().cloned()
    }

    /// The first segment that must stay.
    pub(crate) fn first_segment(&self) -> Option<SegmentId> {
        self.items.iter().map(|item| item.segment).min()
    }

    /// Writes everything anew if the journal has moved on by a few times what that takes; waits until it is
    /// durable.
    pub(crate) fn carry_forward(&mut self, journal: &Journal, newest: SegmentId) {
        let segments = self.items.iter().map(|item| item.segment.0);
        let (Some(first), Some(last)) = (segments.clone().min(), segments.max()) else { return };
        let patience = SEGMENTS_BEHIND_MIN.max(2 * last.saturating_sub(first));
        if newest.0.saturating_sub(last) <= patience {
            return;
        }
        let (sender, receiver) = channel();
        for Item { operation, .. } in &self.items {
            let sender = sender.clone();
            journal.append(operation.clone(), Box::new(move |result| drop(sender.send(result))));
        }
        drop(sender);
        // Receipts come in order; the first refusal leaves the rest where it was.
        for (item, receipt) in self.items.iter_mut().zip(receiver) {
            match receipt {
                Ok(written) => item.segment = written,
                Err(error) => {
                    tracing::warn!(%error, "stuck operations could not be written anew");
                    return;
                }
            }
        }
    }
}
