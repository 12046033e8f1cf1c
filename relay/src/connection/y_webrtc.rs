//! y-webrtc: signaling for peers that connect to each other. Nothing of a document passes here.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::y_webrtc::{self, Message};

use super::queue::Queue;
use super::{Closing, Dialect, frame};
use crate::admission::Denied;
use crate::listener::Shared;
use crate::room::Subscriber;

/// Stock clients come back after every code.
const CLOSE_REFUSED: u16 = 1008;

/// A signaling connection.
pub(crate) struct YWebrtc {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    subscriber: Subscriber,
}

impl YWebrtc {
    pub(crate) fn new(shared: &Arc<Shared>, queue: &Arc<Queue>) -> Self {
        let subscriber = shared.topics.subscriber(queue);
        Self { shared: Arc::clone(shared), queue: Arc::clone(queue), subscriber }
    }

    /// One that may not join.
    pub(crate) fn denied(self, denied: &Denied) -> Self {
        self.shared.metrics.refuse("admission");
        self.queue.close(CLOSE_REFUSED, &denied.reason);
        self
    }

    fn subscribe(&mut self, topics: Vec<String>) -> Result<(), Closing> {
        let topics_max = self.shared.config.documents_per_connection_max;
        for topic in topics {
            if !self.subscriber.subscribe(topic, topics_max) {
                return Err(Closing::refused(
                    CLOSE_REFUSED,
                    "too many topics on one connection",
                    "documents_per_connection",
                ));
            }
        }
        Ok(())
    }
}

impl Dialect for YWebrtc {
    fn message(&mut self, _payload: Bytes) -> Result<(), Closing> {
        Err(Closing::refused(1003, "this dialect has text messages only", "binary_message"))
    }

    fn silent(&self) -> u16 {
        CLOSE_REFUSED
    }

    fn text(&mut self, text: &str) -> Result<(), Closing> {
        let message =
            y_webrtc::parse(text).map_err(|error| Closing::refused(CLOSE_REFUSED, &error, error.reason()))?;
        match message {
            Some(Message::Subscribe(topics)) => self.subscribe(topics)?,
            Some(Message::Unsubscribe(topics)) => {
                topics.iter().for_each(|topic| self.subscriber.unsubscribe(topic));
            }
            Some(Message::Publish(publication)) => self.shared.topics.publish(publication),
            Some(Message::Ping) => self.queue.answer(frame::text(y_webrtc::PONG)),
            // A type of a later version: stock servers ignore it.
            None => {}
        }
        Ok(())
    }
}
