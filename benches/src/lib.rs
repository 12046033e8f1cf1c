//! What the benches share: a clock for two contestants, payloads like those of a stock client, a folder.
//!
//! The benches themselves are in `benches/`, what they said in `README.md`.

mod duel;
pub mod load;
mod process;
mod ratio;
mod scratch;
mod typing;

pub use duel::Duel;
pub use process::Process;
pub use ratio::{Spread, print_ratio};
pub use scratch::folder;
pub use typing::Typist;
