//! A JSON writer with a limit on bytes and depth: a document of 64 MiB must not become text without end, nor
//! nesting a stack without end.

use super::EngineError;
use crate::wire::base64;

/// Deepest nesting of what is written; deeper JSON is refused by common readers, too.
pub(super) const DEPTH_MAX: usize = 120;

/// JSON in the making. Values are written in order; commas come by themselves.
pub(super) struct Json {
    out: Vec<u8>,
    bytes_max: usize,
    depth: usize,
    /// Whether the next value is the first of its container, or follows its key.
    first: bool,
}

impl Json {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { out: Vec::new(), bytes_max, depth: 0, first: true }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// `{` or `[`.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), EngineError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(EngineError::unfit(format_args!("it is nested deeper than {DEPTH_MAX} levels")));
        }
        self.value(&[bracket])?;
        self.first = true;
        Ok(())
    }

    /// `}` or `]`.
    pub(super) fn close(&mut self, bracket: u8) -> Result<(), EngineError> {
        self.depth = self.depth.saturating_sub(1);
        self.first = true;
        self.value(&[bracket])
    }

    pub(super) fn key(&mut self, key: &str) -> Result<(), EngineError> {
        self.string(key)?;
        self.first = true;
        self.value(b":")?;
        self.first = true;
        Ok(())
    }

    pub(super) fn string(&mut self, text: &str) -> Result<(), EngineError> {
        let quoted = serde_json::to_vec(text).map_err(EngineError::unfit)?;
        self.value(&quoted)
    }

    /// Bytes as a base64 text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.string(&base64(bytes))
    }

    pub(super) fn bool(&mut self, value: bool) -> Result<(), EngineError> {
        self.value(if value { b"true" } else { b"false" })
    }

    pub(super) fn null(&mut self) -> Result<(), EngineError> {
        self.value(b"null")
    }

    pub(super) fn integer(&mut self, value: impl Into<i128>) -> Result<(), EngineError> {
        self.value(value.into().to_string().as_bytes())
    }

    /// What has no JSON form (NaN, infinities) is null, as in JavaScript.
    pub(super) fn float(&mut self, value: f64) -> Result<(), EngineError> {
        match serde_json::Number::from_f64(value) {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            Some(_) if value.fract() == 0.0 && value.abs() < WHOLE_MAX => self.integer(value as i64),
            Some(number) => self.value(number.to_string().as_bytes()),
            None => self.null(),
        }
    }

    fn value(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        if self.out.len().saturating_add(bytes.len()) >= self.bytes_max {
            return Err(EngineError::unfit(format_args!("it is larger than {} bytes", self.bytes_max)));
        }
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Below this every whole number is one that a float can hold.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_come_by_themselves() {
        let mut json = Json::new(1000);
        json.open(b'{').unwrap();
        for key in ["a", "b\""] {
            json.key(key).unwrap();
            json.open(b'[').unwrap();
            json.integer(1).unwrap();
            json.float(2.0).unwrap();
            json.float(0.5).unwrap();
            json.float(f64::NAN).unwrap();
            json.open(b'{').unwrap();
            json.close(b'}').unwrap();
            json.bool(true).unwrap();
            json.bytes(b"f").unwrap();
            json.close(b']').unwrap();
        }
        json.close(b'}').unwrap();
        let text = String::from_utf8(json.finish()).unwrap();
        assert_eq!(text, r#"{"a":[1,2,0.5,null,{},true,"Zg=="],"b\"":[1,2,0.5,null,{},true,"Zg=="]}"#);
    }

    #[test]
    fn size_and_depth_end_somewhere() {
        assert!(matches!(Json::new(10).string("0123456789"), Err(EngineError::Unfit { .. })));
        let mut json = Json::new(1000);
        let opened = (0..=DEPTH_MAX).map(|_| json.open(b'[')).collect::<Result<Vec<_>, _>>();
        assert!(matches!(opened, Err(EngineError::Unfit { .. })));
    }
}
