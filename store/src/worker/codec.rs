//! Requests and replies as bytes for a pipe: a tag, then the fields as lib0 integers and byte strings.
//!
//! Both ends are the same program, so there is no version; what does not read is refused all the same,
//! because the far end may be dying.

use bytes::Bytes;
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;
use tombolo_core::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

use super::{Reply, Request, WorkerError};

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no message of a merge worker")]
pub(super) struct NoMessage;

impl From<Lib0Error> for NoMessage {
    fn from(_: Lib0Error) -> Self {
        Self
    }
}

pub(super) fn encode_request(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::Compact { kind, parts } => {
            out.extend_from_slice(&[0, kind.tag()]);
            write_list(&mut out, parts);
        }
        Request::SessionOpen { document, parts } => {
            out.push(1);
            write_document(&mut out, document);
            write_list(&mut out, parts);
        }
        Request::SessionJoin { document, peer } => write_peer(&mut out, 2, document, *peer),
        Request::SessionReceive { document, peer, message } => {
            write_peer(&mut out, 3, document, *peer);
            write_var_bytes(&mut out, message);
        }
        Request::SessionGenerate { document } => {
            out.push(4);
            write_document(&mut out, document);
        }
        Request::SessionLeave { document, peer } => write_peer(&mut out, 5, document, *peer),
        Request::View { format, form, root, parts } => {
            out.extend_from_slice(&[20, format.tag(), *form as u8]);
            write_root(&mut out, root.as_deref());
            write_list(&mut out, parts);
        }
        Request::Make { format, form, root, content } => {
            out.extend_from_slice(&[21, format.tag(), *form as u8]);
            write_root(&mut out, root.as_deref());
            write_var_bytes(&mut out, content);
        }
    }
    out
}

pub(super) fn decode_request(bytes: &Bytes) -> Result<Request, NoMessage> {
    let mut reader = Reader::new(bytes);
    let request = match reader.u8()? {
        0 => {
            let kind = Kind::from_tag(reader.u8()?).ok_or(NoMessage)?;
            Request::Compact { kind, parts: read_list(bytes, &mut reader)? }
        }
        1 => Request::SessionOpen {
            document: read_document(&mut reader)?,
            parts: read_list(bytes, &mut reader)?,
        },
        2 => Request::SessionJoin { document: read_document(&mut reader)?, peer: reader.var_u64()? },
        3 => Request::SessionReceive {
            document: read_document(&mut reader)?,
            peer: reader.var_u64()?,
            message: read_bytes(bytes, &mut reader)?,
        },
        4 => Request::SessionGenerate { document: read_document(&mut reader)? },
        5 => Request::SessionLeave { document: read_document(&mut reader)?, peer: reader.var_u64()? },
        20 => Request::View {
            format: Format::from_tag(reader.u8()?).ok_or(NoMessage)?,
            form: Form::from_tag(reader.u8()?).ok_or(NoMessage)?,
            root: read_root(&mut reader)?,
            parts: read_list(bytes, &mut reader)?,
        },
        21 => Request::Make {
            format: Format::from_tag(reader.u8()?).ok_or(NoMessage)?,
            form: Form::from_tag(reader.u8()?).ok_or(NoMessage)?,
            root: read_root(&mut reader)?,
            content: read_bytes(bytes, &mut reader)?,
        },
        _ => return Err(NoMessage),
    };
    reader.end()?;
    Ok(request)
}

pub(super) fn encode_reply(reply: &Result<Reply, WorkerError>) -> Vec<u8> {
    let mut out = Vec::new();
    match reply {
        Ok(Reply::Done) => out.push(0),
        Ok(Reply::Snapshot(snapshot)) => {
            out.push(1);
            write_var_bytes(&mut out, snapshot);
        }
        Ok(Reply::Opened { empty }) => out.extend_from_slice(&[2, u8::from(*empty)]),
        Ok(Reply::Received { changes, empty }) => {
            out.extend_from_slice(&[3, u8::from(*empty)]);
            write_var_bytes(&mut out, changes);
        }
        Ok(Reply::Generated { messages, empty }) => {
            out.extend_from_slice(&[4, u8::from(*empty)]);
            write_var_u64(&mut out, messages.len() as u64);
            for (peer, message) in messages {
                write_var_u64(&mut out, *peer);
                write_var_bytes(&mut out, message);
            }
        }
        Ok(Reply::Left { closed }) => out.extend_from_slice(&[5, u8::from(*closed)]),
        Err(WorkerError::Refused { reason }) => {
            out.push(6);
            write_var_bytes(&mut out, reason.as_bytes());
        }
        Err(WorkerError::Died { reason }) => {
            out.push(7);
            write_var_bytes(&mut out, reason.as_bytes());
        }
        Err(WorkerError::NoSession) => out.push(8),
        Ok(Reply::View(view)) => {
            out.push(20);
            write_var_bytes(&mut out, view);
        }
        Ok(Reply::Partly { snapshot, waiting }) => {
            out.push(16);
            write_var_bytes(&mut out, snapshot);
            write_var_u64(&mut out, waiting.len() as u64);
            waiting.iter().for_each(|place| write_var_u64(&mut out, *place));
        }
        Err(WorkerError::Unavailable { reason }) => {
            out.push(17);
            write_var_bytes(&mut out, reason.as_bytes());
        }
        Err(WorkerError::Pending) => out.push(18),
        Err(WorkerError::Diverged { reason }) => {
            out.push(19);
            write_var_bytes(&mut out, reason.as_bytes());
        }
    }
    out
}

pub(super) fn decode_reply(bytes: &Bytes) -> Result<Result<Reply, WorkerError>, NoMessage> {
    let mut reader = Reader::new(bytes);
    let reply = match reader.u8()? {
        0 => Ok(Reply::Done),
        1 => Ok(Reply::Snapshot(read_bytes(bytes, &mut reader)?)),
        2 => Ok(Reply::Opened { empty: read_bool(&mut reader)? }),
        3 => Ok(Reply::Received { empty: read_bool(&mut reader)?, changes: read_bytes(bytes, &mut reader)? }),
        4 => {
            let empty = read_bool(&mut reader)?;
            let mut messages = Vec::new();
            for _ in 0..reader.var_u64()? {
                messages.push((reader.var_u64()?, read_bytes(bytes, &mut reader)?));
            }
            Ok(Reply::Generated { messages, empty })
        }
        5 => Ok(Reply::Left { closed: read_bool(&mut reader)? }),
        6 => Err(WorkerError::Refused { reason: reader.var_str()?.to_owned() }),
        7 => Err(WorkerError::Died { reason: reader.var_str()?.to_owned() }),
        8 => Err(WorkerError::NoSession),
        20 => Ok(Reply::View(read_bytes(bytes, &mut reader)?)),
        16 => {
            let snapshot = read_bytes(bytes, &mut reader)?;
            let mut waiting = Vec::new();
            for _ in 0..reader.var_u64()? {
                waiting.push(reader.var_u64()?);
            }
            Ok(Reply::Partly { snapshot, waiting })
        }
        17 => Err(WorkerError::Unavailable { reason: reader.var_str()?.to_owned() }),
        18 => Err(WorkerError::Pending),
        19 => Err(WorkerError::Diverged { reason: reader.var_str()?.to_owned() }),
        _ => return Err(NoMessage),
    };
    reader.end()?;
    Ok(reply)
}

fn write_document(out: &mut Vec<u8>, document: &DocumentId) {
    write_var_bytes(out, &document.to_key());
}

fn write_peer(out: &mut Vec<u8>, tag: u8, document: &DocumentId, peer: u64) {
    out.push(tag);
    write_document(out, document);
    write_var_u64(out, peer);
}

fn write_root(out: &mut Vec<u8>, root: Option<&str>) {
    out.push(u8::from(root.is_some()));
    if let Some(root) = root {
        write_var_bytes(out, root.as_bytes());
    }
}

fn read_root(reader: &mut Reader<'_>) -> Result<Option<String>, NoMessage> {
    Ok(if read_bool(reader)? { Some(reader.var_str()?.to_owned()) } else { None })
}

fn write_list(out: &mut Vec<u8>, parts: &[Bytes]) {
    write_var_u64(out, parts.len() as u64);
    parts.iter().for_each(|part| write_var_bytes(out, part));
}

fn read_document(reader: &mut Reader<'_>) -> Result<DocumentId, NoMessage> {
    DocumentId::from_key(reader.var_bytes()?).map_err(|_| NoMessage)
}

fn read_list(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Vec<Bytes>, NoMessage> {
    // Grows by what is really there, whatever the count claims.
    let mut parts = Vec::new();
    for _ in 0..reader.var_u64()? {
        parts.push(read_bytes(bytes, reader)?);
    }
    Ok(parts)
}

fn read_bytes(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Bytes, NoMessage> {
    Ok(bytes.slice_ref(reader.var_bytes()?))
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, NoMessage> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(NoMessage),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn document() -> impl Strategy<Value = DocumentId> {
        prop_oneof![Just(DocumentId::yjs("d").unwrap()), any::<[u8; 16]>().prop_map(DocumentId::Automerge)]
    }

    fn peer() -> std::ops::Range<u64> {
        0..1 << 53
    }

    fn format() -> impl Strategy<Value = Format> {
        prop_oneof![Just(Format::Yjs), Just(Format::Automerge)]
    }

    fn form() -> impl Strategy<Value = Form> {
        prop_oneof![Just(Form::Json), Just(Form::Text), Just(Form::UpdateV2), Just(Form::Heads)]
    }

    fn root() -> impl Strategy<Value = Option<String>> {
        prop::option::of(".*")
    }

    fn request() -> impl Strategy<Value = Request> {
        let parts = || prop::collection::vec(bytes(), 0..4);
        let kind = prop_oneof![Just(Kind::YjsUpdate), Just(Kind::AutomergeChanges)];
        prop_oneof![
            (kind, parts()).prop_map(|(kind, parts)| Request::Compact { kind, parts }),
            (document(), parts()).prop_map(|(document, parts)| Request::SessionOpen { document, parts }),
            (document(), peer()).prop_map(|(document, peer)| Request::SessionJoin { document, peer }),
            (document(), peer(), bytes()).prop_map(|(document, peer, message)| Request::SessionReceive {
                document,
                peer,
                message
            }),
            document().prop_map(|document| Request::SessionGenerate { document }),
            (document(), peer()).prop_map(|(document, peer)| Request::SessionLeave { document, peer }),
            (format(), form(), root(), parts()).prop_map(|(format, form, root, parts)| Request::View {
                format,
                form,
                root,
                parts
            }),
            (format(), form(), root(), bytes()).prop_map(|(format, form, root, content)| Request::Make {
                format,
                form,
                root,
                content
            }),
        ]
    }

    fn reply() -> impl Strategy<Value = Result<Reply, WorkerError>> {
        let messages = prop::collection::vec((peer(), bytes()), 0..4);
        prop_oneof![
            Just(Ok(Reply::Done)),
            bytes().prop_map(|bytes| Ok(Reply::Snapshot(bytes))),
            bytes().prop_map(|bytes| Ok(Reply::View(bytes))),
            any::<bool>().prop_map(|empty| Ok(Reply::Opened { empty })),
            (bytes(), any::<bool>()).prop_map(|(changes, empty)| Ok(Reply::Received { changes, empty })),
            (messages, any::<bool>()).prop_map(|(messages, empty)| Ok(Reply::Generated { messages, empty })),
            any::<bool>().prop_map(|closed| Ok(Reply::Left { closed })),
            ".*".prop_map(|reason| Err(WorkerError::Refused { reason })),
            ".*".prop_map(|reason| Err(WorkerError::Died { reason })),
            Just(Err(WorkerError::NoSession)),
            Just(Err(WorkerError::Pending)),
            ".*".prop_map(|reason| Err(WorkerError::Unavailable { reason })),
            ".*".prop_map(|reason| Err(WorkerError::Diverged { reason })),
            (bytes(), prop::collection::vec(peer(), 0..4))
                .prop_map(|(snapshot, waiting)| Ok(Reply::Partly { snapshot, waiting })),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back(request in request(), reply in reply()) {
            prop_assert_eq!(decode_request(&encode_request(&request).into()), Ok(request));
            prop_assert_eq!(decode_reply(&encode_reply(&reply).into()), Ok(reply));
        }

        #[test]
        fn any_bytes_are_judged(bytes in bytes()) {
            let _ = decode_request(&bytes);
            let _ = decode_reply(&bytes);
        }
    }

    #[test]
    fn golden_bytes_of_views() {
        let part = Bytes::from_static(b"p");
        let (format, form, root) = (Format::Yjs, Form::Text, Some("r".to_owned()));
        let view = Request::View { format, form, root, parts: vec![part.clone()] };
        assert_eq!(encode_request(&view), [20, 1, 1, 1, 1, b'r', 1, 1, b'p']);
        let (format, form) = (Format::Automerge, Form::Json);
        let make = Request::Make { format, form, root: None, content: part.clone() };
        assert_eq!(encode_request(&make), [21, 2, 0, 0, 1, b'p']);
        assert_eq!(encode_reply(&Ok(Reply::View(part))), [20, 1, b'p']);
    }
}
