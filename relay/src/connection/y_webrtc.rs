//! y-webrtc: signaling for peers that connect to each other. Nothing of a document passes here.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tombolo_core::dialect::y_webrtc::{self, Message};

use super::queue::Queue;
use super::{Closing, Dialect, frame};
use crate::admission::{Claim, admit_writer};
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
    pub(crate) fn new(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        address: SocketAddr,
        token: Option<&str>,
    ) -> Self {
        let claim = Claim { address, document: None, token };
        if let Err(denied) = admit_writer(&*shared.admission, &claim) {
            shared.metrics.refuse("admission");
            queue.close(CLOSE_REFUSED, &denied.reason);
        }
        let subscriber = shared.topics.subscriber(queue);
        Self { shared: Arc::clone(shared), queue: Arc::clone(queue), subscriber }
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
