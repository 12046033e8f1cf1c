//! Relays on free ports, stock-like clients, and raw sockets for what no client would send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tombolo_relay::admission::{Admission, Everybody};
use tombolo_relay::member::Archive;
use tombolo_relay::{Parts, Relay, RelayConfig};

use super::frames;

/// What a socket's end without a close frame is called, as in browsers.
pub const CUT: u16 = 1006;

/// Bounds every wait, so that a hang is a failure; no test's outcome hangs on how long it is.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), future).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// How large a flood is: as large as this environment variable says, or small enough to be quick.
pub fn flood(variable: &str, quick: usize) -> usize {
    let many_files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: many_files.maximum, ..many_files }).unwrap();
    std::env::var(variable).map_or(quick, |many| many.parse().unwrap())
}

/// Memory of this process that is really there; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(0, |kib| kib.parse::<u64>().unwrap() * 1024)
}

/// A running relay.
pub struct Server {
    pub relay: Relay,
    pub address: SocketAddr,
}

impl Server {
    /// Defaults, no archive.
    pub async fn start() -> Self {
        Self::with(|_| {}, None).await
    }

    pub async fn with(tweak: impl FnOnce(&mut RelayConfig), archive: Option<Arc<dyn Archive>>) -> Self {
        Self::from_parts(tweak, Parts { admission: Arc::new(Everybody), archive, routes: None }).await
    }

    pub async fn admitting(admission: impl Admission) -> Self {
        Self::from_parts(|_| {}, Parts { admission: Arc::new(admission), archive: None, routes: None }).await
    }

    pub async fn from_parts(tweak: impl FnOnce(&mut RelayConfig), parts: Parts) -> Self {
        let mut config = RelayConfig::new("127.0.0.1:0".parse().unwrap());
        tweak(&mut config);
        let relay = Relay::start(config, parts).await.unwrap();
        let address = relay.local_addr();
        Self { relay, address }
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn connect(&self, path: &str) -> Client {
        Client::connect(self.address, path).await
    }

    /// A raw socket whose handshake is done.
    pub async fn raw(&self, path: &str) -> Raw {
        let mut raw = Raw { socket: self.tcp().await };
        raw.send(&handshake(path)).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        raw
    }

    /// The same from another address of loopback, with little room for what comes and is not read.
    pub async fn raw_from(&self, from: [u8; 4], path: &str) -> Raw {
        let mut raw = Raw { socket: self.tcp_from(from).await };
        raw.send(&handshake(path)).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        raw
    }

    pub async fn tcp_from(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// The whole response to a request for `path`.
    pub async fn get(&self, path: &str) -> String {
        let mut raw = Raw { socket: self.tcp().await };
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        raw.rest().await
    }

    /// The value of one metric; 0 if it was never touched.
    pub async fn metric(&self, name: &str) -> u64 {
        let line = format!("tombolo_{name} ");
        let text = self.get("/metrics").await;
        text.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has this value.
    pub async fn until(&self, name: &str, value: u64) {
        let reached = async {
            while self.metric(name).await != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(name, reached).await;
    }
}

/// A client that behaves.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub async fn connect(address: SocketAddr, path: &str) -> Self {
        let url = format!("ws://{address}{path}");
        let shake = tokio_tungstenite::client_async(url, TcpStream::connect(address).await.unwrap());
        let (socket, _) = soon("the handshake", shake).await.unwrap();
        Self { socket }
    }

    pub async fn send(&mut self, frame: impl Into<Bytes>) {
        soon("room to write", self.socket.send(Message::Binary(frame.into()))).await.unwrap();
    }

    /// Frames as they are, in one piece.
    pub async fn burst(&mut self, frames: &[u8]) {
        soon("room to write", self.socket.get_mut().write_all(frames)).await.unwrap();
    }

    pub async fn text(&mut self, text: &str) {
        soon("room to write", self.socket.send(Message::text(text))).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        match soon("a message", self.socket.next()).await {
            Some(Ok(message)) => message,
            Some(Err(_)) | None => Message::Close(None),
        }
    }

    /// The next message; the connection must not end before it.
    pub async fn next(&mut self) -> Bytes {
        loop {
            match self.message().await {
                Message::Binary(frame) => return frame,
                Message::Close(close) => panic!("closed instead of a message: {close:?}"),
                _ => {}
            }
        }
    }

    /// The next text message.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.message().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("something else instead of a text: {other:?}"),
            }
        }
    }

    /// What still comes, and the code of the end.
    pub async fn rest(&mut self) -> (Vec<Bytes>, u16) {
        let mut frames = Vec::new();
        loop {
            match self.message().await {
                Message::Binary(frame) => frames.push(frame),
                Message::Close(close) => return (frames, close.map_or(CUT, |close| close.code.into())),
                _ => {}
            }
        }
    }

    pub async fn closed(&mut self) -> u16 {
        self.rest().await.1
    }

    /// What came until now besides presence: until the relay echoed a presence of this client back to it.
    pub async fn heard(&mut self, marker: u64) -> Vec<Bytes> {
        let echo = frames::presence(marker, 1, Some("{}"));
        self.send(echo.clone()).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame == echo {
                return frames;
            }
            if frame.first() != Some(&1) {
                frames.push(frame);
            }
        }
    }

    /// Says goodbye as browsers do and waits for the answer.
    pub async fn goodbye(mut self) -> u16 {
        soon("the goodbye", self.socket.close(None)).await.unwrap();
        loop {
            match soon("the end", self.socket.next()).await {
                Some(Ok(Message::Close(close))) => return close.map_or(1005, |close| close.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return CUT,
            }
        }
    }

    /// The socket itself, for who wants to read it no more.
    pub fn into_raw(self) -> Raw {
        Raw { socket: self.socket.into_inner() }
    }
}

/// A socket without manners.
pub struct Raw {
    pub socket: TcpStream,
}

impl Raw {
    /// Writes what the other side takes; it may have ended already.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        soon("room to write", self.socket.write_all(bytes)).await.is_ok()
    }

    /// Up to the empty line of an HTTP head.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("a head", self.socket.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Everything until the end, however it comes.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = soon("the end", self.socket.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The next frame of the server; none at the end.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        soon("a frame", self.read_frame()).await.ok()
    }

    async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.socket.read_u8().await?;
        let len = match self.socket.read_u8().await? {
            126 => u64::from(self.socket.read_u16().await?),
            127 => self.socket.read_u64().await?,
            len => u64::from(len),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.socket.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// Reads until a close frame or the end.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some((0x88, payload)) => {
                    return payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                }
                Some(_) => {}
                None => return CUT,
            }
        }
    }
}

/// The request that opens a WebSocket.
pub fn handshake(path: &str) -> Vec<u8> {
    handshake_with(path, "user-agent: none")
}

/// The same with one more header.
pub fn handshake_with(path: &str, header: &str) -> Vec<u8> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n{header}\r\n\r\n"
    )
    .into_bytes()
}

/// A client's frame with the given first byte, masked with zeros.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = claim(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The head of a client's frame that claims `len` bytes.
pub fn claim(first: u8, len: u64) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..126 => head.push(0x80 | u8::try_from(len).unwrap()),
        126..65_536 => {
            head.push(0x80 | 126);
            head.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&len.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}
