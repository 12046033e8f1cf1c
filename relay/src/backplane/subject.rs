//! What NATS calls those to whom something is said: `tombolo.v1.all`, `tombolo.v1.room.<base64url of the document's
//! key>`, `tombolo.v1.peer.<16 hex digits>`, behind a prefix if one was given. Relays of a cluster agree on these.

use tombolo_core::cluster::To;
use tombolo_core::wire::base64;

/// The subject for `to`.
pub(super) fn subject(prefix: &str, to: &To) -> String {
    let dot = if prefix.is_empty() { "" } else { "." };
    match to {
        To::Everybody => format!("{prefix}{dot}tombolo.v1.all"),
        To::Peer(peer) => format!("{prefix}{dot}tombolo.v1.peer.{peer}"),
        To::Room(document) => {
            // The alphabet of URLs, without padding: subjects are cut at dots and spaces, and * and > mean more.
            let name = base64(&document.to_key()).replace('+', "-").replace('/', "_");
            format!("{prefix}{dot}tombolo.v1.room.{}", name.trim_end_matches('='))
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::{DocumentId, PeerId};

    use super::*;

    #[test]
    fn golden_subjects() {
        let room = |name: &str| To::Room(DocumentId::yjs(name).unwrap());
        assert_eq!(subject("", &To::Everybody), "tombolo.v1.all");
        assert_eq!(subject("x", &To::Everybody), "x.tombolo.v1.all");
        assert_eq!(subject("", &To::Peer(PeerId(0xab))), "tombolo.v1.peer.00000000000000ab");
        assert_eq!(subject("", &room("a/b.*>")), "tombolo.v1.room.AWEvYi4qPg");
        assert_eq!(subject("", &room("~~~~~???")), "tombolo.v1.room.AX5-fn5-Pz8_");
        let automerge = To::Room(DocumentId::Automerge([255; 16]));
        assert_eq!(subject("", &automerge), "tombolo.v1.room.Av____________________8");
        // A control line of NATS has at most 4,096 bytes.
        assert!(subject(&"x".repeat(64), &room(&"x".repeat(512))).len() < 1024);
    }
}
