//! A shared array in a transaction, of plain values and shared types: positions are checked before yrs sees them.

use yrs::types::ToJson;
use yrs::{
    Any, Array as _, ArrayPrelim, ArrayRef, MapPrelim, MapRef, Out, TextPrelim, TextRef, TransactionMut,
};

use super::{EditError, Map, Text};

/// A shared array in a document. What is inserted in one place at the same time stays, one behind the
/// other, in the same order everywhere.
pub struct Array<'e, 'd> {
    pub(super) name: String,
    pub(super) array: ArrayRef,
    pub(super) txn: &'e mut TransactionMut<'d>,
}

impl<'d> Array<'_, 'd> {
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
        Some(self.shared(at)?.to_json(&*self.txn))
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

    /// Puts an empty shared text at a position.
    ///
    /// # Errors
    /// As for [`Array::insert`].
    pub fn insert_text(&mut self, at: u32) -> Result<Text<'_, 'd>, EditError> {
        self.check(at, 0)?;
        let text = self.array.insert(self.txn, at, TextPrelim::default());
        Ok(self.its_text(at, text))
    }

    /// Puts an empty shared map at a position.
    ///
    /// # Errors
    /// As for [`Array::insert`].
    pub fn insert_map(&mut self, at: u32) -> Result<Map<'_, 'd>, EditError> {
        self.check(at, 0)?;
        let map = self.array.insert(self.txn, at, MapPrelim::default());
        Ok(self.its_map(at, map))
    }

    /// Puts an empty shared array at a position.
    ///
    /// # Errors
    /// As for [`Array::insert`].
    pub fn insert_array(&mut self, at: u32) -> Result<Array<'_, 'd>, EditError> {
        self.check(at, 0)?;
        let array = self.array.insert(self.txn, at, ArrayPrelim::default());
        Ok(self.its_array(at, array))
    }

    /// The shared text at a position; none if there is something else, or nothing.
    pub fn text(&mut self, at: u32) -> Option<Text<'_, 'd>> {
        let Some(Out::YText(text)) = self.shared(at) else { return None };
        Some(self.its_text(at, text))
    }

    /// The shared map at a position; none if there is something else, or nothing.
    pub fn map(&mut self, at: u32) -> Option<Map<'_, 'd>> {
        let Some(Out::YMap(map)) = self.shared(at) else { return None };
        Some(self.its_map(at, map))
    }

    /// The shared array at a position; none if there is something else, or nothing.
    pub fn array(&mut self, at: u32) -> Option<Array<'_, 'd>> {
        let Some(Out::YArray(array)) = self.shared(at) else { return None };
        Some(self.its_array(at, array))
    }

    fn shared(&self, at: u32) -> Option<Out> {
        self.check(at, 1).ok()?;
        self.array.get(&*self.txn, at)
    }

    fn its_text(&mut self, at: u32, text: TextRef) -> Text<'_, 'd> {
        Text { name: format!("{}[{at}]", self.name), text, txn: self.txn }
    }

    fn its_map(&mut self, at: u32, map: MapRef) -> Map<'_, 'd> {
        Map { name: format!("{}[{at}]", self.name), map, txn: self.txn }
    }

    fn its_array(&mut self, at: u32, array: ArrayRef) -> Array<'_, 'd> {
        Array { name: format!("{}[{at}]", self.name), array, txn: self.txn }
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
