//! What stock clients send, as bytes.

use bytes::Bytes;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata};
use tombolo_core::dialect::y_protocols;
use tombolo_core::id::DocumentId;
use tombolo_core::validate::{AwarenessEntry, AwarenessUpdate};
use tombolo_core::wire::lib0::{write_var_bytes, write_var_u64};

/// `SyncStep1` of an empty document.
pub fn step1() -> Bytes {
    y_protocols::sync_step1(&[0])
}

/// `SyncStep2` with nothing in it.
pub fn nothing() -> Bytes {
    y_protocols::sync_step2(&[0, 0])
}

/// The Yjs update of `client` that puts `text` into the text `t` at `clock`.
pub fn edit(client: u64, clock: u64, text: &str) -> Vec<u8> {
    let mut out = vec![1, 1];
    write_var_u64(&mut out, client);
    write_var_u64(&mut out, clock);
    out.extend_from_slice(&[4, 1, 1, b't']);
    write_var_bytes(&mut out, text.as_bytes());
    out.push(0);
    out
}

/// An awareness message with one entry.
pub fn presence(client: u64, clock: u64, state: Option<&str>) -> Bytes {
    let state = state.map(|state| Bytes::copy_from_slice(state.as_bytes()));
    let update = AwarenessUpdate { entries: vec![AwarenessEntry { client, clock, state }] };
    y_protocols::awareness(&update.encode())
}

/// A Hocuspocus frame: `body` under an address.
pub fn to(address: &str, body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    write_var_bytes(&mut out, address.as_bytes());
    out.extend_from_slice(body);
    out.into()
}

/// A provider's first message for an address.
pub fn auth(address: &str) -> Bytes {
    let mut body = vec![2, 0];
    write_var_bytes(&mut body, b"token");
    write_var_bytes(&mut body, b"4.8.0");
    to(address, &body)
}

/// The answer to [`auth`].
pub fn admitted(address: &str) -> Bytes {
    to(address, b"\x02\x02\x0aread-write")
}

/// The acknowledgement of one update.
pub fn status(address: &str, applied: bool) -> Bytes {
    to(address, &[8, u8::from(applied)])
}

/// The Automerge document of the tests.
pub fn automerge_document() -> DocumentId {
    DocumentId::automerge_from_text("1Bhh3pU9gLXZiNDL6PEa1Gs9fh").unwrap()
}

/// The sync message of a peer that has nothing.
pub const EMPTY_SYNC: [u8; 10] = [0x42, 0, 0, 1, 0, 0, 0, 2, 2, 0x84];

/// The first sync message of a peer with one head.
pub const SYNC_WITH_A_HEAD: [u8; 42] = {
    let mut message = [7; 42];
    // Its kind and one head, then need, have and changes of nothing, and its flags.
    let (start, end) = ([0x42, 1], [0, 1, 0, 0, 0, 2, 2, 0x84]);
    (message[0], message[1]) = (start[0], start[1]);
    let mut index = 0;
    while index < end.len() {
        message[34 + index] = end[index];
        index += 1;
    }
    message
};

/// The first message of an automerge-repo client.
pub fn join(sender: &str) -> Bytes {
    join_versions(sender, &["1"])
}

pub fn join_versions(sender: &str, versions: &[&str]) -> Bytes {
    let versions = versions.iter().map(|version| (*version).to_owned()).collect();
    Message::Join { sender: sender.into(), metadata: PeerMetadata::default(), versions }.encode()
}

/// "Do you have it?"
pub fn request(sender: &str) -> Bytes {
    let (document, data) = (automerge_document(), Bytes::from_static(&EMPTY_SYNC));
    Message::Request { sender: sender.into(), target: "server".into(), document, data }.encode()
}

/// An application's message to everybody who has the document open.
pub fn ephemeral(sender: &str, target: &str, count: u64) -> Bytes {
    Message::Ephemeral {
        sender: sender.into(),
        target: target.into(),
        document: automerge_document(),
        count,
        session: "session".into(),
        data: Bytes::from_static(b"\x61x"),
    }
    .encode()
}
