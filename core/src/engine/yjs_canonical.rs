//! One byte form for one Yjs state, so that equal states hash equally.
//!
//! yrs writes the entries of `Any` objects, of JSON values and of the delete set in the order of randomly
//! seeded hash maps: two encodings of one document differ. Here objects are sorted by key and the delete
//! set by client. The order of the structs (clients descending, clocks ascending) is fixed, but how they are
//! split depends on their order of arrival. So each that only goes on where the one before ended (same kind and
//! parent key, origin in its last clock, same right origin) is joined to it: what is left depends on the single
//! clocks alone.
//!
//! The canonical form is for hashing only, nothing reads it back. Layout followed: yrs 0.28.1 `update.rs`,
//! `block.rs`, `any.rs`, which is the v1 encoding of Yjs 13.

use std::collections::BTreeMap;

use crate::limits::NESTING_MAX;
use crate::wire::lib0::{Lib0Error, Reader, write_var_bytes, write_var_u64};

/// Why an update that yrs wrote has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CanonicalError {
    #[error(transparent)]
    Lib0(#[from] Lib0Error),
    #[error("unknown kind of content or type {0}")]
    Unknown(u8),
    #[error("values nest deeper than {NESTING_MAX}")]
    TooDeep,
}

/// The canonical form of a whole v1 update.
pub(super) fn canonical(update: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let mut walk = Walk { from: Reader::new(update), out: Vec::with_capacity(update.len()) };
    for _ in 0..walk.var()? {
        let structs = walk.from.var_u64()?; // how many depends on how they are split
        let client = walk.var()?;
        let mut clock = walk.var()?;
        let mut run: Option<Struct> = None;
        for _ in 0..structs {
            let next = walk.structure()?;
            let end = clock + next.len;
            match &mut run {
                Some(run) if next.goes_on(run, client, clock) => run.join(&next),
                _ => run.replace(next).into_iter().for_each(|done| done.write(&mut walk.out)),
            }
            clock = end;
        }
        run.into_iter().for_each(|done| done.write(&mut walk.out));
    }
    walk.delete_set()?;
    walk.from.end()?;
    Ok(walk.out)
}

/// One struct, or several that go on where the one before ended.
struct Struct {
    info: u8,
    origin: Option<(u64, u64)>,
    right: Option<(u64, u64)>,
    parent: Vec<u8>,
    /// In clocks.
    len: u64,
    /// Without its count.
    content: Vec<u8>,
}

impl Struct {
    fn goes_on(&self, before: &Self, client: u64, clock: u64) -> bool {
        let rest = |info: u8| info & (CONTENT | HAS_PARENT_SUB);
        match self.info & CONTENT {
            GC | SKIP => self.info == before.info,
            DELETED | JSON | STRING | ANY => {
                rest(self.info) == rest(before.info)
                    && self.right == before.right
                    && self.origin == clock.checked_sub(1).map(|last| (client, last))
            }
            _ => false,
        }
    }

    fn join(&mut self, next: &Self) {
        self.len += next.len;
        self.content.extend_from_slice(&next.content);
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.info);
        for (client, clock) in self.origin.iter().chain(&self.right) {
            write_var_u64(out, *client);
            write_var_u64(out, *clock);
        }
        out.extend_from_slice(&self.parent);
        write_var_u64(out, self.len);
        write_var_bytes(out, &self.content);
    }
}

struct Walk<'a> {
    from: Reader<'a>,
    out: Vec<u8>,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, CanonicalError> {
        let byte = self.from.u8()?;
        self.out.push(byte);
        Ok(byte)
    }

    fn var(&mut self) -> Result<u64, CanonicalError> {
        let value = self.from.var_u64()?;
        write_var_u64(&mut self.out, value);
        Ok(value)
    }

    fn var_bytes(&mut self) -> Result<(), CanonicalError> {
        let bytes = self.from.var_bytes()?;
        write_var_bytes(&mut self.out, bytes);
        Ok(())
    }

    fn id(&mut self) -> Result<(), CanonicalError> {
        self.var()?;
        self.var()?;
        Ok(())
    }

    fn structure(&mut self) -> Result<Struct, CanonicalError> {
        let info = self.from.u8()?;
        let mut found =
            Struct { info, origin: None, right: None, parent: Vec::new(), len: 0, content: Vec::new() };
        if info == GC || info == SKIP {
            found.len = self.from.var_u64()?;
            return Ok(found);
        }
        if info & HAS_ORIGIN != 0 {
            found.origin = Some((self.from.var_u64()?, self.from.var_u64()?));
        }
        if info & HAS_RIGHT_ORIGIN != 0 {
            found.right = Some((self.from.var_u64()?, self.from.var_u64()?));
        }
        if info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN) == 0 {
            let mut parent = self.beside();
            if parent.var()? == 1 {
                parent.var_bytes()?;
            } else {
                parent.id()?;
            }
            if info & HAS_PARENT_SUB != 0 {
                parent.var_bytes()?;
            }
            (self.from, found.parent) = (parent.from, parent.out);
        }
        let mut content = self.beside();
        found.len = content.content(info)?;
        (self.from, found.content) = (content.from, content.out);
        Ok(found)
    }

    /// Reads on from here into bytes of its own.
    fn beside(&self) -> Self {
        Walk { from: self.from, out: Vec::new() }
    }

    /// Writes the content without its count, returns its length in clocks.
    fn content(&mut self, info: u8) -> Result<u64, CanonicalError> {
        match info & CONTENT {
            DELETED => return Ok(self.from.var_u64()?),
            JSON => {
                let len = self.from.var_u64()?;
                for _ in 0..len {
                    self.json()?;
                }
                return Ok(len);
            }
            STRING => {
                let text = self.from.var_bytes()?;
                self.out.extend_from_slice(text);
                let units = |byte: &u8| u64::from(byte & 0xc0 != 0x80) + u64::from(*byte >= 0xf0);
                return Ok(text.iter().map(units).sum());
            }
            ANY => {
                let len = self.from.var_u64()?;
                for _ in 0..len {
                    self.any(0)?;
                }
                return Ok(len);
            }
            3 => self.var_bytes(), // binary
            5 => self.json(),      // embed
            6 => {
                self.var_bytes()?;
                self.json()
            }
            7 => match self.byte()? {
                3 | 5 => self.var_bytes(), // XML element and hook carry a name
                0 | 1 | 2 | 4 | 6 | 15 => Ok(()),
                other => Err(CanonicalError::Unknown(other)),
            },
            9 => {
                self.var_bytes()?;
                self.any(0)
            }
            other => Err(CanonicalError::Unknown(other)),
        }?;
        Ok(1)
    }

    /// A JSON text; what does not parse (`undefined`) stays as it is.
    fn json(&mut self) -> Result<(), CanonicalError> {
        let text = self.from.var_bytes()?;
        match serde_json::from_slice::<serde_json::Value>(text) {
            Ok(value) => write_var_bytes(&mut self.out, sorted(value).to_string().as_bytes()),
            Err(_) => write_var_bytes(&mut self.out, text),
        }
        Ok(())
    }

    fn any(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth > NESTING_MAX {
            return Err(CanonicalError::TooDeep);
        }
        match self.byte()? {
            127 | 126 | 121 | 120 => Ok(()),
            125 => {
                while self.byte()? & 0x80 != 0 {}
                Ok(())
            }
            124 => self.raw(4),
            123 | 122 => self.raw(8),
            119 | 116 => self.var_bytes(),
            118 => {
                let mut entries = BTreeMap::new();
                for _ in 0..self.var()? {
                    let key = self.from.var_bytes()?;
                    let mut value = Walk { from: self.from, out: Vec::new() };
                    value.any(depth + 1)?;
                    self.from = value.from;
                    entries.insert(key, value.out);
                }
                for (key, value) in entries {
                    write_var_bytes(&mut self.out, key);
                    self.out.extend_from_slice(&value);
                }
                Ok(())
            }
            117 => {
                for _ in 0..self.var()? {
                    self.any(depth + 1)?;
                }
                Ok(())
            }
            other => Err(CanonicalError::Unknown(other)),
        }
    }

    fn raw(&mut self, len: usize) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(self.from.bytes(len)?);
        Ok(())
    }

    fn delete_set(&mut self) -> Result<(), CanonicalError> {
        let mut clients = BTreeMap::new();
        for _ in 0..self.var()? {
            let client = self.from.var_u64()?;
            let mut ranges = Walk { from: self.from, out: Vec::new() };
            for _ in 0..ranges.var()? {
                ranges.id()?; // clock and length
            }
            self.from = ranges.from;
            clients.insert(client, ranges.out);
        }
        for (client, ranges) in clients {
            write_var_u64(&mut self.out, client);
            self.out.extend_from_slice(&ranges);
        }
        Ok(())
    }
}

/// The same value with sorted keys, also where serde_json is built to keep their order.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(entries) => {
            let entries: BTreeMap<_, _> = entries.into_iter().collect();
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        other => other,
    }
}

const GC: u8 = 0;
const SKIP: u8 = 10;
const HAS_ORIGIN: u8 = 0x80;
const HAS_RIGHT_ORIGIN: u8 = 0x40;
const HAS_PARENT_SUB: u8 = 0x20;
const CONTENT: u8 = 0x1f;
const DELETED: u8 = 1;
const JSON: u8 = 2;
const STRING: u8 = 4;
const ANY: u8 = 8;
