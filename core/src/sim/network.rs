//! Connections between replicas and doors: ordered like a WebSocket, slow, stalled, cut at any point.
//!
//! A packet takes its place on a line of so many bytes a second, travels for the latency, and never overtakes another
//! one of its connection. What a partition stops is not lost: it arrives when the partition ends, unless the
//! connection ended before, which in a partition neither side is told.

use std::collections::{BTreeMap, VecDeque};

use super::chance::Chance;
use crate::dialect::replica;

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire(pub(super) u64);

/// A direction, or the side at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// To the door.
    Up,
    /// To the replica.
    Down,
}

impl Way {
    pub(super) fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// Up: somebody dials, and says this first. Down: the transport is there.
    Dial(Vec<u8>),
    /// The door lets the replica in, or not.
    Answer(Vec<u8>),
    /// A message.
    Frame(Vec<u8>),
    /// Nothing comes behind it.
    End,
}

/// Between one replica and one door.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) latency_ms: u64,
    /// Added by chance, up to this.
    pub(super) jitter_ms: u64,
    pub(super) bytes_per_second: u64,
    pub(super) blocked_up: bool,
    pub(super) blocked_down: bool,
}

impl Path {
    fn is_blocked(&self, way: Way) -> bool {
        match way {
            Way::Up => self.blocked_up,
            Way::Down => self.blocked_down,
        }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    waiting: VecDeque<(u64, Packet)>,
    /// When the line can take the next packet.
    free: u64,
    last: u64,
    /// Nothing arrives any more, and nobody is told.
    is_stalled: bool,
}

#[derive(Debug)]
struct Line {
    replica: usize,
    link: usize,
    door: usize,
    up: Pipe,
    down: Pipe,
    /// Whether the replica has it.
    is_held: bool,
    /// Whether the door has it.
    is_seated: bool,
    /// Something was said on it that no version of today says.
    is_strange: bool,
}

impl Line {
    fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Network {
    lines: BTreeMap<Wire, Line>,
    next: u64,
    paths: BTreeMap<(usize, usize), Path>,
}

impl Network {
    pub(super) fn set_path(&mut self, replica: usize, door: usize, path: Path) {
        self.paths.insert((replica, door), path);
    }

    pub(super) fn path(&mut self, replica: usize, door: usize) -> Option<&mut Path> {
        self.paths.get_mut(&(replica, door))
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut Path> {
        self.paths.values_mut()
    }

    /// A new connection, of which the door knows nothing yet.
    pub(super) fn dial(&mut self, replica: usize, link: usize, door: usize) -> Wire {
        self.next += 1;
        let (up, down) = (Pipe::default(), Pipe::default());
        let line = Line { replica, link, door, up, down, is_held: true, is_seated: false, is_strange: false };
        self.lines.insert(Wire(self.next), line);
        Wire(self.next)
    }

    /// Which link of which replica, and which door.
    pub(super) fn ends(&self, wire: Wire) -> Option<(usize, usize, usize)> {
        self.lines.get(&wire).map(|line| (line.replica, line.link, line.door))
    }

    /// Whether the side at the end of this way has the connection.
    pub(super) fn has(&self, wire: Wire, way: Way) -> bool {
        self.lines.get(&wire).is_some_and(|line| match way {
            Way::Up => line.is_seated,
            Way::Down => line.is_held,
        })
    }

    /// The door takes the connection.
    pub(super) fn seat(&mut self, wire: Wire) {
        if let Some(line) = self.lines.get_mut(&wire) {
            line.is_seated = true;
        }
    }

    /// Something is said on it that no version of today says.
    pub(super) fn estrange(&mut self, wire: Wire) {
        if let Some(line) = self.lines.get_mut(&wire) {
            line.is_strange = true;
        }
    }

    /// Whether this is such a thing, and cannot be read.
    pub(super) fn is_strange(&self, wire: Wire, frame: &[u8]) -> bool {
        let is_strange = self.lines.get(&wire).is_some_and(|line| line.is_strange);
        is_strange && replica::parse(&bytes::Bytes::copy_from_slice(frame)).is_err()
    }

    /// Sends a packet; when it will arrive, if it can.
    pub(super) fn send(
        &mut self,
        wire: Wire,
        way: Way,
        packet: Packet,
        now: u64,
        chance: &mut Chance,
    ) -> Option<u64> {
        let line = self.lines.get_mut(&wire)?;
        let path = self.paths.get(&(line.replica, line.door))?;
        let bytes = if let Packet::Frame(frame) = &packet { frame.len() as u64 + 8 } else { 60 };
        let pipe = line.pipe(way);
        let sent = pipe.free.max(now) + bytes * 1_000 / path.bytes_per_second.max(1);
        pipe.free = sent;
        let arrives = (sent + path.latency_ms + chance.below(path.jitter_ms + 1)).max(pipe.last);
        pipe.last = arrives;
        pipe.waiting.push_back((arrives, packet));
        Some(arrives)
    }

    /// What has arrived by now, one at a time.
    pub(super) fn arrived(&mut self, wire: Wire, way: Way, now: u64) -> Option<Packet> {
        let line = self.lines.get_mut(&wire)?;
        let is_blocked = self.paths.get(&(line.replica, line.door)).is_some_and(|path| path.is_blocked(way));
        let pipe = line.pipe(way);
        if is_blocked || pipe.is_stalled || pipe.waiting.front().is_none_or(|(arrives, _)| *arrives > now) {
            return None;
        }
        pipe.waiting.pop_front().map(|(_, packet)| packet)
    }

    /// The side at the end of this way has the connection no more.
    pub(super) fn leave(&mut self, wire: Wire, way: Way) {
        let Some(line) = self.lines.get_mut(&wire) else { return };
        match way {
            Way::Up => line.is_seated = false,
            Way::Down => line.is_held = false,
        }
        if !line.is_held && !line.is_seated && line.up.waiting.is_empty() {
            self.lines.remove(&wire);
        }
    }

    /// What is under way on a connection is lost.
    pub(super) fn lose(&mut self, wire: Wire) {
        if let Some(line) = self.lines.get_mut(&wire) {
            line.up.waiting.clear();
            line.down.waiting.clear();
        }
    }

    /// Nothing arrives in this direction any more.
    pub(super) fn stall(&mut self, wire: Wire, way: Way) {
        if let Some(line) = self.lines.get_mut(&wire) {
            line.pipe(way).is_stalled = true;
        }
    }

    pub(super) fn is_stalled(&self, wire: Wire) -> bool {
        self.lines.get(&wire).is_some_and(|line| line.up.is_stalled || line.down.is_stalled)
    }

    /// Each connection that somebody has.
    pub(super) fn wires(&self) -> Vec<Wire> {
        self.lines.keys().copied().collect()
    }

    /// The connections of a replica, or those of a door.
    pub(super) fn wires_of(&self, replica: Option<usize>, door: Option<usize>) -> Vec<Wire> {
        let is_of = |line: &Line| {
            replica.is_none_or(|replica| line.replica == replica) && door.is_none_or(|door| line.door == door)
        };
        self.lines.iter().filter(|(_, line)| is_of(line)).map(|(wire, _)| *wire).collect()
    }

    /// How many packets wait on a connection in this direction.
    pub(super) fn waiting(&mut self, wire: Wire, way: Way) -> usize {
        self.lines.get_mut(&wire).map_or(0, |line| line.pipe(way).waiting.len())
    }
}
