//! Admission: may this one join? One door for all dialects, asked before a connection sees a room.

use std::net::SocketAddr;

use tombolo_core::id::DocumentId;

/// What a client shows at the door.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it wants to join; none where the dialect names documents later.
    pub document: Option<&'a DocumentId>,
    /// The token that it sent, if its dialect has one.
    pub token: Option<&'a str>,
}

/// Why it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// For the client, in a few words.
    pub reason: String,
}

/// Decides who may join.
pub trait Admission: Send + Sync + 'static {
    /// Answers at once; it is asked on the connection's own task.
    ///
    /// # Errors
    /// [`Denied`] with a reason that the client is told.
    fn admit(&self, claim: &Claim<'_>) -> Result<(), Denied>;
}

/// Everybody may; tokens are accepted and ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

impl Admission for Everybody {
    fn admit(&self, _claim: &Claim<'_>) -> Result<(), Denied> {
        Ok(())
    }
}
