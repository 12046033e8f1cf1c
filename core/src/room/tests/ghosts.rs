//! Presence of those who are gone, in rooms that show as many as they may.

use super::super::*;
use super::many::{EMPTY, NOW, P, comes, hears};
use super::{A, B, effects, entry};
use crate::dialect::y_protocols::Message;
use crate::limits::AWARENESS_ROOM_MAX;

fn presence(client: u64, clock: u64, state: Option<&'static str>) -> PeerMessage {
    let Message::Awareness(update) = entry(client, clock, state) else { unreachable!() };
    PeerMessage::Presence(update)
}

/// Members that show so many clients, of which none is below 100.
fn crowd(room: &mut Room, clients: usize) {
    for client in 0..clients as u64 {
        let id = MemberId(100 + client / 1000);
        if client % 1000 == 0 {
            room.join(id, false);
        }
        room.handle(NOW, id, entry(100 + client, 1, Some("{}"))).unwrap();
    }
    effects(room);
}

fn is_shown(room: &Room, client: u64) -> bool {
    let mut all = room.presence_since(0).flat_map(|update| update.entries);
    all.any(|entry| entry.client == client && entry.state.is_some())
}

#[test]
fn an_echo_of_who_is_gone_is_no_news_in_a_full_room() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.join(B, false);
    room.handle(NOW, A, entry(1, 1, Some("{}"))).unwrap();
    room.leave(NOW, A);
    crowd(&mut room, AWARENESS_ROOM_MAX + 10);
    room.leave(NOW, MemberId(104));
    effects(&mut room);
    // Stock clients send back whatever they hear, also late.
    room.handle(NOW, B, entry(1, 1, Some("{}"))).unwrap();
    assert!(effects(&mut room).is_empty());
    assert!(!is_shown(&room, 1));
    room.handle(NOW, B, entry(1, 2, Some("{}"))).unwrap();
    assert!(is_shown(&room, 1), "it has come back");
}

#[test]
fn a_goodbye_that_comes_to_a_full_room_before_what_it_ends_is_remembered() {
    let mut room = Room::new(Acknowledgement::Never);
    room.clustered(NOW);
    comes(&mut room, P, EMPTY);
    crowd(&mut room, AWARENESS_ROOM_MAX + 10);
    hears(&mut room, P, presence(7, 5, None));
    room.leave(NOW, MemberId(100));
    hears(&mut room, P, presence(7, 4, Some("{}")));
    assert!(!is_shown(&room, 7));
    hears(&mut room, P, presence(8, 4, Some("{}")));
    assert!(is_shown(&room, 8));
}

#[test]
fn who_was_gone_takes_no_place_that_is_not_there() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(A, false);
    room.handle(NOW, A, entry(1, 1, Some("{}"))).unwrap();
    room.handle(NOW, A, entry(1, 2, None)).unwrap();
    crowd(&mut room, AWARENESS_ROOM_MAX);
    room.handle(NOW, A, entry(1, 3, Some("{}"))).unwrap();
    assert!(!is_shown(&room, 1));
}

#[test]
fn those_who_are_gone_are_bounded_too_and_the_oldest_forgotten() {
    let mut room = Room::new(Acknowledgement::Never);
    room.join(B, false);
    for client in 0..3 * AWARENESS_ROOM_MAX as u64 {
        room.handle(NOW, B, entry(client, 1, Some("{}"))).unwrap();
        room.handle(NOW, B, entry(client, 2, None)).unwrap();
        effects(&mut room);
    }
    let updates: Vec<_> = room.presence_since(0).collect();
    assert!(updates.iter().all(|update| update.entries.len() <= AWARENESS_ROOM_MAX));
    let gone: Vec<_> = updates.iter().flat_map(|update| &update.entries).map(|entry| entry.client).collect();
    assert_eq!(gone.len(), AWARENESS_ROOM_MAX);
    assert!(gone.iter().all(|client| *client >= 2 * AWARENESS_ROOM_MAX as u64));
}
