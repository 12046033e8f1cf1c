//! Values off the front of a slice, one at a time or skipped whole.

use minicbor::data::{Tag, Type};
use minicbor::decode::Decoder;

use super::{CborError, INTEGER_MAX};
use crate::limits::NESTING_MAX;

/// How many elements of an array or map are still to be read.
#[derive(Debug)]
pub struct Items(Option<u64>);

/// Reads CBOR values off the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    decoder: Decoder<'a>,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(bytes) }
    }

    /// A text of definite length.
    ///
    /// # Errors
    /// [`CborError`] if it is something else, cut off or not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        Ok(self.decoder.str()?)
    }

    /// A byte string of definite length, with or without tag 64.
    ///
    /// # Errors
    /// [`CborError`] if it is something else or cut off.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        if self.decoder.datatype()? == Type::Tag && self.decoder.tag()? != UINT8_ARRAY {
            return Err(CborError::WrongKind);
        }
        Ok(self.decoder.bytes()?)
    }

    /// Whether the next value is a text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.decoder.datatype().is_ok_and(|kind| kind == Type::String)
    }

    /// Whether the next value is `null` or `undefined`.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.decoder.datatype().is_ok_and(|kind| matches!(kind, Type::Null | Type::Undefined))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`CborError`] if it is something else.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        Ok(self.decoder.bool()?)
    }

    /// An integer of at most 53 bits, as such or as an integral float.
    ///
    /// # Errors
    /// [`CborError`] if it is something else, negative, too large or a fraction.
    pub fn u64(&mut self) -> Result<u64, CborError> {
        let value = match self.decoder.datatype()? {
            Type::F32 | Type::F64 => integral(self.decoder.f64()?)?,
            _ => self.decoder.u64()?,
        };
        if value > INTEGER_MAX { Err(CborError::NotInteger) } else { Ok(value) }
    }

    /// The head of an array; its elements follow, one for each [`Reader::more`].
    ///
    /// # Errors
    /// [`CborError`] if it is something else.
    pub fn array(&mut self) -> Result<Items, CborError> {
        Ok(Items(self.decoder.array()?))
    }

    /// The head of a map; a key and a value follow for each [`Reader::more`].
    ///
    /// # Errors
    /// [`CborError`] if it is something else.
    pub fn map(&mut self) -> Result<Items, CborError> {
        Ok(Items(self.decoder.map()?))
    }

    /// Whether an element follows; takes the break behind the last one.
    ///
    /// # Errors
    /// [`CborError::Truncated`] if the bytes end without a break.
    pub fn more(&mut self, items: &mut Items) -> Result<bool, CborError> {
        match &mut items.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.decoder.datatype()? == Type::Break => {
                self.decoder.set_position(self.decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Passes over one value, whatever it is, and returns its bytes.
    ///
    /// # Errors
    /// [`CborError`] if it is malformed, cut off or nested deeper than [`NESTING_MAX`].
    pub fn skip(&mut self) -> Result<&'a [u8], CborError> {
        let (input, start) = (self.decoder.input(), self.decoder.position());
        let mut open: Vec<Open> = Vec::new();
        loop {
            if let Some(opened) = self.skip_head()? {
                if open.len() == NESTING_MAX {
                    return Err(CborError::Nesting);
                }
                open.push(opened);
            }
            while let Some(innermost) = open.last_mut() {
                if innermost.next(self)? {
                    break;
                }
                open.pop();
            }
            if open.is_empty() {
                return input.get(start..self.decoder.position()).ok_or(CborError::Truncated);
            }
        }
    }

    /// Succeeds if everything has been read.
    ///
    /// # Errors
    /// [`CborError::Trailing`] if not.
    pub fn end(&self) -> Result<(), CborError> {
        if self.decoder.position() == self.decoder.input().len() { Ok(()) } else { Err(CborError::Trailing) }
    }

    /// Passes over one value, or over the head of one that has others inside.
    fn skip_head(&mut self) -> Result<Option<Open>, CborError> {
        let decoder = &mut self.decoder;
        let (items, is_map) = match decoder.datatype()? {
            Type::Array | Type::ArrayIndef => (Items(decoder.array()?), false),
            Type::Map | Type::MapIndef => (Items(decoder.map()?), true),
            Type::Tag => {
                decoder.tag()?;
                (Items(Some(1)), false)
            }
            plain => {
                skip_plain(decoder, plain)?;
                return Ok(None);
            }
        };
        Ok(Some(Open { items, is_map, value_next: false }))
    }
}

/// An array, map or tag that is being skipped.
struct Open {
    items: Items,
    is_map: bool,
    value_next: bool,
}

impl Open {
    /// Whether another value belongs to it.
    fn next(&mut self, reader: &mut Reader<'_>) -> Result<bool, CborError> {
        if self.value_next {
            self.value_next = false;
            return Ok(true);
        }
        let more = reader.more(&mut self.items)?;
        self.value_next = more && self.is_map;
        Ok(more)
    }
}

fn skip_plain(decoder: &mut Decoder<'_>, kind: Type) -> Result<(), CborError> {
    match kind {
        Type::Bool => decoder.bool().map(drop)?,
        Type::Null => decoder.null()?,
        Type::Undefined => decoder.undefined()?,
        Type::Simple => decoder.simple().map(drop)?,
        Type::F32 | Type::F64 => decoder.f64().map(drop)?,
        Type::F16 => {
            let end = decoder.position() + 3;
            if end > decoder.input().len() {
                return Err(CborError::Truncated);
            }
            decoder.set_position(end);
        }
        Type::String => decoder.str().map(drop)?,
        Type::Bytes => decoder.bytes().map(drop)?,
        Type::StringIndef => decoder.str_iter()?.try_for_each(|part| part.map(drop))?,
        Type::BytesIndef => decoder.bytes_iter()?.try_for_each(|part| part.map(drop))?,
        Type::Break | Type::Unknown(_) => return Err(CborError::Malformed),
        _ => decoder.int().map(drop)?,
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number in range"
)]
fn integral(value: f64) -> Result<u64, CborError> {
    let whole = value.fract() == 0.0 && (0.0..TWO_POW_53).contains(&value);
    if whole { Ok(value as u64) } else { Err(CborError::NotInteger) }
}

/// The tag of a `Uint8Array` (RFC 8746).
const UINT8_ARRAY: Tag = Tag::new(64);
const TWO_POW_53: f64 = 9_007_199_254_740_992.0;
