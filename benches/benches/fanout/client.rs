//! One socket of the load generator: joins like a y-websocket client, then counts frames.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tombolo_benches::Typist;

use crate::frames::{self, Head};

/// `SyncStep1` of somebody who has nothing, and `SyncStep2` with nothing.
const STEP_1: [u8; 4] = [0, 0, 1, 0];
const STEP_2: [u8; 5] = [0, 1, 2, 0, 0];

/// A client in its room.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) room: usize,
    /// Frames that came since it joined.
    pub(crate) received: u64,
    /// Updates that it sent.
    pub(crate) sent: u64,
    typist: Typist,
    /// Bytes of the current frame that are still to come.
    skip: usize,
    /// The beginning of a header.
    header: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

impl Client {
    /// Opens the connection up to the end of the HTTP handshake.
    pub(crate) fn connect(address: SocketAddr, room: usize, number: u32) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        write!(
            socket,
            "GET /yjs/room-{room} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte)?;
            response.extend(byte);
        }
        if !response.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the server does not upgrade"));
        }
        Ok(Self {
            socket,
            room,
            received: 0,
            sent: 0,
            typist: Typist::new(0x9e37_79b9_u32.wrapping_mul(number + 1)),
            skip: 0,
            header: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Sends one message and waits until it is out. Only while the socket blocks.
    pub(crate) fn say(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        frames::client(&mut frame, payload);
        self.socket.write_all(&frame)
    }

    /// Waits for one short message. Only while the socket blocks.
    pub(crate) fn hear(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 2];
        self.socket.read_exact(&mut header)?;
        let head = Head::read(&header).filter(|head| head.binary && head.len == 2);
        let head = head.ok_or_else(|| io::Error::other("not a short binary frame"))?;
        let mut payload = vec![0; head.payload_len];
        self.socket.read_exact(&mut payload)?;
        Ok(payload)
    }

    /// What happens in a room when somebody joins: the server asks for what the newcomer has, and asks the oldest
    /// member on its behalf.
    pub(crate) fn synchronise(&mut self, oldest: Option<&mut Client>) -> io::Result<()> {
        self.say(&STEP_1)?;
        if let Some(oldest) = oldest {
            oldest.expect(0)?;
            oldest.say(&STEP_2)?;
        }
        self.expect(0)?;
        self.say(&STEP_2)?;
        self.expect(1)
    }

    /// Hears one sync message with this step.
    fn expect(&mut self, step: u8) -> io::Result<()> {
        match self.hear()?.first_chunk() {
            Some([0, found]) if *found == step => Ok(()),
            _ => Err(io::Error::other("the server does not synchronise as it should")),
        }
    }

    /// Types this often, one message of so many letters each time.
    pub(crate) fn types(&mut self, count: u64, letters: u16) -> io::Result<()> {
        for _ in 0..count {
            let update = self.typist.types(letters);
            let message = tombolo_core::dialect::y_protocols::update(&update);
            frames::client(&mut self.unsent, &message);
        }
        self.sent += count;
        self.flush().map(drop)
    }

    /// Sends what the socket takes now; returns whether that was all.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
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
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let len = match self.socket.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.count(&buffer[..len])
    }

    fn count(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some((&first, rest)) = bytes.split_first() else { break };
            // Mostly a header is there whole and needs no copy.
            let head = if self.header.is_empty() && bytes.len() >= 14 {
                Head::read(bytes).inspect(|head| bytes = &bytes[head.len..])
            } else {
                self.header.push(first);
                bytes = rest;
                Head::read(&self.header).inspect(|_| self.header.clear())
            };
            if let Some(head) = head {
                if !head.binary {
                    return Err(io::Error::other("the server says something else than messages"));
                }
                self.skip = head.payload_len;
                self.received += 1;
            }
        }
        Ok(())
    }
}
