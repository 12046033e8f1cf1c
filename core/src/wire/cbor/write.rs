//! Values as cbor-x writes them.

/// Writes CBOR into memory, which cannot fail.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty message with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// The head of a map; `fields` keys and values must follow. cbor-x always counts in 16 bits.
    pub fn map(&mut self, fields: usize) -> &mut Self {
        match u16::try_from(fields) {
            Ok(fields) => {
                self.out.push(MAP | 25);
                self.out.extend_from_slice(&fields.to_be_bytes());
            }
            Err(_) => self.head(MAP, fields as u64),
        }
        self
    }

    /// The head of an array; `len` elements must follow.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(ARRAY, len as u64);
        self
    }

    /// A text; also a map's key.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    /// A byte string, without a tag.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.out.push(if value { TRUE } else { FALSE });
        self
    }

    /// `undefined`: how JavaScript clients say that a field is not there.
    pub fn undefined(&mut self) -> &mut Self {
        self.out.push(UNDEFINED);
        self
    }

    /// An integer; above 32 bits a float, as JavaScript clients write it (exact up to 2^53).
    #[expect(clippy::cast_precision_loss, reason = "integers of the protocol have at most 53 bits")]
    pub fn u64(&mut self, value: u64) -> &mut Self {
        if value > u64::from(u32::MAX) {
            self.out.push(FLOAT64);
            self.out.extend_from_slice(&(value as f64).to_be_bytes());
        } else {
            self.head(UNSIGNED, value);
        }
        self
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    #[expect(clippy::cast_possible_truncation, reason = "each branch checked the range")]
    fn head(&mut self, major: u8, value: u64) {
        match value {
            0..=23 => self.out.push(major | value as u8),
            24..=0xff => self.out.extend_from_slice(&[major | 24, value as u8]),
            0x100..=0xffff => {
                self.out.push(major | 25);
                self.out.extend_from_slice(&(value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&value.to_be_bytes());
            }
        }
    }
}

const UNSIGNED: u8 = 0x00;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const UNDEFINED: u8 = 0xf7;
const FLOAT64: u8 = 0xfb;
