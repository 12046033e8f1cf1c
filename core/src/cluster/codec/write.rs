//! Bodies to bytes: a **letter** is the kind of a body and what follows, all that is behind the head.

use super::head::write_id;
use super::{kind, message, tunnel};
use crate::cluster::envelope::{Heard, Here, Part, ToEverybody, ToPeer, ToRoom, Who};
use crate::id::DocumentId;
use crate::room::Roll;
use crate::wire::lib0::{write_var_bytes, write_var_u64};

pub(super) const HERE_ARCHIVE: u8 = 1;
pub(super) const HERE_HELLO: u8 = 2;
pub(super) const ROLL_ARCHIVE: u8 = 1;
pub(super) const ROLL_CAUGHT_UP: u8 = 2;
pub(super) const ROLL_HEARD: u8 = 4;
pub(super) const ROLL_MUTUAL: u8 = 8;

impl ToEverybody {
    /// Appends the letter.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Here(here) => write_here(out, *here),
            Self::Bye => out.push(kind::BYE),
            Self::Who(who) => write_who(out, kind::WHO, who),
            Self::Unknown => {}
        }
    }
}

impl ToRoom {
    /// Appends the letter.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Part(part) => write_part(out, part),
            Self::Roll { roll, opening, heard } => {
                out.push(kind::ROLL);
                out.push(roll_flags(*roll) | heard.map_or(0, heard_flags));
                write_var_u64(out, *opening);
                if let Some(heard) = heard {
                    write_id(out, heard.peer.0);
                    write_var_u64(out, heard.opening);
                    write_var_u64(out, heard.meeting);
                }
            }
            Self::Gone => out.push(kind::GONE),
            Self::Said(said) => {
                said_to_room(out);
                message::write(out, said);
            }
            Self::Unknown => {}
        }
    }
}

impl ToPeer {
    /// Appends the letter.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Part(part) => write_part(out, part),
            Self::Mark => out.push(kind::MARK),
            Self::Here(here) => write_here(out, *here),
            Self::Who(who) => write_who(out, kind::WHO, who),
            Self::NotHere { who, until } => {
                write_who(out, kind::NOT_HERE, who);
                write_var_u64(out, *until);
            }
            Self::Missed(Some(document)) => {
                out.push(kind::MISSED_ROOM);
                write_document(out, document);
            }
            Self::Missed(None) => out.push(kind::MISSED_STREAM),
            Self::Said { document, opening, message } => {
                said_to_peer(out, document, *opening);
                message::write(out, message);
            }
            Self::Tunnel(frame) => tunnel::write(out, frame),
            Self::Unknown => {}
        }
    }
}

/// What stands before what one room says to others.
pub fn said_to_room(out: &mut Vec<u8>) {
    out.push(kind::SAID);
}

/// What stands before what one room says to that of one peer.
pub fn said_to_peer(out: &mut Vec<u8>, document: &DocumentId, opening: u64) {
    out.push(kind::SAID);
    write_document(out, document);
    write_var_u64(out, opening);
}

/// What stands before the bytes of a part.
pub fn part_head(out: &mut Vec<u8>, index: u64, count: u64) {
    out.push(kind::PART);
    write_var_u64(out, index);
    write_var_u64(out, count);
}

fn write_part(out: &mut Vec<u8>, part: &Part) {
    part_head(out, part.index, part.count);
    out.extend_from_slice(&part.bytes);
}

fn write_here(out: &mut Vec<u8>, here: Here) {
    out.push(kind::HERE);
    out.push((u8::from(here.archive) * HERE_ARCHIVE) | (u8::from(here.hello) * HERE_HELLO));
}

fn write_who(out: &mut Vec<u8>, kind: u8, who: &Who) {
    out.push(kind);
    write_document(out, &who.document);
    write_var_u64(out, who.opening);
}

fn heard_flags(heard: Heard) -> u8 {
    ROLL_HEARD | (u8::from(heard.mutual) * ROLL_MUTUAL)
}

fn write_document(out: &mut Vec<u8>, document: &DocumentId) {
    write_var_bytes(out, &document.to_key());
}

fn roll_flags(roll: Roll) -> u8 {
    (u8::from(roll.archive) * ROLL_ARCHIVE) | (u8::from(roll.caught_up) * ROLL_CAUGHT_UP)
}
