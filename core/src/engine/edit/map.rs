//! A shared map in a transaction.

use yrs::types::ToJson;
use yrs::{Any, Map as _, MapRef, TransactionMut};

/// A shared map at the root of a document. Of concurrent values under one key all replicas keep the same one.
pub struct Map<'e, 'd> {
    pub(super) map: MapRef,
    pub(super) txn: &'e mut TransactionMut<'d>,
}

impl Map<'_, '_> {
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
