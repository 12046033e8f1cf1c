//! A shared text in a transaction: positions are UTF-16 units, as in JavaScript, and checked before yrs sees them.

use yrs::types::text::YChange;
use yrs::{Any, GetString, Out, Text as _, TextRef, TransactionMut};

use super::EditError;

/// One change of a text: some of it is replaced by something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Where, in UTF-16 units of the text before.
    pub at: u32,
    /// How many units are taken away there.
    pub remove: u32,
    /// What comes in their place.
    pub insert: String,
}

/// A shared text in a document.
pub struct Text<'e, 'd> {
    pub(super) name: String,
    pub(super) text: TextRef,
    pub(super) txn: &'e mut TransactionMut<'d>,
}

impl Text<'_, '_> {
    /// Its length in UTF-16 units; what is embedded counts 1.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.text.len(&*self.txn)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is in it, without formatting and what is embedded.
    #[must_use]
    pub fn get(&self) -> String {
        self.text.get_string(&*self.txn)
    }

    /// Writes at a position.
    ///
    /// # Errors
    /// [`EditError`] if there is no such position.
    pub fn insert(&mut self, at: u32, insert: &str) -> Result<(), EditError> {
        self.splice(&[Splice { at, remove: 0, insert: insert.to_owned() }])
    }

    /// Writes at the end.
    pub fn push(&mut self, insert: &str) {
        self.text.push(self.txn, insert);
    }

    /// Takes so many units away from a position on.
    ///
    /// # Errors
    /// [`EditError`] if there is no such range.
    pub fn remove(&mut self, at: u32, units: u32) -> Result<(), EditError> {
        self.splice(&[Splice { at, remove: units, insert: String::new() }])
    }

    /// Makes several changes, ascending and apart, all by positions in the text as it is now.
    ///
    /// # Errors
    /// [`EditError`] names the first that cannot be made; none is then.
    pub fn splice(&mut self, splices: &[Splice]) -> Result<(), EditError> {
        self.check(splices)?;
        // From the end to the front, so that positions stay.
        for Splice { at, remove, insert } in splices.iter().rev() {
            if *remove > 0 {
                self.text.remove_range(self.txn, *at, *remove);
            }
            // yrs refuses position 0 of nothing, and takes nothing anywhere.
            if !insert.is_empty() {
                self.text.insert(self.txn, *at, insert);
            }
        }
        Ok(())
    }

    fn check(&self, splices: &[Splice]) -> Result<(), EditError> {
        let (len, mut last) = (self.len(), 0);
        for Splice { at, remove, .. } in splices {
            let (text, at) = (self.name.clone(), *at);
            let end = u64::from(at) + u64::from(*remove);
            if end > u64::from(len) {
                return Err(EditError::OutOfRange { text, at, end, len });
            }
            if u64::from(at) < last {
                return Err(EditError::OutOfOrder { text, at });
            }
            last = end;
        }
        // Both ends of each, ascending, are held against the characters on the way.
        let mut ends = splices.iter().flat_map(|splice| [splice.at, splice.at + splice.remove]).peekable();
        let mut at = 0;
        for chunk in self.text.diff(&*self.txn, YChange::identity) {
            let Out::Any(Any::String(chunk)) = chunk.insert else {
                at += 1; // embedded
                continue;
            };
            for char in chunk.chars() {
                while ends.next_if(|end| *end <= at).is_some() {}
                if char.len_utf16() == 2
                    && let Some(inside) = ends.next_if(|end| *end == at + 1)
                {
                    return Err(EditError::InsideCharacter { text: self.name.clone(), at: inside });
                }
                at += if char.len_utf16() == 2 { 2 } else { 1 };
            }
        }
        Ok(())
    }
}
