//! The arguments of `tombolo note`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::store_args::Where;
use crate::replica::{Pattern, Token};

#[derive(Debug, Subcommand)]
pub(super) enum Note {
    /// Write a new note, in the editor unless its text is given
    New(New),
    /// Edit a note in $VISUAL, $EDITOR or vi; what others change meanwhile is merged
    Edit(One),
    /// Which notes there are
    List(List),
    /// What a note says
    Show(One),
    /// Where notes say something, whatever its case; also in their names
    Search(Search),
    /// Tag a note; without a tag, say which it has
    Tag(Tags),
    /// Delete a note here, so that nobody brings it back; its name stays refused. Where it was synced it stays
    Rm(One),
    /// The Markdown files of a folder as notes, under their paths
    Import(Files),
    /// The notes as Markdown files of a folder
    Export(Files),
    /// To which relays and nodes the notes are synced
    #[command(subcommand)]
    Link(Link),
    /// Sync the notes with everything they are linked to
    Sync(Sync),
    /// Why a note is not in sync
    Explain(Explain),
    /// Where the notes are, how many, and who has them open
    Status(Status),
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// The name of the note
    pub(super) name: String,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// What to call it; with / in it, it becomes a file in a folder when it is exported
    pub(super) name: String,
    /// What it says
    #[arg(long, conflicts_with = "from")]
    pub(super) text: Option<String>,
    /// A file with what it says; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only notes with this tag
    #[arg(long)]
    pub(super) tag: Option<String>,
    /// Only names that start so
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// What to look for
    pub(super) wanted: String,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Tags {
    /// The name of the note
    pub(super) name: String,
    /// Tags to add
    #[arg(value_name = "TAG")]
    pub(super) add: Vec<String>,
    /// A tag to take away; repeatable
    #[arg(long, value_name = "TAG")]
    pub(super) remove: Vec<String>,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Files {
    /// The folder of the files
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
    /// Where a note and its file differ, make what is there into what comes; without it such are left alone
    #[arg(long)]
    pub(super) replace: bool,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Subcommand)]
pub(super) enum Link {
    /// Sync with this relay or node from now on
    Add(LinkAdd),
    /// To what the notes are linked, and how many may not be there yet
    List(Status),
    /// Do not sync with this one any more; what is there stays there
    Rm(LinkRm),
}

#[derive(Debug, Args)]
pub(super) struct LinkAdd {
    /// Its address: ws://HOST:PORT or wss://HOST
    pub(super) url: String,
    /// What opens it, if it wants a token; kept in the data folder, readable for you only
    #[arg(long, env = "TOMBOLO_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: Option<Token>,
    /// Only notes whose names this fits: ? is a character, * are some without /, ** are any; repeatable
    #[arg(long, value_name = "PATTERN")]
    pub(super) only: Vec<Pattern>,
    /// After so many days without a sync, say what changed here and there before it is merged
    #[arg(long, value_name = "DAYS")]
    pub(super) stale_after: Option<u64>,
    /// And merge it only when `sync --merge` says so
    #[arg(long, requires = "stale_after")]
    pub(super) hold: bool,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct LinkRm {
    /// Its address
    pub(super) url: String,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Sync {
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) limit: u64,
    /// Merge what changed in a long time apart and waits
    #[arg(long)]
    pub(super) merge: bool,
    /// Merge of it only notes whose names this fits; repeatable
    #[arg(long, value_name = "PATTERN", conflicts_with = "merge")]
    pub(super) merge_only: Vec<Pattern>,
    /// Stay, and sync whatever changes, until Ctrl-C
    #[arg(long, conflicts_with = "limit")]
    pub(super) stay: bool,
    /// Let others link to these notes at this address meanwhile, without a server; with --stay
    #[arg(long, value_name = "IP:PORT", requires = "stay")]
    pub(super) listen: Option<SocketAddr>,
    /// What they must show; needed where others than this machine can come
    #[arg(
        long,
        env = "TOMBOLO_LISTEN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        requires = "listen"
    )]
    pub(super) listen_token: Option<Token>,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The name of the note
    pub(super) name: String,
    /// Look for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) limit: u64,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) at: Where,
}

impl Note {
    pub(super) fn at(&self) -> &Where {
        match self {
            Self::New(args) => &args.at,
            Self::Edit(args) | Self::Show(args) | Self::Rm(args) => &args.at,
            Self::List(args) => &args.at,
            Self::Search(args) => &args.at,
            Self::Tag(args) => &args.at,
            Self::Import(args) | Self::Export(args) => &args.at,
            Self::Link(Link::Add(args)) => &args.at,
            Self::Link(Link::Rm(args)) => &args.at,
            Self::Link(Link::List(args)) | Self::Status(args) => &args.at,
            Self::Sync(args) => &args.at,
            Self::Explain(args) => &args.at,
        }
    }

    /// Whether a folder that is not there is made.
    pub(super) fn makes(&self) -> bool {
        matches!(self, Self::New(_) | Self::Import(_) | Self::Link(Link::Add(_)) | Self::Sync(_))
    }
}
