//! A shared map in a transaction: plain values, and shared types of its own, under keys.

use yrs::types::ToJson;
use yrs::{
    Any, ArrayPrelim, ArrayRef, Map as _, MapPrelim, MapRef, Out, TextPrelim, TextRef, TransactionMut,
};

use super::{Array, Text};

/// A shared map in a document. Of concurrent values under one key all replicas keep the same one.
pub struct Map<'e, 'd> {
    pub(super) name: String,
    pub(super) map: MapRef,
    pub(super) txn: &'e mut TransactionMut<'d>,
}

impl<'d> Map<'_, 'd> {
    /// Puts an empty shared text under a key, in the place of what is there. Whoever does so at the same time makes another
    /// one, and only one of the two stays.
    pub fn insert_text(&mut self, key: &str) -> Text<'_, 'd> {
        let text = self.map.insert(self.txn, key, TextPrelim::default());
        self.its_text(key, text)
    }

    /// Puts an empty shared map under a key, as [`Map::insert_text`] does a text.
    pub fn insert_map(&mut self, key: &str) -> Map<'_, 'd> {
        let map = self.map.insert(self.txn, key, MapPrelim::default());
        self.its_map(key, map)
    }

    /// Puts an empty shared array under a key, as [`Map::insert_text`] does a text.
    pub fn insert_array(&mut self, key: &str) -> Array<'_, 'd> {
        let array = self.map.insert(self.txn, key, ArrayPrelim::default());
        self.its_array(key, array)
    }

    /// The shared text under a key; none if there is something else, or nothing.
    pub fn text(&mut self, key: &str) -> Option<Text<'_, 'd>> {
        let Some(Out::YText(text)) = self.map.get(&*self.txn, key) else { return None };
        Some(self.its_text(key, text))
    }

    /// The shared map under a key; none if there is something else, or nothing.
    pub fn map(&mut self, key: &str) -> Option<Map<'_, 'd>> {
        let Some(Out::YMap(map)) = self.map.get(&*self.txn, key) else { return None };
        Some(self.its_map(key, map))
    }

    /// The shared array under a key; none if there is something else, or nothing.
    pub fn array(&mut self, key: &str) -> Option<Array<'_, 'd>> {
        let Some(Out::YArray(array)) = self.map.get(&*self.txn, key) else { return None };
        Some(self.its_array(key, array))
    }

    fn its_text(&mut self, key: &str, text: TextRef) -> Text<'_, 'd> {
        Text { name: format!("{}.{key}", self.name), text, txn: self.txn }
    }

    fn its_map(&mut self, key: &str, map: MapRef) -> Map<'_, 'd> {
        Map { name: format!("{}.{key}", self.name), map, txn: self.txn }
    }

    fn its_array(&mut self, key: &str, array: ArrayRef) -> Array<'_, 'd> {
        Array { name: format!("{}.{key}", self.name), array, txn: self.txn }
    }

    /// Puts a plain value under a key.
    pub fn insert(&mut self, key: &str, value: impl Into<Any>) {
        self.map.insert(self.txn, key, value.into());
    }

    /// Takes a key away; false if it was not there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.map.remove(self.txn, key).is_some()
    }

    /// The value under a key, a shared type as a plain value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Any> {
        Some(self.map.get(&*self.txn, key)?.to_json(&*self.txn))
    }

    /// The keys, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.map.keys(&*self.txn).map(str::to_owned).collect();
        keys.sort_unstable();
        keys
    }
}
