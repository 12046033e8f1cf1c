//! Who listens to what, outside of rooms: for messages that nobody keeps. Nothing outlives its last listener.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All listeners `L`, by what they listen to.
#[derive(Debug)]
pub(super) struct Listeners<K, L> {
    next: AtomicU64,
    by_key: Mutex<HashMap<K, BTreeMap<u64, L>>>,
}

/// One listener's ear on one thing; dropping it takes it away.
#[derive(Debug)]
pub(super) struct Listening<K: Eq + Hash, L> {
    listeners: Arc<Listeners<K, L>>,
    key: K,
    id: u64,
}

impl<K, L> Default for Listeners<K, L> {
    fn default() -> Self {
        Self { next: AtomicU64::new(0), by_key: Mutex::default() }
    }
}

impl<K: Eq + Hash, L> Listeners<K, L> {
    /// Listens from now on.
    pub(super) fn listen(self: &Arc<Self>, key: K, listener: L) -> Listening<K, L>
    where
        K: Clone,
    {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(key.clone()).or_default().insert(id, listener);
        Listening { listeners: Arc::clone(self), key, id }
    }

    /// Who listens now, in the order in which they came.
    pub(super) fn of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Vec<L>
    where
        K: Borrow<Q>,
        L: Clone,
    {
        // Cloned: what is done with them is not done under the lock that all share.
        self.lock().get(key).map(|listeners| listeners.values().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, BTreeMap<u64, L>>> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, L> Listening<K, L> {
    /// To what.
    pub(super) fn key(&self) -> &K {
        &self.key
    }

    /// Who else listens to the same.
    pub(super) fn others(&self) -> Vec<L>
    where
        L: Clone,
    {
        let by_key = self.listeners.lock();
        let listeners = by_key.get(&self.key).into_iter().flatten();
        listeners.filter(|(id, _)| **id != self.id).map(|(_, listener)| listener.clone()).collect()
    }
}

impl<K: Eq + Hash, L> Drop for Listening<K, L> {
    fn drop(&mut self) {
        let mut by_key = self.listeners.lock();
        if let Some(listeners) = by_key.get_mut(&self.key) {
            listeners.remove(&self.id);
            if listeners.is_empty() {
                by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outlives_its_last_listener() {
        let listeners = Arc::<Listeners<String, u8>>::default();
        let one = listeners.listen("a".into(), 1);
        let two = listeners.listen("a".into(), 2);
        let elsewhere = listeners.listen("b".into(), 3);
        assert_eq!((listeners.of("a"), one.others(), two.others()), (vec![1, 2], vec![2], vec![1]));
        assert!(elsewhere.others().is_empty());
        drop(one);
        assert_eq!(listeners.of("a"), [2]);
        drop((two, elsewhere));
        assert!(listeners.lock().is_empty());
    }
}
