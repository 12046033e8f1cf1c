//! Settings: flag over environment over file over default, checked once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use tombolo_relay::backplane::{InvalidAddress, Link, NatsAddress, RelayAddress, Token};
use tombolo_relay::{AllowedOrigins, DropIn, RelayConfig, TrustedProxy};
use tombolo_store::Engine;

use crate::error::Error;
use crate::limits;
use crate::tokens::Entry;

/// Where a server listens unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:8484";
/// Where documents are kept unless told otherwise.
pub const DATA: &str = "tombolo-data";
/// How much is logged unless told otherwise.
pub const LOG: &str = "warn";

/// What a TOML file may say. Unknown keys are refused, so that a slip of the pen is not silence.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// `listen = "127.0.0.1:8484"`
    pub listen: Option<String>,
    /// `data = "tombolo-data"`, or with an engine before it: `"redb:tombolo-data"`
    pub data: Option<PathBuf>,
    /// `log = "warn"`
    pub log: Option<String>,
    /// `ack = "never"` or `"forwarded"`, for a relay without an archive.
    pub ack: Option<String>,
    /// `admin = "/run/tombolo"`, for a relay
    pub admin: Option<PathBuf>,
    /// `open = true`
    pub open: Option<bool>,
    /// `allow-origin = ["https://app.example"]`
    pub allow_origin: Vec<String>,
    /// `drop-in = ["yjs", "automerge:3031"]`
    pub drop_in: Vec<String>,
    /// `proxy = ["10.0.0.5"]`
    pub proxy: Vec<String>,
    /// `trust-proxy = ["loopback", "10.0.0.0/8"]`
    pub trust_proxy: Vec<String>,
    /// `peer-token = "…"`
    pub peer_token: Option<String>,
    /// `backplane = ["nats://10.0.0.2"]`, for a relay
    pub backplane: Vec<String>,
    /// `relay = ["ws://10.0.0.3:8484"]`, for who keeps documents
    pub relay: Vec<String>,
    /// `[limits]`, below which `room-members = 100` or `connection-messages = "100/1000"`
    pub limits: BTreeMap<String, toml::Value>,
    /// `token = "…"`
    pub token: Option<String>,
    /// `read-only-token = "…"`
    pub read_only_token: Option<String>,
}

/// Settings that came by flag or environment.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--log`
    pub log: Option<String>,
    /// `--ack`
    pub ack: Option<String>,
    /// `--admin`
    pub admin: Option<PathBuf>,
    /// `--open`
    pub open: bool,
    /// `--allow-origin`
    pub allow_origin: Vec<String>,
    /// `--drop-in`
    pub drop_in: Vec<String>,
    /// `--proxy`
    pub proxy: Vec<String>,
    /// `--trust-proxy`
    pub trust_proxy: Vec<String>,
    /// `--peer-token`
    pub peer_token: Option<String>,
    /// `--backplane`
    pub backplane: Vec<String>,
    /// `--relay`
    pub relay: Vec<String>,
    /// `--limit`, each as NAME=VALUE
    pub limit: Vec<String>,
    /// `--token`
    pub token: Option<String>,
    /// `--read-only-token`
    pub read_only_token: Option<String>,
    /// `--config`
    pub config: Option<PathBuf>,
}

/// Checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// What keeps documents in it; none for whatever is there.
    pub engine: Option<Engine>,
    /// The log filter.
    pub log: String,
    /// Whether a relay without an archive acknowledges what it forwarded.
    pub acknowledge_forwarded: bool,
    /// The folder for the admin socket of a relay.
    pub admin: Option<PathBuf>,
    /// Whether everybody who reaches an address that is not loopback may read and write everything.
    pub open: bool,
    /// Whose web pages may speak to a server besides its own.
    pub origins: AllowedOrigins,
    /// Which other servers to stand in for, and on which port.
    pub drop_ins: Vec<(DropIn, u16)>,
    /// Addresses from which a proxy of ours passes many clients on.
    pub proxies: Vec<IpAddr>,
    /// Proxies whose word for their clients counts.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// What lets peers in.
    pub peer_token: Option<Token>,
    /// The NATS servers that join a relay with others.
    pub backplane: Vec<NatsAddress>,
    /// The relays whose documents are kept, too.
    pub relays: Vec<RelayAddress>,
    /// Who may join.
    pub entry: Entry,
    /// Limits that are not what they are by default, by name.
    pub limits: BTreeMap<String, String>,
}

impl Settings {
    /// Lays what was given over what the file says.
    ///
    /// # Errors
    /// [`Error::ConfigFile`], [`Error::Setting`] or [`Error::Token`], with the name of what is wrong.
    pub fn resolve(given: Given) -> Result<Self, Error> {
        let file = given.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let listen = given.listen.or(file.listen).unwrap_or_else(|| LISTEN.to_owned());
        let ack = given.ack.or(file.ack).unwrap_or_else(|| "never".to_owned());
        // A list weighs as a whole: what was given is all of it.
        let origins = if given.allow_origin.is_empty() { file.allow_origin } else { given.allow_origin };
        let drop_ins = if given.drop_in.is_empty() { file.drop_in } else { given.drop_in };
        let proxies = if given.proxy.is_empty() { file.proxy } else { given.proxy };
        let trusted = if given.trust_proxy.is_empty() { file.trust_proxy } else { given.trust_proxy };
        let backplane = if given.backplane.is_empty() { file.backplane } else { given.backplane };
        let relays = if given.relay.is_empty() { file.relay } else { given.relay };
        let peer_token = given.peer_token.or(file.peer_token);
        let token = given.token.or(file.token);
        let read_only_token = given.read_only_token.or(file.read_only_token);
        let (engine, data) = data(given.data.or(file.data).unwrap_or_else(|| DATA.into()))?;
        Ok(Self {
            listen: listen.parse().map_err(|_| Error::Setting {
                name: "listen",
                value: listen,
                expected: "give an address and a port, such as 127.0.0.1:8484",
            })?,
            data,
            engine,
            log: given.log.or(file.log).unwrap_or_else(|| LOG.to_owned()),
            acknowledge_forwarded: match ack.as_str() {
                "never" => false,
                "forwarded" => true,
                _ => {
                    return Err(Error::Setting {
                        name: "ack",
                        value: ack,
                        expected: "give never or forwarded",
                    });
                }
            },
            admin: given.admin.or(file.admin),
            drop_ins: drop_ins.iter().map(|drop_in| self::drop_in(drop_in)).collect::<Result<_, _>>()?,
            proxies: proxies.into_iter().map(proxy).collect::<Result<_, _>>()?,
            trusted_proxies: trusted.into_iter().map(trusted_proxy).collect::<Result<_, _>>()?,
            peer_token: peer_token.map(|token| place("peer-token", &token)).transpose()?,
            backplane: self::backplane(&backplane)?,
            relays: relays.iter().map(|relay| place("relay", relay)).collect::<Result<_, _>>()?,
            limits: self::limits(file.limits, &given.limit)?,
            entry: Entry::by(token.as_deref(), read_only_token.as_deref())?,
            open: given.open || file.open.unwrap_or_default(),
            origins: AllowedOrigins::of(&origins)
                .map_err(|error| Error::Origin { value: origins.join(", "), error })?,
        })
    }

    /// What joins `tombolo relay` with others.
    #[must_use]
    pub fn link_of_relay(&self) -> Link {
        if self.backplane.is_empty() { Link::None } else { Link::Nats(self.backplane.clone()) }
    }

    /// What joins `tombolo serve` with the relays whose documents it keeps, too.
    #[must_use]
    pub fn link_of_archive(&self) -> Link {
        if self.relays.is_empty() {
            Link::None
        } else {
            Link::Relays(self.relays.clone(), self.peer_token.clone())
        }
    }

    /// What a relay or the front of a server starts with.
    ///
    /// # Errors
    /// [`Error::Exposed`] if others than this machine would reach it and nobody said that they may,
    /// [`Error::SamePort`] if one port is wanted twice.
    pub fn relay(&self) -> Result<RelayConfig, Error> {
        if !self.open && !self.entry.is_guarded() && !self.listen.ip().to_canonical().is_loopback() {
            return Err(Error::Exposed { address: self.listen });
        }
        let mut config = RelayConfig::new(self.listen);
        config.origins = self.origins.clone();
        config.proxies = self.proxies.clone();
        config.trusted_proxies = self.trusted_proxies.clone();
        for (name, value) in &self.limits {
            limits::set(&mut config, name, value)?;
        }
        config.peer_token = self.peer_token.clone();
        let mut taken = vec![("--listen".to_owned(), self.listen.port())];
        for &(drop_in, port) in &self.drop_ins {
            let name = format!("--drop-in {drop_in}");
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == port && port != 0) {
                return Err(Error::SamePort { port, one: other.clone(), other: name });
            }
            taken.push((name, port));
            config.drop_ins.push((drop_in, SocketAddr::new(self.listen.ip(), port)));
        }
        Ok(config)
    }
}

/// Where peers are, or what they know. Secrets are not said again.
fn place<T: FromStr<Err = InvalidAddress>>(name: &'static str, value: &str) -> Result<T, Error> {
    let shown = match value.rsplit_once('@') {
        _ if name == "peer-token" => "…".to_owned(),
        Some((secret, rest)) => {
            let scheme = secret.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{rest}")
        }
        None => value.to_owned(),
    };
    value.trim().parse().map_err(|error| Error::Place { name, value: shown, error })
}

/// NATS servers, of one cluster.
fn backplane(given: &[String]) -> Result<Vec<NatsAddress>, Error> {
    let servers: Vec<NatsAddress> =
        given.iter().map(|value| place("backplane", value)).collect::<Result<_, _>>()?;
    if servers.windows(2).any(|pair| matches!(pair, [one, other] if one.prefix() != other.prefix())) {
        return Err(Error::Setting {
            name: "backplane",
            value: servers
                .iter()
                .map(|server| format!("{server}/{}", server.prefix()))
                .collect::<Vec<_>>()
                .join(","),
            expected: "give the same prefix behind each address: they are servers of one cluster",
        });
    }
    Ok(servers)
}

/// Those of the file, and over them those that were given, each one by its name.
fn limits(file: BTreeMap<String, toml::Value>, given: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let in_file = file.into_iter().map(|(name, value)| match value {
        toml::Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    let mut all: BTreeMap<_, _> = in_file.collect();
    for pair in given {
        all.extend([limits::pair(pair)?]);
    }
    // All that is wrong is said before anything starts.
    let mut scratch = RelayConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    all.iter().try_for_each(|(name, value)| limits::set(&mut scratch, name, value))?;
    Ok(all)
}

fn proxy(value: String) -> Result<IpAddr, Error> {
    let address = value.trim().parse::<IpAddr>().map(|address| address.to_canonical());
    address.map_err(|_| Error::Setting {
        name: "proxy",
        value,
        expected: "give an IP address, such as 10.0.0.5",
    })
}

fn trusted_proxy(value: String) -> Result<TrustedProxy, Error> {
    value.trim().parse().map_err(|_| Error::Setting {
        name: "trust-proxy",
        value,
        expected: "give loopback, an IP address, or a network, such as 10.0.0.0/8",
    })
}

/// An engine and a folder, of `sled:DIR`, `redb:DIR` or `DIR`. A folder that has such a name is still named by `./sled:x`.
fn data(given: PathBuf) -> Result<(Option<Engine>, PathBuf), Error> {
    for engine in Engine::ALL {
        let rest = given.as_os_str().as_bytes().strip_prefix(engine.name().as_bytes());
        match rest.and_then(|rest| rest.strip_prefix(b":")) {
            Some(b"") => {
                return Err(Error::Setting {
                    name: "data",
                    value: format!("{engine}:"),
                    expected: "give a folder behind the colon, such as redb:tombolo-data",
                });
            }
            Some(folder) => return Ok((Some(engine), OsStr::from_bytes(folder).into())),
            None => {}
        }
    }
    Ok((None, given))
}

/// Another server's name, and behind a colon the port to stand in for it on.
fn drop_in(given: &str) -> Result<(DropIn, u16), Error> {
    let (name, port) = given.split_once(':').map_or((given, None), |(name, port)| (name, Some(port)));
    let parsed = name.parse::<DropIn>().ok().and_then(|drop_in| {
        let port = port.map_or(Some(drop_in.usual_port()), |port| port.parse().ok())?;
        Some((drop_in, port))
    });
    parsed.ok_or_else(|| Error::Setting {
        name: "drop-in",
        value: given.to_owned(),
        expected: "give yjs, hocuspocus or automerge, with another port if need be, such as hocuspocus:1235",
    })
}

fn read(path: &Path) -> Result<File, Error> {
    let fail =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::ConfigFile { path: path.into(), source };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.into()))?;
    toml::from_str(&text).map_err(|error| {
        // Not as the parser shows it: with the line itself, which may hold a token.
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.split('\n').count());
        fail(format!("line {line}: {}", error.message()).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_over_file_over_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tombolo.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndata = \"from-file\"\n").unwrap();
        let given = Given { config: Some(path), listen: Some("127.0.0.1:2".into()), ..Given::default() };
        let settings = Settings::resolve(given).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(settings.data, Path::new("from-file"));
        assert_eq!(settings.log, LOG);
    }

    #[test]
    fn an_engine_may_stand_before_the_folder() {
        let resolved = |data: &OsStr| {
            let settings = Settings::resolve(Given { data: Some(data.into()), ..Given::default() });
            settings.map(|settings| (settings.engine, settings.data))
        };
        for (given, engine, folder) in [
            ("redb:data", Some(Engine::Redb), "data"),
            ("sled:/var/data", Some(Engine::Sled), "/var/data"),
            ("sled:redb:x", Some(Engine::Sled), "redb:x"),
            ("./sled:x", None, "./sled:x"),
            ("Redb:x", None, "Redb:x"),
            ("redb", None, "redb"),
            ("C:x", None, "C:x"),
            (":x", None, ":x"),
        ] {
            assert_eq!(resolved(given.as_ref()).unwrap(), (engine, folder.into()), "{given}");
        }
        let odd = OsStr::from_bytes(b"redb:\xff");
        assert_eq!(resolved(odd).unwrap(), (Some(Engine::Redb), OsStr::from_bytes(b"\xff").into()));
        assert!(matches!(resolved("sled:".as_ref()), Err(Error::Setting { name: "data", .. })));
        assert_eq!(Settings::resolve(Given::default()).unwrap().engine, None);
    }

    #[test]
    fn peers_are_named_and_secrets_are_not_said_again() {
        let settings = Settings::resolve(Given {
            peer_token: Some("secret".into()),
            backplane: vec!["nats://u:p@a/x".into(), "tls://b/x".into()],
            relay: vec!["ws://a:1".into(), "wss://b".into()],
            ..Given::default()
        });
        let settings = settings.unwrap();
        assert!(matches!(settings.link_of_relay(), Link::Nats(servers) if servers.len() == 2));
        assert!(matches!(settings.link_of_archive(), Link::Relays(relays, Some(_)) if relays.len() == 2));
        assert_eq!(settings.relay().unwrap().peer_token, settings.peer_token);
        let none = Settings::resolve(Given::default()).unwrap();
        assert_eq!((none.link_of_relay(), none.link_of_archive()), (Link::None, Link::None));
        for (name, given) in [
            ("peer-token", Given { peer_token: Some("sec ret".into()), ..Given::default() }),
            ("backplane", Given { backplane: vec!["nats://u:sec ret@a:x".into()], ..Given::default() }),
            ("relay", Given { relay: vec!["ws://sec ret@a".into()], ..Given::default() }),
        ] {
            let said = Settings::resolve(given).unwrap_err().to_string();
            assert!(said.starts_with(&format!("{name} cannot be")) && !said.contains("sec ret"), "{said}");
        }
        let apart = vec!["nats://a/x".into(), "nats://b/y".into()];
        assert!(Settings::resolve(Given { backplane: apart, ..Given::default() }).is_err());
    }

    #[test]
    fn limits_are_laid_over_each_other_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tombolo.toml");
        let file = "[limits]\nroom-members = 5\nconnections = 6\nroom-messages = \"7/8\"\n";
        std::fs::write(&path, file).unwrap();
        let limit = vec!["connections=9".to_owned(), "queue-bytes=2MiB".to_owned()];
        let given = Given { config: Some(path.clone()), limit, ..Given::default() };
        let config = Settings::resolve(given).unwrap().relay().unwrap();
        assert_eq!((config.members_per_room_max, config.connections_max), (5, 9));
        assert_eq!((config.room_messages.burst, config.queue_bytes_max), (8, 2 * 1024 * 1024));
        for wrong in ["room-member = 5", "room-members = 0", "room-members = [5]", "room-messages = 5"] {
            std::fs::write(&path, format!("[limits]\n{wrong}\n")).unwrap();
            let given = Given { config: Some(path.clone()), ..Given::default() };
            assert!(matches!(Settings::resolve(given), Err(Error::Limit { .. })), "{wrong}");
        }
    }

    #[test]
    fn slips_of_the_pen_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tombolo.toml");
        std::fs::write(&path, "lisen = \"127.0.0.1:1\"\n").unwrap();
        assert!(matches!(
            Settings::resolve(Given { config: Some(path.clone()), ..Given::default() }),
            Err(Error::ConfigFile { .. })
        ));
        std::fs::write(&path, "open = true\ntokn = \"a secret of mine\"\n").unwrap();
        let slip = Settings::resolve(Given { config: Some(path), ..Given::default() }).unwrap_err();
        let why = std::error::Error::source(&slip).unwrap().to_string();
        assert!(why.starts_with("line 2: unknown field `tokn`") && !why.contains("secret"), "{why}");
        let bad = Given { listen: Some("here".into()), ..Given::default() };
        assert!(matches!(Settings::resolve(bad), Err(Error::Setting { name: "listen", .. })));
    }
}
