//! Why a relay does not start.

use std::net::SocketAddr;

use crate::drop_in::DropIn;

/// What to tell a person whose relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Somebody listens there already.
    #[error("{address} is already in use; stop the other process or choose another address with --listen")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Somebody listens where another server would be stood in for; that server, for instance.
    #[error(
        "{address}, where --drop-in {drop_in} listens, is already in use; stop the server that listens there, or \
         give another port with --drop-in {drop_in}:PORT"
    )]
    DropInInUse {
        /// The address.
        address: SocketAddr,
        /// Whom it would have stood in for.
        drop_in: DropIn,
    },
    /// The system refuses the address.
    #[error(
        "cannot listen on {address}; choose another address with --listen, or another port with --drop-in"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start the relay's threads; the system is out of threads or of file descriptors")]
    Threads {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
