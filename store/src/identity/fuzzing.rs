//! The replica file for the fuzz targets.

use super::file::{Stored, decode, encode};

/// The file that names the replica.
pub fn replica_file(bytes: &[u8]) {
    let _ = decode(bytes);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32c::crc32c(bytes).to_be_bytes());
    if let Some(Stored::Witnessed(identity, witness)) = decode(&sealed) {
        let again = decode(&encode(&identity, &witness));
        let former = tombolo_core::id::FORMER_MAX;
        assert!(identity.former.len() > former || again == Some(Stored::Witnessed(identity, witness)));
    }
}
