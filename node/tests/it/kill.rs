//! SIGKILL of the real binary at random instants, under a client that types as Hocuspocus providers do: what it was
//! told is saved is there when the server is started again. Long mode: `TOMBOLO_TEST_KILL_ROUNDS=10000`.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tombolo_core::update::{Coverage, Update};
use tombolo_core::wire::lib0::{Reader, write_var_bytes, write_var_u64};

use super::command_line::Running;

const NAME: &[u8] = b"notes/kill";
const CLIENT: u64 = 7;

#[test]
fn no_kill_of_a_sled_server_loses_what_was_saved() {
    kill_and_look("sled", 200);
}

#[test]
fn no_kill_of_a_redb_server_loses_what_was_saved() {
    kill_and_look("redb", 40);
}

fn kill_and_look(engine: &str, rounds: u64) {
    let rounds = std::env::var("TOMBOLO_TEST_KILL_ROUNDS").ok().map_or(rounds, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = format!("{engine}:{}", folder.path().join("data").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut saved = 0;
    for round in 0..rounds {
        let server = Running::serve(Path::new(&data), &[]);
        let first = saved;
        let (reached, now) = runtime.block_on(async {
            let mut client = Client::connect(&server.host()).await;
            let reached = client.reach().await;
            (reached, client.type_for(reached, Duration::from_micros(random(40_000))).await)
        });
        assert!(reached >= first, "round {round}: {first} letters were saved and {reached} are there");
        saved = now;
        // While more is on its way.
        server.end("KILL");
        if (round + 1) % 500 == 0 {
            println!("{engine}: {} rounds, {saved} letters saved and none lost", round + 1);
        }
    }
    assert!(saved > 10 * rounds, "only {saved} letters in {rounds} rounds");
}

/// Any instant will do, and a different one each time.
fn random(below: u64) -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15) % below
}

struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn connect(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let url = format!("ws://{host}/hocuspocus");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let mut client = Self { socket };
        client
            .send(2, |out| {
                write_var_u64(out, 0);
                write_var_bytes(out, b"token");
            })
            .await;
        client
    }

    async fn send(&mut self, kind: u64, body: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = Vec::new();
        write_var_bytes(&mut frame, NAME);
        write_var_u64(&mut frame, kind);
        body(&mut frame);
        self.socket.send(Message::Binary(frame.into())).await.unwrap();
    }

    /// The next frame that is for the document: its type and body.
    async fn next(&mut self) -> (u64, Vec<u8>) {
        loop {
            let message = self.socket.next().await.expect("the server went by itself").unwrap();
            let Message::Binary(frame) = message else { continue };
            let mut reader = Reader::new(&frame);
            if reader.var_bytes().is_ok_and(|name| name == NAME) {
                let (kind, body) = (reader.var_u64().unwrap(), reader.rest().to_vec());
                let refused = kind == 7 || (kind, body.as_slice()) == (8, &[0]);
                assert!(!refused, "refused: {}; is the disk full?", String::from_utf8_lossy(&body));
                return (kind, body);
            }
        }
    }

    /// How many letters the server has.
    async fn reach(&mut self) -> u64 {
        self.send(0, |out| {
            write_var_u64(out, 0);
            write_var_bytes(out, &[0]);
        })
        .await;
        loop {
            let (kind, body) = self.next().await;
            let mut reader = Reader::new(&body);
            if kind == 0 && reader.var_u64() == Ok(1) {
                let update = Bytes::copy_from_slice(reader.var_bytes().unwrap());
                let mut coverage = Coverage::default();
                coverage.add(&Update::parse(update).unwrap());
                return coverage.state_vector().get(CLIENT);
            }
        }
    }

    /// Types letters from this clock on, some ahead of what is saved; gives back how many are.
    async fn type_for(&mut self, mut clock: u64, long: Duration) -> u64 {
        let (start, first, mut saved) = (Instant::now(), clock, clock);
        while start.elapsed() < long || saved == first {
            while clock < saved + 20 {
                let update = keystroke(clock);
                self.send(0, |out| {
                    write_var_u64(out, 2);
                    write_var_bytes(out, &update);
                })
                .await;
                clock += 1;
            }
            if self.next().await == (8, vec![1]) {
                saved += 1;
            }
        }
        saved
    }
}

/// The update that types a letter at this clock, at the end of the text "t".
fn keystroke(clock: u64) -> Vec<u8> {
    let mut update = vec![1, 1];
    write_var_u64(&mut update, CLIENT);
    write_var_u64(&mut update, clock);
    match clock.checked_sub(1) {
        None => update.extend([4, 1, 1, b't']),
        Some(before) => {
            update.push(0x84);
            write_var_u64(&mut update, CLIENT);
            write_var_u64(&mut update, before);
        }
    }
    update.extend([1, b'x', 0]);
    update
}
