//! How clients of automerge-repo know a store: the same for its life, whoever serves it.

use tombolo_core::id::ReplicaId;

/// The peer id that they see.
pub(crate) fn peer_id(replica: &ReplicaId) -> String {
    format!("tombolo-{}", replica.to_string().get(..16).unwrap_or_default())
}

/// The storage id that they see: 32 hex digits, grouped as they expect it.
pub(crate) fn storage_id(replica: &ReplicaId) -> String {
    let mut out = String::with_capacity(36);
    for (index, digit) in replica.to_string().chars().take(32).enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_those_of_clients() {
        let replica = ReplicaId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes());
        assert_eq!(storage_id(&replica), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(peer_id(&replica), "tombolo-0011223344556677");
    }
}
