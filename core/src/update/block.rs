//! One struct of an update: read, judged, and cut in two when an overlap asks for it.
//!
//! | part | layout | present |
//! |---|---|---|
//! | info | 1 byte: bit 7 origin, bit 6 right origin, bit 5 parent key, low 5 bits the content | always |
//! | length | varUint | content 0 (GC) and 10 (Skip), which end here |
//! | origin, right origin | varUint client, varUint clock | by their bits |
//! | parent | varUint 1 and a name, or varUint 0 and an id | neither origin nor right origin |
//! | parent key | string | bit 5, and a parent is present |
//! | content | see `read_content` | always |
//!
//! A struct never says its own id: the section's client and the lengths before it do.

use super::any::{count, skip_any};
use super::error::InvalidUpdate;
use crate::limits::{CLIENT_ID_MAX, CLOCK_MAX};
use crate::validate::json::{JsonFault, check_json};
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const CONTENT_BITS: u8 = 0x1f;

pub(super) const GC: u8 = 0;
pub(super) const DELETED: u8 = 1;
const JSON: u8 = 2;
const BINARY: u8 = 3;
const STRING: u8 = 4;
const EMBED: u8 = 5;
const FORMAT: u8 = 6;
pub(super) const TYPE: u8 = 7;
const ANY: u8 = 8;
const DOC: u8 = 9;
pub(super) const SKIP: u8 = 10;

/// Client and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) client: u64,
    pub(super) clock: u64,
}

/// A struct as read; borrows the update.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawBlock<'a> {
    info: u8,
    origin: Option<Id>,
    right_origin: Option<Id>,
    /// The parent, if it is an item and stands in the bytes.
    pub(super) parent: Option<Id>,
    /// How many clocks it takes; at least 1.
    pub(super) len: u64,
    /// What is before the content.
    head: &'a [u8],
    /// Content without its leading count or length.
    body: &'a [u8],
}

impl<'a> RawBlock<'a> {
    /// Reads the struct at `id`.
    pub(super) fn read(reader: &mut Reader<'a>, id: Id) -> Result<Self, InvalidUpdate> {
        let whole = reader.rest();
        let info = reader.u8()?;
        let mut block =
            Self { info, origin: None, right_origin: None, parent: None, len: 0, head: &[], body: &[] };
        match info {
            GC | SKIP => block.len = reader.var_u64()?,
            _ => {
                if info & HAS_ORIGIN != 0 {
                    block.origin = Some(read_id(reader)?);
                }
                if info & HAS_RIGHT_ORIGIN != 0 {
                    block.right_origin = Some(read_id(reader)?);
                }
                if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
                    match reader.var_u64()? {
                        0 => block.parent = Some(read_id(reader)?),
                        1 => drop(reader.var_str()?),
                        flag => return Err(InvalidUpdate::ParentFlag { flag }),
                    }
                    if info & 0x20 != 0 {
                        reader.var_str()?;
                    }
                }
                block.head = whole.get(..whole.len() - reader.rest().len()).unwrap_or_default();
                let (len, body) = read_content(reader, info)?;
                block.len = len;
                block.body = body;
            }
        }
        if block.len == 0 {
            return Err(InvalidUpdate::Empty { client: id.client, clock: id.clock });
        }
        if block.len > CLOCK_MAX || id.clock > CLOCK_MAX - block.len {
            return Err(InvalidUpdate::ClockTooHigh { client: id.client });
        }
        let backwards = |other: Id| other.client != id.client || other.clock < id.clock;
        if !block.needs().all(backwards) {
            return Err(InvalidUpdate::SelfReference { client: id.client, clock: id.clock });
        }
        Ok(block)
    }

    /// The ids that must be known before the struct can be placed.
    pub(super) fn needs(&self) -> impl Iterator<Item = Id> + use<> {
        [self.origin, self.right_origin, self.parent].into_iter().flatten()
    }

    /// What the struct holds: [`GC`], [`SKIP`] or a content number.
    pub(super) fn content(&self) -> u8 {
        self.info & CONTENT_BITS
    }

    /// Appends what remains of the struct at `id` behind its first `offset` clocks.
    ///
    /// The rest follows its own first part, so it keeps no parent: the reader takes it from there.
    pub(super) fn write_tail(&self, out: &mut Vec<u8>, id: Id, offset: u64) -> Result<(), InvalidUpdate> {
        let left = self.len.saturating_sub(offset);
        if matches!(self.content(), GC | SKIP) {
            out.push(self.info);
            write_var_u64(out, left);
            return Ok(());
        }
        let mut body = Reader::new(self.body);
        match self.content() {
            STRING => {
                let text = std::str::from_utf8(self.body).map_err(|_| Lib0Error::NotUtf8)?;
                let (torn, rest) = utf16_tail(text, offset);
                // yjs puts U+FFFD where a cut tears a surrogate pair.
                let mut tail = String::with_capacity(rest.len() + 3);
                tail.push_str(if torn { "\u{fffd}" } else { "" });
                tail.push_str(rest);
                self.write_slice(out, id, (offset, left), tail.as_bytes());
            }
            JSON | ANY => {
                for _ in 0..offset {
                    self.skip_element(&mut body)?;
                }
                self.write_slice(out, id, (offset, left), body.rest());
            }
            _ => self.write_slice(out, id, (offset, left), self.body),
        }
        Ok(())
    }

    /// The struct at `id` in pieces of at most about so many bytes of content each: the clock behind each, and its bytes.
    /// None if it has but one clock, or content that cannot be cut.
    ///
    /// What engines make of the pieces is what they make of the whole: text is cut between characters only.
    pub(super) fn pieces(&self, id: Id, bytes_max: usize) -> Option<Vec<(u64, Vec<u8>)>> {
        if !matches!(self.content(), STRING | JSON | ANY) {
            return None;
        }
        let (mut pieces, mut offset, mut rest) = (Vec::new(), 0, self.body);
        while offset < self.len {
            let (len, bytes) = match self.content() {
                STRING => utf16_front(rest, bytes_max),
                _ => self.elements(rest, bytes_max),
            };
            let (body, behind) = rest.split_at_checked(bytes).filter(|_| len > 0)?;
            let mut piece = Vec::with_capacity(bytes + 32);
            self.write_slice(&mut piece, id, (offset, len), body);
            (offset, rest) = (offset + len, behind);
            pieces.push((id.clock + offset, piece));
        }
        (pieces.len() > 1 && offset == self.len).then_some(pieces)
    }

    /// Appends `len` clocks of the struct at `id` behind its first `offset`; `body` is their content.
    fn write_slice(&self, out: &mut Vec<u8>, id: Id, (offset, len): (u64, u64), body: &[u8]) {
        if offset == 0 {
            out.extend_from_slice(self.head);
        } else {
            out.push(self.info | HAS_ORIGIN);
            write_var_u64(out, id.client);
            write_var_u64(out, (id.clock + offset).saturating_sub(1));
            if let Some(right) = self.right_origin {
                write_var_u64(out, right.client);
                write_var_u64(out, right.clock);
            }
        }
        if self.content() == STRING {
            write_var_bytes(out, body);
        } else {
            write_var_u64(out, len);
            out.extend_from_slice(body);
        }
    }

    /// How many elements at the front have at most so many bytes, and how many they have; at least one.
    fn elements(&self, rest: &[u8], bytes_max: usize) -> (u64, usize) {
        let (mut reader, mut found) = (Reader::new(rest), (0, 0));
        while !reader.rest().is_empty() && self.skip_element(&mut reader).is_ok() {
            let bytes = rest.len() - reader.rest().len();
            if found.0 > 0 && bytes > bytes_max {
                break;
            }
            found = (found.0 + 1, bytes);
        }
        found
    }

    fn skip_element(&self, body: &mut Reader<'_>) -> Result<(), InvalidUpdate> {
        if self.content() == JSON {
            body.var_str()?;
            return Ok(());
        }
        skip_any(body)
    }
}

/// Reads an id within the accepted bounds.
fn read_id(reader: &mut Reader<'_>) -> Result<Id, InvalidUpdate> {
    let id = Id { client: reader.var_u64()?, clock: reader.var_u64()? };
    if id.client > CLIENT_ID_MAX || id.clock >= CLOCK_MAX {
        return Err(InvalidUpdate::ClockTooHigh { client: id.client });
    }
    Ok(id)
}

/// Reads one content; returns its length in clocks and its bytes behind the count.
///
/// | content | layout | length |
/// |---|---|---|
/// | 1 Deleted | varUint | that number |
/// | 2 JSON | varUint n, n strings of JSON or `undefined` | n |
/// | 3 Binary | varUint length, bytes | 1 |
/// | 4 String | string | UTF-16 code units |
/// | 5 Embed | string of JSON | 1 |
/// | 6 Format | string key, string of JSON | 1 |
/// | 7 Type | varUint; 3 (`XmlElement`) also a name | 1 |
/// | 8 Any | varUint n, n values | n |
/// | 9 Doc | string guid, `Any` object | 1 |
fn read_content<'a>(reader: &mut Reader<'a>, info: u8) -> Result<(u64, &'a [u8]), InvalidUpdate> {
    let len = match info & CONTENT_BITS {
        DELETED => return Ok((reader.var_u64()?, &[])),
        STRING => {
            let text = reader.var_str()?;
            return Ok((utf16_len(text.as_bytes()), text.as_bytes()));
        }
        content @ (JSON | ANY) => {
            let len = count(reader, 1)?;
            let before = reader.rest();
            for _ in 0..len {
                if content == ANY {
                    skip_any(reader)?;
                } else {
                    let text = reader.var_str()?;
                    if text != "undefined" {
                        json(text)?;
                    }
                }
            }
            let taken = before.len() - reader.rest().len();
            return Ok((len, before.get(..taken).unwrap_or_default()));
        }
        BINARY => {
            reader.var_bytes()?;
            1
        }
        EMBED => {
            json(reader.var_str()?)?;
            1
        }
        FORMAT => {
            reader.var_str()?;
            json(reader.var_str()?)?;
            1
        }
        TYPE => {
            // 5 (XmlHook) carries a name in yjs and none in yrs: the two would read different structs.
            match reader.u8()? {
                0 | 1 | 2 | 4 | 6 => {}
                3 => drop(reader.var_str()?),
                type_ref => return Err(InvalidUpdate::UnknownType { type_ref: type_ref.into() }),
            }
            1
        }
        DOC => {
            reader.var_str()?;
            if reader.rest().first() != Some(&118) {
                return Err(InvalidUpdate::DocOptions);
            }
            skip_any(reader)?;
            1
        }
        _ => return Err(InvalidUpdate::UnknownStruct { info }),
    };
    Ok((len, &[]))
}

fn json(text: &str) -> Result<(), InvalidUpdate> {
    check_json(text).map_err(|fault| match fault {
        JsonFault::Syntax => InvalidUpdate::Json,
        JsonFault::Nesting => InvalidUpdate::Nesting,
    })
}

/// Length in UTF-16 code units, which is how Yjs counts.
fn utf16_len(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(byte & 0xc0 != 0x80) + u64::from(*byte >= 0xf0)).sum()
}

/// The code units and bytes of the text at the front that has at most so many bytes; at least one character.
fn utf16_front(text: &[u8], bytes_max: usize) -> (u64, usize) {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut end = bytes_max.min(text.len());
    while is_inside(end) {
        end -= 1;
    }
    if end == 0 && !text.is_empty() {
        end = 1;
        while is_inside(end) {
            end += 1;
        }
    }
    let front = text.get(..end).unwrap_or_default();
    (utf16_len(front), end)
}

/// What follows the first `offset` code units, and whether the cut tore a surrogate pair; the half that
/// remains of it is not part of the text.
fn utf16_tail(text: &str, offset: u64) -> (bool, &str) {
    let mut units = 0u64;
    for (at, character) in text.char_indices() {
        if units >= offset {
            return (units > offset, text.get(at..).unwrap_or_default());
        }
        units += character.len_utf16() as u64;
    }
    (units > offset, "")
}
