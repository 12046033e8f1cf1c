//! The error of the whole: what happened, why, what to do, and the exit code of its class.

use std::net::SocketAddr;
use std::path::PathBuf;

use tombolo_store::maintain::MaintainError;

use crate::admin::{Code, Failure};
use crate::note::NoteError;
use crate::replica::ReplicaError;

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
    /// A limit has no meaning.
    #[error("the limit {name} cannot be {value:?}; {expected}")]
    Limit {
        /// Which.
        name: String,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A token protects nothing. It is not said which it was.
    #[error("{name} cannot be used; {expected}")]
    Token {
        /// Which setting.
        name: &'static str,
        /// What would do.
        expected: &'static str,
    },
    /// What was given is no origin.
    #[error("allow-origin cannot be {value:?}; {error}")]
    Origin {
        /// What was given.
        value: String,
        /// What would do.
        error: tombolo_relay::InvalidOrigin,
    },
    /// What was given is no address of peers, or no token.
    #[error("{name} cannot be {value:?}; {error}")]
    Place {
        /// Which.
        name: &'static str,
        /// What was given, without secrets.
        value: String,
        /// What would do.
        error: tombolo_relay::backplane::InvalidAddress,
    },
    /// Others than this machine would reach a server without access control.
    #[error(
        "{address} can be reached from other machines, and everybody who reaches it may read and write everything; \
         give --token to let those in who show it, or --open if everybody may, or listen on 127.0.0.1 and let those in \
         whom you choose through a proxy or a tunnel"
    )]
    Exposed {
        /// Where to listen.
        address: SocketAddr,
    },
    /// One port cannot speak two dialects.
    #[error("{one} and {other} both want port {port}; give one of them another, such as {other}:{}", port.wrapping_add(1))]
    SamePort {
        /// Which port.
        port: u16,
        /// Who had it first.
        one: String,
        /// Who wants it, too.
        other: String,
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
    /// There is no store to look into.
    #[error("there is no store in {path}; name its folder with --data, or make one with `tombolo serve` or `tombolo note new`", path = path.display())]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// Nobody is there to be watched.
    #[error(
        "no server answers in {path}; name the data folder of a running `tombolo serve` with --data, or the folder \
         that a `tombolo relay` was given with --admin", path = path.display()
    )]
    NoServer {
        /// Where it should answer.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A relay cannot be asked in this folder.
    #[error("the admin socket cannot be in {path}; give --admin a folder of its own", path = path.display())]
    AdminFolder {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Somebody uses the folder and answers nothing.
    #[error("another process uses the data folder {path} and does not answer; stop it, or ask again when it is up", path = path.display())]
    NoAnswer {
        /// The folder.
        path: PathBuf,
        /// What its socket said.
        #[source]
        source: std::io::Error,
    },
    /// What was given names no document.
    #[error("{name:?} names no document: {expected}")]
    Document {
        /// What was given.
        name: String,
        /// Why not.
        expected: String,
    },
    /// A request about a store has no answer.
    #[error(transparent)]
    Request(#[from] Failure),
    /// A note is not what somebody wanted.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A file of a command cannot be read or written.
    #[error("the file {path} cannot be read or written", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written to stdout")]
    Output(#[source] std::io::Error),
    /// A folder cannot be looked after.
    #[error(transparent)]
    Maintain(#[from] MaintainError),
    /// Verify found damage.
    #[error("the store is damaged; `tombolo repair` saves what is intact into a copy, or restore a backup")]
    Damaged,
    /// The system refuses threads or signals.
    #[error("the system refuses what a server needs")]
    System(#[from] std::io::Error),
}

impl Error {
    /// The exit code of its class, as `tombolo --help` lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ConfigFile { .. }
            | Self::Setting { .. }
            | Self::Token { .. }
            | Self::Limit { .. }
            | Self::Origin { .. }
            | Self::Place { .. }
            | Self::Exposed { .. }
            | Self::SamePort { .. }
            | Self::AdminFolder { .. }
            | Self::Document { .. }
            | Self::Maintain(MaintainError::Taken { .. }) => 2,
            Self::Listen(_) => 3,
            Self::Open(_)
            | Self::NoStore { .. }
            | Self::NoAnswer { .. }
            | Self::NoServer { .. }
            | Self::Maintain(MaintainError::Missing { .. } | MaintainError::Open(_)) => 4,
            Self::Close(_) => 5,
            Self::Damaged => 6,
            Self::Request(failure) => code_of_failure(failure),
            Self::Note(error) => code_of_note(error),
            Self::System(_) | Self::File { .. } | Self::Output(_) | Self::Maintain(_) => 1,
        }
    }
}

fn code_of_failure(failure: &Failure) -> u8 {
    match failure.code {
        Code::Version | Code::Busy => 4,
        Code::Request | Code::Missing | Code::Unfit | Code::Refused => 7,
        Code::Store | Code::Gone => 1,
    }
}

fn code_of_note(error: &NoteError) -> u8 {
    match error {
        NoteError::Tag { .. }
        | NoteError::Replica(ReplicaError::Name { .. } | ReplicaError::Address { .. }) => 2,
        NoteError::Replica(ReplicaError::InUse { .. } | ReplicaError::Open(_)) => 4,
        NoteError::Kept { source, .. } => code_of_note(source),
        NoteError::Waits => 8,
        NoteError::Folder(error) => error.exit_code(),
        NoteError::Server(failure) => code_of_failure(failure),
        NoteError::Missing { .. }
        | NoteError::Evicted { .. }
        | NoteError::Exists { .. }
        | NoteError::Empty { .. }
        | NoteError::FrontMatter { .. }
        | NoteError::Embeds { .. }
        | NoteError::NotText
        | NoteError::TooLarge { .. }
        | NoteError::Differs { .. }
        | NoteError::LeftOut { .. }
        | NoteError::Linked { .. }
        | NoteError::NotLinked { .. }
        | NoteError::NoLinks
        | NoteError::NotSynced
        | NoteError::ServerHasThem
        | NoteError::Replica(
            ReplicaError::Deleted { .. }
            | ReplicaError::Edit { .. }
            | ReplicaError::Evicted { .. }
            | ReplicaError::NotFetched { .. },
        ) => 7,
        NoteError::Editor { .. }
        | NoteError::Links { .. }
        | NoteError::File { .. }
        | NoteError::Replica(_) => 1,
    }
}
