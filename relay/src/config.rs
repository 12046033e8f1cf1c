//! The relay's settings: plain values, each with its unit and the reason for its default.

use std::net::SocketAddr;

use crate::door::AllowedOrigins;
use crate::drop_in::DropIn;
use tombolo_core::limits::PAIRED_MEMBERS_MAX;

/// Whether a relay without an archive acknowledges what it merely forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcknowledgeWithoutArchive {
    /// Nobody is told *saved*: nobody saves.
    #[default]
    Never,
    /// "Saved" means forwarded. The operator chose so.
    Forwarded,
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
    /// Most bytes on their way to the disk before readers are held back.
    pub archive_bytes_max: usize,
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
            archive_bytes_max: 256 * 1024 * 1024,
        }
    }
}
