//! A proxy on the way of one client, which counts the bytes and can make the way longer.
//!
//! What is counted is what TCP carries: the WebSocket's handshake and framing are in it, headers of packets are not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bytes {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

#[derive(Default)]
struct Way {
    up: AtomicU64,
    down: AtomicU64,
    /// For connections that are made from now on, each way, in ms.
    delay_ms: AtomicU64,
}

/// A running proxy; it ends with the process.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

impl Proxy {
    /// Starts one that leads to this server.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, way) = (listener.local_addr()?, Arc::<Way>::default());
        let shared = Arc::clone(&way);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is not there is an end of the connection.
                let _ = carry(client, server, &shared);
            }
        });
        Ok(Self { address, way })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it carried until now.
    pub(crate) fn bytes(&self) -> Bytes {
        let read = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        Bytes { up: read(&self.way.up), down: read(&self.way.down) }
    }

    /// Connections that are made from now on take so much longer, each way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.way.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

fn carry(client: TcpStream, server: SocketAddr, way: &Arc<Way>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let delay = Duration::from_millis(way.delay_ms.load(Ordering::Relaxed));
    direction(client.try_clone()?, server.try_clone()?, delay, way, |way| &way.up);
    direction(server, client, delay, way, |way| &way.down);
    Ok(())
}

fn direction(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    way: &Arc<Way>,
    counter: fn(&Way) -> &AtomicU64,
) {
    let way = Arc::clone(way);
    let (sender, receiver) = channel();
    let mut late = None;
    if !delay.is_zero() {
        let to = to.try_clone();
        late = Some(sender);
        std::thread::spawn(move || to.map(|to| deliver(to, &receiver)));
    }
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        // An error is an end, too.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            counter(&way).fetch_add(count as u64, Ordering::Relaxed);
            let bytes = buffer.get(..count).unwrap_or_default();
            let sent = match &late {
                Some(late) => late.send((Instant::now() + delay, bytes.to_vec())).is_ok(),
                None => to.write_all(bytes).is_ok(),
            };
            if !sent {
                break;
            }
        }
        if late.is_none() {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}

fn deliver(mut to: TcpStream, late: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, bytes)) = late.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
