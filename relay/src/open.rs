//! The connections that are open, for who ends them all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::connection::queue::Queue;

/// "The server restarts": stock clients come back by themselves.
const CLOSE_RESTART: u16 = 1012;
const RESTART: &str = "the server restarts";
/// Clients that are sent away in each millisecond of a drain: as many come back, to this server or another.
const PER_MS: usize = 2;
/// How long a drain sleeps between two handfuls; timers are not finer than some milliseconds.
const BREATH_MS: usize = 10;

/// All open connections of a relay.
#[derive(Debug, Default)]
pub(crate) struct Open {
    next: AtomicU64,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    queues: HashMap<u64, Weak<Queue>>,
    draining: bool,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    open: &'a Open,
    number: u64,
}

impl Open {
    /// One more; it is closed at once if the relay is stopping.
    pub(crate) fn enter(&self, queue: &Arc<Queue>) -> Opened<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut connections = self.lock();
        if connections.draining {
            queue.close(CLOSE_RESTART, RESTART);
        }
        connections.queues.insert(number, Arc::downgrade(queue));
        Opened { open: self, number }
    }

    /// Closes all, a few at a time so that they do not all come back in the same moment.
    pub(crate) async fn drain(&self) {
        let all: Vec<_> = {
            let mut connections = self.lock();
            connections.draining = true;
            connections.queues.values().cloned().collect()
        };
        // The order of a hash map spreads the members of a room by itself.
        for some in all.chunks(PER_MS * BREATH_MS) {
            some.iter().filter_map(Weak::upgrade).for_each(|queue| queue.close(CLOSE_RESTART, RESTART));
            if some.len() == PER_MS * BREATH_MS {
                tokio::time::sleep(Duration::from_millis(BREATH_MS as u64)).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Insertions and removals are single steps, so a poisoned map is whole.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.open.lock().queues.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::connection::frame;

    async fn is_closed(queue: &Queue) -> bool {
        let mut out = VecDeque::new();
        let closing = tokio::time::timeout(Duration::ZERO, queue.take(&mut out, 1)).await.is_ok();
        closing && out == [frame::close(CLOSE_RESTART, RESTART)]
    }

    #[tokio::test]
    async fn a_drain_closes_all_and_who_comes_late_at_once() {
        let open = Open::default();
        let queues: Vec<_> = (0..100).map(|_| Arc::new(Queue::new(1, Counter::default()))).collect();
        let mut opened: Vec<_> = queues.iter().map(|queue| open.enter(queue)).collect();
        drop(opened.pop());
        open.drain().await;
        let late = Arc::new(Queue::new(1, Counter::default()));
        let _late = open.enter(&late);
        for queue in queues.iter().take(99).chain([&late]) {
            assert!(is_closed(queue).await);
        }
        assert!(!is_closed(&queues[99]).await, "it had gone before");
    }
}
