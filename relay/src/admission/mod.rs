//! Admission: may this one join, and may it write? One door for all dialects, asked before a connection sees a room.

mod tokens;

use std::net::SocketAddr;

use tombolo_core::id::DocumentId;

pub use tokens::Tokens;

/// What a client shows at the door. It is not to be printed.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it wants to join; none where the dialect names documents later.
    pub document: Option<&'a DocumentId>,
    /// The token that it sent, if any.
    pub token: Option<&'a str>,
}

/// What somebody who may join may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Read, and show presence. Dialects in which nobody can be kept from writing turn it away.
    ReadOnly,
}

/// Why it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// For the client, in a few words.
    pub reason: String,
}

/// Decides who may join.
pub trait Admission: Send + Sync + 'static {
    /// Answers at once; it is asked on the connection's own task, and again when a client renews its token.
    ///
    /// # Errors
    /// [`Denied`] with a reason that the client is told.
    fn admit(&self, claim: &Claim<'_>) -> Result<Access, Denied>;
}

/// Everybody may do everything; tokens are accepted and ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

impl Admission for Everybody {
    fn admit(&self, _claim: &Claim<'_>) -> Result<Access, Denied> {
        Ok(Access::ReadWrite)
    }
}

/// For dialects in which whoever takes part can write.
pub(crate) fn admit_writer(admission: &dyn Admission, claim: &Claim<'_>) -> Result<(), Denied> {
    match admission.admit(claim)? {
        Access::ReadWrite => Ok(()),
        Access::ReadOnly => {
            Err(Denied { reason: "this token may only read, and who joins here can write".into() })
        }
    }
}
