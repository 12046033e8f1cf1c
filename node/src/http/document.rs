//! Documents over HTTP: which there are, and what of one is durable.

use hyper::{Response, StatusCode};
use serde_json::json;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::wire::base64;
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
