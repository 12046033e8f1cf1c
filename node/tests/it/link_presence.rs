//! Who is in a document now, between replicas: through a node, through a relay that keeps nothing, and directly.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tombolo::replica::{
    LinkOptions, ListenOptions, PresenceChange, PresenceObservation, Replica, ReplicaError, YjsDocument,
};
use tombolo::serde_json::{Value, json};

use super::backplane::world::Server;
use super::link::{LIMIT, serve, url, write};

/// Somebody in a document, and what they hear of others.
struct Person {
    replica: Replica,
    document: YjsDocument,
    heard: Receiver<PresenceChange>,
    _watch: PresenceObservation,
}

impl Person {
    fn new(replica: Replica) -> Self {
        let document = replica.yjs("d").unwrap();
        let (sender, heard) = channel();
        let watch = document.observe_presence(move |change| drop(sender.send(change.clone()))).unwrap();
        Self { replica, document, heard, _watch: watch }
    }

    fn linked(folder: &Path, url: &str) -> Self {
        let replica = Replica::open(folder).unwrap();
        replica.link(url, LinkOptions::default()).unwrap();
        Self::new(replica)
    }

    fn show(&self, name: &str) {
        self.document.set_presence(&json!({ "name": name })).unwrap();
    }

    /// Waits until these are here besides, and nobody else.
    fn sees(&self, names: &[&str]) {
        let start = Instant::now();
        loop {
            let states = self.document.presence().unwrap();
            let mut here: Vec<_> = states.values().map(|state| state["name"].clone()).collect();
            here.sort_by_key(ToString::to_string);
            if here == names.iter().map(|name| Value::from(*name)).collect::<Vec<_>>() {
                return;
            }
            assert!(start.elapsed() < LIMIT, "{here:?} and not {names:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it was told of somebody since it was asked last.
    fn was_told(&self, is_it: impl Fn(&PresenceChange) -> bool) {
        let end = Instant::now() + LIMIT;
        while let Ok(change) = self.heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if is_it(&change) {
                return;
            }
        }
        panic!("it was not told");
    }
}

fn two_see_each_other(url: &str, folder: &Path) {
    let one = Person::linked(&folder.join("one"), url);
    one.show("Anna");
    let two = Person::linked(&folder.join("two"), url);
    two.sees(&["Anna"]);
    two.show("Bert");
    one.sees(&["Bert"]);
    let (anna, bert) = (one.document.presence_id().unwrap(), two.document.presence_id().unwrap());
    one.was_told(|change| change.shown.get(&bert) == Some(&json!({ "name": "Bert" })));
    one.show("Anne");
    two.sees(&["Anne"]);
    // Nobody keeps it, and edits are none of it.
    write(&one.replica, "d", "text");
    assert_eq!(one.document.read(|view| view.text("name")).unwrap(), None);
    one.document.set_presence(&Value::Null).unwrap();
    two.sees(&[]);
    two.was_told(|change| change.gone == [anna]);
    one.show("Anna");
    two.sees(&["Anna"]);
    // A link that ends takes them along on both sides.
    assert!(one.replica.unlink(url));
    two.sees(&[]);
    one.sees(&[]);
    one.replica.link(url, LinkOptions::default()).unwrap();
    one.sees(&["Bert"]);
    two.sees(&["Anna"]);
    // So does the end of a document that was open.
    let Person { replica, document, heard: _, _watch } = one;
    drop((_watch, document));
    two.sees(&[]);
    drop(replica);
}

#[test]
fn two_see_each_other_through_a_node() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    two_see_each_other(&url(&server), folder.path());
}

#[test]
fn two_see_each_other_through_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::relay(&[]);
    two_see_each_other(&url(&server), folder.path());
}

#[test]
fn those_who_are_linked_to_a_replica_see_each_other_and_it_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Replica::open(folder.path().join("hub")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let url = format!("ws://{address}");
    // Also while nobody has the document open there.
    two_see_each_other(&url, folder.path());
    let hub = Person::new(hub);
    hub.show("Hub");
    let one = Person::linked(&folder.path().join("one"), &url);
    one.sees(&["Hub"]);
    one.show("Anna");
    hub.sees(&["Anna"]);
    // Who looks only now is told who is there.
    let Person { replica, document, heard: _, _watch } = hub;
    drop((_watch, document));
    one.sees(&[]);
    let hub = Person::new(replica);
    hub.sees(&["Anna"]);
    hub.show("Again");
    one.sees(&["Again"]);
    assert!(one.replica.unlink(&url));
    hub.sees(&[]);
}

#[test]
fn too_much_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let document = Replica::open(folder.path()).unwrap().yjs("d").unwrap();
    let large = document.set_presence(&Value::from("x".repeat(64 * 1024)));
    assert!(matches!(large, Err(ReplicaError::Presence { .. })), "{large:?}");
    document.set_presence(&Value::from("x".repeat(64 * 1024 - 2))).unwrap();
    assert!(document.presence().unwrap().is_empty(), "it is not among the others");
}
