//! What a store finds on its disk, and what comes through the pipe of its merge worker.

use tombolo_store::fuzzing;

/// The first byte says which format the rest is read as.
pub fn disk(data: &[u8]) {
    let Some((format, bytes)) = data.split_first() else { return };
    let formats = [
        fuzzing::journal_record,
        fuzzing::journal_segment,
        fuzzing::row,
        fuzzing::tail,
        fuzzing::quarantine,
        fuzzing::snapshot,
        fuzzing::census,
        fuzzing::seal,
        fuzzing::layout,
        fuzzing::replica_file,
        fuzzing::codec,
    ];
    formats[usize::from(*format) % formats.len()](bytes);
}
