//! What one peer says by hand: orders that a bus brings about seldom.

use bytes::Bytes;

use crate::cluster::codec::{LETTER_BYTES_MAX, Letter};
use crate::cluster::envelope::{Envelope, Heard, Part, Stream, ToEverybody, ToPeer, ToRoom, Who};
use crate::cluster::parts::{Assembly, HELD_BYTES_MAX};
use crate::cluster::{Cluster, InvalidEnvelope, Output, Sender, Timing, To};
use crate::id::{DocumentId, PeerId};
use crate::room::{PeerMessage, Roll, Ticket};
use crate::time::Millis;

pub(super) const ME: PeerId = PeerId(1);
pub(super) const OTHER: PeerId = PeerId(9);
/// The opening of the other's that it says first.
pub(super) const OPENING: u64 = 20;

pub(super) fn document() -> DocumentId {
    DocumentId::yjs("notes").unwrap()
}

pub(super) fn stored() -> PeerMessage {
    PeerMessage::Stored(vec![(Ticket(1), Ok(()))])
}

/// A relay with a room, and another that has come to it and said one thing to it.
pub(super) struct Talk {
    pub(super) relay: Cluster,
    pub(super) opening: u64,
}

impl Talk {
    pub(super) fn new() -> Self {
        let mut relay = Cluster::new(ME, false, Timing::default());
        relay.up(Millis(0));
        relay.opened(Millis(0), &document(), Roll::default());
        let opening = relay.rooms[&document()].opening;
        let mut talk = Self { relay, opening };
        talk.rolls(1, OPENING, Some(7));
        assert_eq!(talk.events(), ["came", "answered"]);
        talk
    }

    pub(super) fn says(&mut self, to: &To, stream: Stream) {
        let envelope = Envelope { sender: Sender { peer: OTHER, starts: 3 }, stream };
        self.relay.heard(Millis(1), to, &envelope.encode());
    }

    pub(super) fn tells_room(&mut self, number: u64, body: ToRoom) {
        self.says(&To::Room(document()), Stream::Room { number, body });
    }

    /// A roll that answers ours, if it is to, at this meeting.
    pub(super) fn rolls(&mut self, number: u64, opening: u64, meeting: Option<u64>) {
        let heard = meeting.map(|meeting| Heard { peer: ME, opening: self.opening, meeting, mutual: true });
        self.tells_room(number, ToRoom::Roll { roll: Roll::default(), opening, heard });
    }

    pub(super) fn tells_me(&mut self, number: u64, body: ToPeer) {
        self.says(&To::Peer(ME), Stream::Peer { starts: 1, meeting: 7, number, body });
    }

    /// What rooms hear, and what is answered to single peers but greetings and questions.
    pub(super) fn events(&mut self) -> Vec<&'static str> {
        let mut events = vec![];
        while let Some(output) = self.relay.poll() {
            events.push(match output {
                Output::Came { .. } => "came",
                Output::Lost { .. } => "lost",
                Output::Went { .. } => "went",
                Output::Said { .. } => "said",
                Output::Refused { .. } => "refused",
                Output::Transmit { message, .. } => match Envelope::parse(&message).unwrap().stream {
                    Stream::Peer { body: ToPeer::Missed(_), .. } => "missed",
                    Stream::Room { body: ToRoom::Roll { heard: Some(heard), .. }, .. } if heard.mutual => {
                        "answered"
                    }
                    _ => continue,
                },
                _ => continue,
            });
        }
        events
    }
}

#[test]
fn a_room_that_was_opened_anew_is_another() {
    let mut talk = Talk::new();
    talk.tells_room(2, ToRoom::Said(stored()));
    talk.rolls(3, OPENING + 1, Some(7));
    assert_eq!(talk.events(), ["said", "lost", "went", "came", "answered"]);
    // Its roll was lost: all that shows is a lower number.
    talk.rolls(9, OPENING + 1, None);
    talk.events();
    talk.tells_room(2, ToRoom::Said(stored()));
    assert_eq!(talk.events(), ["lost", "went"]);
}

#[test]
fn an_answer_to_an_earlier_opening_is_none() {
    let mut talk = Talk::new();
    talk.tells_me(1, ToPeer::Said { document: document(), opening: talk.opening, message: stored() });
    talk.tells_me(2, ToPeer::Said { document: document(), opening: talk.opening - 1, message: stored() });
    assert_eq!(talk.events(), ["said"]);
    talk.relay.closed(&document());
    talk.relay.opened(Millis(1), &document(), Roll::default());
    talk.rolls(2, OPENING, Some(7));
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.opening = talk.relay.rooms[&document()].opening;
    talk.rolls(3, OPENING, Some(7));
    assert_eq!(talk.events(), ["came"]);
}

#[test]
fn who_had_forgotten_us_has_lost_something() {
    let mut talk = Talk::new();
    talk.rolls(2, OPENING, Some(7));
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.rolls(3, OPENING, Some(8));
    assert_eq!(talk.events(), ["lost"]);
}

#[test]
fn what_was_meant_for_an_earlier_start_is_not_counted() {
    let mut talk = Talk::new();
    let late = |starts, number| Stream::Peer { starts, meeting: 7, number, body: ToPeer::Mark };
    talk.says(&To::Peer(ME), late(0, 30));
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.says(&To::Peer(ME), late(1, 30));
    assert_eq!(talk.events(), ["lost", "missed"]);
    talk.relay.heard(Millis(1), &To::Everybody, &Bytes::from(everybody(2)));
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.relay.heard(Millis(1), &To::Everybody, &Bytes::from(everybody(4)));
    assert_eq!(talk.events(), ["went"]);
}

fn everybody(starts: u64) -> Vec<u8> {
    let stream = Stream::Everybody(ToEverybody::Who(Who { document: document(), opening: 1 }));
    Envelope { sender: Sender { peer: OTHER, starts }, stream }.encode().to_vec()
}

#[test]
fn who_has_it_open_no_more_may_say_so_late() {
    let mut talk = Talk::new();
    let who = Who { document: document(), opening: talk.opening };
    talk.tells_me(1, ToPeer::NotHere { who: who.clone(), until: OPENING - 1 });
    assert_eq!(talk.events(), Vec::<&str>::new());
    talk.tells_me(2, ToPeer::NotHere { who, until: OPENING });
    assert_eq!(talk.events(), ["lost", "went"]);
}

#[test]
fn parts_are_put_together_whole_or_not_at_all() {
    let part = |index, count, bytes: &'static [u8]| Part { index, count, bytes: Bytes::from_static(bytes) };
    let (mut assembly, mut held) = (Assembly::default(), 0);
    let mut add = |part: Part| {
        let added = assembly.add(&part, &mut held).map(|whole| whole.is_some());
        (added, held)
    };
    assert_eq!(add(part(0, 3, b"ab")), (Ok(false), 2));
    assert_eq!(add(part(1, 3, b"c")), (Ok(false), 3));
    assert_eq!(add(part(2, 3, b"d")), (Ok(true), 0));
    // The beginning is missing, or something between, or it is part of something else.
    assert_eq!(add(part(1, 2, b"b")), (Ok(false), 0));
    assert_eq!(add(part(0, 3, b"ab")), (Ok(false), 2));
    assert_eq!(add(part(2, 3, b"d")), (Ok(false), 0));
    assert_eq!(add(part(0, 3, b"ab")), (Ok(false), 2));
    assert_eq!(add(part(1, 2, b"d")), (Ok(false), 0));
    assert!(matches!(add(part(2, 2, b"d")), (Err(InvalidEnvelope::Code { .. }), 0)));
    assert!(matches!(add(part(0, 1 << 40, b"d")), (Err(InvalidEnvelope::Code { .. }), 0)));
    let (mut held, mut assembly) = (HELD_BYTES_MAX - 1, Assembly::default());
    assert!(assembly.add(&part(0, 2, b"a"), &mut held).is_ok());
    assert!(matches!(assembly.add(&part(1, 2, b"a"), &mut held), Err(InvalidEnvelope::TooLarge)));
    assert_eq!(held, HELD_BYTES_MAX - 1);
    let (mut held, mut assembly) = (0, Assembly::default());
    let large = Bytes::from(vec![0; LETTER_BYTES_MAX]);
    assert!(assembly.add(&Part { index: 0, count: 2, bytes: large }, &mut held).is_ok());
    assert!(matches!(assembly.add(&part(1, 2, b"a"), &mut held), Err(InvalidEnvelope::TooLarge)));
    assert!(Letter::whole(Bytes::new()).to_room().is_err());
}
