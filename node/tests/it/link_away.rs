//! Replicas that are linked to a relay whose archive is another process: what they are told is kept, is kept there, in both
//! formats, and they go where an archive comes or goes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tombolo::replica::{LinkOptions, Outcome, Replica};

use super::backplane::world::Server;
use super::command_line::tombolo;
use super::link::{LIMIT, in_sync, linked, url};

/// The archive of a relay, at a port of its own.
fn archive(data: &Path, relay: SocketAddr) -> Server {
    let data = data.to_owned();
    Server::start(move |address| {
        let mut command = tombolo(&["serve", "--listen", &address.to_string(), "--data"]);
        command.arg(&data).args(["--relay", &format!("ws://{relay}")]);
        command
    })
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn text(replica: &Replica, name: &str) -> String {
    replica.yjs(name).unwrap().text("text").unwrap()
}

fn write(replica: &Replica, name: &str, text: &str) {
    replica.yjs(name).unwrap().edit(|edit| edit.text("text").insert(0, text)).unwrap();
}

fn keeps(replica: &Replica) -> Option<bool> {
    replica.links()[0].keeps
}

#[test]
fn what_is_kept_behind_a_relay_is_known_and_listed_there() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = |name: &str| folder.path().join(name);
    let relay = Server::relay(&[]);
    // It comes to a relay that keeps nothing, and has to come again.
    let one = linked(&place("one"), &[&relay]);
    write(&one, "d", "one ");
    eventually("a bare relay", || keeps(&one) == Some(false));
    let mut archive = archive(data.path(), relay.address);
    eventually("the archive has come", || keeps(&one) == Some(true));
    let list = one.create_automerge().unwrap();
    list.edit(|edit| Ok(automerge::transaction::Transactable::put(edit, automerge::ROOT, "milk", 1)?))
        .unwrap();
    in_sync(&one);

    // What was called in sync outlives the archive and whoever brought it; the relay has nothing.
    archive.kill();
    eventually("the archive is gone", || keeps(&one) != Some(true));
    write(&one, "d", "meanwhile ");
    archive.revive();
    in_sync(&one);
    one.close().unwrap();
    archive.kill();
    archive.revive();
    // It learns of names that it never heard.
    let two = linked(&place("two"), &[&relay]);
    eventually("an archive", || keeps(&two) == Some(true));
    in_sync(&two);
    assert_eq!(text(&two, "d"), "meanwhile one ");
    let copy = two.automerge(&list.url()).unwrap();
    eventually("the list", || {
        copy.read(|doc| automerge::ReadDoc::get(doc, automerge::ROOT, "milk").unwrap().is_some()).unwrap()
    });
}

#[test]
fn who_may_only_read_at_the_relay_may_only_read_at_its_archive() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = |name: &str| folder.path().join(name);
    let relay = Server::relay(&[
        "--token",
        "write-0123456789",
        "--read-only-token",
        "may-read-0123456789",
        "--peer-token",
        "peers-0123456789",
    ]);
    let (path, address) = (data.path().to_owned(), relay.address);
    let _archive = Server::start(move |own| {
        let mut command =
            tombolo(&["serve", "--listen", &own.to_string(), "--peer-token", "peers-0123456789", "--data"]);
        command.arg(&path).args(["--relay", &format!("ws://{address}")]);
        command
    });
    let link = |name: &str, token: &str| {
        let replica = Replica::open(place(name)).unwrap();
        let options = LinkOptions { token: Some(token.parse().unwrap()), ..LinkOptions::default() };
        replica.link(&url(&relay), options).unwrap();
        replica
    };
    let (writer, reader) = (link("writer", "write-0123456789"), link("reader", "may-read-0123456789"));
    write(&writer, "d", "written ");
    for replica in [&writer, &reader] {
        eventually("an archive", || keeps(replica) == Some(true));
    }
    in_sync(&writer);
    eventually("it reads", || text(&reader, "d") == "written ");
    write(&reader, "d", "smuggled ");
    let refused = || {
        reader.lagging().iter().any(|(_, _, standing)| {
            matches!(standing.lag, Some(tombolo::replica::Lag::Parked { outcome: Outcome::READ_ONLY, .. }))
        })
    };
    eventually("it is refused", refused);
    write(&writer, "d", "more ");
    in_sync(&writer);
    assert_eq!(text(&writer, "d"), "more written ");
}
