//! A map as its fields, found by name.

use super::{CborError, Reader};

/// The fields of one map with texts as keys: in any order, each at most once.
///
/// Values are well-formed but otherwise unread.
#[derive(Clone, Debug)]
pub struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Reads a map of at most `max` fields that fills `bytes`.
    ///
    /// # Errors
    /// [`CborError`] if it is no such map, if a field appears twice or if bytes are left over.
    pub fn parse(bytes: &'a [u8], max: usize) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        let mut items = reader.map()?;
        let mut fields = Vec::new();
        while reader.more(&mut items)? {
            if fields.len() == max {
                return Err(CborError::TooMany { max });
            }
            fields.push((reader.text()?, reader.skip()?));
        }
        reader.end()?;
        fields.sort_unstable_by_key(|(name, _)| *name);
        let mut neighbours = fields.iter().zip(fields.iter().skip(1));
        if neighbours.any(|((first, _), (second, _))| first == second) {
            return Err(CborError::DuplicateField);
        }
        Ok(Self(fields))
    }

    /// The value of a field; `None` if it is missing, `null` or `undefined`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Reader<'a>> {
        let index = self.0.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        let (_, value) = self.0.get(index)?;
        let value = Reader::new(value);
        (!value.is_absent()).then_some(value)
    }

    /// All fields with the bytes of their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.iter().copied()
    }
}
