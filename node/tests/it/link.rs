//! Replicas that are linked: through a node, through a relay that keeps nothing, offline and back, through kills; what
//! was called synced is there.

use std::path::Path;
use std::time::Duration;

use tombolo::replica::{
    DocumentId, Lag, LinkOptions, LinkState, LinkStatus, ListenOptions, Origin, Replica, ReplicaError,
    Subscription, YjsDocument,
};

use super::backplane::world::Server;
use super::command_line::tombolo;

pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn serve(data: &Path, more: &'static [&'static str]) -> Server {
    let data = data.to_owned();
    Server::start(move |address| {
        let mut command = tombolo(&["serve", "--listen", &address.to_string(), "--data"]);
        command.arg(&data).args(more);
        command
    })
}

pub(super) fn url(server: &Server) -> String {
    format!("ws://{}", server.address)
}

/// A replica with a link to each of these.
pub(super) fn linked(folder: &Path, servers: &[&Server]) -> Replica {
    let replica = Replica::open(folder).unwrap();
    for server in servers {
        replica.link(&url(server), LinkOptions::default()).unwrap();
    }
    replica
}

pub(super) fn write(replica: &Replica, name: &str, text: &str) {
    replica.yjs(name).unwrap().edit(|edit| edit.text("text").insert(0, text)).unwrap();
}

pub(super) fn text(replica: &Replica, name: &str) -> String {
    replica.yjs(name).unwrap().text("text").unwrap()
}

pub(super) fn in_sync(replica: &Replica) -> Vec<LinkStatus> {
    let links = replica.wait_for_sync(LIMIT);
    assert!(links.iter().all(|link| link.in_sync), "{links:#?}\n{:#?}", replica.lagging());
    links
}

/// So many characters that cannot be packed.
pub(super) fn noise(length: usize) -> String {
    let mut noise = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise.iter().map(|byte| char::from(b' ' + byte % 95)).collect()
}

/// Waits until a document has this text.
pub(super) fn until(document: &YjsDocument, wanted: impl Fn(&str) -> bool) -> String {
    let start = std::time::Instant::now();
    loop {
        let text = document.text("text").unwrap();
        if wanted(&text) {
            return text;
        }
        assert!(start.elapsed() < LIMIT, "{text:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn three_replicas_converge_through_a_node_and_what_is_synced_is_there() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = serve(data.path(), &[]);
    let place = |name: &str| folder.path().join(name);
    let (one, two) = (linked(&place("one"), &[&server]), linked(&place("two"), &[&server]));
    write(&one, "d", "one ");
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = std::sync::Arc::clone(&heard);
    let watched = two.yjs("d").unwrap();
    let _watch = watched.observe(move |change| into.lock().unwrap().push(change.origin));
    write(&two, "d", "two ");
    let both = |text: &str| text.contains("one") && text.contains("two");
    let first = until(&one.yjs("d").unwrap(), both);
    assert_eq!(until(&watched, both), first);
    // Observers are told when it is on the disk, which is a moment after it is seen.
    until(&watched, |_| heard.lock().unwrap().iter().any(|origin| matches!(origin, Origin::Link(_))));
    let links = in_sync(&one);
    assert_eq!((links[0].state, links[0].keeps), (LinkState::Online, Some(true)));
    // What was synced outlives the node and whoever wrote it.
    in_sync(&two);
    one.close().unwrap();
    server.kill();
    server.revive();
    let three = linked(&place("three"), &[&server]);
    assert_eq!(until(&three.yjs("d").unwrap(), both), first);
}

#[test]
fn what_was_edited_offline_arrives_after_a_restart() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = |name: &str| folder.path().join(name);
    let mut server = serve(data.path(), &[]);
    let one = linked(&place("one"), &[&server]);
    write(&one, "a", "before ");
    in_sync(&one);
    server.kill();
    write(&one, "a", "during ");
    write(&one, "b", "new ");
    let lagging = one.lagging();
    assert!(!lagging.is_empty());
    assert!(lagging.iter().all(|(_, _, standing)| standing.lag.is_some()));
    one.close().unwrap();
    // Nothing of it is edited after this start.
    server.revive();
    let one = linked(&place("one"), &[&server]);
    in_sync(&one);
    let id = DocumentId::yjs("a").unwrap();
    assert!(
        one.explain(&id).iter().all(|(_, standing)| standing.as_ref().is_none_or(|one| one.lag.is_none()))
    );
    drop(one);
    let two = linked(&place("two"), &[&server]);
    assert_eq!(until(&two.yjs("a").unwrap(), |text| text.contains("during")), "during before ");
    assert_eq!(until(&two.yjs("b").unwrap(), |text| !text.is_empty()), "new ");
}

#[test]
fn three_replicas_converge_through_a_relay_that_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::relay(&[]);
    let replicas = ["one", "two", "three"].map(|name| {
        let replica = linked(&folder.path().join(name), &[&server]);
        write(&replica, "d", &format!("{name} "));
        replica
    });
    let all = |text: &str| ["one", "two", "three"].iter().all(|name| text.contains(name));
    let texts = replicas.each_ref().map(|replica| until(&replica.yjs("d").unwrap(), all));
    assert!(texts.iter().all(|text| *text == texts[0]));
    let links = replicas[0].wait_for_sync(LIMIT);
    assert_eq!((links[0].in_sync, links[0].keeps), (true, Some(false)), "{links:?}");
    let standing = replicas[0].explain(&DocumentId::yjs("d").unwrap()).remove(0).1.unwrap();
    assert_eq!(standing.lag, Some(Lag::Unkept));
    // An empty one in its place; nobody helps.
    server.kill();
    write(&replicas[1], "d", "later ");
    server.revive();
    for replica in &replicas {
        until(&replica.yjs("d").unwrap(), |text| text.contains("later"));
    }
}

#[test]
fn two_links_store_what_they_both_bring_once() {
    let (folder, data) =
        (tempfile::tempdir().unwrap(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let servers = [serve(data[0].path(), &[]), serve(data[1].path(), &[])];
    let both = [&servers[0], &servers[1]];
    let one = linked(&folder.path().join("one"), &both);
    let two = linked(&folder.path().join("two"), &both);
    for n in 0..20 {
        write(&one, "d", &format!("{n} "));
    }
    until(&two.yjs("d").unwrap(), |text| text.starts_with("19 "));
    in_sync(&one);
    in_sync(&two);
    let id = DocumentId::yjs("d").unwrap();
    let stored = |replica: &Replica| replica.store().describe(&id).unwrap().unwrap().operations();
    assert_eq!(stored(&one), 20, "what came back was known");
    // What comes before its ground, from both sides in other pieces, may be kept in both; not all of it.
    assert!(stored(&two) < 30, "{}", stored(&two));
}

#[test]
fn a_subscription_and_a_token_say_what_is_synced() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server =
        serve(data.path(), &["--token", "may-write-0123456789", "--read-only-token", "may-read-0123456789"]);
    let place = |name: &str| folder.path().join(name);
    let options = |token: &str| LinkOptions {
        token: Some(token.parse().unwrap()),
        subscription: Subscription::prefixes(["shared/"]),
        ..LinkOptions::default()
    };
    let writer = Replica::open(place("writer")).unwrap();
    write(&writer, "shared/a", "a");
    write(&writer, "private", "p");
    writer.link(&url(&server), options("may-write-0123456789")).unwrap();
    in_sync(&writer);
    let reader = Replica::open(place("reader")).unwrap();
    reader.link(&url(&server), options("may-read-0123456789")).unwrap();
    reader.yjs("shared/a").unwrap().edit(|edit| edit.text("text").insert(0, "no ")).unwrap();
    until(&reader.yjs("shared/a").unwrap(), |text| text.contains("no ") && text.contains('a'));
    let id = DocumentId::yjs("shared/a").unwrap();
    let start = std::time::Instant::now();
    while !matches!(
        reader.explain(&id)[0].1.as_ref().and_then(|one| one.lag.clone()),
        Some(Lag::Parked { .. })
    ) {
        assert!(start.elapsed() < LIMIT, "{:?}", reader.explain(&id));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(text(&writer, "shared/a"), "a");
    let stranger = Replica::open(place("stranger")).unwrap();
    stranger.link(&url(&server), options("knows-nothing-012345")).unwrap();
    let status = stranger.wait_for_sync(LIMIT).remove(0);
    assert!(status.gave_up && status.error.as_ref().unwrap().contains("token"), "{status:?}");
    let everything = Replica::open(place("everything")).unwrap();
    let all = LinkOptions { token: Some("may-read-0123456789".parse().unwrap()), ..LinkOptions::default() };
    everything.link(&url(&server), all).unwrap();
    in_sync(&everything);
    assert_eq!(text(&everything, "private"), "");
}

#[test]
fn three_replicas_converge_directly() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let hub = Replica::open(place("hub")).unwrap();
    write(&hub, "d", "hub ");
    write(&hub, "early", "early ");
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let url = format!("ws://{address}");
    let [one, two] = ["one", "two"].map(|name| {
        let replica = Replica::open(place(name)).unwrap();
        write(&replica, "d", &format!("{name} "));
        replica.link(&url, LinkOptions::default()).unwrap();
        replica
    });
    let all = |text: &str| ["hub", "one", "two"].iter().all(|name| text.contains(name));
    let texts = [&hub, &one, &two].map(|replica| until(&replica.yjs("d").unwrap(), all));
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(until(&two.yjs("early").unwrap(), |text| !text.is_empty()), "early ");
    // What is edited here while others have it open, and while nobody has.
    write(&hub, "d", "later ");
    write(&hub, "new", "new ");
    for replica in [&one, &two] {
        until(&replica.yjs("d").unwrap(), |text| text.starts_with("later"));
        until(&replica.yjs("new").unwrap(), |text| text == "new ");
    }
    let links = in_sync(&one);
    assert_eq!(links[0].keeps, Some(true), "the other end is a store");
    write(&one, "d", "durable ");
    in_sync(&one);
    assert!(text(&hub, "d").starts_with("durable"));
    // The one that listened comes back, at the same place.
    hub.close().unwrap();
    write(&one, "d", "away ");
    let hub = Replica::open(place("hub")).unwrap();
    hub.listen(address, ListenOptions::default()).unwrap();
    until(&two.yjs("d").unwrap(), |text| text.starts_with("away"));
    assert!(matches!(
        two.listen("0.0.0.0:0".parse().unwrap(), ListenOptions::default()),
        Err(ReplicaError::Exposed { .. })
    ));
}

#[test]
fn a_large_document_travels_both_ways_and_holds_nothing_up() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let place = |name: &str| folder.path().join(name);
    // Nothing in it packs well.
    let mut seed = 7_u64;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_u32(0x4e00 + u32::try_from(seed >> 33).unwrap() % 20_000).unwrap()
    };
    let large: String = std::iter::repeat_with(&mut letter).take(1_000_000).collect();
    let one = linked(&place("one"), &[&server]);
    write(&one, "large", &large);
    write(&one, "small", "small");
    in_sync(&one);
    let two = linked(&place("two"), &[&server]);
    in_sync(&two);
    assert_eq!((text(&two, "large").len(), text(&two, "small").as_str()), (large.len(), "small"));
}

#[test]
fn somebody_who_edits_on_and_on_keeps_nobody_waiting() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let (one, two) =
        (linked(&folder.path().join("one"), &[&server]), linked(&folder.path().join("two"), &[&server]));
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                write(&two, "d", "two ");
            }
        });
        until(&one.yjs("d").unwrap(), |text| !text.is_empty());
        for _ in 0..5 {
            write(&one, "d", "one ");
            let links = one.wait_for_sync(LIMIT);
            ended.store(!links[0].in_sync, std::sync::atomic::Ordering::Relaxed);
            assert!(links[0].in_sync, "{links:?} {:?}", one.lagging());
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    in_sync(&two);
    assert_eq!(text(&two, "d").matches("one").count(), 5);
}

#[test]
fn what_another_was_told_is_kept_is_here_when_a_wait_that_began_behind_that_ends() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let hub = Replica::open(folder.path().join("hub")).unwrap();
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    for (place, url) in [("node", url(&server)), ("replica", format!("ws://{address}"))] {
        let [one, two] = ["one", "two"].map(|name| {
            let replica = Replica::open(folder.path().join(place).join(name)).unwrap();
            replica.link(&url, LinkOptions::default()).unwrap();
            replica
        });
        for round in 0..20 {
            let wanted = format!("{round} ");
            let name = format!("d{}", round % 3);
            write(&two, &name, &wanted);
            in_sync(&two);
            in_sync(&one);
            assert!(text(&one, &name).starts_with(&wanted), "{place} {round}: {:?}", text(&one, &name));
        }
    }
}

#[test]
fn what_was_edited_a_moment_ago_is_not_in_sync() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let one = linked(&folder.path().join("one"), &[&server]);
    let id = DocumentId::yjs("d").unwrap();
    for _ in 0..5 {
        in_sync(&one);
        // It hears and stores nothing meanwhile.
        server.signal("STOP");
        // What takes a link a while before it can be sent.
        write(&one, "d", &noise(2 * 1024 * 1024));
        let (links, lagging) = (one.wait_for_sync(Duration::from_millis(10)), one.lagging());
        server.signal("CONT");
        assert!(!links[0].in_sync, "{links:?}");
        assert_eq!(lagging.iter().map(|(_, document, _)| document).collect::<Vec<_>>(), [&id]);
    }
}
