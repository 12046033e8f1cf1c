//! Where others are: addresses as people write them, and the secrets in them, which no log ever shows.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// Not the address of a NATS server.
    #[error(
        "give the address of a NATS server, such as nats://10.0.0.2:4222, tls://USER:PASSWORD@nats.example or \
         nats://TOKEN@10.0.0.2/PREFIX; characters such as @ in a password are written as %40"
    )]
    Nats,
    /// A subject of NATS cannot begin with this.
    #[error(
        "behind the address of a NATS server may stand a prefix of letters, digits, - and _ for all subjects"
    )]
    Prefix,
    /// Not the address of a relay.
    #[error("give the address of a relay, such as ws://10.0.0.3:8484 or wss://relay.example")]
    Relay,
    /// A secret where it does not belong.
    #[error("the address of a relay has no user or password; give the token with --peer-token")]
    SecretInRelay,
    /// No token.
    #[error("give a token of 1 to 1,024 visible ASCII characters")]
    Token,
}

/// Longest token in bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// A secret of peers. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// It, to be sent to whom it opens the door of and shown to nobody else.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether this is it. The time that it takes says nothing about it.
    pub(crate) fn is(&self, shown: &str) -> bool {
        // Hashes are compared in constant time.
        blake3::hash(self.0.as_bytes()) == blake3::hash(shown.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let is_fit =
            (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_fit { Ok(Self(text.to_owned())) } else { Err(InvalidAddress::Token) }
    }
}

/// host:port; an address of IPv6 stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Place {
    fn of(text: &str, default_port: u16) -> Option<Self> {
        let end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match text.get(end..)?.find(':') {
            Some(colon) => (text.get(..end + colon)?, text.get(end + colon + 1..)?.parse().ok()?),
            None => (text, default_port),
        };
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inside {
            Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        (is_host && port != 0).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who one is to a NATS server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nobody in particular.
    None,
    /// Who knows this.
    Token(String),
    /// A user.
    User(String, String),
}

/// A NATS server, who one is there, and what all subjects begin with. Shown without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsAddress {
    pub(crate) tls: bool,
    pub(crate) place: Place,
    pub(crate) credentials: Credentials,
    pub(crate) prefix: String,
}

impl NatsAddress {
    /// What all subjects begin with; may be empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "tls" } else { "nats" }, self.place)
    }
}

impl fmt::Debug for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsAddress({self}/{})", self.prefix)
    }
}

impl FromStr for NatsAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddress::Nats)?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(InvalidAddress::Nats),
        };
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !prefix.bytes().all(is_part) {
            return Err(InvalidAddress::Prefix);
        }
        let plain = |coded: &str| {
            let plain = percent_decode_str(coded).decode_utf8().map_err(|_| InvalidAddress::Nats)?;
            if plain.is_empty() { Err(InvalidAddress::Nats) } else { Ok(plain.into_owned()) }
        };
        let credentials = match who.map(|who| who.split_once(':').ok_or(who)) {
            None => Credentials::None,
            Some(Err(token)) => Credentials::Token(plain(token)?),
            Some(Ok((user, password))) => Credentials::User(plain(user)?, plain(password)?),
        };
        let place = Place::of(place, 4222).ok_or(InvalidAddress::Nats)?;
        Ok(Self { tls, place, credentials, prefix: prefix.to_owned() })
    }
}

/// The door of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    pub(crate) tls: bool,
    pub(crate) place: Place,
    pub(crate) path: String,
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "wss" } else { "ws" }, self.place, self.path)
    }
}

impl FromStr for RelayAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddress::Relay)?;
        let (tls, default_port) = match scheme {
            "ws" => (false, 80),
            "wss" => (true, 443),
            _ => return Err(InvalidAddress::Relay),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(InvalidAddress::SecretInRelay);
        }
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
        let place = Place::of(place, default_port).filter(|_| path.bytes().all(is_part));
        // Behind a proxy the door may stand elsewhere.
        let path = if path.is_empty() { "/native".to_owned() } else { format!("/{path}") };
        Ok(Self { tls, place: place.ok_or(InvalidAddress::Relay)?, path })
    }
}

impl RelayAddress {
    /// As people write it, for who comes as a replica: the door is another one, if none is named.
    ///
    /// # Errors
    /// [`InvalidAddress`] if it is none.
    pub fn for_replicas(text: &str) -> Result<Self, InvalidAddress> {
        let address: Self = text.parse()?;
        let names_none =
            text.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches('/').contains('/'));
        Ok(if names_none { Self { path: "/replica".to_owned(), ..address } } else { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nats_servers() {
        let of = |text: &str| text.parse::<NatsAddress>();
        let plain = of("nats://127.0.0.1").unwrap();
        assert_eq!((plain.to_string().as_str(), plain.tls), ("nats://127.0.0.1:4222", false));
        let all = of("tls://us%65r:p%40ss:w@[::1]:1/staging").unwrap();
        assert_eq!(all.credentials_for_test(), ("user", "p@ss:w"));
        assert_eq!((all.place.to_string().as_str(), all.prefix.as_str()), ("[::1]:1", "staging"));
        for shown in [format!("{all}"), format!("{all:?}")] {
            assert!(!shown.contains("p@ss") && !shown.contains("p%40ss"), "{shown}");
        }
        assert!(of("nats://secret@a").unwrap().credentials == Credentials::Token("secret".into()));
        for bad in [
            "",
            "nats://",
            "127.0.0.1:4222",
            "ws://a",
            "nats://a:0",
            "nats://a:x",
            "nats://:p@a",
            "nats://@a",
        ] {
            assert_eq!(of(bad), Err(InvalidAddress::Nats), "{bad}");
        }
        assert_eq!(of("nats://a/b.c"), Err(InvalidAddress::Prefix));
    }

    impl NatsAddress {
        fn credentials_for_test(&self) -> (&str, &str) {
            match &self.credentials {
                Credentials::User(user, password) => (user, password),
                _ => panic!("no user"),
            }
        }
    }

    #[test]
    fn addresses_of_relays() {
        let of = |text: &str| text.parse::<RelayAddress>();
        assert_eq!(of("ws://a").unwrap().to_string(), "ws://a:80/native");
        assert_eq!(of("wss://a.example/").unwrap().to_string(), "wss://a.example:443/native");
        let replica = |text: &str| RelayAddress::for_replicas(text).map(|address| address.to_string());
        assert_eq!(replica("ws://a").unwrap(), "ws://a:80/replica");
        assert_eq!(replica("ws://a/").unwrap(), "ws://a:80/replica");
        assert_eq!(replica("wss://a/x/replica").unwrap(), "wss://a:443/x/replica");
        assert_eq!(replica("ws://a:80/replica").unwrap(), "ws://a:80/replica");
        assert_eq!(of("ws://[::1]:8484/x/native").unwrap().to_string(), "ws://[::1]:8484/x/native");
        for bad in ["", "http://a", "ws://", "ws://a b", "ws://a/\r\n", "ws://a/?x", "a:8484"] {
            assert_eq!(of(bad), Err(InvalidAddress::Relay), "{bad}");
        }
        assert_eq!(of("ws://u:p@a"), Err(InvalidAddress::SecretInRelay));
    }

    #[test]
    fn tokens_are_compared_and_never_shown() {
        let token: Token = "secret".parse().unwrap();
        assert!(token.is("secret") && !token.is("Secret") && !token.is(""));
        assert_eq!(format!("{token:?}"), "Token(…)");
        for bad in ["", "a b", "ä", &"x".repeat(1025)] {
            assert_eq!(bad.parse::<Token>(), Err(InvalidAddress::Token));
        }
    }
}
