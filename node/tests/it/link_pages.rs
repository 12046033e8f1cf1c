//! Large documents over a slow link that breaks again and again: what has arrived is not carried again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tombolo::replica::{LinkOptions, ListenOptions, Replica};

use super::link::{LIMIT, in_sync, serve};

/// What a slow link carries in a second, in bytes.
const RATE: usize = 1024 * 1024;
const PIECE: usize = 16 * 1024;

/// A slow link to somebody, which breaks when it has carried so much more.
struct Proxy {
    address: SocketAddr,
    carried: Arc<Carried>,
}

#[derive(Default)]
struct Carried {
    /// Both ways.
    bytes: AtomicU64,
    breaks: AtomicU64,
}

impl Proxy {
    fn start(to: SocketAddr, breaks: u64, every: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, carried) = (listener.local_addr().unwrap(), Arc::new(Carried::default()));
        let counted = Arc::clone(&carried);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else { continue };
                let breaks_again = counted.breaks.load(Ordering::Relaxed) < breaks;
                let limit =
                    if breaks_again { counted.bytes.load(Ordering::Relaxed) + every } else { u64::MAX };
                let is_broken = Arc::new(AtomicBool::new(false));
                let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in ways {
                    let (carried, is_broken) = (Arc::clone(&counted), Arc::clone(&is_broken));
                    std::thread::spawn(move || {
                        carry(from.unwrap(), to.unwrap(), &carried, limit, &is_broken);
                    });
                }
            }
        });
        Self { address, carried }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, carried: &Carried, limit: u64, is_broken: &AtomicBool) {
    let mut piece = [0; PIECE];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        if carried.bytes.load(Ordering::Relaxed) >= limit {
            if !is_broken.swap(true, Ordering::Relaxed) {
                carried.breaks.fetch_add(1, Ordering::Relaxed);
            }
            // What had arrived stays readable; the rest is lost.
            let _ = to.shutdown(Shutdown::Write);
            continue;
        }
        std::thread::sleep(Duration::from_micros((bytes * 1_000_000 / RATE) as u64));
        if to.write_all(&piece[..bytes]).is_err() {
            break;
        }
        carried.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Text that does not pack, in edits that are larger than the first pages.
fn fill(replica: &Replica, bytes: usize) -> String {
    let (document, mut noise) = (replica.yjs("large").unwrap(), vec![0; bytes]);
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    for piece in noise.chunks(40_000) {
        let text: String = piece.iter().map(|byte| char::from(b' ' + byte % 95)).collect();
        document.edit(|edit| edit.text("text").insert(0, &text)).unwrap();
    }
    document.text("text").unwrap()
}

const BYTES: usize = 2 * 1024 * 1024;
const BREAKS: u64 = 5;

fn linked(folder: &std::path::Path, proxy: &Proxy) -> Replica {
    let replica = Replica::open(folder).unwrap();
    replica.link(&format!("ws://{}", proxy.address), LinkOptions::default()).unwrap();
    replica
}

fn in_sync_in_the_end(replica: &Replica, proxy: &Proxy) {
    while proxy.carried.breaks.load(Ordering::Relaxed) < BREAKS {
        // Not to wait for a second attempt.
        std::thread::sleep(Duration::from_millis(20));
        replica.network_changed();
    }
    in_sync(replica);
    let carried = proxy.carried.bytes.load(Ordering::Relaxed);
    assert!(carried < (BYTES * 13 / 10) as u64, "{carried} bytes for {BYTES}");
}

#[test]
fn what_is_brought_over_a_link_that_is_cut_five_times_goes_on_where_it_was() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let place = |name: &str| folder.path().join(name);
    let one = Replica::open(place("one")).unwrap();
    let text = fill(&one, BYTES);
    let proxy = Proxy::start(server.address, BREAKS, (BYTES / 6) as u64);
    one.link(&format!("ws://{}", proxy.address), LinkOptions::default()).unwrap();
    in_sync_in_the_end(&one, &proxy);
    let two = super::link::linked(&place("two"), &[&server]);
    in_sync(&two);
    assert_eq!(two.yjs("large").unwrap().text("text").unwrap(), text);
}

#[test]
fn so_does_what_is_fetched_from_a_node() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &[]);
    let place = |name: &str| folder.path().join(name);
    let one = super::link::linked(&place("one"), &[&server]);
    let text = fill(&one, BYTES);
    in_sync(&one);
    let proxy = Proxy::start(server.address, BREAKS, (BYTES / 6) as u64);
    let two = linked(&place("two"), &proxy);
    in_sync_in_the_end(&two, &proxy);
    assert_eq!(two.yjs("large").unwrap().text("text").unwrap(), text);
}

#[test]
fn so_does_what_is_fetched_from_a_replica() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Replica::open(folder.path().join("hub")).unwrap();
    let text = fill(&hub, BYTES);
    let address = hub.listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let down = Proxy::start(address, BREAKS, (BYTES / 6) as u64);
    let one = linked(&folder.path().join("one"), &down);
    in_sync_in_the_end(&one, &down);
    assert_eq!(one.yjs("large").unwrap().text("text").unwrap(), text);
    assert!(one.wait_for_sync(LIMIT)[0].in_sync);
}
