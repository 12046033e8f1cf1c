//! One socket of the load generator: joins like a stock client, then counts updates.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tombolo_core::update::Update;
use tombolo_core::wire::lib0::Reader;

use super::frames::{self, Head};
use super::speech::Speech;
use crate::Typist;

/// `SyncStep1` of somebody who has nothing, and `SyncStep2` with nothing.
const STEP_1: [u8; 4] = [0, 0, 1, 0];
const STEP_2: [u8; 5] = [0, 1, 2, 0, 0];
/// Longest time that a join may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client in its room.
#[derive(Debug)]
pub struct Client {
    pub(super) socket: TcpStream,
    pub(super) room: usize,
    /// Updates that came since it joined.
    pub(super) received: u64,
    /// Updates that it sent.
    pub(super) sent: u64,
    typist: Typist,
    prefix: Vec<u8>,
    merges: bool,
    /// Questions for its content that it did not answer yet.
    asked: u64,
    /// Answers to its own question.
    answered: u64,
    /// Bytes of the current frame that are still to come.
    skip: usize,
    /// The beginning of a frame.
    rest: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

impl Client {
    /// Opens the connection up to the end of the HTTP handshake and says hello.
    ///
    /// # Errors
    /// The server does not upgrade, or the socket fails.
    pub fn connect(address: SocketAddr, speech: &Speech, room: usize, number: u32) -> io::Result<Self> {
        let mut client = Self::knock(address, speech, room, number)?;
        client.enter()?;
        if let Some(hello) = speech.hello() {
            client.say(&hello);
            client.flush()?;
        }
        Ok(client)
    }

    /// Asks to be let in, and does not wait for the answer.
    ///
    /// # Errors
    /// The socket fails.
    pub fn knock(address: SocketAddr, speech: &Speech, room: usize, number: u32) -> io::Result<Self> {
        let name = format!("room-{room}");
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        // In one piece: the other side must not wake up for each part of the format.
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            speech.path(&name)
        );
        socket.write_all(request.as_bytes())?;
        Ok(Self {
            socket,
            room,
            received: 0,
            sent: 0,
            typist: Typist::new(0x9e37_79b9_u32.wrapping_mul(number + 1)),
            prefix: speech.prefix(&name),
            merges: speech.merges(),
            asked: 0,
            answered: 0,
            skip: 0,
            rest: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Waits until it is let in; once, after [`Client::knock`].
    ///
    /// # Errors
    /// The server does not upgrade, or the socket fails.
    pub fn enter(&mut self) -> io::Result<()> {
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte)?;
            response.extend(byte);
        }
        if !response.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&response).into_owned()));
        }
        self.socket.set_nonblocking(true)
    }

    /// Asks for what its room has; [`Client::synchronise`] waits for the answer.
    ///
    /// # Errors
    /// The socket fails.
    pub fn ask(&mut self) -> io::Result<()> {
        self.say(&STEP_1);
        self.flush().map(drop)
    }

    /// Joins its room, after [`Client::ask`]. A server without documents asks the `oldest` member on its behalf.
    ///
    /// # Errors
    /// The socket fails, or no answer comes.
    pub fn synchronise(&mut self, mut oldest: Option<&mut Self>) -> io::Result<()> {
        let (mut buffer, end) = (vec![0; 4096], Instant::now() + PATIENCE);
        while self.answered == 0 || self.asked > 0 {
            for client in [Some(&mut *self), oldest.as_deref_mut()].into_iter().flatten() {
                client.receive(&mut buffer)?;
                for _ in 0..std::mem::take(&mut client.asked) {
                    client.say(&STEP_2);
                }
                client.flush()?;
            }
            if Instant::now() > end {
                return Err(io::Error::other("the server does not synchronise"));
            }
            std::thread::yield_now();
        }
        (self.received, self.sent) = (0, 0);
        Ok(())
    }

    /// Types this often, one message of so many letters each time.
    ///
    /// # Errors
    /// The socket fails.
    pub fn types(&mut self, count: u64, letters: u16) -> io::Result<()> {
        for _ in 0..count {
            let update = self.typist.types(letters);
            let message = tombolo_core::dialect::y_protocols::update(&update);
            self.say(&message);
        }
        self.sent += count;
        self.flush().map(drop)
    }

    fn say(&mut self, message: &[u8]) {
        frames::client(&mut self.unsent, &[&self.prefix, message].concat());
    }

    /// Sends what the socket takes now; returns whether that was all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once and counts what came.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let len = match self.socket.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.rest.is_empty() {
            return self.count(&buffer[..len]);
        }
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(&buffer[..len]);
        self.count(&bytes)
    }

    fn count(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            // What it says is in its first bytes.
            let known = Head::read(bytes).and_then(|head| {
                let looked_at = if self.merges { usize::MAX } else { self.prefix.len() + 2 };
                let looked_at = head.payload_len.min(looked_at);
                bytes.get(head.len..head.len + looked_at).map(|payload| (head, payload))
            });
            let Some((head, payload)) = known else { break };
            if head.closes {
                return Err(io::Error::other("the server closes a connection"));
            }
            match payload.strip_prefix(self.prefix.as_slice()) {
                Some([0, 0, ..]) => self.asked += 1,
                Some([0, 1, ..]) => self.answered += 1,
                Some([0, 2, update @ ..]) if self.merges => self.received += letters(update),
                Some([0, 2, ..]) => self.received += 1,
                _ => {}
            }
            self.skip = head.payload_len;
            bytes = &bytes[head.len..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }
}

/// Letters in an update behind its length.
fn letters(update: &[u8]) -> u64 {
    let mut reader = Reader::new(update);
    let update =
        reader.var_bytes().ok().and_then(|update| Update::parse(Bytes::copy_from_slice(update)).ok());
    update.map_or(0, |update| update.blocks().map(|(_, start, end)| end - start).sum())
}
