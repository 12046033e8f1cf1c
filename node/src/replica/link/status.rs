//! What people and programs see of a link.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tombolo_core::link::LinkState;

use super::stale::{Backlog, Decision};

/// How a link is.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// Where it goes.
    pub url: String,
    /// Whether the other end is there.
    pub state: LinkState,
    /// Whether what the other end calls stored is fsynced there; none while it is not known who it is.
    pub keeps: Option<bool>,
    /// Both sides have all of each other, but for what is parked.
    pub in_sync: bool,
    /// The last change here that the link has heard of; [`super::super::Replica::wait_for_sync`] waits for those before it.
    pub(super) heard: u64,
    /// When they last had, also before a restart; then to within ten minutes, if the process was killed.
    pub last_synced: Option<SystemTime>,
    /// What both sides did apart, if this connection began after a long time ([`Stale`](super::Stale)).
    pub backlog: Option<Arc<Backlog>>,
    /// Documents that wait for [`Replica::decide`](crate::replica::Replica::decide); it is not in sync while there are some.
    pub held: usize,
    /// Nothing but these keeps it from being in sync.
    pub waits_for_decision: bool,
    /// Documents that are not in sync.
    pub lagging: usize,
    /// How far the other end's clock is ahead of this device's, in ms, if that is more than clocks are apart; what it says
    /// about time is left out of account then.
    pub clock_ahead_ms: Option<u64>,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// To the other end and back, in ms.
    pub round_trip_ms: Option<u64>,
    /// Why there is no connection, or was none the last time.
    pub error: Option<String>,
    /// Whether it is tried again by itself.
    pub gave_up: bool,
    /// In how many ms it is tried again.
    pub next_attempt_ms: Option<u64>,
    /// Everything up to this position is fsynced there, and what was there is here; 0 if that is not known.
    pub(super) settled: u64,
    /// All that the other end had at this wish of somebody who waits is here.
    pub(super) fulfilled: u64,
}

impl LinkStatus {
    /// Somebody decided about the backlog.
    pub(super) fn decided(&mut self, decision: Decision) {
        if let Some(backlog) = &mut self.backlog {
            Arc::make_mut(backlog).decision = Some(decision);
        }
    }

    /// Whether everything up to this position is there.
    pub(super) fn has_settled(&self, position: u64) -> bool {
        self.settled > 0 && self.settled >= position
    }
}

/// A status that one thread writes and others wait for.
#[derive(Clone)]
pub(super) struct Board(Arc<(Mutex<LinkStatus>, Condvar)>);

impl Board {
    pub(super) fn new(url: &str) -> Self {
        let status = LinkStatus {
            url: url.to_owned(),
            state: LinkState::Transitioning,
            keeps: None,
            in_sync: false,
            heard: 0,
            last_synced: None,
            backlog: None,
            held: 0,
            waits_for_decision: false,
            lagging: 0,
            clock_ahead_ms: None,
            queued_bytes: 0,
            round_trip_ms: None,
            error: None,
            gave_up: false,
            next_attempt_ms: None,
            settled: 0,
            fulfilled: 0,
        };
        Self(Arc::new((Mutex::new(status), Condvar::new())))
    }

    pub(super) fn read(&self) -> LinkStatus {
        self.lock().clone()
    }

    pub(super) fn write(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// Waits for what is asked for; the status then, or when the time is over.
    pub(super) fn wait(&self, limit: Duration, is_it: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
        let end = Instant::now() + limit;
        let mut status = self.lock();
        while !is_it(&status) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            status = self.0.1.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        status.clone()
    }

    fn lock(&self) -> MutexGuard<'_, LinkStatus> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
