//! All clients: how they join, how they keep the server busy, what they got.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::client::Client;
use super::speech::Speech;

const READ_BYTES: usize = 256 * 1024;
/// Longest time without a look at the clock and at what is unsent.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Who is there and how far they type ahead.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many.
    pub rooms: usize,
    /// Of each room.
    pub members: usize,
    /// How much each room types ahead.
    pub load: Load,
    /// Of each update.
    pub letters: u16,
}

/// How much is on its way in each room at a time, from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
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
#[derive(Debug)]
pub struct Crowd {
    shape: Shape,
    echoes: bool,
    clients: Vec<Client>,
    /// Updates that were sent in each room.
    sent: Vec<u64>,
    /// Clients whose socket was full.
    unsent: Vec<usize>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
}

impl Crowd {
    /// Fills the rooms, member by member.
    ///
    /// # Errors
    /// The server does not do its part.
    pub fn join(address: SocketAddr, shape: Shape, speech: &Speech) -> io::Result<Self> {
        let mut clients: Vec<Client> = Vec::new();
        for room in 0..shape.rooms {
            let first = clients.len();
            for _ in 0..shape.members {
                let number = u32::try_from(clients.len()).unwrap_or(0);
                let mut client = Client::connect(address, speech, room, number)?;
                if speech.syncs() {
                    client.ask()?;
                    client.synchronise(clients.get_mut(first))?;
                }
                clients.push(client);
            }
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, client) in clients.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &client.socket, data, epoll::EventFlags::IN)?;
        }
        let mut crowd = Self {
            shape,
            echoes: false,
            clients,
            sent: vec![0; shape.rooms],
            unsent: Vec::new(),
            epoll,
            buffer: vec![0; READ_BYTES],
        };
        crowd.listen_for_echo()?;
        Ok(crowd)
    }

    /// Some servers send an update back to who brought it.
    fn listen_for_echo(&mut self) -> io::Result<()> {
        let end = Instant::now() + Duration::from_millis(300);
        let Some(first) = self.clients.first_mut() else { return Ok(()) };
        first.types(1, 1)?;
        while Instant::now() < end {
            for client in self.clients.iter_mut().filter(|client| client.room == 0) {
                client.receive(&mut self.buffer)?;
            }
        }
        self.echoes = self.clients.first().is_some_and(|first| first.received > 0);
        for client in &mut self.clients {
            (client.received, client.sent) = (0, 0);
        }
        Ok(())
    }

    /// Keeps the server busy for so long; returns how many updates arrived at others than who brought them.
    ///
    /// # Errors
    /// The server ends a connection.
    pub fn load(&mut self, duration: Duration) -> io::Result<u64> {
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
        let own = |client: &Client| if self.echoes { 0 } else { client.sent };
        let progress = self.clients[members.clone()].iter().map(|client| client.received + own(client)).min();
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
        let own = |client: &Client| if self.echoes { client.sent } else { 0 };
        self.clients.iter().map(|client| client.received.saturating_sub(own(client))).sum()
    }
}
