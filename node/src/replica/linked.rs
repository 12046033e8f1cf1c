//! The links of a replica, as its owner sees them.

use std::net::SocketAddr;
use std::time::Duration;

use tombolo_core::id::DocumentId;

use super::error::ReplicaError;
use super::handle::Replica;
use super::link::{
    Backlog, BacklogEstimate, Decision, LinkOptions, LinkStatus, Mode, Priority, Standing, Subscription,
};
use super::listen::ListenOptions;

impl Replica {
    /// Keeps the documents of this replica in sync with what is at this address, `ws://` or `wss://`: a node, a replica that
    /// listens or, for Yjs documents, also a relay. It is dialled for as long as the link is there and the replica
    /// is open; nothing waits for it.
    ///
    /// ```
    /// use tombolo::replica::{LinkOptions, LinkState, Replica};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let replica = Replica::open(folder.path())?;
    /// replica.link("ws://127.0.0.1:9", LinkOptions::default())?;
    /// // Nobody is there, and nobody waits.
    /// replica.yjs("list")?.edit(|edit| edit.text("text").insert(0, "milk"))?;
    /// assert_ne!(replica.links()[0].state, LinkState::Online);
    /// assert!(replica.unlink("ws://127.0.0.1:9"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Address`] if that is no address, [`ReplicaError::Linked`] if there is a link to it already,
    /// [`ReplicaError::Read`] if the folder cannot be read.
    pub fn link(&self, url: &str, options: LinkOptions) -> Result<(), ReplicaError> {
        self.links.add(url, options)
    }

    /// Lets other replicas link to this one, at this address, and stock clients join it, as they would a node; port 0 lets the system choose, and the answer says which it
    /// chose. For as long as the replica is open. Beyond this machine it takes a token. Blocking.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tombolo::replica::{LinkOptions, ListenOptions, Replica};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let phone = Replica::open(folder.path().join("phone"))?;
    /// let laptop = Replica::open(folder.path().join("laptop"))?;
    /// laptop.yjs("list")?.edit(|edit| edit.text("text").insert(0, "milk"))?;
    /// let address = laptop.listen("127.0.0.1:0".parse()?, ListenOptions::default())?;
    /// phone.link(&format!("ws://{address}"), LinkOptions::default())?;
    /// assert!(phone.wait_for_sync(Duration::from_secs(30))[0].in_sync);
    /// assert_eq!(phone.yjs("list")?.text("text")?, "milk");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReplicaError::Exposed`] without a token for others than this machine, [`ReplicaError::Listening`] if it listens
    /// already, [`ReplicaError::Listen`] if the address cannot be had.
    pub fn listen(&self, address: SocketAddr, options: ListenOptions) -> Result<SocketAddr, ReplicaError> {
        self.links.listen(address, options)
    }

    /// Ends a link; what was edited stays here. False if there is none to there.
    #[must_use = "it says whether there was one"]
    pub fn unlink(&self, url: &str) -> bool {
        self.links.remove(url)
    }

    /// The links, and how each is.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        self.links.statuses()
    }

    /// Waits until all links are in sync, or given up, or the time is over; gives how they are then. In sync means that
    /// what each side had when this was called, the other has fsynced, also if others edit on; with a relay that keeps
    /// nothing, that it was handed over to whoever was there. What is held for a decision is not waited for, and a link that
    /// has some is not in sync. It takes a question to the other end at least, so with a shorter limit nothing is in sync;
    /// [`Replica::links`] says at once what is known. Blocking.
    #[must_use]
    pub fn wait_for_sync(&self, limit: Duration) -> Vec<LinkStatus> {
        self.wait_for_sync_looking(limit, || ())
    }

    /// As [`Replica::wait_for_sync`]; `look` is called every now and then meanwhile.
    pub(crate) fn wait_for_sync_looking(&self, limit: Duration, look: impl FnMut()) -> Vec<LinkStatus> {
        self.links.wait(limit, |status| status.gave_up || status.waits_for_decision, look)
    }

    /// Says what is done with what both sides of a link did in a long time apart ([`Stale::hold`](super::Stale::hold)),
    /// which [`LinkStatus::backlog`] tells. A decision to merge holds for this link until it was in sync; one to merge
    /// some, for as long as something is held; one that comes before it is known what waits is about that. False if there is no link to there. Waits for that link's thread, and for
    /// nothing else.
    #[must_use = "it says whether there was such a link"]
    pub fn decide(&self, url: &str, decision: Decision) -> bool {
        self.links.decide(url, decision)
    }

    /// How much of a backlog may be waiting here, for people who are asked about it. Blocking: a look at each document that
    /// changed here.
    ///
    /// # Errors
    /// [`ReplicaError::Read`] if the folder cannot be read.
    pub fn estimate(&self, backlog: &Backlog) -> Result<BacklogEstimate, ReplicaError> {
        self.links.estimate(backlog)
    }

    /// How many documents of this subscription may not be at this address yet, as far as is known from the last time that
    /// there was a link with the same one. Blocking.
    ///
    /// # Errors
    /// [`ReplicaError::Address`] if that is no address, [`ReplicaError::Read`] if the folder cannot be read.
    pub fn unsynced(&self, url: &str, subscription: &Subscription) -> Result<usize, ReplicaError> {
        self.links.unsynced(url, subscription)
    }

    /// How a document stands with each link, and why it is not in sync; none where it has not changed since it was.
    #[must_use]
    pub fn explain(&self, document: &DocumentId) -> Vec<(String, Option<Standing>)> {
        self.links.explain(document)
    }

    /// All documents that are not in sync, with their links.
    #[must_use]
    pub fn lagging(&self) -> Vec<(String, DocumentId, Standing)> {
        self.links.lagging()
    }

    /// What the other end refused for good is tried once more: of this document, or of all. Links that were given up are
    /// dialled.
    pub fn retry(&self, document: Option<&DocumentId>) {
        self.links.retry(document);
    }

    /// What the other end refused of a document for good is left at that: it stays here, counts as acknowledged as it is, and
    /// holds nothing else up. [`Replica::explain`] names it as dropped until it is edited again or retried; it is never
    /// evicted on the word of that link. Kept across restarts. False if nothing of it was parked.
    #[must_use = "it says whether there was anything to drop"]
    pub fn drop_parked(&self, document: &DocumentId) -> bool {
        self.links.drop_parked(document)
    }

    /// The device has another network, or one again: links are tried at once.
    pub fn network_changed(&self) {
        self.links.network_changed();
    }

    /// On a metered network, or when power is low, [`Mode::Saving`] holds back what is not urgent.
    pub fn set_mode(&self, mode: Mode) {
        self.links.set_mode(mode);
    }

    /// How urgent the changes of a document are, on all links that there are.
    pub fn set_priority(&self, document: &DocumentId, priority: Priority) {
        self.links.set_priority(document, priority);
    }
}
