//! Yjs updates as bytes: validated, counted, merged and diffed without a document.
//!
//! A relay must judge, keep and hand on updates at wire speed and must survive a hostile one, so
//! nothing here builds a document: an [`Update`] is the received bytes plus an index of their structs, an
//! [`Outlined`] is bytes that were judged before plus a note of where those lie.
//! The layout is update format v1 of `yjs` 13.6 (`src/utils/encoding.js`, `src/structs/*.js`).
//!
//! Guarantees: parsing recurses nowhere and allocates nothing from a claimed length; a parsed update
//! names no clock above [`CLOCK_MAX`](crate::limits::CLOCK_MAX) and no struct that depends on itself;
//! [`merge()`] and [`diff`] copy struct bytes verbatim wherever no overlap forces a cut.

mod any;
mod block;
mod coverage;
mod error;
mod merge;
mod outline; // where the structs of an update lie
mod outlined; // an update that is not read before it is needed
mod pager; // one update in pages
mod parse;
mod part; // what of one update has its ground
mod ranges;
mod state_vector;
mod waiting; // updates whose ground is missing

#[cfg(test)]
mod tests;

pub use coverage::Coverage;
pub use error::InvalidUpdate;
pub use merge::{diff, merge};
pub use outline::Outline;
pub use outlined::Outlined;
pub use pager::Pager;
pub use parse::Update;
pub use state_vector::StateVector;
pub use waiting::{Admitted, admit};
