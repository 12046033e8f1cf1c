//! Which operation a fold died of.
//!
//! The snapshot alone is tried first: if that kills, no operation is to blame. Then the shortest part of the ordered
//! tail that kills is sought by halves; its last operation is to blame if it kills again and, right after that, the
//! same without it passes again.
//!
//! Bound: for a tail of n operations one search asks the engine `log2 n + 5` times at most, each for as long as one
//! request may take (30 s in `serve`). It can be stopped at each question and taken up again there.

use crate::worker::{Reply, WorkerError};

/// Most operations that one attempt to fold leaves out.
pub(super) const BLAMES_MAX: usize = 16;

/// What is known of an order while it is searched.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// So many at its beginning pass.
    pub(super) passes: Option<usize>,
    /// So many kill.
    kills: Option<usize>,
    /// What the engine said when the shortest that kill killed again.
    again: Option<WorkerError>,
}

impl Search {
    /// Of an order of which the first `passes` are known to pass.
    pub(super) fn from(passes: usize) -> Self {
        Self { passes: Some(passes), ..Self::default() }
    }
}

/// What there is to say about a tail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The engine folds it.
    Passes(Reply),
    /// The operation at this place of the order, and what the engine said; all before it pass.
    Operation(usize, WorkerError),
    /// The snapshot kills alone.
    Snapshot(WorkerError),
    /// Asked again it is otherwise: nobody is to blame.
    Unclear,
}

/// Looks for the operation to blame in an order of `len`. `probe` asks the engine for a fold of so many.
///
/// # Errors
/// What the probe was stopped with; the search knows how far it has come.
pub(super) fn find<Stop>(
    len: usize,
    search: &mut Search,
    probe: &mut dyn FnMut(usize) -> Result<Result<Reply, WorkerError>, Stop>,
) -> Result<Verdict, Stop> {
    let mut kills = match search.kills {
        Some(kills) => kills,
        None => match probe(len)? {
            Ok(reply) => return Ok(Verdict::Passes(reply)),
            Err(_) => *search.kills.insert(len),
        },
    };
    let mut passes = match search.passes.filter(|passes| *passes < kills) {
        Some(passes) => passes,
        None => match probe(0)? {
            Ok(_) => *search.passes.insert(0),
            Err(error) => return Ok(Verdict::Snapshot(error)),
        },
    };
    while kills - passes > 1 {
        let middle = passes + (kills - passes) / 2;
        if probe(middle)?.is_ok() {
            passes = *search.passes.insert(middle);
        } else {
            kills = *search.kills.insert(middle);
        }
    }
    let error = match search.again.clone() {
        Some(error) => error,
        None => match probe(kills)? {
            // One that died by chance.
            Ok(reply) if kills == len => return Ok(Verdict::Passes(reply)),
            Ok(_) => return Ok(Verdict::Unclear),
            Err(error) => search.again.insert(error).clone(),
        },
    };
    Ok(match probe(passes)? {
        Ok(_) => Verdict::Operation(passes, error),
        Err(_) => Verdict::Unclear,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that dies of these places.
    fn engine(killers: &[usize], count: usize) -> Result<Reply, WorkerError> {
        match killers.iter().find(|place| **place < count) {
            Some(place) => Err(WorkerError::Died { reason: place.to_string() }),
            None => Ok(Reply::Done),
        }
    }

    /// What it found with such an engine, and how often that was asked.
    fn search(len: usize, sound: usize, killers: &[usize]) -> (Verdict, usize) {
        let mut asked = 0;
        let verdict = find(len, &mut Search::from(sound), &mut |count| {
            asked += 1;
            Ok::<_, ()>(engine(killers, count))
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
                    assert!(asked <= len.ilog2() as usize + 5, "{asked} questions for {len}");
                }
            }
        }
        assert_eq!(search(20, 0, &[]).0, Verdict::Passes(Reply::Done));
    }

    #[test]
    fn a_search_that_is_stopped_at_every_question_asks_none_twice() {
        for len in 1..70 {
            for killer in [0, len / 3, len - 1] {
                let (mut search, mut asked) = (Search::default(), 0);
                let verdict = loop {
                    let mut may = true;
                    let found = find(len, &mut search, &mut |count| match std::mem::take(&mut may) {
                        true => {
                            asked += 1;
                            Ok(engine(&[killer], count))
                        }
                        false => Err(()),
                    });
                    if let Ok(verdict) = found {
                        break verdict;
                    }
                };
                assert!(matches!(verdict, Verdict::Operation(place, _) if place == killer), "{verdict:?}");
                assert!(asked <= len.ilog2() as usize + 5, "{asked} questions for {len}");
            }
        }
    }

    #[test]
    fn a_snapshot_that_kills_alone_is_told_from_its_tail() {
        let killed = || WorkerError::Died { reason: "always".into() };
        let found = find(9, &mut Search::default(), &mut |_| Ok::<_, ()>(Err(killed())));
        assert_eq!(found, Ok(Verdict::Snapshot(killed())));
    }

    #[test]
    fn an_engine_that_dies_by_chance_or_from_now_on_blames_nobody() {
        // At which questions it dies, of 64 operations.
        let found = |dies: &dyn Fn(usize) -> bool| {
            let mut asked = 0;
            let mut probe = |_| {
                asked += 1;
                let died = || Err(WorkerError::Died { reason: "out of memory".into() });
                Ok::<_, ()>(if dies(asked) { died() } else { Ok(Reply::Done) })
            };
            find(64, &mut Search::default(), &mut probe).unwrap()
        };
        assert_eq!(found(&|asked| asked == 1), Verdict::Passes(Reply::Done));
        assert_eq!(found(&|asked| asked == 1 || asked == 3), Verdict::Unclear);
        assert_eq!(found(&|asked| asked != 2 && asked != 4), Verdict::Unclear);
    }
}
