//! The link to other machines: made, carried, and made anew for ever.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Status;
use super::local::Hub;
use super::outbox::Outbox;

/// Shortest and longest time between two tries.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Time between two tries where somebody has to change something first.
const WAIT_PERMANENT: Duration = Duration::from_secs(60);
/// A link that held so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, and what to do.
    pub words: String,
    /// The same will happen again until somebody changes something.
    pub is_permanent: bool,
}

impl Failure {
    pub(super) fn passing(words: impl Into<String>) -> Self {
        Self { words: words.into(), is_permanent: false }
    }

    pub(super) fn permanent(words: impl Into<String>) -> Self {
        Self { words: words.into(), is_permanent: true }
    }
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It broke, or something was lost.
    Broken(Failure),
    /// All was said, and it was to end.
    Ours,
}

/// A kind of link.
pub(super) trait Transport: Send + Sync + 'static {
    /// Where it goes.
    type Address: Display + Send + Sync;
    /// It, made.
    type Made: Send;

    /// Makes it.
    fn connect(&self, address: &Self::Address) -> impl Future<Output = Result<Self::Made, Failure>> + Send;

    /// Carries what is said both ways until it ends.
    fn carry(&self, made: Self::Made, hub: &Hub, outbox: &Outbox) -> impl Future<Output = End> + Send;
}

/// Keeps a link with one of these addresses, until it is told to end.
pub(super) async fn keep<T: Transport>(
    transport: T,
    addresses: Vec<T::Address>,
    hub: Hub,
    status: Arc<Mutex<Status>>,
) {
    let set = |new: Status| *status.lock().unwrap_or_else(PoisonError::into_inner) = new;
    let mut pause = Pause::default();
    let mut told = None;
    let mut turn = 0;
    while let Some(address) = addresses.get(turn % addresses.len().max(1)) {
        let made = tokio::select! {
            made = transport.connect(address) => made,
            () = hub.ending() => return,
        };
        let failure = match made {
            Ok(made) => {
                tracing::info!(%address, "joined with other relays");
                let since = Instant::now();
                set(Status::Up { to: address.to_string() });
                let outbox = hub.link_up();
                let end = transport.carry(made, &hub, &outbox).await;
                let failure = match end {
                    End::Ours => Failure::passing("the link to other relays was ended here"),
                    End::Broken(ref failure) => failure.clone(),
                };
                // Before anybody hears of it.
                set(Status::Away { why: failure.words.clone() });
                hub.link_down(&failure.words);
                if end == End::Ours {
                    return;
                }
                pause.held(since.elapsed());
                told = None;
                failure
            }
            Err(failure) => {
                turn = turn.wrapping_add(1);
                set(Status::Away { why: failure.words.clone() });
                failure
            }
        };
        // Once, not with each try.
        if told.as_ref() != Some(&failure) {
            tracing::warn!("{}; trying again for ever, members of this process go on", failure.words);
            told = Some(failure.clone());
        }
        tokio::select! {
            () = tokio::time::sleep(pause.next(failure.is_permanent)) => {}
            () = hub.ending() => return,
        }
    }
}

/// How long to wait before the next try: longer each time, and not the same for all who lost the same.
#[derive(Debug, Default)]
struct Pause {
    tries: u32,
    random: RandomState,
}

impl Pause {
    fn held(&mut self, time: Duration) {
        if time >= GOOD {
            self.tries = 0;
        }
    }

    fn next(&mut self, is_permanent: bool) -> Duration {
        let full = WAIT_MIN.saturating_mul(1 << self.tries.min(10)).min(WAIT_MAX);
        let full = if is_permanent { WAIT_PERMANENT } else { full };
        self.tries += 1;
        // Between a half and all of it.
        let half = full / 2;
        let share = u32::try_from(self.random.hash_one(self.tries) % 1024).unwrap_or_default();
        half + half * share / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_after_a_good_link() {
        let mut pause = Pause::default();
        let first = pause.next(false);
        assert!(first >= WAIT_MIN / 2 && first <= WAIT_MIN, "{first:?}");
        let last = (0..20).map(|_| pause.next(false)).last().unwrap();
        assert!(last >= WAIT_MAX / 2 && last <= WAIT_MAX, "{last:?}");
        assert!(pause.next(true) >= WAIT_PERMANENT / 2);
        pause.held(Duration::from_millis(1));
        assert!(pause.next(false) >= WAIT_MAX / 2, "a link that breaks at once is no good one");
        pause.held(GOOD);
        assert!(pause.next(false) <= WAIT_MIN);
    }
}
