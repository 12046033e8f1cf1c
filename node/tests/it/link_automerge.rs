//! An Automerge document of replicas that are linked to a node: edited at once, offline, through kills; what was called
//! synced is there, and nothing is there twice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autosurgeon::{Hydrate, Reconcile, Text, hydrate, reconcile};
use tombolo::replica::{
    AutomergeDocument, DocumentId, Lag, LinkOptions, Origin, Outcome, Replica, Subscription,
};

use super::backplane::world::Server;
use super::command_line::tombolo;
use super::link::{LIMIT, in_sync, linked, serve, url};

#[derive(Default, Hydrate, Reconcile)]
struct List {
    title: Text,
    items: Vec<String>,
}

/// A new list of a replica, and how others know it.
pub fn create(replica: &Replica) -> (AutomergeDocument, String) {
    let document = replica.create_automerge().unwrap();
    document.reconcile(&List { title: "Saturday".into(), ..List::default() }).unwrap();
    let url = document.url();
    (document, url)
}

pub fn push(document: &AutomergeDocument, item: &str) {
    let pushed = document.edit(|edit| {
        let mut list: List = hydrate(edit)?;
        list.items.push(item.to_owned());
        Ok(reconcile(edit, &list)?)
    });
    pushed.unwrap();
}

/// What is in it, sorted; nothing while it is not there.
pub fn items(document: &AutomergeDocument) -> Vec<String> {
    let mut items = document.hydrate::<List>().map(|list| list.items).unwrap_or_default();
    items.sort();
    items
}

/// Waits until a document has exactly these.
pub fn until(document: &AutomergeDocument, wanted: &[&str]) {
    eventually(|| items(document) == wanted, || format!("{:?} is not {wanted:?}", items(document)));
}

pub fn eventually(is_it: impl Fn() -> bool, words: impl Fn() -> String) {
    let start = Instant::now();
    while !is_it() {
        assert!(start.elapsed() < LIMIT, "{}", words());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a link has parked a document; why.
pub fn parked(replica: &Replica, document: &DocumentId) -> (Outcome, String) {
    let why = || match replica.explain(document).remove(0).1.and_then(|standing| standing.lag) {
        Some(Lag::Parked { outcome, reason }) => Some((outcome, reason)),
        _ => None,
    };
    eventually(|| why().is_some(), || format!("{:?}", replica.explain(document)));
    why().unwrap()
}

#[test]
fn three_replicas_edit_one_automerge_document_through_a_node() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    let place = |name: &str| folder.path().join(name);
    let (one, two) = (linked(&place("one"), &[&server]), linked(&place("two"), &[&server]));
    let (first, url) = create(&one);
    let second = two.automerge(&url).unwrap();
    eventually(|| second.hydrate::<List>().is_ok(), || format!("{:?}", two.explain(second.id())));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&heard);
    let _watch = second.observe(move |change| into.lock().unwrap().push(change.origin));
    push(&first, "bread");
    push(&second, "milk");
    for document in [&first, &second] {
        until(document, &["bread", "milk"]);
    }
    eventually(
        || heard.lock().unwrap().iter().any(|origin| matches!(origin, Origin::Link(_))),
        || format!("{heard:?}"),
    );
    assert_eq!(in_sync(&one)[0].keeps, Some(true));
    in_sync(&two);
    // What the other one wrote since that may be on its way.
    let is_at_rest = || {
        let standing = one.explain(first.id()).remove(0).1.unwrap();
        standing.lag.is_none() && standing.acknowledged == standing.last
    };
    eventually(is_at_rest, || format!("{:?}", one.explain(first.id())));
    // Offline, while the node is gone.
    drop(first);
    one.close().unwrap();
    server.kill();
    push(&second, "salt");
    server.revive();
    in_sync(&two);
    // Who has never heard of it.
    let three = linked(&place("three"), &[&server]);
    let third = three.automerge(&url).unwrap();
    until(&third, &["bread", "milk", "salt"]);
    // Offline, in a replica that was closed meanwhile.
    let one = Replica::open(place("one")).unwrap();
    let first = one.automerge(&url).unwrap();
    push(&first, "tea");
    one.link(&super::link::url(&server), LinkOptions::default()).unwrap();
    in_sync(&one);
    drop((first, second));
    one.close().unwrap();
    two.close().unwrap();
    server.kill();
    server.revive();
    until(&third, &["bread", "milk", "salt", "tea"]);
    let four = linked(&place("four"), &[&server]);
    in_sync(&four);
    // It was listed there; nobody here has asked for it.
    assert_eq!(four.documents().map(Result::unwrap).collect::<Vec<_>>(), [third.id().clone()]);
    assert_eq!(four.automerge(&url).unwrap().heads().unwrap(), third.heads().unwrap());
}

#[test]
fn what_was_called_synced_outlives_each_kill_of_the_node() {
    let data = tempfile::tempdir().unwrap();
    what_was_called_synced_outlives_each_kill(serve(data.path(), &[]));
}

/// Of what keeps there.
pub fn what_was_called_synced_outlives_each_kill(mut server: Server) {
    let folder = tempfile::tempdir().unwrap();
    let writer = linked(&folder.path().join("writer"), &[&server]);
    let (document, url) = create(&writer);
    for round in 0..4 {
        for edit in 0..5 {
            push(&document, &format!("{round} {edit}"));
        }
        in_sync(&writer);
        server.kill();
        server.revive();
        // Alone with the node: the writer brings nothing again.
        assert!(writer.unlink(&super::link::url(&server)));
        let reader = linked(&folder.path().join(format!("reader {round}")), &[&server]);
        in_sync(&reader);
        assert_eq!(items(&reader.automerge(&url).unwrap()), items(&document));
        writer.link(&super::link::url(&server), LinkOptions::default()).unwrap();
    }
}

#[test]
fn a_replica_with_two_links_carries_a_document_from_node_to_node_once() {
    let (folder, data) =
        (tempfile::tempdir().unwrap(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let servers = [serve(data[0].path(), &[]), serve(data[1].path(), &[])];
    let one = linked(&folder.path().join("one"), &[&servers[0]]);
    let bridge = linked(&folder.path().join("bridge"), &[&servers[0], &servers[1]]);
    let two = linked(&folder.path().join("two"), &[&servers[1]]);
    let (first, url) = create(&one);
    let second = two.automerge(&url).unwrap();
    eventually(|| second.hydrate::<List>().is_ok(), || format!("{:?}", two.explain(second.id())));
    for n in 0..10 {
        push(if n % 2 == 0 { &first } else { &second }, &n.to_string());
    }
    let all: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    for document in [&first, &second, &bridge.automerge(&url).unwrap()] {
        until(document, &all);
    }
    for replica in [&one, &two, &bridge] {
        in_sync(replica);
        let stored = replica.store().describe(first.id()).unwrap().unwrap();
        assert!(stored.operations() <= 11, "{}", stored.operations());
    }
}

fn with(token: &str, subscription: Subscription) -> LinkOptions {
    LinkOptions { token: Some(token.parse().unwrap()), subscription, ..LinkOptions::default() }
}

#[test]
fn a_token_and_a_subscription_say_which_automerge_documents_are_synced() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server =
        serve(data.path(), &["--token", "may-write-0123456789", "--read-only-token", "may-read-0123456789"]);
    let place = |name: &str| folder.path().join(name);
    let writer = Replica::open(place("writer")).unwrap();
    let (document, link) = create(&writer);
    let (other, _) = create(&writer);
    writer.link(&url(&server), with("may-write-0123456789", Subscription::all())).unwrap();
    in_sync(&writer);
    let (url, options) =
        (url(&server), |prefix: &str| with("may-write-0123456789", Subscription::prefixes([prefix])));
    for (name, prefix, synced) in [("all", "automerge:", 2), ("one", link.as_str(), 1), ("none", "a", 0)] {
        let replica = Replica::open(place(name)).unwrap();
        replica.link(&url, options(prefix)).unwrap();
        in_sync(&replica);
        assert_eq!(replica.documents().count(), synced, "{name}");
    }
    // Whoever syncs one may write in it.
    let reader = Replica::open(place("reader")).unwrap();
    reader.link(&url, with("may-read-0123456789", Subscription::all())).unwrap();
    let (outcome, reason) = parked(&reader, document.id());
    assert!(outcome == Outcome::FORBIDDEN && reason.contains("token"), "{reason}");
    parked(&reader, other.id());
    in_sync(&reader);
}

#[test]
fn a_document_that_is_not_kept_there_is_parked_and_says_why() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    let replica = linked(&folder.path().join("replica"), &[&server]);
    let ((gone, gone_url), (kept, _)) = (create(&replica), create(&replica));
    in_sync(&replica);
    server.kill();
    let removed = tombolo(&["doc", "rm", &gone_url, "--data"]).arg(data.path()).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    push(&gone, "milk");
    push(&kept, "bread");
    server.revive();
    assert_eq!(parked(&replica, gone.id()).0, Outcome::DELETED);
    in_sync(&replica);
    assert_eq!(replica.lagging().len(), 1, "the other one goes on: {:?}", replica.lagging());
    // A relay keeps nothing, and says where to go.
    let relay = Server::relay(&[]);
    let stranger = linked(&folder.path().join("stranger"), &[&relay]);
    let (document, _) = create(&stranger);
    let (outcome, reason) = parked(&stranger, document.id());
    assert!(outcome == Outcome::FORBIDDEN && reason.contains("node"), "{reason}");
}

#[test]
fn what_another_was_told_is_kept_is_here_when_a_wait_that_began_behind_that_ends() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let (one, two) =
        (linked(&folder.path().join("one"), &[&server]), linked(&folder.path().join("two"), &[&server]));
    let (list, url) = create(&two);
    let mut wanted = Vec::new();
    for round in 0..10 {
        wanted.push(round.to_string());
        push(&list, &round.to_string());
        in_sync(&two);
        in_sync(&one);
        assert_eq!(items(&one.automerge(&url).unwrap()), wanted);
    }
}
