//! Clocks of linked replicas: what is edited after a sync is stamped later, and a clock that is years ahead moves none.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tombolo::replica::{LinkOptions, ListenOptions, Replica};
use tombolo_core::dialect::native::{self, Hello, Role};
use tombolo_core::dialect::replica::{Identity, identity_frame_at, ping, pong};
use tombolo_core::id::PeerId;
use tombolo_core::operation::Stamp;
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{Store, StoreConfig};

use super::link::{LIMIT, in_sync, write};

/// Behind what is taken for a clock that is right, and behind what a test lasts.
const AHEAD_MS: u64 = 50_000;
const YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn at(ms: u64) -> Stamp {
    Stamp(ms << 16)
}

fn store(folder: &Path) -> Store {
    Store::open(StoreConfig::new(folder), ThreadWorker::start().unwrap()).unwrap()
}

/// A replica whose clock is this far ahead of the time.
fn ahead(folder: &Path, ms: u64) -> Replica {
    let store = store(folder);
    store.observe(at(now_ms() + ms));
    store.close().unwrap();
    drop(store);
    Replica::open(folder).unwrap()
}

/// What the last edit in this folder was stamped at least, in ms.
fn last_ms(folder: &Path, replica: Replica) -> u64 {
    replica.close().unwrap();
    let store = store(folder);
    let last = store.stamp().0 >> 16;
    store.close().unwrap();
    last
}

#[test]
fn what_is_edited_after_a_sync_is_stamped_later_and_a_mark_carries_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let start = now_ms();
    let hub = Replica::open(place("hub")).unwrap();
    let address =
        format!("ws://{}", hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap());
    let link = |replica: &Replica| replica.link(&address, LinkOptions::default()).unwrap();
    let (one, two) = (Replica::open(place("one")).unwrap(), ahead(&place("two"), AHEAD_MS));
    link(&one);
    write(&one, "d", "one ");
    in_sync(&one);
    // The hub's clock is moved only now, and no new connection tells that to the first.
    link(&two);
    write(&two, "d", "two ");
    in_sync(&two);
    let links = in_sync(&one);
    assert_eq!(links[0].clock_ahead_ms, None);
    write(&one, "d", "later ");
    drop(two);
    for (name, replica) in [("one", one), ("hub", hub)] {
        let last = last_ms(&place(name), replica);
        assert!(last >= start + AHEAD_MS, "{name}: {last} and not behind {}", start + AHEAD_MS);
    }
}

/// A relay that keeps nothing and has a clock that is this far ahead, for one replica.
async fn relay_ahead(listener: tokio::net::TcpListener, ms: u64) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let welcome = native::Message::Welcome { version: native::VERSION, relay: PeerId(1) }.encode();
    let identity =
        identity_frame_at(&Identity { keeps: None, lists: false, gives_up: false }, Some(at(now_ms() + ms)));
    for frame in [welcome, identity] {
        socket.send(Message::Binary(frame.into())).await.unwrap();
    }
    while let Some(Ok(_)) = socket.next().await {}
}

#[test]
fn a_clock_that_is_years_ahead_is_named_and_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    runtime.spawn(relay_ahead(listener, YEARS_MS));
    let replica = Replica::open(folder.path()).unwrap();
    replica.link(&address, LinkOptions::default()).unwrap();
    let start = std::time::Instant::now();
    let named = loop {
        assert!(start.elapsed() < LIMIT);
        if let Some(ms) = replica.links()[0].clock_ahead_ms {
            break ms;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(named <= YEARS_MS && named > YEARS_MS - 3_600_000, "{named}");
    write(&replica, "d", "text");
    assert!(last_ms(folder.path(), replica) <= now_ms());
    runtime.shutdown_background();
}

/// Somebody comes in whose clock is this far ahead, and is gone when that was heard.
async fn come_in(address: &str, ms: u64) {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("{address}/replica")).await.unwrap();
    let hello = Hello { role: Role::Replica, peer: PeerId(0), token: String::new() };
    let identity =
        identity_frame_at(&Identity { keeps: None, lists: false, gives_up: false }, Some(at(now_ms() + ms)));
    for frame in [native::Message::Hello(hello).encode(), identity, ping(7)] {
        socket.send(Message::Binary(frame.into())).await.unwrap();
    }
    while socket.next().await.unwrap().unwrap().into_data() != pong(7) {}
}

#[test]
fn who_comes_in_years_ahead_moves_nothing_and_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (ms, moves) in [(YEARS_MS, false), (AHEAD_MS, true)] {
        let start = now_ms();
        let hub = Replica::open(folder.path()).unwrap();
        let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
        runtime.block_on(come_in(&format!("ws://{address}"), ms));
        let last = last_ms(folder.path(), hub);
        assert_eq!(last >= start + AHEAD_MS, moves, "{last} for {ms} ms ahead of {start}");
        assert!(last < start + YEARS_MS / 2);
    }
}
