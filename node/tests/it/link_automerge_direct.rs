//! An Automerge document of replicas that are linked to each other: one listens, and keeps it as a node would.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use automerge::transaction::Transactable as _;
use automerge::{ROOT, ReadDoc as _};
use tombolo::replica::{AutomergeDocument, LinkOptions, ListenOptions, Origin, Outcome, Replica};
use tombolo_core::dialect::automerge_repo::Message;

use super::backplane::world::Server;
use super::command_line::tombolo;
use super::doc::AutomergeClient;
use super::link::{in_sync, linked};
use super::link_automerge::{
    create, eventually, items, parked, push, until, what_was_called_synced_outlives_each_kill,
};

/// A replica that listens, in a process that can be killed.
fn listening(data: &Path) -> Server {
    let data = data.to_owned();
    Server::start(move |address| {
        let mut command = tombolo(&["note", "sync", "--stay", "--listen", &address.to_string(), "--data"]);
        command.arg(&data);
        command
    })
}

#[test]
fn three_replicas_edit_one_automerge_document_directly() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let hub = Replica::open(place("hub")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let replica = Replica::open(place(name)).unwrap();
        replica.link(&format!("ws://{address}"), LinkOptions::default()).unwrap();
        replica
    });
    // One that was there before it was linked to, and whose name nobody was told.
    let (early, early_url) = create(&hub);
    push(&early, "early");
    let there = |replica: &Replica| replica.documents().any(|id| id.unwrap() == *early.id());
    eventually(|| there(&one) && there(&two), || format!("{:?}", two.explain(early.id())));
    until(&two.automerge(&early_url).unwrap(), &["early"]);
    // All three at once.
    let (first, url) = create(&one);
    let [middle, second] = [&hub, &two].map(|replica| replica.automerge(&url).unwrap());
    let documents = [&first, &middle, &second];
    let title = |document: &&AutomergeDocument| !document.heads().unwrap().is_empty();
    eventually(|| documents.iter().all(title), || format!("{:?}", two.explain(second.id())));
    let heard = Arc::new(AtomicBool::new(false));
    let into = Arc::clone(&heard);
    let _watch = middle.observe(move |change| {
        into.fetch_or(matches!(change.origin, Origin::Link(_)), Ordering::Relaxed);
    });
    for n in 0..9 {
        push(documents[n % 3], &n.to_string());
    }
    let all: Vec<_> = (0..9).map(|n| n.to_string()).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    documents.iter().for_each(|document| until(document, &all));
    eventually(|| heard.load(Ordering::Relaxed), || "who listens knows what came over links".to_owned());
    assert_eq!(in_sync(&one)[0].keeps, Some(true));
    in_sync(&two);
    for replica in [&hub, &one, &two] {
        let stored = replica.store().describe(first.id()).unwrap().unwrap();
        assert!(stored.operations() <= 10, "{} operations of 10 changes", stored.operations());
    }
    // The one that listened goes, is edited alone, and comes back at the same place.
    drop((early, middle));
    hub.close().unwrap();
    push(&first, "while it was away");
    let hub = Replica::open(place("hub")).unwrap();
    push(&hub.automerge(&url).unwrap(), "alone");
    hub.listen(address, ListenOptions::default()).unwrap();
    let all = [all.as_slice(), &["alone", "while it was away"]].concat();
    for document in [&first, &second, &hub.automerge(&url).unwrap()] {
        until(document, &all);
    }
}

#[test]
fn what_was_called_synced_outlives_each_kill_of_a_replica_that_listens() {
    let data = tempfile::tempdir().unwrap();
    what_was_called_synced_outlives_each_kill(listening(data.path()));
}

#[test]
fn edits_go_on_while_the_replica_that_listens_is_killed() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut hub = listening(data.path());
    let [one, two] = ["one", "two"].map(|name| linked(&folder.path().join(name), &[&hub]));
    let (first, url) = create(&one);
    let second = two.automerge(&url).unwrap();
    eventually(|| !second.heads().unwrap().is_empty(), || format!("{:?}", two.explain(second.id())));
    for round in 0..3 {
        for edit in 0..4 {
            push(if edit % 2 == 0 { &first } else { &second }, &format!("{round} {edit}"));
        }
        // In the midst of whatever is on its way.
        hub.kill();
        push(&first, &format!("{round} away"));
        hub.revive();
    }
    eventually(|| items(&first).len() == 15, || format!("{:?}", items(&first)));
    eventually(|| items(&second) == items(&first), || format!("{:?}", items(&second)));
    in_sync(&one);
    in_sync(&two);
    assert_eq!(first.heads().unwrap(), second.heads().unwrap());
}

#[test]
fn what_was_deleted_where_it_was_kept_is_parked_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Replica::open(folder.path().join("hub")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let one = Replica::open(folder.path().join("one")).unwrap();
    one.link(&format!("ws://{address}"), LinkOptions::default()).unwrap();
    let ((gone, _), (kept, url)) = (create(&one), create(&one));
    in_sync(&one);
    assert!(hub.remove_document(gone.id()).unwrap());
    push(&gone, "milk");
    let (outcome, _) = parked(&one, gone.id());
    assert_eq!(outcome, Outcome::DELETED);
    push(&kept, "bread");
    in_sync(&one);
    until(&hub.automerge(&url).unwrap(), &["bread"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_are_served_by_a_replica_that_listens() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Replica::open(folder.path()).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let list = hub.create_automerge().unwrap();
    let mut client = AutomergeClient::join(&address.to_string(), list.id()).await;
    client.say().await;
    // They wait for everybody whom they asked.
    while !matches!(client.hear().await, Message::DocUnavailable { .. }) {
        client.say().await;
    }
    // It is said as soon as it is there, and not because somebody asked.
    list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?)).unwrap();
    while client.document.get(ROOT, "milk").unwrap().is_none() {
        client.say().await;
        client.hear().await;
    }
    client.document.put(ROOT, "bread", 2).unwrap();
    client.say().await;
    let has_bread = || list.read(|view| view.get(ROOT, "bread").unwrap().is_some()).unwrap();
    eventually(has_bread, || "no bread".to_owned());
    let mut other = AutomergeClient::join(&address.to_string(), list.id()).await;
    while other.document.length(ROOT) < 2 {
        other.say().await;
        other.hear().await;
    }
    tokio::task::block_in_place(|| hub.close().unwrap());
}
