//! Folding and syncing Automerge documents, held against automerge itself.

use ::automerge::sync::{Message, State, SyncDoc};
use ::automerge::transaction::Transactable;
use ::automerge::{ActorId, AutoCommit, ROOT};

use super::*;

struct Client {
    doc: AutoCommit,
    state: State,
    id: u64,
}

impl Client {
    fn new(id: u64) -> Self {
        let actor = ActorId::from([u8::try_from(id).unwrap(); 16]);
        Self { doc: AutoCommit::new().with_actor(actor), state: State::new(), id }
    }

    fn put(&mut self, key: &str, value: i64) {
        self.doc.put(ROOT, key, value).unwrap();
        self.doc.commit();
    }

    fn message(&mut self) -> Option<Vec<u8>> {
        self.doc.sync().generate_sync_message(&mut self.state).map(Message::encode)
    }

    fn heads(&mut self) -> Vec<[u8; 32]> {
        self.doc.get_heads().into_iter().map(|head| head.0).collect()
    }
}

/// Runs to quiet; what must be journaled goes into `journal`, as the archive does it.
fn settle(session: &mut Session, clients: &mut [&mut Client], journal: &mut Vec<Bytes>) {
    for _ in 0..50 {
        let mut quiet = true;
        for client in clients.iter_mut() {
            while let Some(message) = client.message() {
                quiet = false;
                let received = session.receive(client.id, &message).unwrap();
                if !received.changes.is_empty() {
                    journal.push(received.changes);
                }
            }
        }
        for (peer, message) in session.generate() {
            quiet = false;
            let client = clients.iter_mut().find(|client| client.id == peer).unwrap();
            let message = Message::decode(&message).unwrap();
            client.doc.sync().receive_sync_message(&mut client.state, message).unwrap();
        }
        if quiet {
            return;
        }
    }
    panic!("the sync never comes to rest");
}

#[test]
fn two_clients_a_late_one_and_a_restart_agree() {
    let (mut a, mut b, mut late) = (Client::new(1), Client::new(2), Client::new(3));
    let mut session = Session::open(&[]).unwrap();
    assert!(session.is_empty());
    let mut journal = Vec::new();
    for i in 0..30 {
        a.put(&format!("a{}", i % 7), i);
        b.put(&format!("b{}", i % 5), i);
    }
    session.join(1);
    session.join(2);
    settle(&mut session, &mut [&mut a, &mut b], &mut journal);
    a.put("more", 1);
    b.put("more", 2);
    settle(&mut session, &mut [&mut a, &mut b], &mut journal);
    assert_eq!(a.heads(), b.heads());
    assert_eq!(session.heads(), a.heads());

    let mut again = Session::open(&journal).unwrap();
    assert_eq!(again.heads(), session.heads());
    assert_eq!(heads(&journal).unwrap(), session.heads());
    again.join(3);
    late.put("late", 9);
    settle(&mut again, &mut [&mut late], &mut journal);
    assert_eq!(late.heads(), again.heads());
    assert_eq!(heads(&journal).unwrap(), late.heads());
    assert!(!session.leave(1));
    assert!(session.leave(2));
}

#[test]
fn a_whole_document_in_a_message_is_journaled_as_changes() {
    let mut a = Client::new(1);
    for i in 0..200 {
        a.put("k", i);
    }
    // Into an empty document and into one that has something already.
    for own in [false, true] {
        let mut journal = Vec::new();
        let mut b = Client::new(2);
        if own {
            b.put("mine", 1);
            journal.push(Bytes::from(b.doc.save()));
        }
        let mut session = Session::open(&journal).unwrap();
        session.join(1);
        let mut copy = Client { doc: a.doc.fork(), state: State::new(), id: 1 };
        settle(&mut session, &mut [&mut copy], &mut journal);
        assert_eq!(copy.heads(), session.heads());
        assert_eq!(heads(&journal).unwrap(), session.heads());
    }
}

#[test]
fn queued_changes_are_not_acknowledged_and_are_journaled_when_the_gap_closes() {
    let mut a = Client::new(1);
    a.put("k", 1);
    let first = a.doc.get_last_local_change().unwrap();
    a.put("k", 2);
    let second = a.doc.get_last_local_change().unwrap();
    let message = |change: &::automerge::Change| Message {
        heads: vec![second.hash()],
        need: vec![],
        have: vec![],
        changes: vec![change.raw_bytes().to_vec()].into(),
        flags: None,
        version: ::automerge::sync::MessageVersion::V1,
    };
    let mut session = Session::open(&[]).unwrap();
    session.join(1);
    assert!(session.receive(1, &message(&second).encode()).unwrap().changes.is_empty());
    assert!(session.is_empty());
    let journal: Bytes = session.receive(1, &message(&first).encode()).unwrap().changes;
    assert_eq!(heads(std::slice::from_ref(&journal)).unwrap(), a.heads());
    assert_eq!(compact(&[second.raw_bytes().to_vec().into()]), Err(EngineError::Pending));
}

#[test]
fn documents_and_changes_fold_in_any_order() {
    let mut a = Client::new(1);
    a.put("k", 1);
    let saved = Bytes::from(a.doc.save());
    let mut tail = Vec::new();
    for i in 2..20 {
        a.put("k", i);
        tail.push(Bytes::copy_from_slice(a.doc.get_last_local_change().unwrap().raw_bytes()));
    }
    let mut other = Client::new(2);
    other.put("o", 1);
    let mut parts: Vec<Bytes> = tail.iter().rev().chain(&tail).cloned().collect();
    parts.extend([saved, Bytes::from(other.doc.save())]);
    a.doc.merge(&mut other.doc).unwrap();
    let fold = compact(&parts).unwrap();
    assert_eq!(heads(std::slice::from_ref(&fold)).unwrap(), a.heads());
    parts.reverse();
    assert_eq!(heads(&[compact(&parts).unwrap()]).unwrap(), a.heads());
}

#[test]
fn wrong_bytes_are_refused_and_change_nothing() {
    let mut a = Client::new(1);
    a.put("k", 1);
    let good = a.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
    for cut in [1, 8, 12, good.len() - 1] {
        assert!(compact(&[Bytes::copy_from_slice(&good[..cut])]).is_err());
    }
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let with_bad_tail = [good, flipped].concat();
    assert!(compact(&[Bytes::from(with_bad_tail.clone())]).is_err());

    let mut session = Session::open(&[]).unwrap();
    session.join(1);
    assert_eq!(session.receive(2, &[]), Err(EngineError::UnknownPeer { peer: 2 }));
    let message = Message {
        heads: vec![],
        need: vec![],
        have: vec![],
        changes: vec![with_bad_tail].into(),
        flags: None,
        version: ::automerge::sync::MessageVersion::V1,
    };
    assert!(matches!(session.receive(1, &message.encode()), Err(EngineError::Malformed { .. })));
    assert!(session.is_empty());
    let mut journal = Vec::new();
    settle(&mut session, &mut [&mut a], &mut journal);
    assert_eq!(session.heads(), a.heads());

    // One actor, one position, two contents (HAZARDS am-9): refused, the session lives.
    let mut twin = Client::new(1);
    twin.put("k", 2);
    session.join(1);
    let refused = (0..10).find_map(|_| {
        let message = twin.message()?;
        if let Err(error) = session.receive(1, &message) {
            return Some(error);
        }
        for (_, message) in session.generate() {
            let message = Message::decode(&message).unwrap();
            let _ = twin.doc.sync().receive_sync_message(&mut twin.state, message);
        }
        None
    });
    assert!(matches!(refused, Some(EngineError::Malformed { .. })), "{refused:?}");
    assert_eq!(session.heads(), a.heads());
}

#[test]
fn a_reset_is_sent_once() {
    let mut session = Session::open(&[]).unwrap();
    session.join(1);
    let mut a = Client::new(1);
    a.put("k", 1);
    a.state.shared_heads = a.doc.get_heads(); // claims a last sync that this side has never heard of
    let message = a.message().unwrap();
    session.receive(1, &message).unwrap();
    assert_eq!(session.generate().len(), 1);
    assert_eq!(session.generate().len(), 0);
}
