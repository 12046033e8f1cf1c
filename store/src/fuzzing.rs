//! Doors for the fuzz targets: one function for each private format, bytes in, nothing out.
//!
//! Only with the feature `fuzzing`, which nothing that is shipped has. Each function reads the bytes as they are and
//! once more with right checksums, as somebody forges them who knows the marks: a checksum must not be all that
//! stands between a disk and a panic. What is whole must come back as it was.

pub use crate::identity::fuzzing::replica_file;
pub use crate::journal::fuzzing::{journal_record, journal_segment};
pub use crate::shelf::fuzzing::{census, layout, quarantine, row, seal, snapshot, tail};
pub use crate::worker::fuzzing::codec;
