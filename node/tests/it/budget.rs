//! Replicas with a budget: what others keep goes and comes back, what nobody else has stays, and an edit that has no room
//! says so before it is written.

use std::time::Duration;

use tombolo::automerge::transaction::Transactable;
use tombolo::automerge::{ROOT, ReadDoc};
use tombolo::replica::{
    Budget, DocumentId, Fetched, Lag, LinkOptions, ListenOptions, OutboxMax, Priority, Replica, ReplicaError,
    Subscription, YjsDocument,
};

use super::command_line::{run, stderr, tombolo};
use super::link::{LIMIT, in_sync, linked, noise, serve, text, url, write};

fn id(name: &str) -> DocumentId {
    DocumentId::yjs(name).unwrap()
}

/// Names of what is evicted.
fn evicted(replica: &Replica) -> Vec<String> {
    replica.evicted().unwrap().into_iter().map(|(id, _)| id.to_string()).collect()
}

fn fetch(replica: &Replica, name: &str) -> YjsDocument {
    let Fetched::Yjs(document) = replica.fetch(&id(name), LIMIT).unwrap() else { panic!() };
    document
}

/// Evicts all that can go.
fn evict_all(replica: &Replica) {
    let all = Budget { warn_at_percent: 0, down_to_percent: 0, ..Budget::of(1 << 40) };
    replica.set_budget(Some(all)).unwrap();
    replica.make_room().unwrap();
    replica.set_budget(None).unwrap();
}

/// Waits for it.
fn until(what: &str, is_it: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_it() {
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_node_keeps_goes_and_comes_back() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    let place = folder.path().join("one");
    let one = linked(&place, &[&server]);
    for name in ["a", "b", "pinned"] {
        write(&one, name, &noise(2_000));
    }
    assert!(one.pin(&id("pinned")).unwrap());
    let list = one.create_automerge().unwrap();
    let list_id = list.id().clone();
    list.edit(|edit| Ok(edit.put(ROOT, "milk", 1)?)).unwrap();
    drop(list);
    in_sync(&one);
    write(&one, "held open", "x");
    let held_open = one.yjs("held open").unwrap();
    in_sync(&one);
    // An Automerge document is held by its link until it was quiet for a while.
    assert!(one.unlink(&url(&server)));
    one.link(&url(&server), LinkOptions::default()).unwrap();
    in_sync(&one);
    let before = one.usage().unwrap();
    assert!(before.evictable > 4_000 && before.pinned > 2_000 && before.in_use > 0, "{before:?}");
    evict_all(&one);
    let mut gone = vec!["a".to_owned(), "b".to_owned(), list_id.to_string()];
    gone.sort();
    let mut stubs = evicted(&one);
    stubs.sort();
    assert_eq!(stubs, gone);
    let stub = one.evicted().unwrap().remove(0).1;
    assert!(stub.address.starts_with(&url(&server)), "{}", stub.address);
    let after = one.usage().unwrap();
    assert_eq!((after.evicted, after.evictable), (3, 0));
    assert!(after.bytes < before.bytes - 4_000, "{after:?}");
    let refused = one.yjs("a").map(drop).unwrap_err();
    assert!(matches!(refused, ReplicaError::Evicted { .. }), "{refused}");
    assert_eq!(one.documents().count(), 5);
    drop(held_open);
    one.close().unwrap();

    // Somebody else changes one of them meanwhile, and the node goes through a kill.
    let two = linked(&folder.path().join("two"), &[&server]);
    in_sync(&two);
    write(&two, "a", "new ");
    in_sync(&two);
    server.kill();
    server.revive();

    let one = linked(&place, &[&server]);
    in_sync(&one);
    assert_eq!(evicted(&one).len(), 3, "what changed there is not fetched by itself");
    assert_eq!(one.unsynced(&url(&server), &Subscription::all()).unwrap(), 0);
    let a = fetch(&one, "a");
    assert_eq!(a.text("text").unwrap(), format!("new {}", noise(2_000)));
    a.edit(|edit| edit.text("text").insert(0, "mine ")).unwrap();
    in_sync(&one);
    in_sync(&two);
    until("the edit arrives", || text(&two, "a").starts_with("mine "));
    let Fetched::Automerge(list) = one.fetch(&list_id, LIMIT).unwrap() else { panic!() };
    let milk = list.read(|view| view.get(ROOT, "milk").unwrap().map(|(value, _)| value.to_string()));
    assert_eq!(milk.unwrap().as_deref(), Some("1"));
    assert_eq!(evicted(&one), ["b"]);
    assert_eq!(one.pinned().unwrap(), [id("pinned")]);
}

#[test]
fn what_nobody_else_has_stays_and_what_has_no_room_is_refused() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let one = Replica::open(folder.path()).unwrap();
    for name in ["a", "b", "c"] {
        write(&one, name, &noise(2_000));
    }
    one.set_budget(Some(Budget::of(7_000))).unwrap();
    let usage = one.usage().unwrap();
    assert!(usage.is_narrow && usage.unsynced == usage.bytes, "{usage:?}");
    let wants = || one.yjs("d").unwrap().edit(|edit| edit.text("text").insert(0, &noise(2_000)));
    let refused = wants().unwrap_err();
    assert!(matches!(refused, ReplicaError::BudgetFull { budget: 7_000, .. }), "{refused}");
    assert!(refused.to_string().contains("bytes are not known to be anywhere else"), "{refused}");
    assert_eq!(text(&one, "d"), "");
    assert_eq!(one.make_room().unwrap().documents, 0);
    assert_eq!(one.documents().count(), 3);
    // As soon as somebody keeps it, it goes by itself.
    one.link(&url(&server), LinkOptions::default()).unwrap();
    in_sync(&one);
    until("there is room", || one.usage().unwrap().bytes <= 4_200);
    wants().unwrap();
    assert!(!evicted(&one).is_empty());
    for name in ["a", "b", "c"] {
        assert_eq!(fetch(&one, name).text("text").unwrap(), noise(2_000));
    }
    assert!(matches!(
        one.set_budget(Some(Budget { warn_at_percent: 50, ..Budget::of(1) })),
        Err(ReplicaError::Budget { .. })
    ));
}

#[test]
fn the_least_urgent_goes_first_then_what_was_not_used_for_longest() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let one = Replica::open(folder.path()).unwrap();
    // As a day of use leaves it: "old" was used an hour before "new", and "urgent" long ago.
    let hour = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 3600;
    drop(one);
    let key = |name: &str| id(name).to_key().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let uses = [("new", hour - 1), ("old", hour - 2), ("urgent", 5), ("low", hour - 1)];
    let uses: Vec<_> = uses.iter().map(|(name, at)| format!("[\"{}\",{at}]", key(name))).collect();
    let ledger = format!("{{\"version\":1,\"evicted\":false,\"pinned\":[],\"used\":[{}]}}", uses.join(","));
    std::fs::write(folder.path().join("budget.json"), ledger).unwrap();
    let one = Replica::open(folder.path()).unwrap();
    for name in ["new", "old", "urgent", "low"] {
        write(&one, name, &noise(2_000));
    }
    let subscription =
        Subscription::all().priority("urgent", Priority::Critical).priority("low", Priority::Low);
    let options = LinkOptions { subscription, ..LinkOptions::default() };
    one.link(&url(&server), options).unwrap();
    in_sync(&one);
    let bytes = one.usage().unwrap().bytes;
    for (percent, gone) in [(76, &["low"][..]), (51, &["low", "old"]), (26, &["low", "new", "old"])] {
        let budget = Budget { warn_at_percent: 100, down_to_percent: percent, ..Budget::of(bytes) };
        one.set_budget(Some(budget)).unwrap();
        one.make_room().unwrap();
        assert_eq!(evicted(&one), gone);
    }
    one.set_budget(Some(Budget { ttl: Some(Duration::from_secs(3600)), ..Budget::of(1 << 40) })).unwrap();
    until("what nobody uses goes however much room there is", || evicted(&one).len() == 4);
}

#[test]
fn what_another_link_owes_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (keeper, mut other) = (serve(here.path(), &[]), serve(there.path(), &[]));
    let one = linked(folder.path(), &[&keeper, &other]);
    write(&one, "a", "a");
    in_sync(&one);
    other.kill();
    write(&one, "b", "b");
    until("the keeper has it", || {
        let stands = one.explain(&id("b"));
        stands.iter().any(|(link, standing)| {
            link.starts_with(&url(&keeper))
                && standing.as_ref().is_some_and(|standing| standing.lag.is_none())
        })
    });
    evict_all(&one);
    assert_eq!(evicted(&one), ["a"]);
    assert!(one.unlink(&url(&other)));
    evict_all(&one);
    assert_eq!(evicted(&one), ["a", "b"]);
}

#[test]
fn without_a_keeper_nothing_goes_and_nothing_comes() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    let one = linked(folder.path(), &[&server]);
    write(&one, "a", "a");
    write(&one, "b", "b");
    in_sync(&one);
    let b = one.yjs("b").unwrap();
    evict_all(&one);
    drop(b);
    assert_eq!(evicted(&one), ["a"]);
    server.kill();
    until("the link is down", || one.links()[0].keeps.is_none());
    evict_all(&one);
    assert_eq!(evicted(&one), ["a"]);
    let refused = one.fetch(&id("a"), Duration::from_millis(50)).map(drop).unwrap_err();
    assert!(matches!(refused, ReplicaError::NotFetched { .. }), "{refused}");
    assert!(refused.to_string().contains(&url(&server)), "{refused}");
    assert!(matches!(one.yjs("a"), Err(ReplicaError::Evicted { .. })));
    // Who is somebody else does not pass for who had it.
    assert!(one.unlink(&url(&server)));
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = serve(elsewhere.path(), &[]);
    one.link(&url(&stranger), LinkOptions::default()).unwrap();
    in_sync(&one);
    let refused = one.fetch(&id("a"), Duration::from_millis(500)).map(drop).unwrap_err();
    assert!(refused.to_string().contains("not all that it had is there"), "{refused}");
    server.revive();
    one.link(&url(&server), LinkOptions::default()).unwrap();
    assert_eq!(fetch(&one, "a").text("text").unwrap(), "a");
}

#[test]
fn a_replica_that_listens_does_not_pass_off_a_stub_as_empty() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let one = linked(&folder.path().join("one"), &[&server]);
    write(&one, "a", "a");
    in_sync(&one);
    evict_all(&one);
    let address = one.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let two = Replica::open(folder.path().join("two")).unwrap();
    two.link(&format!("ws://{address}"), LinkOptions::default()).unwrap();
    until("it is refused for now", || {
        let stands = two.explain(&id("a"));
        stands.iter().any(|(_, standing)| {
            matches!(standing.as_ref().map(|standing| &standing.lag), Some(Some(Lag::Refused { .. })))
        })
    });
    assert!(!two.links()[0].in_sync);
    fetch(&one, "a");
    in_sync(&two);
    assert_eq!(text(&two, "a"), "a");
}

#[test]
fn what_is_deleted_at_the_keeper_stays_here() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let place = folder.path().join("one");
    let one = linked(&place, &[&server]);
    write(&one, "a", "a");
    write(&one, "b", "b");
    in_sync(&one);
    // It learns of that after a start in which nothing says that there ever was a change.
    one.close().unwrap();
    let removed = run(tombolo(&["doc", "rm", "a", "--data"]).arg(data.path()));
    assert!(removed.status.success(), "{}", stderr(&removed));
    let one = linked(&place, &[&server]);
    until("it is pinned", || one.pinned().unwrap() == [id("a")]);
    one.close().unwrap();
    let one = linked(&place, &[&server]);
    in_sync(&one);
    evict_all(&one);
    assert_eq!((evicted(&one), text(&one, "a")), (vec!["b".to_owned()], "a".to_owned()));
    // Who has given something up does not pass for one that keeps all.
    let all = ListenOptions { keeps_all: true, ..ListenOptions::default() };
    let refused = one.listen("127.0.0.1:0".parse().unwrap(), all);
    assert!(matches!(refused, Err(ReplicaError::KeepsAll)));
}

#[test]
fn what_was_dropped_and_is_tried_again_is_vouched_for_by_nobody() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server =
        serve(data.path(), &["--token", "write-0123456789", "--read-only-token", "may-read-0123456789"]);
    let place = folder.path().join("one");
    let open = || {
        let one = Replica::open(&place).unwrap();
        let token = Some("may-read-0123456789".parse().unwrap());
        one.link(&url(&server), LinkOptions { token, ..LinkOptions::default() }).unwrap();
        one
    };
    let lag = |one: &Replica| one.explain(&id("a"))[0].1.as_ref().and_then(|standing| standing.lag.clone());
    let one = open();
    write(&one, "a", "only here");
    until("it is parked", || matches!(lag(&one), Some(Lag::Parked { .. })));
    until("it is dropped", || one.drop_parked(&id("a")));
    until("it is said so", || matches!(lag(&one), Some(Lag::Dropped { .. })));
    one.close().unwrap();
    let one = open();
    until("it is known", || matches!(lag(&one), Some(Lag::Dropped { .. })));
    one.retry(None);
    for _ in 0..20 {
        evict_all(&one);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((evicted(&one), text(&one, "a")), (vec![], "only here".to_owned()));
}

#[test]
fn two_devices_do_not_both_give_up_what_the_other_has() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Replica::open(folder.path().join(name)).unwrap();
    let devices = [open("one"), open("two")];
    let addresses = devices.each_ref().map(|device| {
        let address = device.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
        format!("ws://{address}")
    });
    for (device, other) in devices.iter().zip(addresses.iter().rev()) {
        device.link(other, LinkOptions::default()).unwrap();
    }
    write(&devices[0], "a", &noise(2_000));
    devices.iter().for_each(|device| drop(in_sync(device)));
    until("it is there", || text(&devices[1], "a").len() == 2_000);
    // Nobody holds it open, on either side.
    for (device, other) in devices.iter().zip(addresses.iter().rev()) {
        assert!(device.unlink(other));
        device.link(other, LinkOptions::default()).unwrap();
    }
    devices.iter().for_each(|device| drop(in_sync(device)));
    for device in &devices {
        evict_all(device);
        assert_eq!(evicted(device), [] as [String; 0], "the other one might do the same");
    }
    // Who says that it keeps all has no budget.
    let [keeps, _other] = devices;
    keeps.close().unwrap();
    let keeps = open("one");
    let all = ListenOptions { keeps_all: true, ..ListenOptions::default() };
    keeps.listen("127.0.0.1:0".parse().unwrap(), all.clone()).unwrap();
    assert!(matches!(keeps.set_budget(Some(Budget::of(1))), Err(ReplicaError::KeepsAll)));
    keeps.close().unwrap();
    let gives_up = open("one");
    gives_up.set_budget(Some(Budget::of(1 << 40))).unwrap();
    let refused = gives_up.listen("127.0.0.1:0".parse().unwrap(), all);
    assert!(matches!(refused, Err(ReplicaError::KeepsAll)));
}

#[test]
fn what_waits_for_a_link_is_bounded() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    server.kill();
    let place = folder.path().join("one");
    let outbox_max = OutboxMax { documents: Some(2), bytes: Some(10_000) };
    let options = || LinkOptions { outbox_max, ..LinkOptions::default() };
    let one = Replica::open(&place).unwrap();
    one.link(&url(&server), options()).unwrap();
    write(&one, "a", "a");
    write(&one, "b", "b");
    let edit = |replica: &Replica, name: &str, text: &str| {
        replica.yjs(name).unwrap().edit(|edit| edit.text("text").insert(0, text))
    };
    let refused = edit(&one, "c", "c").unwrap_err();
    assert!(matches!(refused, ReplicaError::OutboxFull { documents: 2, .. }), "{refused}");
    assert_eq!(text(&one, "c"), "");
    edit(&one, "a", "more ").unwrap();
    assert!(matches!(edit(&one, "a", &noise(10_000)), Err(ReplicaError::OutboxFull { .. })));
    assert_eq!(text(&one, "a"), "more a");
    one.close().unwrap();
    // What waits is known after a restart.
    let one = Replica::open(&place).unwrap();
    one.link(&url(&server), options()).unwrap();
    assert!(matches!(edit(&one, "c", "c"), Err(ReplicaError::OutboxFull { documents: 2, .. })));
    edit(&one, "b", "more ").unwrap();
    server.revive();
    in_sync(&one);
    until("there is room again", || edit(&one, "c", "c").is_ok());
}

#[test]
fn what_is_dropped_by_decision_holds_nothing_up_and_stays() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server =
        serve(data.path(), &["--token", "may-write-0123456789", "--read-only-token", "may-read-0123456789"]);
    let outbox_max = OutboxMax { documents: Some(1), bytes: None };
    let token = Some("may-read-0123456789".parse().unwrap());
    let options = || LinkOptions { token: token.clone(), outbox_max, ..LinkOptions::default() };
    let one = Replica::open(folder.path()).unwrap();
    one.link(&url(&server), options()).unwrap();
    let lag = |replica: &Replica, name: &str| {
        replica.explain(&id(name)).remove(0).1.and_then(|standing| standing.lag)
    };
    write(&one, "a", "mine");
    until("it is parked", || matches!(lag(&one, "a"), Some(Lag::Parked { .. })));
    let refused = one.yjs("b").unwrap().edit(|edit| edit.text("text").insert(0, "b")).unwrap_err();
    assert!(matches!(refused, ReplicaError::OutboxFull { documents: 1, .. }), "{refused}");
    assert!(!one.drop_parked(&id("b")) && one.drop_parked(&id("a")));
    assert!(matches!(lag(&one, "a"), Some(Lag::Dropped { .. })));
    in_sync(&one);
    evict_all(&one);
    assert_eq!(evicted(&one), Vec::<String>::new(), "nobody else has it");
    one.close().unwrap();
    let one = Replica::open(folder.path()).unwrap();
    one.link(&url(&server), options()).unwrap();
    in_sync(&one);
    assert!(matches!(lag(&one, "a"), Some(Lag::Dropped { .. })));
    evict_all(&one);
    assert_eq!((evicted(&one), text(&one, "a")), (vec![], "mine".to_owned()));
    // From the next edit on it waits again.
    write(&one, "a", "still ");
    until("it is parked", || matches!(lag(&one, "a"), Some(Lag::Parked { .. })));
    assert!(one.drop_parked(&id("a")));
    assert!(one.unlink(&url(&server)));
    let may_write =
        LinkOptions { token: Some("may-write-0123456789".parse().unwrap()), ..LinkOptions::default() };
    one.link(&url(&server), may_write).unwrap();
    one.retry(Some(&id("a")));
    in_sync(&one);
    until("it has come there", || lag(&one, "a").is_none());
    evict_all(&one);
    assert_eq!(evicted(&one), ["a"]);
    assert_eq!(fetch(&one, "a").text("text").unwrap(), "still mine");
}

/// What a command prints.
fn printed(folder: &std::path::Path, arguments: &[&str]) -> String {
    let output = run(tombolo(arguments).arg("--data").arg(folder));
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn notes_that_were_evicted_are_marked_and_fetched() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let folder = folder.path();
    let one = linked(folder, &[&server]);
    write(&one, "gone", "# Gone\n");
    write(&one, "here", "# Here\n");
    in_sync(&one);
    assert!(one.pin(&id("here")).unwrap());
    evict_all(&one);
    one.close().unwrap();
    let list: serde_json::Value =
        serde_json::from_str(&printed(folder, &["note", "list", "--json"])).unwrap();
    assert_eq!((&list["notes"][0]["name"], &list["notes"][1]["title"]), (&"gone".into(), &"Here".into()));
    assert!(list["notes"][0]["evicted"].as_str().unwrap().starts_with(&url(&server)), "{list}");
    for command in ["note", "doc"] {
        let table = printed(folder, &[command, "list"]);
        assert!(table.contains(&format!("(evicted; {}", url(&server))), "{table}");
    }
    assert!(printed(folder, &["doc", "show", "gone"]).contains("evicted to: ws://"));
    let status: serde_json::Value =
        serde_json::from_str(&printed(folder, &["note", "status", "--json"])).unwrap();
    assert_eq!(
        (&status["notes"], &status["evicted"], &status["unreadable"]),
        (&1.into(), &1.into(), &0.into())
    );
    let refused = run(tombolo(&["note", "show", "gone"]).arg("--data").arg(folder));
    assert!(
        !refused.status.success() && stderr(&refused).contains("tombolo note link add"),
        "{}",
        stderr(&refused)
    );
    printed(folder, &["note", "link", "add", &url(&server)]);
    assert_eq!(printed(folder, &["note", "show", "gone"]), "# Gone\n");
    let list = printed(folder, &["note", "list"]);
    assert!(!list.contains("evicted"), "{list}");
}

#[test]
fn what_is_on_its_way_to_the_keeper_stays() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let one = linked(folder.path(), &[&server]);
    write(&one, "a", "a");
    in_sync(&one);
    // It hears and stores nothing, and is still there.
    server.signal("STOP");
    write(&one, "b", "b");
    write(&one, "a", "more ");
    evict_all(&one);
    let (gone, usage) = (evicted(&one), one.usage().unwrap());
    server.signal("CONT");
    assert_eq!(one.links()[0].keeps, Some(true));
    assert_eq!((gone, usage.unsynced), (Vec::<String>::new(), usage.bytes));
    in_sync(&one);
    evict_all(&one);
    assert_eq!(evicted(&one), ["a", "b"]);
}
