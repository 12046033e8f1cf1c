//! All clients: how they join, how they keep the server busy, what they got.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::client::Client;

const READ_BYTES: usize = 256 * 1024;
/// Longest time without a look at the clock and at what is unsent.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Who is there and how far they type ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    /// Of each room.
    pub(crate) members: usize,
    pub(crate) load: Load,
    /// Of each update.
    pub(crate) letters: u16,
}

/// How much is on its way in each room at a time, from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// One update, from each member in turn.
    Interactive,
    /// 64 updates, from each member in turn.
    Loaded,
    /// 4096 updates, all from one member.
    Flood,
}

impl Load {
    /// Most updates of a room that are on their way to its slowest member.
    fn window(self) -> u64 {
        match self {
            Self::Interactive => 1,
            Self::Loaded => 64,
            Self::Flood => 4096,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Loaded => "loaded",
            Self::Flood => "flood",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.rooms, self.members, self.load.name())?;
        if self.letters > 1 { write!(f, " of {} bytes", self.letters) } else { Ok(()) }
    }
}

/// The clients, room by room.
pub(crate) struct Crowd {
    shape: Shape,
    clients: Vec<Client>,
    /// Updates that were sent in each room.
    sent: Vec<u64>,
    /// Clients whose socket was full.
    unsent: Vec<usize>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
}

impl Crowd {
    /// Fills the rooms, member by member; `syncs` if the server speaks the sync protocol.
    pub(crate) fn join(address: SocketAddr, shape: Shape, syncs: bool) -> io::Result<Self> {
        let mut clients: Vec<Client> = Vec::new();
        for room in 0..shape.rooms {
            let first = clients.len();
            for _ in 0..shape.members {
                let mut client = Client::connect(address, room, u32::try_from(clients.len()).unwrap_or(0))?;
                if syncs {
                    client.synchronise(clients.get_mut(first))?;
                }
                clients.push(client);
            }
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, client) in clients.iter().enumerate() {
            client.socket.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &client.socket, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            shape,
            clients,
            sent: vec![0; shape.rooms],
            unsent: Vec::new(),
            epoll,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Keeps the server busy for so long; returns how many updates arrived.
    pub(crate) fn load(&mut self, duration: Duration) -> io::Result<u64> {
        let end = Instant::now() + duration;
        let before = self.received();
        let mut events = Vec::with_capacity(1024);
        (0..self.shape.rooms).try_for_each(|room| self.go_on(room))?;
        while Instant::now() < end {
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&TURN))?;
            let mut rooms = Vec::new();
            for event in events.drain(..) {
                let client =
                    usize::try_from(event.data.u64()).ok().and_then(|index| self.clients.get_mut(index));
                if let Some(client) = client {
                    client.receive(&mut self.buffer)?;
                    rooms.push(client.room);
                }
            }
            rooms.sort_unstable();
            rooms.dedup();
            rooms.into_iter().try_for_each(|room| self.go_on(room))?;
            for index in std::mem::take(&mut self.unsent) {
                if !self.clients[index].flush()? {
                    self.unsent.push(index);
                }
            }
        }
        Ok(self.received() - before)
    }

    /// Types on in a room if at least half of its window is free.
    fn go_on(&mut self, room: usize) -> io::Result<()> {
        let members = self.members(room);
        let sent = self.sent[room];
        let progress = self.clients[members.clone()].iter().map(|client| client.received + client.sent).min();
        let on_their_way = sent.saturating_sub(progress.unwrap_or(sent));
        let window = self.shape.load.window();
        let free = window - on_their_way;
        if free == 0 || free < window / 2 {
            return Ok(());
        }
        self.sent[room] += free;
        if self.shape.load == Load::Flood {
            self.unsent.push(members.start);
            return self.clients[members.start].types(free, self.shape.letters);
        }
        for update in sent..sent + free {
            let turn = usize::try_from(update).unwrap_or(0) % self.shape.members;
            self.unsent.push(members.start + turn);
            self.clients[members.start + turn].types(1, self.shape.letters)?;
        }
        Ok(())
    }

    fn members(&self, room: usize) -> Range<usize> {
        room * self.shape.members..(room + 1) * self.shape.members
    }

    fn received(&self) -> u64 {
        self.clients.iter().map(|client| client.received).sum()
    }
}
