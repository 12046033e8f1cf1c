//! Which web pages may speak to a listener.
//!
//! A browser sends any page's requests to any address that its user reaches, 127.0.0.1 and the machines behind a firewall
//! included. What a page cannot do is lie about its `Origin`, so that is checked. A page can have its own name
//! resolve to a foreign address (DNS rebinding) and is then of the same origin as what answers there; it cannot lie
//! about the name, so a listener on loopback answers to names of loopback only.
//!
//! Programs that are no browsers say whatever they like. This is no access control: that is [`crate::admission`].

use std::net::{IpAddr, Ipv6Addr};

use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

/// Origins whose pages may speak to a listener besides its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    origins: Vec<Origin>,
}

/// What was given is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "give what browsers send, a scheme and a host, such as https://app.example or http://10.0.0.1:5173, or *"
)]
pub struct InvalidOrigin;

impl AllowedOrigins {
    /// These; `*` is every one.
    ///
    /// # Errors
    /// [`InvalidOrigin`] for what no page can have. `null` is refused too: pages of everybody can have it.
    pub fn of(given: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidOrigin> {
        let mut allowed = Self::default();
        for text in given {
            match text.as_ref() {
                "*" => allowed.any = true,
                text => {
                    // As people copy it; browsers send none.
                    let origin = text.strip_suffix('/').filter(|_| !text.ends_with("://")).unwrap_or(text);
                    allowed.origins.push(Origin::of(origin).ok_or(InvalidOrigin)?);
                }
            }
        }
        Ok(allowed)
    }
}

/// scheme://host:port, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    authority: Authority,
}

impl Origin {
    fn of(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        // Programs with pages of their own have origins such as file:// in some frameworks.
        let authority = if authority.is_empty() && !matches!(scheme.as_str(), "http" | "https") {
            Authority { host: String::new(), port: None }
        } else {
            Authority::of(authority, default_port(&scheme))?
        };
        Some(Self { scheme, authority })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// host:port; an address of IPv6 stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn of(text: &str, default_port: Option<u16>) -> Option<Self> {
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text.get(end..)?.find(':') {
            Some(colon) => (text.get(..end + colon)?, Some(text.get(end + colon + 1..)?)),
            None => (text, None),
        };
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some(port) if digits(port) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => default_port,
        };
        let host = host.to_ascii_lowercase();
        (ip(&host).is_some() || is_name(&host)).then_some(Self { host, port })
    }

    fn is_of_loopback(&self) -> bool {
        self.host == "localhost" || ip(&self.host).is_some_and(|ip| ip.to_canonical().is_loopback())
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

/// The door of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    is_loopback: bool,
    allowed: AllowedOrigins,
}

/// Why somebody is turned away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) status: StatusCode,
    /// The label of the refusal metric.
    pub(crate) refusal: &'static str,
    /// For whoever looks why it does not work.
    pub(crate) words: String,
}

impl Door {
    /// Of a listener at this address.
    pub(crate) fn new(listening: IpAddr, allowed: AllowedOrigins) -> Self {
        Self { is_loopback: listening.to_canonical().is_loopback(), allowed }
    }

    /// Whether it answers to the name under which it was asked for.
    pub(crate) fn answers_to(&self, headers: &HeaderMap) -> Result<(), Turned> {
        if !self.is_loopback || self.allowed.any {
            return Ok(());
        }
        // Browsers always send one.
        let Some(host) = headers.get(HOST) else { return Ok(()) };
        let named = host.to_str().ok().and_then(|host| Authority::of(host, None));
        let is_known = named.is_some_and(|named| {
            // No page has a number for its name that is not that of its server.
            named.is_of_loopback() || ip(&named.host).is_some() || self.is_allowed_name(&named.host)
        });
        if is_known {
            return Ok(());
        }
        let host = host.to_str().unwrap_or("that");
        let words = format!(
            "this server listens on loopback and does not answer to the name {host}; ask for localhost, or start it \
             with --allow-origin and the origin of a proxy in front, such as https://{host}\n"
        );
        Err(Turned { status: StatusCode::FORBIDDEN, refusal: "host", words })
    }

    /// A proxy in front passes its own name on.
    fn is_allowed_name(&self, host: &str) -> bool {
        self.allowed.origins.iter().any(|origin| origin.authority.host == host)
    }

    /// Whether the page that asks may; gives back its origin if it is not this server's own.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Turned> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(None) };
        if origins.next().is_none()
            && let Some(parsed) = origin.to_str().ok().and_then(Origin::of)
        {
            if is_own(&parsed, headers) {
                return Ok(None);
            }
            let from_here = self.is_loopback && parsed.authority.is_of_loopback();
            if from_here || self.allowed.origins.contains(&parsed) {
                return Ok(Some(origin.clone()));
            }
        }
        if self.allowed.any {
            return Ok(Some(origin.clone()));
        }
        let origin = origin.to_str().unwrap_or("that");
        let words = format!(
            "web pages of {origin} may not speak to this server; start it with --allow-origin and their origin, or \
             with --allow-origin '*' for those of everybody\n"
        );
        Err(Turned { status: StatusCode::FORBIDDEN, refusal: "origin", words })
    }
}

/// What proxies say about whom they ask for.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

impl Door {
    /// Whether a peer may ask here, which no web page may; returns whether it must be a program of this machine.
    pub(crate) fn admits_peer(&self, from: IpAddr, headers: &HeaderMap) -> Result<bool, Turned> {
        if headers.contains_key(ORIGIN) {
            let words = "web pages are no peers, and may not speak here\n".to_owned();
            return Err(Turned { status: StatusCode::FORBIDDEN, refusal: "peer_origin", words });
        }
        let is_passed_on = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
        Ok(self.is_loopback && from.to_canonical().is_loopback() && !is_passed_on)
    }
}

/// Whether a page came from where it asks. A proxy may have taken TLS off, so the scheme says nothing.
fn is_own(origin: &Origin, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| Authority::of(host, default_port(&origin.scheme)));
    host.is_some_and(|host| host == origin.authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers
    }

    fn door(listening: &str, allowed: &[&str]) -> Door {
        Door::new(listening.parse().unwrap(), AllowedOrigins::of(allowed).unwrap())
    }

    #[test]
    fn peers_of_this_machine_and_no_pages() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let (loopback, open, none) = (door("::1", &["*"]), door("0.0.0.0", &["*"]), HeaderMap::new());
        assert_eq!(loopback.admits_peer(here, &none), Ok(true));
        assert_eq!(open.admits_peer(here, &none), Ok(false));
        assert_eq!(loopback.admits_peer([192, 0, 2, 1].into(), &none), Ok(false));
        for name in OF_PROXIES {
            let passed_on = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static("x"))]);
            assert_eq!(loopback.admits_peer(here, &passed_on), Ok(false), "{name}");
        }
        assert!(loopback.admits_peer(here, &headers("localhost", "http://localhost")).is_err());
    }

    #[test]
    fn only_origins_are_origins() {
        for text in
            ["https://app.example", "http://A.example:1/", "tauri://localhost", "file://", "http://[::1]:5"]
        {
            assert!(AllowedOrigins::of([text]).is_ok(), "{text}");
        }
        for text in [
            "",
            "null",
            "app.example",
            "https://",
            "https://a/b",
            "https://a:",
            "https://a:99999",
            "https://a:+1",
            "https://a@b",
            "https://[::1",
            "https://[a]",
            "https://a b",
            "https://*.a",
            "://a",
            "**",
        ] {
            assert_eq!(AllowedOrigins::of([text]), Err(InvalidOrigin), "{text}");
        }
    }

    #[test]
    fn a_page_of_the_server_itself_is_admitted_whatever_took_its_tls_off() {
        let door = door("0.0.0.0", &[]);
        for (host, origin) in [
            ("notes.example", "https://notes.example"),
            ("notes.example", "http://notes.example:80"),
            ("NOTES.example:443", "https://notes.Example"),
            ("10.0.0.1:8484", "http://10.0.0.1:8484"),
            ("[fe80::1]:8484", "http://[fe80::1]:8484"),
        ] {
            assert_eq!(door.admits(&headers(host, origin)), Ok(None), "{host} {origin}");
        }
        for (host, origin) in [
            ("notes.example", "https://notes.example:8443"),
            ("notes.example:8484", "http://notes.example"),
            ("notes.example", "http://evil.notes.example"),
            ("notes.example", "http://notes.example.evil"),
            ("notes.example", "null"),
            ("10.0.0.1:8484", "http://localhost:5173"),
            ("notes.example@evil", "http://notes.example"),
        ] {
            let turned = door.admits(&headers(host, origin)).unwrap_err();
            assert_eq!((turned.status, turned.refusal), (StatusCode::FORBIDDEN, "origin"), "{host} {origin}");
        }
    }

    #[test]
    fn pages_of_this_machine_are_admitted_on_loopback_only() {
        for listening in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let door = door(listening, &[]);
            for origin in
                ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:1", "tauri://localhost"]
            {
                let admitted = door.admits(&headers("127.0.0.1:8484", origin));
                assert_eq!(admitted, Ok(Some(origin.parse().unwrap())), "{origin}");
            }
            for origin in
                ["http://localhost.evil", "http://127.0.0.1.evil", "http://10.0.0.1", "file://", "null", "x"]
            {
                assert!(door.admits(&headers("127.0.0.1:8484", origin)).is_err(), "{origin}");
            }
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = headers("127.0.0.1:8484", "http://127.0.0.1:8484");
        headers.append(ORIGIN, "http://evil.example".parse().unwrap());
        assert!(door("127.0.0.1", &[]).admits(&headers).is_err());
    }

    #[test]
    fn names_that_anybody_can_have_are_not_answered_to_on_loopback() {
        let asked = |door: &Door, host: &str| door.answers_to(&headers(host, "null")).is_ok();
        let here = door("127.0.0.1", &[]);
        for host in ["localhost", "LocalHost:8484", "127.0.0.1:8484", "[::1]:8484", "10.0.0.1"] {
            assert!(asked(&here, host), "{host}");
        }
        for host in ["evil.example:8484", "localhost.evil", "127.0.0.1.evil", "", "[::1", "x@localhost"] {
            assert!(!asked(&here, host), "{host}");
        }
        assert!(here.answers_to(&HeaderMap::new()).is_ok());
        let proxied = door("127.0.0.1", &["https://notes.example"]);
        assert!(asked(&proxied, "notes.example") && !asked(&proxied, "evil.example"));
        assert!(asked(&door("127.0.0.1", &["*"]), "evil.example"));
        assert!(asked(&door("0.0.0.0", &[]), "notes.example"));
    }

    #[test]
    fn what_is_allowed_is_allowed_as_it_stands() {
        let some = door("0.0.0.0", &["https://app.example", "http://app.example:5173", "file://"]);
        for origin in ["https://app.example", "https://APP.example:443", "http://app.example:5173", "file://"]
        {
            assert!(some.admits(&headers("x", origin)).is_ok(), "{origin}");
        }
        for origin in ["http://app.example", "https://app.example:1", "https://x.app.example", "null"] {
            assert!(some.admits(&headers("x", origin)).is_err(), "{origin}");
        }
        for origin in ["https://anything.example", "null", "file://"] {
            assert!(door("127.0.0.1", &["*"]).admits(&headers("localhost", origin)).is_ok(), "{origin}");
        }
    }
}
