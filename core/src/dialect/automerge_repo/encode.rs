//! From messages to frames.

use bytes::Bytes;

use super::{Message, PeerMetadata};
use crate::id::DocumentId;
use crate::wire::cbor::Writer;

impl Message {
    /// The whole frame, with the fields in the order of the JavaScript adapter.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(self.encoded_len_hint());
        match self {
            Self::Join { sender, metadata, versions } => {
                head(&mut out, 4, "join").text("senderId").text(sender);
                peer_metadata(&mut out, metadata);
                out.text("supportedProtocolVersions");
                list(&mut out, versions);
            }
            Self::Peer { sender, target, metadata, version } => {
                head(&mut out, 5, "peer").text("senderId").text(sender);
                peer_metadata(&mut out, metadata);
                out.text("selectedProtocolVersion").text(version).text("targetId").text(target);
            }
            Self::Error { sender, target, message } => {
                let known = usize::from(sender.is_some()) + usize::from(target.is_some());
                head(&mut out, 2 + known, "error");
                if let Some(sender) = sender {
                    out.text("senderId").text(sender);
                }
                out.text("message").text(message);
                if let Some(target) = target {
                    out.text("targetId").text(target);
                }
            }
            Self::Leave { sender } => {
                head(&mut out, 2, "leave").text("senderId").text(sender);
            }
            Self::Request { sender, target, document, data } => {
                head(&mut out, 5, "request").text("targetId").text(target);
                document_id(&mut out, document).text("data").bytes(data).text("senderId").text(sender);
            }
            Self::Sync { sender, target, document, data } => {
                head(&mut out, 5, "sync").text("targetId").text(target).text("data").bytes(data);
                document_id(&mut out, document).text("senderId").text(sender);
            }
            Self::DocUnavailable { sender, target, document } => {
                document_id(head(&mut out, 4, "doc-unavailable"), document);
                out.text("targetId").text(target).text("senderId").text(sender);
            }
            Self::Ephemeral { sender, target, document, count, session, data } => {
                head(&mut out, 7, "ephemeral").text("targetId").text(target);
                document_id(&mut out, document).text("data").bytes(data).text("count").u64(*count);
                out.text("sessionId").text(session).text("senderId").text(sender);
            }
            Self::RemoteSubscriptionChange { sender, target, add, remove } => {
                head(&mut out, 5, "remote-subscription-change").text("targetId").text(target);
                optional_list(out.text("add"), add);
                optional_list(out.text("remove"), remove);
                out.text("senderId").text(sender);
            }
            Self::RemoteHeadsChanged { sender, target, document, new_heads } => {
                head(&mut out, 5, "remote-heads-changed").text("targetId").text(target);
                document_id(&mut out, document).text("newHeads").map(new_heads.len());
                for (storage, about) in new_heads {
                    out.text(storage).map(2).text("heads");
                    list(&mut out, &about.heads);
                    out.text("timestamp").u64(about.timestamp);
                }
                out.text("senderId").text(sender);
            }
        }
        out.finish().into()
    }

    /// About how long the frame becomes, so that a large payload is copied once.
    fn encoded_len_hint(&self) -> usize {
        match self {
            Self::Request { data, .. } | Self::Sync { data, .. } | Self::Ephemeral { data, .. } => {
                256 + data.len()
            }
            _ => 256,
        }
    }
}

fn head<'a>(out: &'a mut Writer, fields: usize, kind: &str) -> &'a mut Writer {
    out.map(fields).text("type").text(kind)
}

fn peer_metadata(out: &mut Writer, metadata: &PeerMetadata) {
    out.text("peerMetadata").map(2).text("storageId");
    match &metadata.storage_id {
        Some(storage_id) => out.text(storage_id),
        None => out.undefined(),
    };
    out.text("isEphemeral").bool(metadata.is_ephemeral);
}

fn document_id<'a>(out: &'a mut Writer, document: &DocumentId) -> &'a mut Writer {
    out.text("documentId").text(&document.to_string())
}

fn list(out: &mut Writer, texts: &[String]) {
    out.array(texts.len());
    for text in texts {
        out.text(text);
    }
}

fn optional_list(out: &mut Writer, texts: &[String]) {
    if texts.is_empty() {
        out.undefined();
    } else {
        list(out, texts);
    }
}
