//! A shared array in a transaction: positions are checked before yrs sees them.

use yrs::types::ToJson;
use yrs::{Any, Array as _, ArrayRef, TransactionMut};

use super::EditError;

/// A shared array at the root of a document. What is inserted in one place at the same time stays, one behind the
/// other, in the same order everywhere.
pub struct Array<'e, 'd> {
    pub(super) name: String,
    pub(super) array: ArrayRef,
    pub(super) txn: &'e mut TransactionMut<'d>,
}

impl Array<'_, '_> {
    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.array.len(&*self.txn)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at a position, a shared type as a plain value.
    #[must_use]
    pub fn get(&self, at: u32) -> Option<Any> {
        self.check(at, 1).ok()?;
        Some(self.array.get(&*self.txn, at)?.to_json(&*self.txn))
    }

    /// Puts a plain value at a position; what is there and behind moves on.
    ///
    /// # Errors
    /// [`EditError::NoElement`] if the position is behind the end.
    pub fn insert(&mut self, at: u32, value: impl Into<Any>) -> Result<(), EditError> {
        self.check(at, 0)?;
        self.array.insert(self.txn, at, value.into());
        Ok(())
    }

    /// Puts a plain value at the end.
    pub fn push(&mut self, value: impl Into<Any>) {
        self.array.push_back(self.txn, value.into());
    }

    /// Takes so many values away from a position on.
    ///
    /// # Errors
    /// [`EditError::NoElement`] if there are not so many.
    pub fn remove(&mut self, at: u32, count: u32) -> Result<(), EditError> {
        self.check(at, count)?;
        if count > 0 {
            self.array.remove_range(self.txn, at, count);
        }
        Ok(())
    }

    fn check(&self, at: u32, count: u32) -> Result<(), EditError> {
        let (len, end) = (self.len(), u64::from(at) + u64::from(count));
        if end > u64::from(len) {
            return Err(EditError::NoElement { array: self.name.clone(), at, end, len });
        }
        Ok(())
    }
}
