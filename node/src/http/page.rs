//! The editor page, embedded: built from `node/page`, proven equal to a rebuild by `./check`.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use tombolo_relay::Body;

const HTML: &[u8] = include_bytes!("../../page/dist/index.html");
const SCRIPT: &[u8] = include_bytes!("../../page/dist/app.js");
const STYLE: &[u8] = include_bytes!("../../page/dist/style.css");

/// Nothing is loaded from anywhere else; the editor injects style elements.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file at this path.
pub(super) fn find(path: &str) -> Option<Response<Body>> {
    let (kind, bytes) = match path {
        "/" | "/index.html" => ("text/html; charset=utf-8", HTML),
        "/app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/style.css" => ("text/css; charset=utf-8", STYLE),
        _ => return None,
    };
    let mut response = Response::new(Body::new(Bytes::from_static(bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(response)
}
