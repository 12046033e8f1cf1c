//! Documents over HTTP: which there are, and what of one is durable.

use hyper::{Response, StatusCode};
use serde_json::json;
use tombolo_core::id::{DocumentId, Format};
use tombolo_relay::{Body, text_response};
use tombolo_store::Store;

use super::json;
use crate::archive::StoreArchive;

/// Most documents in one answer.
const LIST_MAX: usize = 10_000;

pub(super) async fn list(store: &Store) -> Response<Body> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || store.documents(None, LIST_MAX + 1)).await {
        Ok(Ok(documents)) => {
            let row = |id: &DocumentId| json!({ "name": id.to_string(), "format": format(id) });
            let rows: Vec<_> = documents.iter().take(LIST_MAX).map(row).collect();
            json(StatusCode::OK, &json!({ "documents": rows, "more": documents.len() > LIST_MAX }))
        }
        Ok(Err(error)) => text_response(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        Err(_) => text_response(StatusCode::INTERNAL_SERVER_ERROR, "listing failed\n"),
    }
}

pub(super) async fn durable(archive: &StoreArchive, name: &str) -> Response<Body> {
    let id = match DocumentId::yjs_from_path(name) {
        Ok(id) => id,
        Err(error) => return text_response(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    match archive.durable_snapshot(&id).await {
        Some(snapshot) => json(StatusCode::OK, &json!({ "snapshot": base64(&snapshot) })),
        None => text_response(StatusCode::SERVICE_UNAVAILABLE, "the document cannot be read or stored now\n"),
    }
}

fn format(id: &DocumentId) -> &'static str {
    match id.format() {
        Format::Yjs => "yjs",
        Format::Automerge => "automerge",
    }
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = DIGITS.get((group >> (18 - 6 * index) & 63) as usize).copied().unwrap_or(b'A');
            out.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_of_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
