//! What rooms say to each other.

use bytes::Bytes;

use super::error::InvalidEnvelope;
use crate::dialect::payload::keep;
use crate::limits::EPHEMERAL_BYTES_MAX;
use crate::room::{Arrival, AskId, PeerAnswer, PeerMessage, StoreRefused, Ticket};
use crate::update::{StateVector, Update};
use crate::validate::AwarenessUpdate;
use crate::wire::lib0::{Reader, write_var_bytes, write_var_u64};

/// Without a ticket; with one it is one more.
const CHANGE: u8 = 0;
const CONTENT: u8 = 2;
const PRESENCE: u8 = 4;
const ASK: u8 = 5;
const ANSWER: u8 = 6;
const STORED: u8 = 7;
const STATELESS: u8 = 8;

const NOBODY: u8 = 0;
/// What was asked for; any other number is a refusal.
const FOUND: u8 = 1;
const STORED_WELL: u8 = 0;

const ARCHIVED: u8 = 1;
const CAUGHT_UP: u8 = 2;

/// Appends a message.
pub fn write(out: &mut Vec<u8>, message: &PeerMessage) {
    match message {
        PeerMessage::Update { ticket, arrival, update } => {
            let tag = if *arrival == Arrival::Change { CHANGE } else { CONTENT };
            out.push(tag + u8::from(ticket.is_some()));
            if let Some(Ticket(ticket)) = ticket {
                write_var_u64(out, *ticket);
            }
            out.extend_from_slice(update.bytes());
        }
        PeerMessage::Presence(presence) => {
            out.push(PRESENCE);
            out.extend_from_slice(&presence.encode());
        }
        PeerMessage::Ask { ask, state_vector } => {
            out.push(ASK);
            write_var_u64(out, ask.0);
            out.extend_from_slice(&state_vector.encode());
        }
        PeerMessage::Answer { ask, result } => {
            out.push(ANSWER);
            write_var_u64(out, ask.0);
            write_answer(out, result);
        }
        PeerMessage::Stored(outcomes) => {
            out.push(STORED);
            write_var_u64(out, outcomes.len() as u64);
            for (ticket, outcome) in outcomes {
                write_var_u64(out, ticket.0);
                out.push(outcome.map_or_else(refused_code, |()| STORED_WELL));
            }
        }
        PeerMessage::Stateless(text) => {
            out.push(STATELESS);
            write_var_bytes(out, text.as_bytes());
        }
    }
}

fn write_answer(out: &mut Vec<u8>, result: &Result<Option<PeerAnswer>, StoreRefused>) {
    match result {
        Ok(None) => out.push(NOBODY),
        Err(refused) => out.push(refused_code(*refused)),
        Ok(Some(answer)) => {
            out.push(FOUND);
            let archived = if answer.archived.is_some() { ARCHIVED } else { 0 };
            out.push(archived | if answer.caught_up { CAUGHT_UP } else { 0 });
            if let Some(state_vector) = &answer.archived {
                write_var_bytes(out, &state_vector.encode());
            }
            out.extend_from_slice(&answer.update);
        }
    }
}

/// Reads what is left of a body as one message. Long updates share the memory of `frame`.
pub(super) fn read(frame: &Bytes, mut reader: Reader<'_>) -> Result<PeerMessage, InvalidEnvelope> {
    let tag = reader.u8()?;
    Ok(match tag {
        0..4 => {
            let ticket = if tag & 1 == 1 { Some(Ticket(reader.var_u64()?)) } else { None };
            let arrival = if tag & CONTENT == CONTENT { Arrival::Content } else { Arrival::Change };
            let update = Update::parse(keep(frame, reader.rest()))?;
            PeerMessage::Update { ticket, arrival, update }
        }
        PRESENCE => PeerMessage::Presence(AwarenessUpdate::parse(reader.rest())?),
        ASK => PeerMessage::Ask {
            ask: AskId(reader.var_u64()?),
            state_vector: StateVector::parse(reader.rest())?,
        },
        ANSWER => PeerMessage::Answer { ask: AskId(reader.var_u64()?), result: read_answer(frame, reader)? },
        STORED => read_stored(reader)?,
        STATELESS => {
            let text = reader.var_str()?;
            reader.end()?;
            if text.len() > EPHEMERAL_BYTES_MAX {
                return Err(InvalidEnvelope::TooLarge);
            }
            PeerMessage::Stateless(text.to_owned())
        }
        found => return Err(InvalidEnvelope::Code { what: "what a room says", found: found.into() }),
    })
}

fn read_answer(
    frame: &Bytes,
    mut reader: Reader<'_>,
) -> Result<Result<Option<PeerAnswer>, StoreRefused>, InvalidEnvelope> {
    match reader.u8()? {
        NOBODY => reader.end().map(|()| Ok(None)).map_err(InvalidEnvelope::from),
        FOUND => {
            let flags = reader.u8()?;
            if flags > ARCHIVED | CAUGHT_UP {
                return Err(InvalidEnvelope::Code { what: "who answers", found: flags.into() });
            }
            let archived = if flags & ARCHIVED == 0 { None } else { Some(reader.var_bytes()?) };
            let archived = archived.map(StateVector::parse).transpose()?;
            let update = Update::parse(keep(frame, reader.rest()))?.bytes().clone();
            Ok(Ok(Some(PeerAnswer { update, archived, caught_up: flags & CAUGHT_UP != 0 })))
        }
        code => {
            reader.end()?;
            Ok(Err(refused(code)?))
        }
    }
}

fn read_stored(mut reader: Reader<'_>) -> Result<PeerMessage, InvalidEnvelope> {
    let mut outcomes = Vec::new();
    for _ in 0..reader.var_u64()? {
        let ticket = Ticket(reader.var_u64()?);
        let outcome = match reader.u8()? {
            STORED_WELL => Ok(()),
            code => Err(refused(code)?),
        };
        outcomes.push((ticket, outcome));
    }
    reader.end()?;
    Ok(PeerMessage::Stored(outcomes))
}

fn refused_code(refused: StoreRefused) -> u8 {
    match refused {
        StoreRefused::Trouble => 2,
        StoreRefused::NoRoom => 3,
        StoreRefused::Damaged => 4,
        StoreRefused::Deleted => 5,
        StoreRefused::Quarantined => 6,
    }
}

fn refused(code: u8) -> Result<StoreRefused, InvalidEnvelope> {
    Ok(match code {
        2 => StoreRefused::Trouble,
        3 => StoreRefused::NoRoom,
        4 => StoreRefused::Damaged,
        5 => StoreRefused::Deleted,
        6 => StoreRefused::Quarantined,
        found => return Err(InvalidEnvelope::Code { what: "why it was refused", found: found.into() }),
    })
}
