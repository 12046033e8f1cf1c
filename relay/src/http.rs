//! HTTP on the same port: health, readiness, metrics, the upgrade to WebSocket, and what the embedder serves.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE, VARY,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::admission::Claim;
use crate::backplane::Status;
use crate::connection::{self, Accepted};
use crate::door::Turned;
use crate::forwarded;
use crate::listener::{Counted, Entrance, Shared};
use crate::patient::Patient;

/// A whole response body.
pub type Body = Full<Bytes>;

/// What the embedder of a relay serves beside it.
pub trait Routes: Send + Sync + 'static {
    /// Answers a request, or none if the path is not its own.
    fn respond<'a>(
        &'a self,
        method: &'a Method,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>>;

    /// Whether a path is only for who may join.
    fn is_private(&self, path: &str) -> bool;

    /// Prometheus lines to add to the relay's own.
    fn metrics(&self) -> String;

    /// Whether it can do its work.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn ready(&self) -> Result<(), String>;
}

/// Longest host that is kept; a name has at most 253 bytes, and a port follows.
const HOST_BYTES_MAX: usize = 259;

/// Which dialect a path belongs to.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Endpoint {
    /// `/yjs/<room>`, still percent-encoded.
    YWebsocket { room: String, token: Option<String> },
    /// `/hocuspocus`: tokens come later, for each document.
    Hocuspocus,
    /// `/automerge`, and the host as the client calls it.
    Automerge { host: String, token: Option<String> },
    /// `/signaling`
    Signaling { token: Option<String> },
    /// `/native`, and whether nobody but this machine can have asked for it.
    Native { is_local: bool },
    /// `/replica`: tokens come later, for each document.
    Replica,
}

impl Endpoint {
    fn of(path: &str, token: Option<String>, host: &str) -> Option<Self> {
        let trimmed = path.trim_end_matches('/');
        match trimmed {
            "/hocuspocus" => Some(Self::Hocuspocus),
            "/automerge" => Some(Self::Automerge { host: host.to_owned(), token }),
            "/signaling" => Some(Self::Signaling { token }),
            "/native" => Some(Self::Native { is_local: false }),
            "/replica" => Some(Self::Replica),
            "/yjs" => Some(Self::YWebsocket { room: String::new(), token }),
            _ => path.strip_prefix("/yjs/").map(|room| Self::YWebsocket { room: room.to_owned(), token }),
        }
    }

    /// Whether another relay may serve it.
    fn may_be_handed_on(&self) -> bool {
        matches!(self, Self::Automerge { .. } | Self::Signaling { .. } | Self::Replica)
    }

    /// The one room of a connection there, if it has one only.
    fn room(&self) -> Option<&str> {
        match self {
            Self::YWebsocket { room, .. } => Some(room),
            Self::Hocuspocus
            | Self::Automerge { .. }
            | Self::Signaling { .. }
            | Self::Native { .. }
            | Self::Replica => None,
        }
    }

    pub(crate) fn dialect(&self) -> &'static str {
        match self {
            Self::YWebsocket { .. } => "yjs",
            Self::Hocuspocus => "hocuspocus",
            Self::Automerge { .. } => "automerge",
            Self::Signaling { .. } => "webrtc",
            Self::Native { .. } => "native",
            Self::Replica => "replica",
        }
    }
}

/// Serves one accepted socket: HTTP until it ends or becomes a WebSocket.
pub(crate) async fn serve(visit: Visit, socket: TcpStream) {
    let (shared, address, is_spare) = (Arc::clone(&visit.shared), visit.address, visit.is_spare);
    let handshake_ms = shared.config.handshake_ms.min(if is_spare { SPARE_MS } else { u64::MAX });
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let visit = visit.clone();
        async move { Ok::<_, Infallible>(answer(visit, request).await) }
    });
    let socket = Patient::new(socket, Duration::from_millis(shared.config.write_ms));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(handshake_ms))
        .keep_alive(!is_spare)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::select! {
        result = served => if let Err(error) = result {
            // Who was answered and then says no more is idle, not late.
            if error.is_timeout() && !asked.load(Ordering::Relaxed) {
                shared.metrics.refuse("handshake_timeout");
            }
            tracing::trace!(%address, %error, "http ended");
        },
        () = shared.stop.asked() => {}
    }
}

/// How long one that is over the limit has to ask, in ms: others wait for its place.
const SPARE_MS: u64 = 1_000;

/// Who asks, and where.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) address: SocketAddr,
    pub(crate) counted: Counted,
    /// It is over the limit: it may ask how it goes, and nothing else.
    pub(crate) is_spare: bool,
}

impl Visit {
    /// The client behind a trusted proxy, if one asks for it, or why it must go.
    fn client(&self, headers: &HeaderMap) -> Result<Option<(Counted, SocketAddr)>, Turned> {
        let proxies = &self.shared.config.trusted_proxies;
        let Some(client) = forwarded::client(proxies, self.address.ip(), headers) else { return Ok(None) };
        let counted = self.counted.of_client(client).map_err(|refusal| Turned {
            status: StatusCode::TOO_MANY_REQUESTS,
            refusal,
            words: format!("too many connections of {client}; come again later\n"),
        })?;
        Ok(Some((counted, SocketAddr::new(client, 0))))
    }
}

async fn answer(visit: Visit, request: Request<Incoming>) -> Response<Body> {
    if let Err(turned) = visit.entrance.door.answers_to(request.headers()) {
        return turn_away(&visit, turned);
    }
    let (path, query) = (request.uri().path(), request.uri().query());
    if visit.is_spare && !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        visit.shared.metrics.refuse("connections");
        return text_response(StatusCode::SERVICE_UNAVAILABLE, "as many connections are open as may be\n");
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| host.len() <= HOST_BYTES_MAX).unwrap_or_default();
    let endpoint = match visit.entrance.stands_in_for {
        Some(drop_in) => Some(drop_in.endpoint(path, token_in(query), host)),
        None => Endpoint::of(path, token_in(query), host),
    };
    if let Some(endpoint) = endpoint {
        return upgrade(visit, endpoint, request);
    }
    let shared = &visit.shared;
    match (request.method(), path) {
        (&Method::GET, "/healthz") => text_response(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => match ready(shared) {
            Ok(()) => text_response(StatusCode::OK, "ready\n"),
            Err(reason) => text_response(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        (&Method::GET, "/metrics") => {
            shared.metrics.count_peers(shared.joint.peers());
            let more = shared.routes.as_ref().map(|routes| routes.metrics()).unwrap_or_default();
            text_response(StatusCode::OK, format!("{}{more}# EOF\n", shared.metrics.text()))
        }
        (method, path) => {
            let page = match visit.entrance.door.admits(request.headers()) {
                Ok(page) => page,
                Err(turned) => return turn_away(&visit, turned),
            };
            let Some(routes) = &shared.routes else { return nothing() };
            if routes.is_private(path)
                && let Err(turned) = admit(&visit, request.headers(), query)
            {
                return readable_by(page, turn_away(&visit, turned));
            }
            routes.respond(method, path).await.map_or_else(nothing, |response| readable_by(page, response))
        }
    }
}

/// Whether more clients should be sent here. Those who are here already are served either way.
fn ready(shared: &Shared) -> Result<(), String> {
    shared.routes.as_ref().map_or(Ok(()), |routes| routes.ready())?;
    match shared.plane.status() {
        Status::None | Status::Up { .. } => Ok(()),
        Status::Away { why } => Err(format!("{why}; members that are here go on without those elsewhere")),
    }
}

/// The token in a query; `?token=` is where clients that cannot send one put it.
fn token_in(query: Option<&str>) -> Option<String> {
    let mut pairs = query?.split('&');
    let token = pairs.find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_decode_str(token).decode_utf8_lossy().into_owned())
}

/// Lets in whoever may read, by a token in the query or in the header that is made for it.
fn admit(visit: &Visit, headers: &HeaderMap, query: Option<&str>) -> Result<(), Turned> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = bearer.map(str::to_owned).or_else(|| token_in(query));
    let claim = Claim { address: visit.address, document: None, token: token.as_deref() };
    match visit.shared.admission.admit(&claim) {
        Ok(_) => Ok(()),
        Err(denied) => {
            let words = format!("{}\n", denied.reason);
            Err(Turned { status: StatusCode::UNAUTHORIZED, refusal: "admission", words })
        }
    }
}

fn nothing() -> Response<Body> {
    text_response(StatusCode::NOT_FOUND, "nothing is served here\n")
}

/// Lets the page of another origin that asked see the answer.
fn readable_by(page: Option<HeaderValue>, mut response: Response<Body>) -> Response<Body> {
    if let Some(origin) = page {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    }
    response
}

fn turn_away(visit: &Visit, turned: Turned) -> Response<Body> {
    let Turned { status, refusal, words } = turned;
    visit.shared.metrics.refuse(refusal);
    tracing::info!(address = %visit.address, reason = refusal, "a request was turned away: {}", words.trim_end());
    text_response(status, words)
}

/// A plain-text response.
#[must_use]
pub fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn upgrade_required() -> Response<Body> {
    let mut response =
        text_response(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket (version 13)\n");
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn upgrade(visit: Visit, mut endpoint: Endpoint, mut request: Request<Incoming>) -> Response<Body> {
    if let Err(turned) = visit.entrance.door.admits(request.headers()) {
        return turn_away(&visit, turned);
    }
    if let Endpoint::Native { is_local } = &mut endpoint {
        match visit.entrance.door.admits_peer(visit.address.ip(), request.headers()) {
            Ok(admitted) => *is_local = admitted,
            Err(turned) => return turn_away(&visit, turned),
        }
    }
    let client = match visit.client(request.headers()) {
        Ok(client) => client,
        Err(turned) => return turn_away(&visit, turned),
    };
    let Visit { shared, address, counted, .. } = visit;
    let (counted, address) = client.unwrap_or((counted, address));
    let headers = request.headers();
    let wants = request.method() == Method::GET
        && has_token(headers, CONNECTION, "upgrade")
        && has_token(headers, UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let (true, Some(key)) = (wants, headers.get(SEC_WEBSOCKET_KEY)) else {
        shared.metrics.refuse("no_upgrade");
        return upgrade_required();
    };
    let accept = derive_accept_key(key.as_bytes());
    // A client that offers subprotocols fails the handshake unless one of them is chosen.
    let protocol = headers
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|offered| offered.to_str().ok())
        .and_then(|offered| offered.split(',').next().map(|first| first.trim().to_owned()));
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Patient>>() else { return };
        let socket = parts.io.into_inner().into_inner();
        // A copy, mostly of nothing: what is left of the HTTP buffer would live as long as the connection.
        let early = Bytes::copy_from_slice(&parts.read_buf);
        let shards = Arc::clone(&shared);
        let room = endpoint.room().map(str::to_owned);
        if endpoint.may_be_handed_on() {
            shared.joint.settled().await;
        }
        let start = move |socket| {
            connection::start(shared, Accepted { socket, early, address, endpoint, counted });
        };
        match room {
            Some(room) => shards.shards.give_for(&room, socket, start),
            None => start(socket),
        }
    });
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        response = response.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
        .body(Body::default())
        .unwrap_or_else(|_| text_response(StatusCode::BAD_REQUEST, "bad handshake\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_choose_the_dialect() {
        let room = |room: &str| Some(Endpoint::YWebsocket { room: room.into(), token: None });
        assert_eq!(Endpoint::of("/yjs/a/b%20c", None, "h"), room("a/b%20c"));
        assert_eq!(Endpoint::of("/yjs", None, "h"), room(""));
        assert_eq!(Endpoint::of("/hocuspocus/", None, "h"), Some(Endpoint::Hocuspocus));
        let automerge = Endpoint::Automerge { host: "h".into(), token: Some("x".into()) };
        assert_eq!(Endpoint::of("/automerge", Some("x".into()), "h"), Some(automerge));
        assert_eq!(Endpoint::of("/signaling/", None, "h"), Some(Endpoint::Signaling { token: None }));
        assert_eq!(Endpoint::of("/native", None, "h"), Some(Endpoint::Native { is_local: false }));
        assert_eq!(Endpoint::of("/", None, "h"), None);
    }

    #[test]
    fn tokens_are_found_in_queries() {
        for (query, token) in [
            ("token=x", Some("x")),
            ("a=b&token=%F0%9F%94%91%20%26", Some("🔑 &")),
            ("token=", Some("")),
            ("mytoken=x", None),
            ("token", None),
            ("", None),
        ] {
            assert_eq!(token_in(Some(query)).as_deref(), token, "{query}");
        }
        assert_eq!(token_in(None), None);
    }
}
