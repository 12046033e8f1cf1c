//! The yardstick: as little as a broadcaster can do, on one thread.
//!
//! Per turn it reads once from every socket that has something, unmasks and frames each message once
//! into one buffer of the room, and writes that buffer, without what came from the member itself, to each
//! member with one call.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::child;
use tombolo_benches::load::frames::{self, Head};

const READ_BYTES: usize = 64 * 1024;
/// How soon it tries again to write to a socket that was full.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

struct Member {
    socket: TcpStream,
    room: usize,
    /// The beginning of a frame, or of the HTTP request while there is no room.
    rest: Vec<u8>,
    /// What the socket did not take.
    behind: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Finished frames of this turn, and whose they are.
    turn: Vec<u8>,
    parts: Vec<(usize, Range<usize>)>,
}

struct Limit {
    epoll: OwnedFd,
    members: Vec<Member>,
    rooms: Vec<Room>,
    names: HashMap<String, usize>,
    behind: BTreeSet<usize>,
    buffer: Vec<u8>,
}

/// Serves until the parent lets go.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    child::announce(listener.local_addr()?);
    std::thread::spawn(move || {
        // The load goes away in the middle of things: that is no news, and a run that it cuts short fails there.
        let _ = accept_and_run(&listener);
    });
    child::wait_for_end();
    Ok(())
}

const LISTENER: u64 = u64::MAX;

fn accept_and_run(listener: &TcpListener) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut limit = Limit {
        epoll,
        members: Vec::new(),
        rooms: Vec::new(),
        names: HashMap::new(),
        behind: BTreeSet::new(),
        buffer: vec![0; READ_BYTES],
    };
    let mut events = Vec::with_capacity(1024);
    loop {
        let wait = if limit.behind.is_empty() { None } else { Some(&AGAIN) };
        epoll::wait(&limit.epoll, spare_capacity(&mut events), wait)?;
        let mut touched = BTreeSet::new();
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                limit.accept(listener.accept()?.0)?;
            } else if let Ok(index) = usize::try_from(event.data.u64())
                && let Some(room) = limit.read(index)?
            {
                touched.insert(room);
            }
        }
        for index in std::mem::take(&mut limit.behind) {
            limit.write(index, &[])?;
        }
        for room in touched {
            limit.spread(room)?;
        }
    }
}

impl Limit {
    fn accept(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.members.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        self.members.push(Member { socket, room: usize::MAX, rest: Vec::new(), behind: Vec::new() });
        Ok(())
    }

    /// Reads once; returns the room if it has something to spread.
    fn read(&mut self, index: usize) -> io::Result<Option<usize>> {
        let member = &mut self.members[index];
        let len = match member.socket.read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Ok(0) | Err(_) => {
                epoll::delete(&self.epoll, &member.socket)?;
                return Ok(None);
            }
            Ok(len) => len,
        };
        if member.room == usize::MAX {
            member.rest.extend_from_slice(&self.buffer[..len]);
            return self.upgrade(index).map(|()| None);
        }
        let joined;
        let mut bytes = &self.buffer[..len];
        if !member.rest.is_empty() {
            member.rest.extend_from_slice(bytes);
            joined = std::mem::take(&mut member.rest);
            bytes = &joined;
        }
        let room = &mut self.rooms[member.room];
        let start = room.turn.len();
        while let Some(head) = Head::read(bytes)
            && let Some((frame, rest)) = bytes.split_at_checked(head.len + head.payload_len)
        {
            frames::forwarded(&mut room.turn, head, frame);
            bytes = rest;
        }
        member.rest.extend_from_slice(bytes);
        if room.turn.len() > start {
            room.parts.push((index, start..room.turn.len()));
        }
        Ok(Some(member.room))
    }

    fn upgrade(&mut self, index: usize) -> io::Result<()> {
        let member = &mut self.members[index];
        if !member.rest.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&std::mem::take(&mut member.rest)).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let next = self.rooms.len();
        member.room = *self.names.entry(path).or_insert(next);
        if member.room == next {
            self.rooms.push(Room::default());
        }
        self.rooms[member.room].members.push(index);
        // The answer to the one key that the load generator sends.
        member.socket.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
    }

    fn spread(&mut self, room: usize) -> io::Result<()> {
        let Room { members, turn, parts } = std::mem::take(&mut self.rooms[room]);
        for &index in &members {
            let others = parts.iter().filter(|(from, _)| *from != index);
            let slices: Vec<_> = others.map(|(_, part)| IoSlice::new(&turn[part.clone()])).collect();
            if !slices.is_empty() {
                self.write(index, &slices)?;
            }
        }
        let (mut turn, mut parts) = (turn, parts);
        turn.clear();
        parts.clear();
        self.rooms[room] = Room { members, turn, parts };
        Ok(())
    }

    /// Writes what is behind and these slices, or keeps what the socket does not take.
    fn write(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let Member { socket, behind, .. } = &mut self.members[index];
        let mut taken = if behind.is_empty() { taken(socket.write_vectored(slices))? } else { 0 };
        for slice in slices {
            let now = taken.min(slice.len());
            taken -= now;
            behind.extend_from_slice(&slice[now..]);
        }
        if !behind.is_empty() {
            let taken = self::taken(socket.write(behind))?;
            behind.drain(..taken);
            if !behind.is_empty() {
                self.behind.insert(index);
            }
        }
        Ok(())
    }
}

fn taken(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
