//! A replica whose disk stands still: what is not on it has not left.
//!
//! A file system that is frozen (`fsfreeze`) takes no write and no sync, and the document in memory is ahead of it. The
//! other end of a link must learn of nothing that a power cut would take away here: what it heard from this replica it
//! would not ask for anywhere else.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tombolo::replica::{LinkOptions, LinkState, ListenOptions, Replica, YjsDocument};
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Store, StoreConfig};

use super::link::{LIMIT, in_sync, linked, serve, url};
use super::link_automerge;
use super::mount::Mounted;

/// Frozen until it is dropped, and for a minute at most: a test that is killed leaves nothing frozen behind it.
struct Frozen<'a> {
    disk: &'a Mounted,
    watch: Child,
}

impl<'a> Frozen<'a> {
    fn new(disk: &'a Mounted) -> Self {
        let thaw = "sleep 60; exec fsfreeze --unfreeze \"$0\"";
        let mut watch = Command::new("sh");
        watch.args(["-c", thaw]).arg(disk.path());
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        fsfreeze("--freeze", disk);
        Self { disk, watch }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        fsfreeze("--unfreeze", self.disk);
        self.watch.kill().unwrap();
        self.watch.wait().unwrap();
    }
}

fn fsfreeze(what: &str, disk: &Mounted) {
    let done = Command::new("fsfreeze").arg(what).arg(disk.path()).status();
    assert!(done.unwrap().success(), "fsfreeze {what}");
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn text(document: &YjsDocument) -> String {
    document.text("text").unwrap()
}

fn write(document: &YjsDocument, text: &str) {
    document.edit(|edit| edit.text("text").insert(0, text)).unwrap();
}

#[test]
fn what_is_not_on_the_disk_has_not_left() {
    let Some(disk) = Mounted::new("what_is_not_on_the_disk_has_not_left", 64) else { return };
    let folders = tempfile::tempdir().unwrap();
    let place = |name: &str| folders.path().join(name);
    let (first, mut second) = (serve(&place("first"), &[]), serve(&place("second"), &[]));
    let config = StoreConfig::new(disk.path().join("data"));
    let store = Store::open(config, ThreadWorker::start().unwrap()).unwrap();
    let slow = Replica::over(store.clone());
    for server in [&first, &second] {
        slow.link(&url(server), LinkOptions::default()).unwrap();
    }
    let document = slow.yjs("d").unwrap();
    write(&document, "before ");
    in_sync(&slow);
    let (there, beyond) = (linked(&place("there"), &[&first]), linked(&place("beyond"), &[&second]));
    in_sync(&there);
    in_sync(&beyond);
    second.kill();
    // This is owed there, and no more than this.
    write(&document, "meanwhile ");
    // All is on the shelf, which would hold up readers if it stood still in the middle.
    assert_eq!(store.tombstones().unwrap(), []);
    drop(store);

    std::thread::scope(|scope| {
        // In here: a failure thaws it before it waits for the thread.
        let frozen = Frozen::new(&disk);
        write(&there.yjs("d").unwrap(), "brought ");
        let own = slow.yjs("d").unwrap();
        scope.spawn(move || write(&own, "own "));
        until("both in memory", || text(&document).contains("own") && text(&document).contains("brought"));
        // Both ends come anew and compare what they have.
        second.revive();
        slow.network_changed();
        beyond.network_changed();
        for replica in [&slow, &beyond] {
            let is_online = |replica: &Replica| {
                replica.links().iter().any(|link| {
                    link.url.contains(&second.address.to_string()) && link.state == LinkState::Online
                })
            };
            until("connected", || is_online(replica));
        }
        // What leaves wrongly does so in far less.
        std::thread::sleep(Duration::from_secs(1));
        let arrived = text(&beyond.yjs("d").unwrap());
        assert!(!arrived.contains("own") && !arrived.contains("brought"), "{arrived}");
        drop(frozen);
    });
    until("after the thaw", || {
        let text = text(&beyond.yjs("d").unwrap());
        text.contains("own") && text.contains("brought")
    });
    in_sync(&slow);
    slow.close().unwrap();
}

#[test]
fn what_two_links_bring_is_in_sync_when_it_is_on_the_disk() {
    let Some(disk) = Mounted::new("what_two_links_bring_is_in_sync_when_it_is_on_the_disk", 64) else {
        return;
    };
    let folders = tempfile::tempdir().unwrap();
    let place = |name: &str| folders.path().join(name);
    let (first, second) = (serve(&place("first"), &[]), serve(&place("second"), &[]));
    let store =
        Store::open(StoreConfig::new(disk.path().join("data")), ThreadWorker::start().unwrap()).unwrap();
    let slow = Replica::over(store.clone());
    for server in [&first, &second] {
        slow.link(&url(server), LinkOptions::default()).unwrap();
    }
    let document = slow.yjs("d").unwrap();
    write(&document, "before ");
    in_sync(&slow);
    let there = linked(&place("there"), &[&first, &second]);
    in_sync(&there);
    assert_eq!(store.tombstones().unwrap(), []);
    drop(store);
    {
        let frozen = Frozen::new(&disk);
        write(&there.yjs("d").unwrap(), "brought ");
        in_sync(&there);
        until("in memory", || text(&document).contains("brought"));
        // Both have brought it; whichever came second finds it known, and not on the disk.
        std::thread::sleep(Duration::from_secs(1));
        let said: Vec<_> = slow.links().into_iter().map(|link| (link.url, link.in_sync)).collect();
        assert!(said.iter().all(|(_, in_sync)| !in_sync), "{said:?}");
        drop(frozen);
    }
    in_sync(&slow);
    slow.close().unwrap();
}

#[test]
fn a_replica_that_listens_says_nothing_of_what_is_not_on_its_disk() {
    let Some(disk) = Mounted::new("a_replica_that_listens_says_nothing", 64) else { return };
    let folders = tempfile::tempdir().unwrap();
    let hub = Replica::open(disk.path().join("data")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let beyond = Replica::open(folders.path()).unwrap();
    beyond.link(&format!("ws://{address}"), LinkOptions::default()).unwrap();
    let (list, url) = link_automerge::create(&hub);
    link_automerge::push(&list, "before");
    let copy = beyond.automerge(&url).unwrap();
    link_automerge::until(&copy, &["before"]);
    in_sync(&beyond);
    // All is on the shelf, which would hold up readers if it stood still in the middle.
    assert_eq!(hub.store().tombstones().unwrap(), []);
    std::thread::scope(|scope| {
        let frozen = Frozen::new(&disk);
        let own = list.clone();
        scope.spawn(move || link_automerge::push(&own, "own"));
        until("in memory", || link_automerge::items(&list).contains(&"own".to_owned()));
        // It comes anew and compares what it has; then it brings something.
        assert!(beyond.unlink(&format!("ws://{address}")));
        beyond.link(&format!("ws://{address}"), LinkOptions::default()).unwrap();
        until("connected", || beyond.links()[0].state == LinkState::Online);
        // What leaves wrongly does so in far less.
        std::thread::sleep(Duration::from_secs(1));
        link_automerge::push(&copy, "brought");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(link_automerge::items(&copy), ["before", "brought"]);
        assert!(!beyond.lagging().is_empty(), "it is not there yet");
        drop(frozen);
    });
    link_automerge::until(&copy, &["before", "brought", "own"]);
    in_sync(&beyond);
    link_automerge::until(&list, &["before", "brought", "own"]);
}
