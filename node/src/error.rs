//! The error of the whole: what happened, why, what to do, and the exit code of its class.

use std::path::PathBuf;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings do not add up.
    #[error("the settings in {path} cannot be used; correct them or leave out --config", path = path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting has no meaning.
    #[error("{name} cannot be {value:?}; {expected}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The store does not open.
    #[error(transparent)]
    Open(#[from] tombolo_store::OpenError),
    /// The store did not close whole.
    #[error(
        "the store could not take over everything before the end; the journal keeps it and the next start goes on"
    )]
    Close(#[source] tombolo_store::StoreError),
    /// The relay does not start.
    #[error(transparent)]
    Listen(#[from] tombolo_relay::StartError),
    /// The system refuses threads or signals.
    #[error("the system refuses what a server needs")]
    System(#[from] std::io::Error),
}

impl Error {
    /// The exit code of its class, as `tombolo --help` lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ConfigFile { .. } | Self::Setting { .. } => 2,
            Self::Listen(_) => 3,
            Self::Open(_) => 4,
            Self::Close(_) => 5,
            Self::System(_) => 1,
        }
    }
}
