//! What `serve` answers besides WebSocket: the editor page and the small API behind it.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/app.js`, `/style.css` | the embedded page |
//! | `/api/documents` | `{"documents":[{"name","format"}],"more"}`: at most 10,000, and whether there are more |
//! | `/api/documents/<name>/durable` | `{"snapshot":"<base64>"}`: a Yjs snapshot (v1) of fsynced content only |

mod document;
mod metrics;
mod page;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tombolo_relay::{Body, Routes, text_response};
use tombolo_store::Store;

use crate::archive::StoreArchive;

/// The routes of `serve`.
pub struct NodeRoutes {
    store: Store,
    archive: Arc<StoreArchive>,
}

impl NodeRoutes {
    /// Over this store and archive.
    #[must_use]
    pub fn new(store: Store, archive: Arc<StoreArchive>) -> Self {
        Self { store, archive }
    }

    async fn route(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let documents = path.strip_prefix("/api/documents");
        if documents.is_none() && page::find(path).is_none() {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(text_response(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n"));
        }
        match documents {
            Some("" | "/") => Some(document::list(&self.store).await),
            Some(rest) => match rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/durable")) {
                Some(name) => Some(document::durable(&self.archive, name).await),
                None => None,
            },
            None => page::find(path),
        }
    }
}

impl Routes for NodeRoutes {
    fn respond<'a>(
        &'a self,
        method: &'a Method,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>> {
        Box::pin(self.route(method, path))
    }

    fn is_private(&self, path: &str) -> bool {
        // The page itself says nothing of anybody.
        path.starts_with("/api/")
    }

    fn metrics(&self) -> String {
        metrics::text(&self.store.metrics())
    }

    fn ready(&self) -> Result<(), String> {
        self.store.ready()
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
