//! What survives: every operation whose receipt was handed out is on the disk.

pub mod disk;
pub mod journal;
pub mod shelf;
