//! y-webrtc signaling: peers that connect to each other find each other by topics; JSON in text frames.
//!
//! What is published goes to all who subscribed the topic, the sender included, and is never looked into: with a
//! password it is encrypted anyway. Nothing is kept. Source: `bin/server.js` and `src/y-webrtc.js` of y-webrtc 10.3.0.

use serde_json::{Map, Value};

use super::error::FrameError;
use crate::limits::{SIGNAL_BYTES_MAX, TOPIC_BYTES_MAX};

/// What a server answers to a ping.
pub const PONG: &str = r#"{"type":"pong"}"#;

/// One message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// It wants to hear what is published to these topics.
    Subscribe(Vec<String>),
    /// And to these no more.
    Unsubscribe(Vec<String>),
    /// For everybody who hears a topic.
    Publish(Publication),
    /// A sign of life; answered with [`PONG`].
    Ping,
}

/// What is published, with every field that its sender gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    topic: String,
    fields: Map<String, Value>,
}

impl Publication {
    /// Where.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The message for who hears the topic; `clients` of them do.
    #[must_use]
    pub fn for_subscribers(mut self, clients: usize) -> String {
        self.fields.insert("clients".to_owned(), clients.into());
        Value::Object(self.fields).to_string()
    }
}

/// Reads a text frame; none if its type is not known, which stock servers ignore.
///
/// # Errors
/// [`FrameError`] if it is no JSON object, too long, or a topic is no text or too long.
pub fn parse(text: &str) -> Result<Option<Message>, FrameError> {
    bounded("the message", text.len(), SIGNAL_BYTES_MAX)?;
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else { return Err(FrameError::Json) };
    let message = match fields.get("type").and_then(Value::as_str) {
        Some("subscribe") => Message::Subscribe(topics(&mut fields)?),
        Some("unsubscribe") => Message::Unsubscribe(topics(&mut fields)?),
        Some("publish") => {
            let topic = topic(fields.get("topic").cloned().unwrap_or_default())?;
            Message::Publish(Publication { topic, fields })
        }
        Some("ping") => Message::Ping,
        _ => return Ok(None),
    };
    Ok(Some(message))
}

/// Without the field there are none, as for stock servers.
fn topics(fields: &mut Map<String, Value>) -> Result<Vec<String>, FrameError> {
    match fields.remove("topics") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(topics)) => topics.into_iter().map(topic).collect(),
        Some(_) => Err(FrameError::MissingField("topics")),
    }
}

fn topic(value: Value) -> Result<String, FrameError> {
    let Value::String(topic) = value else { return Err(FrameError::MissingField("topic")) };
    bounded("a topic", topic.len(), TOPIC_BYTES_MAX)?;
    Ok(topic)
}

fn bounded(what: &'static str, bytes: usize, max: usize) -> Result<(), FrameError> {
    if bytes <= max { Ok(()) } else { Err(FrameError::TooLong { what, bytes, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stock_clients_send() {
        let topics = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let read = |text| parse(text).unwrap();
        assert_eq!(
            read(r#"{"type":"subscribe","topics":["a","b"]}"#),
            Some(Message::Subscribe(topics(&["a", "b"])))
        );
        assert_eq!(read(r#"{"type":"subscribe"}"#), Some(Message::Subscribe(vec![])));
        assert_eq!(
            read(r#"{"type":"unsubscribe","topics":["a"]}"#),
            Some(Message::Unsubscribe(topics(&["a"])))
        );
        assert_eq!(read(r#"{"type":"ping"}"#), Some(Message::Ping));
        assert_eq!(read(r#"{"type":"of a later version"}"#), None);
        assert_eq!(read("{}"), None);
    }

    #[test]
    fn what_is_published_goes_on_with_all_its_fields_and_the_number_of_subscribers() {
        let text = r#"{"type":"publish","topic":"r","data":{"type":"announce","from":"pa"},"clients":99}"#;
        let Some(Message::Publish(publication)) = parse(text).unwrap() else { panic!("not a publication") };
        assert_eq!(publication.topic(), "r");
        let told: Value = serde_json::from_str(&publication.for_subscribers(2)).unwrap();
        let captured = r#"{"type":"publish","topic":"r","data":{"type":"announce","from":"pa"},"clients":2}"#;
        assert_eq!(told, serde_json::from_str::<Value>(captured).unwrap());
    }

    #[test]
    fn what_no_client_sends_is_refused() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        let deep = "[".repeat(60_000);
        for text in [
            "",
            "null",
            "[]",
            "no json",
            deep.as_str(),
            r#"{"type":"publish"}"#,
            r#"{"type":"publish","topic":7}"#,
            r#"{"type":"subscribe","topics":"a"}"#,
            r#"{"type":"subscribe","topics":[1]}"#,
            &format!(r#"{{"type":"subscribe","topics":["{long}"]}}"#),
            &format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(SIGNAL_BYTES_MAX)),
        ] {
            assert!(parse(text).is_err(), "{}", text.chars().take(80).collect::<String>());
        }
    }
}
