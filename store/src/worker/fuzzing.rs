//! The pipe of a merge worker for the fuzz targets.

use bytes::Bytes;

use super::codec::{decode_reply, decode_request, encode_reply, encode_request};

/// A request and a reply.
pub fn codec(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(request) = decode_request(&bytes) {
        assert_eq!(decode_request(&encode_request(&request).into()), Ok(request));
    }
    if let Ok(reply) = decode_reply(&bytes) {
        assert_eq!(decode_reply(&encode_reply(&reply).into()), Ok(reply));
    }
}
