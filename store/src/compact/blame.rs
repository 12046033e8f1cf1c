//! Which operation a fold died of.
//!
//! The snapshot alone is tried first: if that kills, no operation is to blame. Then the shortest part of the ordered
//! tail that kills is sought by halves; its last operation is to blame, because the same without it passes, and it is
//! only blamed if it kills again.
//!
//! Bound: for a tail of n operations one search asks the engine `log2 n + 4` times at most, each for as long as one
//! request may take (30 s in `serve`): for one in 10,000 operations that hangs, 9 minutes. A fold searches
//! [`BLAMES_MAX`] + 1 times at most.

use crate::worker::{Reply, WorkerError};

/// Most operations that one fold sets aside or leaves out.
pub(super) const BLAMES_MAX: usize = 16;

/// What there is to say about a tail that an engine did not fold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The engine folds it after all.
    Passes(Reply),
    /// The operation at this place of the order, and what the engine said; all before it pass.
    Operation(usize, WorkerError),
    /// The snapshot kills alone.
    Snapshot(WorkerError),
    /// Asked again it passes: nobody is to blame.
    Unclear,
}

/// Looks for the operation to blame in an order of `len`, of which the first `sound` are known to pass. `probe` asks
/// the engine for a fold of so many.
///
/// # Errors
/// What says nothing about the operations: [`WorkerError::Unavailable`], [`WorkerError::NoSession`].
pub(super) fn find(
    len: usize,
    sound: usize,
    probe: &mut dyn FnMut(usize) -> Result<Reply, WorkerError>,
) -> Result<Verdict, WorkerError> {
    let mut probe = |count| match probe(count) {
        Err(error @ (WorkerError::Unavailable { .. } | WorkerError::NoSession)) => Err(error),
        answer => Ok(answer),
    };
    if let Ok(reply) = probe(len)? {
        return Ok(Verdict::Passes(reply));
    }
    let (mut passes, mut kills) = (if sound < len { sound } else { 0 }, len);
    if passes == 0
        && let Err(error) = probe(0)?
    {
        return Ok(Verdict::Snapshot(error));
    }
    while kills - passes > 1 {
        let middle = passes + (kills - passes) / 2;
        match probe(middle)? {
            Ok(_) => passes = middle,
            Err(_) => kills = middle,
        }
    }
    Ok(match probe(kills)? {
        Err(error) => Verdict::Operation(passes, error),
        Ok(_) => Verdict::Unclear,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that dies of these places, and how often it was asked.
    fn search(len: usize, sound: usize, killers: &[usize]) -> (Verdict, usize) {
        let mut asked = 0;
        let verdict = find(len, sound, &mut |count| {
            asked += 1;
            match killers.iter().find(|place| **place < count) {
                Some(place) => Err(WorkerError::Died { reason: place.to_string() }),
                None => Ok(Reply::Done),
            }
        });
        (verdict.unwrap(), asked)
    }

    #[test]
    fn the_first_that_kills_is_found_within_the_bound() {
        for len in (1..70).chain([9_999]) {
            for killer in [0, len / 3, len / 2, len - 1] {
                for sound in [0, killer / 2, killer] {
                    let (verdict, asked) = search(len, sound, &[len - 1, killer]);
                    let found = matches!(&verdict, Verdict::Operation(place, _) if *place == killer);
                    assert!(found, "{len} {killer} {sound}: {verdict:?}");
                    assert!(asked <= len.ilog2() as usize + 4, "{asked} questions for {len}");
                }
            }
        }
        assert_eq!(search(20, 0, &[]).0, Verdict::Passes(Reply::Done));
    }

    #[test]
    fn a_snapshot_that_kills_alone_is_told_from_its_tail() {
        let killed = || WorkerError::Died { reason: "always".into() };
        assert_eq!(find(9, 0, &mut |_| Err(killed())), Ok(Verdict::Snapshot(killed())));
    }

    #[test]
    fn what_cannot_be_asked_blames_nobody() {
        let none = || WorkerError::Unavailable { reason: "no memory".into() };
        for answers in 0..6u32 {
            let mut left = answers;
            let found = find(64, 0, &mut |count| match (
                {
                    let now = left;
                    left = left.saturating_sub(1);
                    now
                },
                count,
            ) {
                (0, _) => Err(none()),
                (_, 0..10) => Ok(Reply::Done),
                _ => Err(WorkerError::Died { reason: "here".into() }),
            });
            assert_eq!(found, Err(none()));
        }
        // One that dies by chance.
        let mut first = true;
        let found = find(1, 0, &mut |count| match count == 1 && std::mem::replace(&mut first, false) {
            true => Err(WorkerError::Died { reason: "once".into() }),
            false => Ok(Reply::Done),
        });
        assert_eq!(found, Ok(Verdict::Unclear));
    }
}
