//! How a replica comes to a door and is let in or not, in the bytes of `/native`; and versions that differ.
//!
//! A later version may say more than this one looks at, and is let in if it speaks this one as well. What it says that
//! this one cannot read ends that connection, as `core/PROTOCOL.md` has it, and nothing else.

use bytes::Bytes;

use super::network::{Packet, Way, Wire};
use super::plan::Speaks;
use super::world::World;
use crate::dialect::native::{self, Hello, Message, Refusal, Role};
use crate::id::PeerId;
use crate::link::End;
use crate::wire::lib0::{write_var_bytes, write_var_u64};

/// What only a later version says behind what this one reads.
pub(super) const MORE: &[u8] = b"and more";

/// What a replica says first.
fn hello(speaks: Speaks) -> Vec<u8> {
    let of_later = |versions: &[u64]| {
        let mut out = vec![0, u8::try_from(versions.len()).unwrap_or(0)];
        versions.iter().chain(&[2]).for_each(|number| write_var_u64(&mut out, *number));
        out.extend_from_slice(&[0; 8]);
        write_var_bytes(&mut out, b"");
        out.extend_from_slice(MORE);
        out
    };
    match speaks {
        Speaks::This => {
            let hello = Hello { role: Role::Replica, peer: PeerId(0), token: String::new() };
            Message::Hello(hello).encode()
        }
        Speaks::LaterToo => of_later(&[native::VERSION + 1, native::VERSION]),
        Speaks::Other => of_later(&[native::VERSION + 1]),
    }
}

impl World {
    pub(super) fn dial(&mut self, r: usize, l: usize) {
        self.trace.note(self.now, format_args!("replica {r} link {l} dials"));
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let hello = hello(replica.speaks);
        let Some(driver) = replica.links.get_mut(l) else { return };
        if driver.wire.is_some() {
            return self.blame(format!("replica {r} link {l} dials while it has a connection"));
        }
        let wire = self.network.dial(r, l, driver.door);
        driver.wire = Some(wire);
        self.send(wire, Way::Up, Packet::Dial(hello));
    }

    /// Somebody is at a door that is there.
    pub(super) fn let_in(&mut self, wire: Wire, r: usize, d: usize, hello: Vec<u8>) {
        let now = self.now;
        self.send(wire, Way::Down, Packet::Dial(Vec::new()));
        let reads_only = self.replicas.get(r).is_some_and(|replica| replica.reads_only);
        let Some(door) = self.doors.get_mut(d) else { return };
        let refusal = match (native::parse(&Bytes::from(hello)), door.refuses) {
            (Ok(Message::Hello(Hello { role: Role::Replica, .. })), refuses) => refuses.map(Refusal),
            (Ok(Message::HelloOfOthers), _) => Some(Refusal::VERSION),
            (other, _) => return self.blame(format!("door {d} hears {other:?} first")),
        };
        let answer = match refusal {
            Some(refusal) => Message::Refused { refusal, reason: "not now".to_owned() },
            None => Message::Welcome { version: native::VERSION, relay: PeerId(d as u64) },
        };
        self.send(wire, Way::Down, Packet::Answer(answer.encode()));
        if refusal.is_none() {
            self.network.seat(wire);
            if let Some(door) = self.doors.get_mut(d) {
                door.welcome(now, wire, reads_only);
            }
        }
        self.drain(d);
    }

    /// The transport is there.
    pub(super) fn opened(&mut self, wire: Wire, r: usize, l: usize) {
        let Some(replica) = self.replicas.get_mut(r) else { return };
        let clock = replica.clock(self.now);
        if let Some(driver) = replica.links.get_mut(l).filter(|driver| driver.wire == Some(wire)) {
            driver.link.connected(clock);
            self.pump(r, l);
        }
    }

    /// The door has answered; how that ends the connection, if it does.
    pub(super) fn answered(&mut self, r: usize, l: usize, answer: Vec<u8>) -> Option<End> {
        let replica = self.replicas.get_mut(r)?;
        let (clock, own, is_later) = (replica.clock(self.now), replica.name, replica.speaks != Speaks::This);
        match native::parse(&Bytes::from(answer)) {
            Ok(Message::Welcome { .. }) => {
                self.trace.note(self.now, format_args!("replica {r} link {l} is let in"));
                if let Some(driver) = replica.links.get_mut(l) {
                    driver.welcomed(own, is_later, clock);
                }
                None
            }
            Ok(Message::Refused { refusal, reason }) if refusal.is_permanent() => {
                Some(End::Permanent { reason: format!("refused with {}: {reason}", refusal.0) })
            }
            Ok(Message::Refused { refusal, reason }) => {
                Some(End::Retriable { reason: format!("refused with {}: {reason}", refusal.0) })
            }
            other => {
                self.blame(format!("replica {r} link {l} hears {other:?} first"));
                None
            }
        }
    }

    /// One end of a connection says something of a later version.
    pub(super) fn say_strangely(&mut self, wire: Wire, way: Way) {
        self.network.estrange(wire);
        let kind = 43 + self.chance.below(21);
        let mut frame = Vec::new();
        write_var_u64(&mut frame, kind);
        frame.extend_from_slice(MORE);
        self.send(wire, way, Packet::Frame(frame));
    }
}
