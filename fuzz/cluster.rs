//! What another relay says, to the machine that makes relays one.

use bytes::Bytes;
use tombolo_core::cluster::{Cluster, Envelope, MESSAGE_BYTES_MAX, Output, Timing, To};
use tombolo_core::id::{DocumentId, PeerId};
use tombolo_core::room::Roll;
use tombolo_core::time::Millis;

/// Each part of the script is a byte that says where it comes from, and the message. The machine is peer 1 at its first
/// start, with the room `notes` open.
pub fn cluster(data: &[u8]) {
    let me = PeerId(1);
    let room = DocumentId::yjs("notes").expect("a name");
    let mut relay = Cluster::new(me, data.len() % 2 == 1, Timing::default());
    let mut now = Millis(0);
    relay.up(now);
    relay.opened(now, &room, Roll::default());
    for part in super::parts(data) {
        let Some((way, message)) = part.split_first() else { continue };
        let message = Bytes::copy_from_slice(message);
        if let Ok(envelope) = Envelope::parse(&message)
            && envelope.is_known()
        {
            let again = Envelope::parse(&envelope.encode()).expect("what was read is written");
            assert_eq!(format!("{again:?}"), format!("{envelope:?}"));
        }
        let to = match way % 4 {
            0 => To::Everybody,
            1 => To::Room(room.clone()),
            2 => To::Peer(me),
            _ => {
                now = now.plus(u64::from(way >> 2) * 40);
                relay.handle_timeout(now);
                assert!(relay.poll_timeout().is_none_or(|at| at > now), "a timer that does not go on");
                To::Room(room.clone())
            }
        };
        relay.heard(now, &to, &message);
        carry_out(&mut relay, now);
    }
}

/// Does as a driver does.
fn carry_out(relay: &mut Cluster, now: Millis) {
    while let Some(output) = relay.poll() {
        match output {
            Output::Transmit { message, .. } => {
                assert!(message.len() <= MESSAGE_BYTES_MAX);
                assert!(Envelope::parse(&message).expect("it can be read").is_known());
            }
            Output::Said { document, peer, message } => {
                let said = relay.say(&document, message.clone()).and(relay.tell(&document, peer, message));
                said.expect("what came in a message fits in one");
            }
            Output::Unread(unread) => relay.take_in(now, unread.read()),
            Output::Tunnel { peer, frame } => relay.tunnel(peer, frame).expect("what came fits"),
            Output::Wanted(document) => relay.opened(now, &document, Roll { archive: true, caught_up: true }),
            _ => {}
        }
    }
}
