//! What can go wrong with notes, by what a person does about it.

use std::path::PathBuf;

use crate::admin::Failure;
use crate::replica::ReplicaError;

/// Why a note is not what somebody wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// There is none.
    #[error(
        "there is no note {name:?}; `tombolo note list` says which there are, `tombolo note new` makes one"
    )]
    Missing {
        /// Of which name.
        name: String,
    },
    /// It is elsewhere.
    #[error(
        "the note {name:?} is not here: it was evicted to make room, and {address} has it; link to that with `tombolo \
         note link add`, and it is fetched when it is shown"
    )]
    Evicted {
        /// Which note.
        name: String,
        /// Who had it then.
        address: String,
    },
    /// There is one already.
    #[error("there is a note {name:?} already; edit it with `tombolo note edit`, or choose another name")]
    Exists {
        /// Of which name.
        name: String,
    },
    /// A note begins with something in it.
    #[error(
        "nothing was written, so there is no note {name:?}; write something, or give it with --text or --from"
    )]
    Empty {
        /// Of which name.
        name: String,
    },
    /// What was given is no tag.
    #[error(
        "{tag:?} is no tag; a tag is one word of letters, digits, - _ / . and the like, which begins with a letter or \
         a digit"
    )]
    Tag {
        /// What was given.
        tag: String,
    },
    /// Tags in a form that is not rewritten.
    #[error(
        "the tags in the front matter of {name:?} are written in a way that is left alone ({why}); change them with `tombolo note edit`"
    )]
    FrontMatter {
        /// Of which note.
        name: String,
        /// Which way.
        why: &'static str,
    },
    /// A rich text, of another program.
    #[error(
        "the note {name:?} has more in it than text, such as pictures; change it in the program that put them there"
    )]
    Embeds {
        /// Which note.
        name: String,
    },
    /// The editor did not run, or did not end well.
    #[error(
        "the editor {editor:?} did not end well ({why}); the note is as it was; set EDITOR to one that does"
    )]
    Editor {
        /// What was run.
        editor: String,
        /// What came of it.
        why: String,
    },
    /// What was written is not in the note.
    #[error("the note is not saved; what was written is in {kept}", kept = kept.display())]
    Kept {
        /// The file.
        kept: PathBuf,
        /// Why not.
        #[source]
        source: Box<NoteError>,
    },
    /// A file is no text.
    #[error("it is no text in UTF-8; save it as one")]
    NotText,
    /// A file is larger than a note can be.
    #[error("it has more than {max} bytes; split it")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// A file and a note say different things.
    #[error("file and note {name:?} differ; look at both, then --replace makes one of the other")]
    Differs {
        /// The note.
        name: String,
    },
    /// Some were not moved.
    #[error("left out: {count}, as listed; what the others say is done")]
    LeftOut {
        /// How many.
        count: usize,
    },
    /// The list of links is no list.
    #[error("the list of links {path} cannot be understood ({why}); delete it and add them again with `tombolo note link add`", path = path.display())]
    Links {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is such a link already.
    #[error(
        "these notes are linked to {url} already; take that away first with `tombolo note link rm`, to give another token"
    )]
    Linked {
        /// Where it goes.
        url: String,
    },
    /// There is no such link.
    #[error("these notes are not linked to {url}; `tombolo note link list` says to what they are")]
    NotLinked {
        /// What was named.
        url: String,
    },
    /// There is nothing to sync with.
    #[error(
        "these notes are linked to nothing; say where to sync them with `tombolo note link add ws://HOST:PORT`"
    )]
    NoLinks,
    /// Not everything was synced in time.
    #[error(
        "not everything is in sync, as listed; nothing is lost, and `tombolo note sync` goes on from here"
    )]
    NotSynced,
    /// Somebody has to decide.
    #[error(
        "what changed in a long time apart waits, as listed; nothing is lost, and `tombolo note sync --merge` merges it"
    )]
    Waits,
    /// A server has the folder.
    #[error(
        "another process has these notes open: a server, which does not sync them with others; stop it, or sync from a folder of its own; or `tombolo note sync --stay`, which syncs them already"
    )]
    ServerHasThem,
    /// A file cannot be read or written.
    #[error("the file {path} cannot be read or written", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder cannot be opened or closed.
    #[error(transparent)]
    Folder(Box<crate::error::Error>),
    /// The replica says no.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The server that has the folder says no.
    #[error(transparent)]
    Server(#[from] Failure),
}
