//! Compaction: when a tail has grown, the merge worker folds it into a new snapshot.
//!
//! One thread, behind everything else. What an engine cannot take yet stays in the tail, what it dies of is set aside by
//! name. A fold that the store is closed in changes nothing; the document is due again when its tail grows or it is
//! left the next time.

mod ask; // what the store is asked to fold now
mod blame; // which operation an engine died of
mod compactor; // the thread, and what waits for it
mod fold; // one attempt to fold
mod folding; // what an engine can fold, and what it dies of
mod plan; // what may be given to an engine
mod policy; // when it is worth while
mod queue; // what waits for its turn

pub(crate) use compactor::Compactor;
pub use policy::CompactionPolicy;

#[cfg(test)]
mod tests;
