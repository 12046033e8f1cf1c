//! The relay's settings: plain values, each with its unit and the reason for its default.

use std::net::{IpAddr, SocketAddr};

use tombolo_core::limits::{AWARENESS_OWNED_BYTES_MAX, AWARENESS_OWNED_MAX, PAIRED_MEMBERS_MAX};

use crate::backplane::{Link, Token};
use crate::door::AllowedOrigins;
use crate::drop_in::DropIn;
use crate::forwarded::TrustedProxy;

/// Whether a relay without an archive acknowledges what it merely forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcknowledgeWithoutArchive {
    /// Nobody is told *saved*: nobody saves.
    #[default]
    Never,
    /// "Saved" means forwarded. The operator chose so.
    Forwarded,
}

/// How much may come how fast; 0 counts as 1. Whoever sends faster is read more slowly and loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So much in each second, for as long as one likes.
    pub per_s: u32,
    /// So much at once, after a while of quiet.
    pub burst: u32,
}

impl Rate {
    /// As good as no limit.
    pub const FREE: Self = Self { per_s: 1_000_000_000, burst: u32::MAX };
}

/// Settings of a relay. [`RelayConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where else to listen, each in the place of another server.
    pub drop_ins: Vec<(DropIn, SocketAddr)>,
    /// Whose web pages may speak to it besides its own and, on loopback, those of this machine.
    pub origins: AllowedOrigins,
    /// Threads that serve connections; one for each core.
    pub threads: usize,
    /// What an acknowledgement means where nothing stores.
    pub acknowledge: AcknowledgeWithoutArchive,
    /// Time for the HTTP request of a handshake to arrive, in ms.
    pub handshake_ms: u64,
    /// Time for the first frame after the handshake, in ms.
    pub first_frame_ms: u64,
    /// Largest message in bytes: what stock clients send at most, plus framing.
    pub message_bytes_max: usize,
    /// Most forwarded bytes that wait for one slow reader before it must resynchronise.
    pub queue_bytes_max: usize,
    /// Most bytes of answers that wait before nothing more is read from who asked; one answer may be larger.
    pub answer_bytes_max: usize,
    /// Time between pings to a connection, in ms; stock clients reconnect after 30 s without a message.
    pub ping_ms: u64,
    /// A connection that sent nothing, not even a pong, for this long is dropped, in ms.
    pub silence_ms: u64,
    /// Time that a write may take without any progress, in ms.
    pub write_ms: u64,
    /// Most documents on one connection; Hocuspocus and automerge-repo multiplex.
    pub documents_per_connection_max: usize,
    /// Most members of one Automerge document that are joined in pairs where nothing stores: each change goes to
    /// each of them by itself. More are told that it is unavailable until one leaves.
    pub paired_members_max: usize,
    /// Most bytes that wait for admission on one connection.
    pub before_admission_bytes_max: usize,
    /// Most open connections; one more is refused at the door.
    pub connections_max: usize,
    /// Frames of one connection: nobody types this fast, but what was typed offline comes at once.
    pub connection_messages: Rate,
    /// KiB of one connection: four of the largest messages at once.
    pub connection_kib: Rate,
    /// Control frames of one connection: clients ping every few seconds at most.
    pub connection_control: Rate,
    /// News of presence (awareness, ephemeral) of one connection: a cursor moves 60 times a second, automerge-repo says
    /// so to each of up to 31 others by itself, and hundreds of documents are opened at once.
    pub connection_presence: Rate,
    /// Frames of all connections of one address (IPv6: of one /64): an office types behind one, and each stock client
    /// sends all presence that it hears back.
    pub address_messages: Rate,
    /// KiB of all connections of one address.
    pub address_kib: Rate,
    /// Connections that one address opens; more are refused at the door. After a restart all come at once.
    pub address_connects: Rate,
    /// Most open connections of one address; one more is told to come back later, at twice as many at the door.
    /// y-websocket has a connection for each document.
    pub address_connections_max: usize,
    /// Proxies of ours: they have no limits of an address, for all their clients come from there.
    pub proxies: Vec<IpAddr>,
    /// Proxies whose word for whom they ask counts (`X-Forwarded-For`, else `Forwarded`): their clients have the limits
    /// of an address of their own.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether loopback has the limits of an address, too. Who comes from there is a proxy, and all its clients.
    pub limits_loopback: bool,
    /// Messages that one room hands on: about what a core can for a hundred members. Of an Automerge document, all that
    /// its members say in it.
    pub room_messages: Rate,
    /// KiB that one room hands on, before they are copied for each member.
    pub room_kib: Rate,
    /// Most members of one room of Yjs: each message costs one write for each of them, and each shows presence.
    pub members_per_room_max: usize,
    /// Most awareness clients that one member of a room shows: stock clients have one, bridges many.
    pub awareness_clients_max: usize,
    /// Most bytes of awareness states that one member of a room shows: whoever joins is sent those of everybody.
    pub awareness_bytes_max: usize,
    /// Most bytes on their way to the disk before readers are held back.
    pub archive_bytes_max: usize,
    /// Frames of one peer that joined at `/native`: what all its members say.
    pub peer_messages: Rate,
    /// KiB of one such peer.
    pub peer_kib: Rate,
    /// Bytes that wait for a peer, or for the link to other machines, after which nothing large is begun for it, and
    /// members are read no more.
    pub peer_backlog_bytes_max: usize,
    /// Most bytes that wait for the socket of a peer that joined at `/native`; then what is said to it waits before that.
    pub peer_queue_bytes_max: usize,
    /// Most documents that one such peer has open.
    pub documents_per_peer_max: usize,
    /// Most bytes that wait to be read from all connections together that are served here and have their sockets at
    /// other relays; the one that brings more is told to come back later.
    pub tunnels_bytes_max: usize,
    /// What joins it with other relays.
    pub link: Link,
    /// What peers must know to join at `/native`; without it they may from this machine only, if nobody else can reach
    /// the listener.
    pub peer_token: Option<Token>,
}

impl RelayConfig {
    /// The defaults at this address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            drop_ins: Vec::new(),
            origins: AllowedOrigins::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            acknowledge: AcknowledgeWithoutArchive::Never,
            handshake_ms: 5_000,
            first_frame_ms: 30_000,
            message_bytes_max: 64 * 1024 * 1024 + 4096,
            queue_bytes_max: 1024 * 1024,
            answer_bytes_max: 1024 * 1024,
            ping_ms: 20_000,
            silence_ms: 70_000,
            write_ms: 30_000,
            documents_per_connection_max: 2_000,
            paired_members_max: PAIRED_MEMBERS_MAX,
            before_admission_bytes_max: 5 * 1024 * 1024,
            connections_max: 50_000,
            connection_messages: Rate { per_s: 5_000, burst: 200_000 },
            connection_kib: Rate { per_s: 16 * 1024, burst: 256 * 1024 },
            connection_control: Rate { per_s: 20, burst: 200 },
            connection_presence: Rate { per_s: 2_000, burst: 10_000 },
            address_messages: Rate { per_s: 300_000, burst: 3_000_000 },
            address_kib: Rate { per_s: 64 * 1024, burst: 1024 * 1024 },
            address_connects: Rate { per_s: 200, burst: 4_000 },
            address_connections_max: 4_000,
            proxies: Vec::new(),
            trusted_proxies: Vec::new(),
            limits_loopback: false,
            room_messages: Rate { per_s: 100_000, burst: 1_000_000 },
            room_kib: Rate { per_s: 64 * 1024, burst: 1024 * 1024 },
            members_per_room_max: 4_000,
            awareness_clients_max: AWARENESS_OWNED_MAX,
            awareness_bytes_max: AWARENESS_OWNED_BYTES_MAX,
            archive_bytes_max: 256 * 1024 * 1024,
            peer_messages: Rate { per_s: 500_000, burst: 5_000_000 },
            peer_kib: Rate { per_s: 512 * 1024, burst: 4 * 1024 * 1024 },
            peer_backlog_bytes_max: 64 * 1024 * 1024,
            peer_queue_bytes_max: 64 * 1024 * 1024,
            documents_per_peer_max: 1_000_000,
            tunnels_bytes_max: 256 * 1024 * 1024,
            link: Link::None,
            peer_token: None,
        }
    }
}
