//! Replicas that keep some documents only, and replicas that were away for long: what waits is told, and waits.

use std::path::Path;
use std::time::Duration;

use tombolo::replica::{
    Decision, DocumentId, Lag, LinkOptions, LinkStatus, ListenOptions, Replica, Stale, Subscription,
};

use super::link::{LIMIT, in_sync, linked, serve, text, until, url, write};

fn id(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

fn ids(names: &[&str]) -> Vec<DocumentId> {
    names.iter().map(|name| id(name)).collect()
}

fn lag(replica: &Replica, name: &str) -> Option<Lag> {
    replica.explain(&id(name)).remove(0).1.and_then(|standing| standing.lag)
}

/// Two replicas that were in sync at `url`, and then were not: the first is not linked any more.
fn apart(folder: &Path, url: &str) -> (Replica, Replica) {
    let [one, two] = ["one", "two"].map(|name| {
        let replica = Replica::open(folder.join(name)).unwrap();
        replica.link(url, LinkOptions::default()).unwrap();
        replica
    });
    ["same", "mine", "theirs", "both"].iter().for_each(|name| write(&one, name, "old"));
    in_sync(&one);
    // And it has heard that its own are there.
    in_sync(&one);
    until(&two.yjs("theirs").unwrap(), |text| !text.is_empty());
    one.close().unwrap();
    let one = Replica::open(folder.join("one")).unwrap();
    ["mine", "both"].iter().for_each(|name| write(&one, name, "mine "));
    ["theirs", "both", "new"].iter().for_each(|name| write(&two, name, "theirs "));
    in_sync(&two);
    (one, two)
}

fn link(replica: &Replica, url: &str, stale: Stale) -> LinkStatus {
    replica.link(url, LinkOptions { stale, ..LinkOptions::default() }).unwrap();
    replica.wait_for_sync(LIMIT).remove(0)
}

fn a_stale_replica_asks(url: &str, folder: &Path) {
    let (one, two) = apart(folder, url);
    let status = link(&one, url, Stale::after(Duration::ZERO).hold());
    assert!(!status.in_sync && status.waits_for_decision && status.last_synced.is_some(), "{status:?}");
    let backlog = status.backlog.unwrap();
    assert!(backlog.away.is_some() && backlog.decision.is_none());
    assert_eq!((&backlog.apart.here, &backlog.apart.both), (&ids(&["mine"]), &ids(&["both"])));
    assert_eq!((&backlog.apart.there, backlog.apart.knows_there), (&ids(&["new", "theirs"]), true));
    assert_eq!((status.held, status.lagging), (4, 4));
    let about = one.estimate(&backlog).unwrap();
    // Two edits of each of the two.
    assert!(about.operations == 4 && (40..400).contains(&about.bytes), "{about:?}");
    assert_eq!((lag(&one, "mine"), lag(&one, "same")), (Some(Lag::Held), None));
    // What is not among it syncs, both ways.
    write(&one, "same", "still ");
    until(&two.yjs("same").unwrap(), |text| text.starts_with("still"));
    assert!(one.decide(url, Decision::MergeOnly("m*".parse().unwrap())));
    until(&two.yjs("mine").unwrap(), |text| text.starts_with("mine"));
    let status = one.wait_for_sync(LIMIT).remove(0);
    assert!(status.waits_for_decision && status.held == 3, "{status:?}");
    assert_eq!((text(&two, "both"), text(&one, "both")), ("theirs old".to_owned(), "mine old".to_owned()));
    assert_eq!((text(&one, "theirs"), text(&one, "new")), ("old".to_owned(), String::new()));
    assert!(one.decide(url, Decision::Leave));
    assert!(!one.decide("ws://127.0.0.1:1", Decision::Merge));
    assert!(!one.wait_for_sync(LIMIT)[0].in_sync);
    assert!(one.decide(url, Decision::Merge));
    let status = in_sync(&one).remove(0);
    assert!(status.held == 0 && status.backlog.unwrap().decision == Some(Decision::Merge));
    for name in ["both", "theirs", "new"] {
        until(&one.yjs(name).unwrap(), |text| text.contains("theirs"));
    }
    until(&two.yjs("both").unwrap(), |text| text.contains("mine"));
}

#[test]
fn a_stale_replica_asks_before_it_merges_with_a_node() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    a_stale_replica_asks(&url(&server), folder.path());
}

#[test]
fn a_stale_replica_asks_before_it_merges_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Replica::open(folder.path().join("hub")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    a_stale_replica_asks(&format!("ws://{address}"), folder.path());
}

#[test]
fn a_restart_asks_again_and_who_only_announces_goes_on() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let (one, two) = apart(folder.path(), &url(&server));
    let status = link(&one, &url(&server), Stale::after(Duration::ZERO).hold());
    assert!(status.waits_for_decision);
    assert!(one.unlink(&url(&server)));
    // Not long enough for these.
    let stale = Stale::after(LIMIT * 100).and_after("mine".parse().unwrap(), Duration::ZERO).hold();
    let status = link(&one, &url(&server), stale);
    assert_eq!(status.backlog.unwrap().apart.here, ids(&["mine"]));
    until(&one.yjs("both").unwrap(), |text| text.contains("theirs"));
    assert_eq!(text(&two, "mine"), "old");
    one.close().unwrap();
    let one = Replica::open(folder.path().join("one")).unwrap();
    let status = link(&one, &url(&server), Stale::after(Duration::ZERO));
    let backlog = status.backlog.as_ref().unwrap();
    assert_eq!((&backlog.apart.here, &backlog.decision), (&ids(&["mine"]), &Some(Decision::Merge)));
    in_sync(&one);
    until(&two.yjs("mine").unwrap(), |text| text.contains("mine"));
    // Nothing waits any more.
    assert!(one.unlink(&url(&server)));
    assert_eq!(link(&one, &url(&server), Stale::after(Duration::ZERO).hold()).backlog, None);
}

#[test]
fn with_a_relay_that_keeps_nothing_all_of_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = super::backplane::world::Server::relay(&[]);
    let one = Replica::open(folder.path().join("one")).unwrap();
    write(&one, "d", "one");
    let status = link(&one, &url(&server), Stale::after(Duration::ZERO).hold());
    assert!(status.in_sync && status.last_synced.is_some(), "it never was: {status:?}");
    one.close().unwrap();
    let one = Replica::open(folder.path().join("one")).unwrap();
    let status = link(&one, &url(&server), Stale::after(Duration::ZERO).hold());
    let apart = &status.backlog.unwrap().apart;
    assert_eq!((&apart.here, apart.knows_there), (&ids(&["d"]), false));
    assert!(one.decide(&url(&server), Decision::Merge));
    in_sync(&one);
}

#[test]
fn a_partial_replica_has_what_its_patterns_and_names_say() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let all = linked(&folder.path().join("all"), &[&server]);
    let names = ["notes/a/2026-11", "notes/a/2025-11", "notes/b/2026-01", "todo", "todo/old", "x"];
    names.iter().for_each(|name| write(&all, name, "text"));
    in_sync(&all);
    let some = Replica::open(folder.path().join("some")).unwrap();
    write(&some, "x", "not for others");
    let subscription =
        Subscription::patterns(["notes/*/2026-??".parse().unwrap()]).and_documents([id("todo")]);
    some.link(&url(&server), LinkOptions { subscription: subscription.clone(), ..LinkOptions::default() })
        .unwrap();
    in_sync(&some);
    let here: Vec<_> = some.documents().map(|id| id.unwrap().to_string()).collect();
    assert_eq!(here, ["notes/a/2026-11", "notes/b/2026-01", "todo", "x"]);
    // What is new there comes, if it fits.
    write(&all, "notes/new/2026-12", "new");
    write(&all, "notes/new/2025-12", "old");
    until(&some.yjs("notes/new/2026-12").unwrap(), |text| text == "new");
    in_sync(&some);
    assert_eq!(text(&some, "notes/new/2025-12"), "");
    assert_eq!(text(&all, "x"), "text");
    // It is known in the end that all of these are there, and nothing of that is known of others.
    assert!(some.unlink(&url(&server)));
    assert_eq!(some.unsynced(&url(&server), &subscription).unwrap(), 0);
    assert!(some.unsynced(&url(&server), &Subscription::all()).unwrap() >= 5);
}
