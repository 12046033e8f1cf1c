//! Columns: their directory, and a cursor for each encoding that steps through runs without expanding
//! them.
//!
//! A directory is a count of { specification, length }; a specification is `id << 4 | deflate << 3 |
//! type`. A run-length column is a sequence of `n > 0` and a value (repeated), `-n` and n values
//! (literal), `0` and n (nulls); a boolean column alternates lengths of false and true.

use super::error::InvalidAutomerge;
use super::leb::Leb;
use crate::limits::{AUTOMERGE_ROWS_MAX, INFLATED_BYTES_MAX};
use crate::wire::inflate::inflate;

const DEFLATE: u32 = 8;

/// One column, inflated if it was compressed.
#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) spec: u32,
    bytes: std::borrow::Cow<'a, [u8]>,
}

/// The directory of a chunk's columns: specification and length in bytes.
pub(super) type Directory = Vec<(u32, usize)>;

/// Reads a directory; specifications must ascend.
pub(super) fn read_directory(reader: &mut Leb<'_>) -> Result<Directory, InvalidAutomerge> {
    let mut directory: Directory = Vec::new();
    for _ in 0..reader.count(2)? {
        let spec = u32::try_from(reader.u64()?).map_err(|_| InvalidAutomerge::Integer)?;
        let len = usize::try_from(reader.u64()?).map_err(|_| InvalidAutomerge::Integer)?;
        if directory.last().is_some_and(|(last, _)| last & !DEFLATE >= spec & !DEFLATE) {
            return Err(InvalidAutomerge::ColumnOrder);
        }
        directory.push((spec, len));
    }
    Ok(directory)
}

/// Takes the bytes of the columns; compressed ones only if `deflated` allows them.
pub(super) fn read_columns<'a>(
    reader: &mut Leb<'a>,
    directory: &Directory,
    deflated: bool,
) -> Result<Vec<Column<'a>>, InvalidAutomerge> {
    let mut columns = Vec::new();
    let mut total = 0usize;
    for &(spec, len) in directory {
        let raw = reader.take(len)?;
        let bytes: std::borrow::Cow<'a, [u8]> = if spec & DEFLATE == 0 {
            raw.into()
        } else if deflated {
            inflate(raw)?.into()
        } else {
            return Err(InvalidAutomerge::CompressedColumns);
        };
        total = total.saturating_add(bytes.len());
        if total > INFLATED_BYTES_MAX {
            return Err(InvalidAutomerge::TooLarge { found: total });
        }
        columns.push(Column { spec: spec & !DEFLATE, bytes });
    }
    Ok(columns)
}

/// The bytes of the column with this specification; empty if it is absent.
pub(super) fn find<'a>(columns: &'a [Column<'_>], spec: u32) -> &'a [u8] {
    columns.iter().find(|column| column.spec == spec).map_or(&[], |column| &column.bytes)
}

/// What the values of a run-length column are.
pub(super) trait Item<'a>: Copy + PartialEq {
    fn read(reader: &mut Leb<'a>) -> Result<Self, InvalidAutomerge>;
}

impl Item<'_> for u64 {
    fn read(reader: &mut Leb<'_>) -> Result<Self, InvalidAutomerge> {
        reader.u64()
    }
}

impl Item<'_> for i64 {
    fn read(reader: &mut Leb<'_>) -> Result<Self, InvalidAutomerge> {
        reader.i64()
    }
}

impl<'a> Item<'a> for &'a str {
    fn read(reader: &mut Leb<'a>) -> Result<Self, InvalidAutomerge> {
        reader.text()
    }
}

/// Steps through a run-length column row by row; an absent column is all null.
#[derive(Debug)]
pub(super) struct Rle<'a, T> {
    reader: Leb<'a>,
    absent: bool,
    left: u64,
    literal: bool,
    value: Option<T>,
}

impl<'a, T: Item<'a>> Rle<'a, T> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Leb::new(bytes), absent: bytes.is_empty(), left: 0, literal: false, value: None }
    }

    /// Whether every row has been read; always true of an absent column.
    pub(super) fn done(&self) -> bool {
        self.left == 0 && self.reader.is_empty()
    }

    /// The next row; behind the end there is only null if the column is absent.
    pub(super) fn next(&mut self) -> Result<Option<T>, InvalidAutomerge> {
        if self.absent {
            return Ok(None);
        }
        if self.left == 0 {
            if self.reader.is_empty() {
                return Err(InvalidAutomerge::Disagree);
            }
            let head = self.reader.i64()?;
            self.literal = head < 0;
            self.left = if head == 0 { self.reader.u64()? } else { head.unsigned_abs() };
            if self.left == 0 || self.left > AUTOMERGE_ROWS_MAX {
                return Err(InvalidAutomerge::Rows);
            }
            self.value = if head > 0 { Some(T::read(&mut self.reader)?) } else { None };
        }
        self.left -= 1;
        if self.literal { T::read(&mut self.reader).map(Some) } else { Ok(self.value) }
    }

    /// The next row, which must not be null.
    pub(super) fn some(&mut self) -> Result<T, InvalidAutomerge> {
        self.next()?.ok_or(InvalidAutomerge::Null)
    }

    pub(super) fn end(&self) -> Result<(), InvalidAutomerge> {
        if self.done() { Ok(()) } else { Err(InvalidAutomerge::Disagree) }
    }
}

/// A run-length column of differences.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    rle: Rle<'a, i64>,
    sum: i64,
}

impl<'a> Delta<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rle: Rle::new(bytes), sum: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<i64>, InvalidAutomerge> {
        let Some(step) = self.rle.next()? else { return Ok(None) };
        self.sum = self.sum.checked_add(step).ok_or(InvalidAutomerge::Integer)?;
        Ok(Some(self.sum))
    }

    pub(super) fn end(&self) -> Result<(), InvalidAutomerge> {
        self.rle.end()
    }
}

/// Steps through a boolean column; an absent one is all false.
#[derive(Debug)]
pub(super) struct Booleans<'a> {
    reader: Leb<'a>,
    absent: bool,
    left: u64,
    value: bool,
    first: bool,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Leb::new(bytes), absent: bytes.is_empty(), left: 0, value: true, first: true }
    }

    pub(super) fn next(&mut self) -> Result<bool, InvalidAutomerge> {
        if self.absent {
            return Ok(false);
        }
        while self.left == 0 {
            if self.reader.is_empty() {
                return Err(InvalidAutomerge::Disagree);
            }
            self.left = self.reader.u64()?;
            self.value = !self.value;
            // Only the leading run of false may be empty.
            if self.left > AUTOMERGE_ROWS_MAX || (self.left == 0 && !self.first) {
                return Err(InvalidAutomerge::Rows);
            }
            self.first = false;
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(super) fn end(&self) -> Result<(), InvalidAutomerge> {
        if self.left == 0 && self.reader.is_empty() { Ok(()) } else { Err(InvalidAutomerge::Disagree) }
    }
}

/// A value-metadata column with its raw bytes: `length << 4 | type`.
#[derive(Debug)]
pub(super) struct Values<'a> {
    meta: Rle<'a, u64>,
    raw: Leb<'a>,
}

impl<'a> Values<'a> {
    pub(super) fn new(meta: &'a [u8], raw: &'a [u8]) -> Self {
        Self { meta: Rle::new(meta), raw: Leb::new(raw) }
    }

    /// Checks the next value; returns its type, 0 for an absent one.
    pub(super) fn next(&mut self) -> Result<u64, InvalidAutomerge> {
        let meta = self.meta.next()?.unwrap_or(0);
        let len = usize::try_from(meta >> 4).map_err(|_| InvalidAutomerge::Integer)?;
        let mut bytes = Leb::new(self.raw.take(len)?);
        let kind = meta & 0x0f;
        match kind {
            0..=2 => {}
            3 => drop(bytes.u64()?),
            4 | 8 | 9 => drop(bytes.i64()?),
            5 => drop(bytes.take(8)?),
            6 => {
                std::str::from_utf8(bytes.take(len)?).map_err(|_| InvalidAutomerge::NotUtf8)?;
            }
            _ => drop(bytes.take(len)?),
        }
        bytes.end().map_err(|_| InvalidAutomerge::Value)?;
        Ok(kind)
    }

    pub(super) fn end(&self) -> Result<(), InvalidAutomerge> {
        self.meta.end()?;
        self.raw.end()
    }
}
