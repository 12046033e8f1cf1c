//! Messages for documents that are being examined: they wait until that has ended, so that one document in trouble
//! does not end the connections of its clients, which carry others.
//!
//! Guarantees: what waits has a bound, beyond which it is refused; of one document it goes on in its order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_relay::member::PairwisePeer;

/// Most bytes that wait in one lane.
const PARKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a message holds in memory besides its own bytes.
const FIXED: usize = 512;

/// A sync message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) peer: PairwisePeer,
    pub(super) data: Bytes,
    /// Whether its sender asks if the document exists.
    pub(super) wants: bool,
}

impl Message {
    fn weight(&self) -> usize {
        self.data.len() + FIXED
    }
}

/// What waits, by document.
#[derive(Debug, Default)]
pub(super) struct Parked {
    documents: BTreeMap<DocumentId, VecDeque<Message>>,
    bytes: usize,
}

impl Parked {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Whether something waits for this document, so that what comes must not overtake it.
    pub(super) fn has(&self, id: &DocumentId) -> bool {
        self.documents.contains_key(id)
    }

    /// Lets a message wait; false if there is no room for it.
    pub(super) fn park(&mut self, id: &DocumentId, message: Message) -> bool {
        let bytes = self.bytes + message.weight();
        let fits = bytes <= PARKED_BYTES_MAX;
        if fits {
            self.bytes = bytes;
            self.documents.entry(id.clone()).or_default().push_back(message);
        }
        fits
    }

    /// Takes out what waits for documents that are not examined any more.
    pub(super) fn take_ready(
        &mut self,
        is_examined: impl Fn(&DocumentId) -> bool,
    ) -> Vec<(DocumentId, VecDeque<Message>)> {
        let (waiting, ready): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.documents).into_iter().partition(|(id, _)| is_examined(id));
        self.documents = waiting;
        self.weigh();
        ready.into_iter().collect()
    }

    /// Its messages are nobody's any more.
    pub(super) fn leave(&mut self, peer: PairwisePeer) {
        for messages in self.documents.values_mut() {
            messages.retain(|message| message.peer != peer);
        }
        self.documents.retain(|_, messages| !messages.is_empty());
        self.weigh();
    }

    fn weigh(&mut self) {
        self.bytes = self.documents.values().flatten().map(Message::weight).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(peer: u64, bytes: usize) -> Message {
        Message { peer: PairwisePeer(peer), data: vec![0; bytes].into(), wants: false }
    }

    #[test]
    fn what_waits_goes_on_in_its_order_and_has_a_bound() {
        let [one, two] = [1, 2].map(|id| DocumentId::Automerge([id; 16]));
        let mut parked = Parked::default();
        for (peer, bytes) in [(1, 3), (2, 1), (1, 2)] {
            assert!(parked.park(&one, message(peer, bytes)));
        }
        assert!(parked.park(&two, message(2, 0)));
        assert!(!parked.park(&two, message(1, PARKED_BYTES_MAX)));
        assert!(parked.has(&one) && parked.take_ready(|_| true).is_empty());
        parked.leave(PairwisePeer(2));
        assert!(!parked.has(&two));
        let ready = parked.take_ready(|_| false);
        let lengths: Vec<_> = ready.iter().flat_map(|(_, messages)| messages).map(|m| m.data.len()).collect();
        assert_eq!((lengths, parked.bytes, parked.is_empty()), (vec![3, 2], 0, true));
    }
}
