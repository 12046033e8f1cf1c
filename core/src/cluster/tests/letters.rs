//! Things to say: those of the golden bytes, and any.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use proptest::prelude::*;

use crate::cluster::envelope::{Envelope, Heard, Here, Part, Stream, ToEverybody, ToPeer, ToRoom, Who};
use crate::cluster::{Sender, TunnelFrame, TunnelId};
use crate::id::{DocumentId, PeerId};
use crate::room::{Arrival, AskId, PeerAnswer, PeerMessage, Roll, StoreRefused, Ticket};
use crate::update::{StateVector, Update};
use crate::validate::{AwarenessEntry, AwarenessUpdate};

/// `hi` in a text by the name `t`, of client 1.
const HI: &[u8] = b"\x01\x01\x01\x00\x04\x01\x01t\x02hi\x00";

fn hi() -> Update {
    Update::parse(Bytes::from_static(HI)).unwrap()
}

fn yjs() -> DocumentId {
    DocumentId::yjs("notes").unwrap()
}

fn presence() -> PeerMessage {
    let entry = AwarenessEntry { client: 1, clock: 2, state: Some(Bytes::from_static(b"{}")) };
    PeerMessage::Presence(AwarenessUpdate { entries: vec![entry] })
}

fn vector() -> StateVector {
    [(1, 2)].into_iter().collect()
}

fn everybody() -> Vec<(&'static str, ToEverybody)> {
    let here = |archive, hello| ToEverybody::Here(Here { archive, hello });
    vec![
        ("here", here(false, false)),
        ("here-archive-hello", here(true, true)),
        ("bye", ToEverybody::Bye),
        ("who", ToEverybody::Who(Who { document: yjs(), opening: 3 })),
        ("who-automerge", ToEverybody::Who(Who { document: DocumentId::Automerge([7; 16]), opening: 300 })),
    ]
}

fn room() -> Vec<(&'static str, ToRoom)> {
    let roll = Roll { archive: false, caught_up: true };
    let heard = Heard { peer: PeerId(0x0102_0304_0506_0708), opening: 9, meeting: 2, mutual: false };
    let update = |ticket, arrival| ToRoom::Said(PeerMessage::Update { ticket, arrival, update: hi() });
    vec![
        ("roll", ToRoom::Roll { roll, opening: 3, heard: None }),
        ("roll-heard", ToRoom::Roll { roll: Roll::default(), opening: 3, heard: Some(heard) }),
        (
            "roll-heard-mutual",
            ToRoom::Roll {
                roll: Roll { archive: true, caught_up: true },
                opening: 3,
                heard: Some(Heard { mutual: true, ..heard }),
            },
        ),
        ("gone", ToRoom::Gone),
        ("room-update", update(None, Arrival::Change)),
        ("room-update-ticket", update(Some(Ticket(70_000)), Arrival::Change)),
        ("room-content", update(None, Arrival::Content)),
        ("room-content-ticket", update(Some(Ticket(6)), Arrival::Content)),
        ("room-presence", ToRoom::Said(presence())),
        ("part-room", ToRoom::Part(Part { index: 0, count: 2, bytes: Bytes::from_static(b"\x07\x00") })),
    ]
}

fn peer() -> Vec<(&'static str, ToPeer)> {
    let who = Who { document: yjs(), opening: 3 };
    let said = |message| ToPeer::Said { document: yjs(), opening: 4, message };
    let answer = |result| said(PeerMessage::Answer { ask: AskId(5), result });
    let found = |archived, caught_up| {
        answer(Ok(Some(PeerAnswer { update: Bytes::from_static(HI), archived, caught_up })))
    };
    let stored = vec![
        (Ticket(1), Ok(())),
        (Ticket(2), Err(StoreRefused::Trouble)),
        (Ticket(3), Err(StoreRefused::NoRoom)),
        (Ticket(4), Err(StoreRefused::Damaged)),
        (Ticket(5), Err(StoreRefused::Deleted)),
        (Ticket(300), Err(StoreRefused::Quarantined)),
    ];
    let (tunnel, path, host) = (TunnelId(1), "/a?b".to_owned(), "h".to_owned());
    let open =
        |client| ToPeer::Tunnel(TunnelFrame::Open { tunnel, path: path.clone(), host: host.clone(), client });
    vec![
        ("mark", ToPeer::Mark),
        ("peer-here", ToPeer::Here(Here { archive: true, hello: false })),
        ("peer-who", ToPeer::Who(who.clone())),
        ("not-here", ToPeer::NotHere { who, until: 8 }),
        ("missed-room", ToPeer::Missed(Some(yjs()))),
        ("missed-stream", ToPeer::Missed(None)),
        ("peer-presence", said(presence())),
        ("peer-ask", said(PeerMessage::Ask { ask: AskId(5), state_vector: vector() })),
        ("answer-nobody", answer(Ok(None))),
        ("answer-refused", answer(Err(StoreRefused::Damaged))),
        ("answer-archive", found(Some(vector()), true)),
        ("answer-member", found(None, false)),
        ("peer-stored", said(PeerMessage::Stored(stored))),
        ("peer-stateless", said(PeerMessage::Stateless("hi".to_owned()))),
        ("part-peer", ToPeer::Part(Part { index: 1, count: 2, bytes: Bytes::from_static(b"\x01") })),
        ("tunnel-open", open(Some(Ipv4Addr::new(192, 0, 2, 1).into()))),
        ("tunnel-open-v6", open(Some(Ipv6Addr::LOCALHOST.into()))),
        ("tunnel-open-unknown", open(None)),
        ("tunnel-data", ToPeer::Tunnel(TunnelFrame::Data { tunnel, payload: Bytes::from_static(b"data") })),
        ("tunnel-close", ToPeer::Tunnel(TunnelFrame::Close { tunnel, code: 1008, reason: "no".into() })),
    ]
}

/// All of the golden bytes.
pub(super) fn golden() -> Vec<(&'static str, Envelope)> {
    let sender = Sender { peer: PeerId(0xa1a2_a3a4_a5a6_a7a8), starts: 1 };
    let all = everybody().into_iter().map(|(name, body)| (name, Stream::Everybody(body)));
    let room = room().into_iter().map(|(name, body)| (name, Stream::Room { number: 5, body }));
    let peer = peer().into_iter();
    let peer = peer.map(|(name, body)| (name, Stream::Peer { starts: 2, meeting: 3, number: 400, body }));
    all.chain(room).chain(peer).map(|(name, stream)| (name, Envelope { sender, stream })).collect()
}

fn any_document() -> impl Strategy<Value = DocumentId> {
    let yjs = "[a-z/ü]{1,100}".prop_map(|name| DocumentId::yjs(&name).unwrap());
    prop_oneof![yjs, any::<[u8; 16]>().prop_map(DocumentId::Automerge)]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..300, 0u64..(1 << 53)]
}

fn any_message() -> impl Strategy<Value = PeerMessage> {
    let golden = peer().into_iter().map(|(_, body)| body);
    let golden: Vec<_> = golden
        .filter_map(|body| match body {
            ToPeer::Said { message, .. } => Some(message),
            _ => None,
        })
        .collect();
    let update =
        (prop::option::of(number()), any::<bool>()).prop_map(|(ticket, is_change)| PeerMessage::Update {
            ticket: ticket.map(Ticket),
            arrival: if is_change { Arrival::Change } else { Arrival::Content },
            update: hi(),
        });
    let vector = prop::collection::btree_map(number(), 1u64..1 << 31, 0..20);
    let ask = (number(), vector).prop_map(|(ask, clocks)| PeerMessage::Ask {
        ask: AskId(ask),
        state_vector: clocks.into_iter().collect(),
    });
    let stored = prop::collection::vec((number(), any::<bool>()), 0..20).prop_map(|tickets| {
        let outcome = |is_well| if is_well { Ok(()) } else { Err(StoreRefused::Deleted) };
        PeerMessage::Stored(
            tickets.into_iter().map(|(ticket, well)| (Ticket(ticket), outcome(well))).collect(),
        )
    });
    prop_oneof![prop::sample::select(golden), update, ask, stored]
}

fn any_frame() -> impl Strategy<Value = TunnelFrame> {
    let open =
        (number(), "/[a-z?=]{0,40}", "[a-z.:]{0,20}", prop::option::of(any::<std::net::IpAddr>())).prop_map(
            |(tunnel, path, host, client)| TunnelFrame::Open { tunnel: TunnelId(tunnel), path, host, client },
        );
    let data = (number(), prop::collection::vec(any::<u8>(), 0..6_000)).prop_map(|(tunnel, payload)| {
        TunnelFrame::Data { tunnel: TunnelId(tunnel), payload: payload.into() }
    });
    let close = (number(), any::<u16>(), ".{0,40}").prop_map(|(tunnel, code, reason)| TunnelFrame::Close {
        tunnel: TunnelId(tunnel),
        code,
        reason,
    });
    prop_oneof![open, data, close]
}

/// Anything that a relay may say.
pub(super) fn any_envelope() -> impl Strategy<Value = Envelope> {
    let golden =
        prop::sample::select(golden().into_iter().map(|(_, envelope)| envelope.stream).collect::<Vec<_>>());
    let who = || (any_document(), number()).prop_map(|(document, opening)| Who { document, opening });
    let heard = prop::option::of((any::<u64>(), number(), number(), any::<bool>()));
    let heard = heard.prop_map(|heard| {
        heard.map(|(peer, opening, meeting, mutual)| Heard { peer: PeerId(peer), opening, meeting, mutual })
    });
    let roll =
        (any::<bool>(), any::<bool>(), number(), heard).prop_map(|(archive, caught_up, opening, heard)| {
            ToRoom::Roll { roll: Roll { archive, caught_up }, opening, heard }
        });
    let to_room = prop_oneof![roll, any_message().prop_map(ToRoom::Said)];
    let said = (any_document(), number(), any_message())
        .prop_map(|(document, opening, message)| ToPeer::Said { document, opening, message });
    let not_here = (who(), number()).prop_map(|(who, until)| ToPeer::NotHere { who, until });
    let to_peer =
        prop_oneof![said, not_here, any_frame().prop_map(ToPeer::Tunnel), who().prop_map(ToPeer::Who)];
    let stream =
        prop_oneof![
            golden,
            who().prop_map(|who| Stream::Everybody(ToEverybody::Who(who))),
            (number(), to_room).prop_map(|(number, body)| Stream::Room { number, body }),
            (number(), number(), number(), to_peer)
                .prop_map(|(starts, meeting, number, body)| Stream::Peer { starts, meeting, number, body }),
        ];
    (any::<u64>(), number(), stream)
        .prop_map(|(peer, starts, stream)| Envelope { sender: Sender { peer: PeerId(peer), starts }, stream })
}
