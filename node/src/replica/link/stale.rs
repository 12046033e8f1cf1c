//! When a replica was away for so long that what both sides did meanwhile is told before it is merged.
//!
//! How long that was is judged by the device's clock, which may be wrong. One that was set back, or had run ahead when the
//! link was last in sync, makes it unknown, and unknown counts as long: so a wrong clock makes the question come once too
//! often, and never left out for as long as the clock was not set to the very time that passed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tombolo_core::pattern::{Pattern, Rules};
use tombolo_core::session::{Apart, Session};

/// How far a clock may go back without anybody wondering: devices that ask for the time correct theirs all the time.
const BACK_MAX: Duration = Duration::from_secs(60);

/// When a link was away for too long, and what happens then. The default is never.
///
/// ```
/// use std::time::Duration;
/// use tombolo::replica::{LinkOptions, Stale};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// // After a month of everything, after a day of the team's plans; then somebody decides.
/// let stale = Stale::after(30 * DAY).and_after("plans/**".parse()?, DAY).hold();
/// let options = LinkOptions { stale, ..LinkOptions::default() };
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stale {
    after: Rules<Duration>,
    holds: bool,
}

impl Stale {
    /// However long it was away, it syncs.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// When it was not in sync for this long, its backlog is announced in
    /// [`LinkStatus::backlog`](super::LinkStatus::backlog) before it is merged.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self::never().and_after(Pattern::under(""), time).and_after(Pattern::under("automerge:"), time)
    }

    /// The same for documents that a pattern fits. Of several the most specific counts, as for
    /// [`Subscription::priority_of_pattern`](super::Subscription::priority_of_pattern).
    #[must_use]
    pub fn and_after(mut self, pattern: Pattern, time: Duration) -> Self {
        self.after.add(pattern, time);
        self
    }

    /// And the backlog waits for [`Replica::decide`](crate::replica::Replica::decide).
    #[must_use]
    pub fn hold(mut self) -> Self {
        self.holds = true;
        self
    }
}

/// What is done with what both sides did apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is merged.
    Merge,
    /// What this pattern fits is merged; the rest waits.
    MergeOnly(Pattern),
    /// All of it waits, until another decision; with the next link of this replica to there, it is announced anew.
    Leave,
}

/// What both sides did in a long time apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// For how long they were not in sync; none if nobody can tell, because a clock was set back.
    pub away: Option<Duration>,
    /// What they did.
    pub apart: Apart,
    /// What was decided; none while it is held and nobody has.
    pub decision: Option<Decision>,
}

/// How much of a [`Backlog`] may be waiting here: what lies in the tails of its documents, that is, since they were last
/// compacted. So what the other end has already is counted as long as it lies there, and what was compacted is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogEstimate {
    /// Operations.
    pub operations: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What one link does about it.
pub(super) struct Staleness {
    stale: Stale,
    /// When somebody decided to merge: nobody asks again at once, only because the connection broke meanwhile.
    merged: Option<SystemTime>,
    away: Option<Duration>,
    decision: Option<Decision>,
    /// It is known what waits, on this connection.
    told: bool,
    /// What was decided before it was.
    early: Vec<Decision>,
}

impl Staleness {
    pub(super) fn new(stale: Stale) -> Self {
        Self { stale, merged: None, away: None, decision: None, told: false, early: Vec::new() }
    }

    /// A connection is there; `synced` is when the link was in sync last, if ever. What is held of it.
    pub(super) fn begin(&mut self, now: SystemTime, synced: Option<SystemTime>) -> Rules<bool> {
        let since = synced.into_iter().chain(self.merged).max();
        // What was merged then is not what waits now.
        self.decision.take_if(|decision| *decision == Decision::Merge);
        self.told = false;
        // Who never was in sync has not been away.
        let Some(since) = since else { return Rules::default() };
        self.away = match now.duration_since(since) {
            Ok(away) => Some(away),
            Err(back) if back.duration() <= BACK_MAX => Some(Duration::ZERO),
            Err(_) => None,
        };
        let away = self.away;
        self.stale.after.map(|after| away.is_none_or(|away| away >= *after))
    }

    /// Tells what waits, if that is known now, and goes on unless it is to be held.
    pub(super) fn tell(&mut self, session: &mut Session) -> Option<Arc<Backlog>> {
        let apart = session.backlog()?;
        self.told = true;
        let decided = if self.stale.holds { std::mem::take(&mut self.early) } else { vec![Decision::Merge] };
        for decision in decided {
            self.decide(decision, SystemTime::now(), session);
        }
        Some(Arc::new(Backlog { away: self.away, apart, decision: self.decision.clone() }))
    }

    /// Nothing waits: what was decided about it was about nothing.
    pub(super) fn is_synced(&mut self) {
        self.early.clear();
    }

    /// Somebody decided.
    pub(super) fn decide(&mut self, decision: Decision, now: SystemTime, session: &mut Session) {
        if !self.told {
            return self.early.push(decision);
        }
        match &decision {
            Decision::Merge => {
                session.release(None);
                self.merged = Some(now);
            }
            Decision::MergeOnly(pattern) => session.release(Some(pattern)),
            Decision::Leave => {}
        }
        self.decision = Some(decision);
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::DocumentId;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 2 * YEARS
    }

    fn is_stale(staleness: &mut Staleness, now: SystemTime, synced: Option<SystemTime>, name: &str) -> bool {
        staleness.begin(now, synced).get(&DocumentId::yjs(name).unwrap()) == Some(&true)
    }

    #[test]
    fn it_is_stale_from_its_time_on_and_each_pattern_has_its_own() {
        let stale = Stale::after(30 * DAY).and_after("plans/**".parse().unwrap(), DAY);
        let mut staleness = Staleness::new(stale);
        for (away, plans, notes) in [
            (Duration::ZERO, false, false),
            (DAY, true, false),
            (29 * DAY, true, false),
            (30 * DAY, true, true),
        ] {
            let synced = Some(now() - away);
            assert_eq!(is_stale(&mut staleness, now(), synced, "plans/a"), plans, "{away:?}");
            assert_eq!(is_stale(&mut staleness, now(), synced, "notes/a"), notes, "{away:?}");
            let list = DocumentId::Automerge([1; 16]);
            assert_eq!(staleness.begin(now(), synced).get(&list), Some(&notes), "{away:?}");
        }
        assert!(!is_stale(&mut staleness, now(), None, "plans/a"), "it never was in sync");
        assert!(staleness.begin(now(), None).is_empty());
    }

    #[test]
    fn a_wrong_clock_asks_once_too_often_and_says_that_it_cannot_tell() {
        let mut staleness = Staleness::new(Stale::after(30 * DAY).hold());
        // It ran ahead when it was in sync, or was set back since.
        for (now, synced) in [(now(), now() + YEARS), (now() - YEARS, now())] {
            assert!(is_stale(&mut staleness, now, Some(synced), "d"));
            assert_eq!(staleness.away, None);
        }
        // It runs ahead now.
        assert!(is_stale(&mut staleness, now() + YEARS, Some(now()), "d"));
        assert_eq!(staleness.away, Some(YEARS));
        // Once it was corrected, or in sync by the wrong one, nobody asks.
        assert!(!is_stale(&mut staleness, now() + YEARS, Some(now() + YEARS), "d"));
        assert!(!is_stale(&mut staleness, now(), Some(now() + BACK_MAX), "d"));
    }

    #[test]
    fn a_break_in_the_middle_of_the_merge_does_not_ask_again() {
        let mut staleness = Staleness::new(Stale::after(30 * DAY).hold());
        let mut session = Session::new(Default::default(), 0);
        let synced = Some(now() - YEARS);
        assert!(is_stale(&mut staleness, now(), synced, "d"));
        staleness.told = true;
        staleness.decide(Decision::Leave, now(), &mut session);
        assert!(is_stale(&mut staleness, now(), synced, "d"));
        // What is decided before anything is known is about what will be.
        staleness.decide(Decision::Merge, now(), &mut session);
        assert!(is_stale(&mut staleness, now() + DAY, synced, "d"));
        staleness.told = true;
        staleness.decide(Decision::Merge, now(), &mut session);
        assert!(!is_stale(&mut staleness, now() + DAY, synced, "d"));
        assert!(is_stale(&mut staleness, now() + 30 * DAY, synced, "d"));
    }
}
