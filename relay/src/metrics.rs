//! What is counted. The names are API: dashboards stand on them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The label of a dialect: `yjs`, `hocuspocus`, `automerge`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DialectLabel {
    /// The dialect's name.
    pub dialect: &'static str,
}

/// Why something was refused; a closed vocabulary of short words.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    /// The reason.
    pub reason: &'static str,
}

/// Whether an archive is behind a peer: `yes` or `no`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ArchiveLabel {
    /// Yes or no.
    pub archive: &'static str,
}

/// The relay's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `tombolo_connections{dialect}`: open now.
    pub connections: Family<DialectLabel, Gauge>,
    /// `tombolo_connections_opened_total{dialect}`.
    pub connections_opened: Family<DialectLabel, Counter>,
    /// `tombolo_rooms`: open now.
    pub rooms: Gauge,
    /// `tombolo_peers{archive}`: other relays on the backplane, those with an archive apart.
    pub peers: Family<ArchiveLabel, Gauge>,
    /// `tombolo_messages_received_total`.
    pub messages_received: Counter,
    /// `tombolo_received_bytes_total`: payload of those messages.
    pub bytes_received: Counter,
    /// `tombolo_messages_sent_total`: frames queued for members.
    pub messages_sent: Counter,
    /// `tombolo_sent_bytes_total`: bytes of those frames.
    pub bytes_sent: Counter,
    /// `tombolo_acknowledgements_total`: updates that a client was told are saved.
    pub acknowledgements: Counter,
    /// `tombolo_behind_total`: times that a member got behind in a room and was owed presence.
    pub behind: Counter,
    /// `tombolo_slowed_total{reason}`: times that a connection was read more slowly, because it sent too fast.
    pub slowed: Family<ReasonLabel, Counter>,
    /// `tombolo_refusals_total{reason}`.
    pub refusals: Family<ReasonLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tombolo"),
            connections: Family::default(),
            connections_opened: Family::default(),
            rooms: Gauge::default(),
            peers: Family::default(),
            messages_received: Counter::default(),
            bytes_received: Counter::default(),
            messages_sent: Counter::default(),
            bytes_sent: Counter::default(),
            acknowledgements: Counter::default(),
            behind: Counter::default(),
            slowed: Family::default(),
            refusals: Family::default(),
        };
        let r = &mut metrics.registry;
        r.register("connections", "Open connections", metrics.connections.clone());
        r.register("connections_opened", "Connections opened", metrics.connections_opened.clone());
        r.register("rooms", "Open rooms", metrics.rooms.clone());
        r.register("peers", "Other relays on the backplane", metrics.peers.clone());
        r.register("messages_received", "Messages received", metrics.messages_received.clone());
        r.register("received_bytes", "Message bytes received", metrics.bytes_received.clone());
        r.register("messages_sent", "Frames queued for clients", metrics.messages_sent.clone());
        r.register("sent_bytes", "Frame bytes queued for clients", metrics.bytes_sent.clone());
        r.register("acknowledgements", "Updates acknowledged", metrics.acknowledgements.clone());
        r.register("behind", "Times that a member was owed presence", metrics.behind.clone());
        r.register("slowed", "Times that too fast a sender was slowed, by reason", metrics.slowed.clone());
        r.register("refusals", "What was refused, by reason", metrics.refusals.clone());
        metrics
    }
}

impl Metrics {
    /// Counts one refusal.
    pub fn refuse(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts one time of slowing down.
    pub fn slow(&self, reason: &'static str) {
        self.slowed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The counter of one reason, for who refuses often.
    #[must_use]
    pub fn refusals_for(&self, reason: &'static str) -> Counter {
        self.refusals.get_or_create(&ReasonLabel { reason }).clone()
    }

    /// How many peers there are now: without an archive, and with one.
    pub fn count_peers(&self, peers: [usize; 2]) {
        for (archive, count) in ["no", "yes"].into_iter().zip(peers) {
            self.peers.get_or_create(&ArchiveLabel { archive }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The Prometheus text, without the closing `# EOF` so that more can follow.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text.trim_end().trim_end_matches("# EOF").to_owned()
    }
}
