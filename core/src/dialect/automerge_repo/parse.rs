//! From frames to messages.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Message, PeerMetadata, RemoteHeads};
use crate::dialect::FrameError;
use crate::dialect::payload::keep;
use crate::id::{DocumentId, InvalidName};
use crate::limits::{EPHEMERAL_BYTES_MAX, LIST_ENTRIES_MAX, MESSAGE_FIELDS_MAX, TEXT_BYTES_MAX};
use crate::validate::validate_sync_message;
use crate::wire::cbor::{CborError, Fields, Reader};

/// Reads one frame; `None` is a well-formed message of a type that is not known here and is to be ignored.
///
/// # Errors
/// [`FrameError`] if anything in it is malformed, missing, too large or left over.
pub fn parse(frame: &Bytes) -> Result<Option<Message>, FrameError> {
    let body = Body { frame, fields: Fields::parse(frame, MESSAGE_FIELDS_MAX)? };
    let message = match text(body.require("type")?, "type")? {
        "join" => join(&body)?,
        "peer" => Message::Peer {
            sender: body.sender()?,
            target: body.target()?,
            metadata: body.metadata()?,
            version: body.text("selectedProtocolVersion")?,
        },
        "error" => Message::Error {
            sender: body.optional_text("senderId")?,
            target: body.optional_text("targetId")?,
            message: body.text("message")?,
        },
        "leave" => Message::Leave { sender: body.sender()? },
        "request" => Message::Request {
            sender: body.sender()?,
            target: body.target()?,
            document: body.document()?,
            data: body.sync_message()?,
        },
        "sync" => Message::Sync {
            sender: body.sender()?,
            target: body.target()?,
            document: body.document()?,
            data: body.sync_message()?,
        },
        "doc-unavailable" => Message::DocUnavailable {
            sender: body.sender()?,
            target: body.target()?,
            document: body.document()?,
        },
        "ephemeral" => Message::Ephemeral {
            sender: body.sender()?,
            target: body.target()?,
            document: body.document()?,
            count: number(body.require("count")?, "count")?,
            session: body.text("sessionId")?,
            data: body.ephemeral_data()?,
        },
        "remote-subscription-change" => subscription(&body)?,
        "remote-heads-changed" => Message::RemoteHeadsChanged {
            sender: body.sender()?,
            target: body.target()?,
            document: body.document()?,
            new_heads: new_heads(body.require(NEW_HEADS)?)?,
        },
        _ => return Ok(None),
    };
    Ok(Some(message))
}

fn join(body: &Body<'_>) -> Result<Message, FrameError> {
    const VERSIONS: &str = "supportedProtocolVersions";
    let versions = match body.fields.get(VERSIONS) {
        Some(list) => texts(list, VERSIONS, &mut { LIST_ENTRIES_MAX })?,
        None => vec!["1".to_owned()],
    };
    Ok(Message::Join { sender: body.sender()?, metadata: body.metadata()?, versions })
}

fn subscription(body: &Body<'_>) -> Result<Message, FrameError> {
    let mut budget = LIST_ENTRIES_MAX;
    let mut list = |name| match body.fields.get(name) {
        Some(list) => texts(list, name, &mut budget),
        None => Ok(Vec::new()),
    };
    let (add, remove) = (list("add")?, list("remove")?);
    Ok(Message::RemoteSubscriptionChange { sender: body.sender()?, target: body.target()?, add, remove })
}

fn new_heads(mut value: Reader<'_>) -> Result<BTreeMap<String, RemoteHeads>, FrameError> {
    let mut budget = LIST_ENTRIES_MAX;
    let storages = fields(&mut value, NEW_HEADS, LIST_ENTRIES_MAX)?;
    let mut new_heads = BTreeMap::new();
    for (storage, value) in storages.iter() {
        let about = fields(&mut Reader::new(value), NEW_HEADS, MESSAGE_FIELDS_MAX)?;
        let heads =
            texts(about.get("heads").ok_or(FrameError::MissingField("heads"))?, "heads", &mut budget)?;
        let timestamp = about.get("timestamp").ok_or(FrameError::MissingField("timestamp"))?;
        let timestamp = number(timestamp, "timestamp")?;
        bounded(storage, NEW_HEADS)?;
        new_heads.insert(storage.to_owned(), RemoteHeads { heads, timestamp });
    }
    Ok(new_heads)
}

/// A message's fields, and the frame that they lie in.
struct Body<'a> {
    frame: &'a Bytes,
    fields: Fields<'a>,
}

impl<'a> Body<'a> {
    fn require(&self, name: &'static str) -> Result<Reader<'a>, FrameError> {
        self.fields.get(name).ok_or(FrameError::MissingField(name))
    }

    fn text(&self, name: &'static str) -> Result<String, FrameError> {
        Ok(text(self.require(name)?, name)?.to_owned())
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, FrameError> {
        self.fields.get(name).map(|value| Ok(text(value, name)?.to_owned())).transpose()
    }

    fn sender(&self) -> Result<String, FrameError> {
        self.text("senderId")
    }

    fn target(&self) -> Result<String, FrameError> {
        self.text("targetId")
    }

    /// A peer that says nothing about itself is a peer without storage whose sync state may be kept.
    fn metadata(&self) -> Result<PeerMetadata, FrameError> {
        const NAME: &str = "peerMetadata";
        // samod calls it `metadata`.
        let Some(mut value) = self.fields.get(NAME).or_else(|| self.fields.get("metadata")) else {
            return Ok(PeerMetadata::default());
        };
        let about = fields(&mut value, NAME, MESSAGE_FIELDS_MAX)?;
        let storage_id = about.get("storageId").map(|value| text(value, "storageId")).transpose()?;
        let is_ephemeral = about.get("isEphemeral").map(|mut value| value.bool()).transpose();
        Ok(PeerMetadata {
            storage_id: storage_id.map(str::to_owned),
            is_ephemeral: is_ephemeral.map_err(in_field("isEphemeral"))?.unwrap_or(false),
        })
    }

    /// JavaScript writes the base58check text, samod also reads and may write the 16 bytes.
    fn document(&self) -> Result<DocumentId, FrameError> {
        const NAME: &str = "documentId";
        let mut value = self.require(NAME)?;
        if value.is_text() {
            return Ok(DocumentId::automerge_from_text(text(value, NAME)?)?);
        }
        let id = value.bytes().map_err(in_field(NAME))?;
        Ok(DocumentId::Automerge(id.try_into().map_err(|_| InvalidName::NotBase58)?))
    }

    fn sync_message(&self) -> Result<Bytes, FrameError> {
        let data = self.require(DATA)?.bytes().map_err(in_field(DATA))?;
        validate_sync_message(data)?;
        Ok(keep(self.frame, data))
    }

    fn ephemeral_data(&self) -> Result<Bytes, FrameError> {
        let data = self.require(DATA)?.bytes().map_err(in_field(DATA))?;
        if data.len() > EPHEMERAL_BYTES_MAX {
            return Err(FrameError::TooLong { what: DATA, bytes: data.len(), max: EPHEMERAL_BYTES_MAX });
        }
        Ok(keep(self.frame, data))
    }
}

fn fields<'a>(value: &mut Reader<'a>, name: &'static str, max: usize) -> Result<Fields<'a>, FrameError> {
    value.skip().and_then(|bytes| Fields::parse(bytes, max)).map_err(in_field(name))
}

/// A list of texts; each takes one from `budget`, because a short text costs more memory here than on the wire.
fn texts(mut value: Reader<'_>, name: &'static str, budget: &mut usize) -> Result<Vec<String>, FrameError> {
    let in_list = in_field(name);
    let mut items = value.array().map_err(in_list)?;
    let mut texts = Vec::new();
    while value.more(&mut items).map_err(in_list)? {
        *budget =
            budget.checked_sub(1).ok_or(CborError::TooMany { max: LIST_ENTRIES_MAX }).map_err(in_list)?;
        texts.push(bounded(value.text().map_err(in_list)?, name)?.to_owned());
    }
    Ok(texts)
}

fn text<'a>(mut value: Reader<'a>, name: &'static str) -> Result<&'a str, FrameError> {
    bounded(value.text().map_err(in_field(name))?, name)
}

fn number(mut value: Reader<'_>, name: &'static str) -> Result<u64, FrameError> {
    value.u64().map_err(in_field(name))
}

fn bounded<'a>(text: &'a str, what: &'static str) -> Result<&'a str, FrameError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(FrameError::TooLong { what, bytes: text.len(), max: TEXT_BYTES_MAX });
    }
    Ok(text)
}

fn in_field(field: &'static str) -> impl Fn(CborError) -> FrameError + Copy {
    move |source| FrameError::Field { field, source }
}

const DATA: &str = "data";
const NEW_HEADS: &str = "newHeads";
