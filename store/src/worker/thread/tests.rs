//! The worker on threads: what it answers, and what it survives.

use std::time::Duration;

use super::*;

/// Two changes of one actor and one of another, as automerge 0.12 writes them.
const FIRST: &str = "856f4a831ff7d319012f0010010101010101010101010101010101010101000000061503340142025602570170027f016b017f017f14017f00";
const SECOND: &str = "856f4a835c4ac14c0157011ff7d3194b7f45a5bf58a957960bea5ff0c51375cab2efce5ad5a45bb0c1dd2d1001010101010101010101010101010101020200000008150334014202560257017002710273027f016b017f017f14027f017f007f01";
const OTHER: &str = "856f4a837aba8c8b012f0010020202020202020202020202020202020101000000061503340142025602570170027f016f017f017f14017f00";
/// One client types "ab", "cd", "ef" into the text "t", as yrs 0.28 writes it.
const TYPED: [&str; 3] = ["010107000401017402616200", "0101070284070102636400", "0101070484070302656600"];

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn document() -> DocumentId {
    DocumentId::Automerge([5; 16])
}

fn open(worker: &ThreadWorker, parts: Vec<Bytes>, peers: &[u64]) -> Reply {
    let opened = worker.call(Request::SessionOpen { document: document(), parts }).unwrap();
    for peer in peers {
        let joined = worker.call(Request::SessionJoin { document: document(), peer: *peer });
        assert_eq!(joined, Ok(Reply::Done));
    }
    opened
}

/// A client is a session with one peer, the worker.
fn client(parts: &[Bytes]) -> Session {
    let mut session = Session::open(parts).unwrap();
    session.join(0);
    session
}

/// Passes messages until all are quiet; returns what was to be journaled.
fn settle(worker: &ThreadWorker, clients: &mut [(u64, Session)]) -> Vec<Bytes> {
    let mut journal = Vec::new();
    for _ in 0..50 {
        let mut quiet = true;
        for (peer, client) in clients.iter_mut() {
            for (_, message) in client.generate() {
                quiet = false;
                let request = Request::SessionReceive { document: document(), peer: *peer, message };
                match worker.call(request).unwrap() {
                    Reply::Received { changes, .. } => {
                        journal.extend(Some(changes).filter(|c| !c.is_empty()));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        match worker.call(Request::SessionGenerate { document: document() }).unwrap() {
            Reply::Generated { messages, .. } => {
                for (to, message) in messages {
                    quiet = false;
                    let (_, client) = clients.iter_mut().find(|(peer, _)| *peer == to).unwrap();
                    client.receive(0, &message).unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
        if quiet {
            return journal;
        }
    }
    panic!("the sync never comes to rest");
}

#[test]
fn clients_meet_in_a_session_and_the_journal_alone_restores_it() {
    let worker = ThreadWorker::start().unwrap();
    assert_eq!(open(&worker, vec![], &[1, 2]), Reply::Opened { empty: true });
    let mut clients = [(1, client(&[bytes(FIRST), bytes(SECOND)])), (2, client(&[bytes(OTHER)]))];
    let journal = settle(&worker, &mut clients);
    assert_eq!(clients[0].1.heads(), clients[1].1.heads());
    for (peer, closed) in [(1, false), (2, true)] {
        let left = worker.call(Request::SessionLeave { document: document(), peer });
        assert_eq!(left, Ok(Reply::Left { closed }));
    }
    let generate = Request::SessionGenerate { document: document() };
    assert_eq!(worker.call(generate), Err(WorkerError::NoSession));

    let kind = Kind::AutomergeChanges;
    let Ok(Reply::Snapshot(snapshot)) = worker.call(Request::Compact { kind, parts: journal }) else {
        panic!("no snapshot");
    };
    assert_eq!(open(&worker, vec![snapshot], &[3]), Reply::Opened { empty: false });
    let mut late = [(3, client(&[]))];
    assert!(settle(&worker, &mut late).is_empty());
    assert_eq!(late[0].1.heads(), clients[0].1.heads());
}

#[test]
fn updates_of_yjs_fold_in_any_order_and_gaps_are_refused() {
    let worker = ThreadWorker::start().unwrap();
    let fold = |order: &[usize]| {
        let parts = order.iter().map(|i| bytes(TYPED[*i])).collect();
        worker.call(Request::Compact { kind: Kind::YjsUpdate, parts })
    };
    for order in [&[0, 1, 2][..], &[2, 0, 1, 0], &[2, 1, 0, 2, 2]] {
        let Ok(Reply::Snapshot(snapshot)) = fold(order) else { panic!("no snapshot") };
        assert_eq!(yjs::text(&[snapshot], "t").unwrap(), "abcdef");
    }
    assert_eq!(fold(&[0, 2]), Err(WorkerError::Pending));
}

#[test]
fn wrong_bytes_are_refused_and_the_worker_goes_on() {
    let worker = ThreadWorker::start().unwrap();
    let garbage = Bytes::from_static(b"\x85oJ\x83garbage");
    for kind in [Kind::YjsUpdate, Kind::AutomergeChanges] {
        let folded = worker.call(Request::Compact { kind, parts: vec![garbage.clone()] });
        assert!(matches!(folded, Err(WorkerError::Refused { .. })), "{folded:?}");
    }
    let request = Request::SessionOpen { document: document(), parts: vec![garbage.clone()] };
    assert!(matches!(worker.call(request), Err(WorkerError::Refused { .. })));
    let request = Request::SessionOpen { document: DocumentId::yjs("room").unwrap(), parts: vec![] };
    assert!(matches!(worker.call(request), Err(WorkerError::Refused { .. })));

    open(&worker, vec![bytes(FIRST)], &[1]);
    let receive = |peer| Request::SessionReceive { document: document(), peer, message: garbage.clone() };
    assert!(matches!(worker.call(receive(1)), Err(WorkerError::Refused { .. })));
    assert_eq!(worker.call(receive(9)), Err(WorkerError::NoSession));
    let mut clients = [(1, client(&[bytes(OTHER)]))];
    assert_eq!(settle(&worker, &mut clients), [bytes(OTHER)]);
}

#[test]
fn a_panic_takes_its_session_along_and_no_other() {
    let mut shard = Shard::default();
    let (sick, sound) = (document(), DocumentId::Automerge([6; 16]));
    for id in [&sick, &sound] {
        shard.handle(Request::SessionOpen { document: id.clone(), parts: vec![] }).unwrap();
    }
    let died = shard.with(sick.clone(), |_| panic!("boom"));
    assert_eq!(died, Err(WorkerError::Died { reason: "boom".to_owned() }));
    let generate = |document: &DocumentId| Request::SessionGenerate { document: document.clone() };
    assert_eq!(shard.handle(generate(&sick)), Err(WorkerError::NoSession));
    assert_eq!(shard.handle(generate(&sound)), Ok(Reply::Generated { messages: vec![], empty: true }));
    let opened = shard.handle(Request::SessionOpen { document: sick, parts: vec![bytes(FIRST)] });
    assert_eq!(opened, Ok(Reply::Opened { empty: false }));
}

#[test]
fn a_busy_compactor_does_not_delay_a_session() {
    let mut worker = Arc::into_inner(ThreadWorker::start().unwrap()).unwrap();
    // A compactor whose inbox nobody reads stands for a fold that takes for ever.
    let (jobs, inbox) = sync_channel(JOBS_WAITING_MAX);
    worker.compactor = jobs;
    let worker = Arc::new(worker);
    let folder = std::thread::spawn({
        let worker = Arc::clone(&worker);
        move || worker.call(Request::Compact { kind: Kind::YjsUpdate, parts: vec![] })
    });
    let stuck = inbox.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(open(&worker, vec![], &[1]), Reply::Opened { empty: true });
    drop(stuck);
    assert!(matches!(folder.join().unwrap(), Err(WorkerError::Unavailable { .. })));
}
