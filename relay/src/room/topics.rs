//! Topics of y-webrtc signaling: who subscribed what.

use std::collections::BTreeMap;
use std::sync::Arc;

use tombolo_core::dialect::y_webrtc::Publication;

use super::listeners::{Listeners, Listening};
use crate::connection::frame;
use crate::connection::queue::Queue;

/// All topics of a relay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics(Arc<Listeners<String, Arc<Queue>>>);

/// One connection's subscriptions; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Subscriber {
    topics: Topics,
    queue: Arc<Queue>,
    subscribed: BTreeMap<String, Listening<String, Arc<Queue>>>,
}

impl Topics {
    pub(crate) fn subscriber(&self, queue: &Arc<Queue>) -> Subscriber {
        Subscriber { topics: self.clone(), queue: Arc::clone(queue), subscribed: BTreeMap::new() }
    }

    /// Tells all subscribers.
    pub(crate) fn publish(&self, publication: Publication) {
        let subscribers = self.0.of(publication.topic());
        let frame = frame::text(&publication.for_subscribers(subscribers.len()));
        for subscriber in subscribers {
            subscriber.forward(frame.clone());
        }
    }
}

impl Subscriber {
    /// Hears a topic from now on; false if it hears `topics_max` others already.
    pub(crate) fn subscribe(&mut self, topic: String, topics_max: usize) -> bool {
        if self.subscribed.contains_key(&topic) {
            return true;
        }
        if self.subscribed.len() >= topics_max {
            return false;
        }
        let listening = self.topics.0.listen(topic.clone(), Arc::clone(&self.queue));
        self.subscribed.insert(topic, listening);
        true
    }

    /// Hears it no more.
    pub(crate) fn unsubscribe(&mut self, topic: &str) {
        self.subscribed.remove(topic);
    }
}
