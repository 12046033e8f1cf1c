//! The arguments of the commands that look into a store and after it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tombolo_core::id::DocumentId;

use crate::admin::{FileForm, FormatName, Named};
use crate::config::Given;
use crate::error::Error;

/// Which store, and how to answer.
#[derive(Clone, Debug, Args)]
pub(super) struct Where {
    /// The data folder, whether a server uses it or not [default: tombolo-data]
    #[arg(long, env = "TOMBOLO_DATA", value_name = "[sled:|redb:]DIR")]
    data: Option<PathBuf>,
    /// How much to log to stderr: error, warn, info, debug, trace, or a filter [default: warn]
    #[arg(long, env = "TOMBOLO_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// A TOML file with any of: data, log, and the settings of a server
    #[arg(long, env = "TOMBOLO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer with one JSON document on stdout
    #[arg(long)]
    pub(super) json: bool,
}

impl Where {
    pub(super) fn given(&self) -> Given {
        let (data, log, config) = (self.data.clone(), self.log.clone(), self.config.clone());
        Given { data, log, config, ..Given::default() }
    }
}

/// One document.
#[derive(Clone, Debug, Args)]
pub(super) struct Name {
    /// The room name of a Yjs document, or automerge:ID
    name: String,
    /// The name is the id of an Automerge document, with or without automerge: before it
    #[arg(long)]
    automerge: bool,
}

impl Name {
    pub(super) fn named(&self) -> Result<Named, Error> {
        let id = match (self.name.strip_prefix("automerge:"), self.automerge) {
            (Some(text), true) => DocumentId::automerge_from_text(text),
            (None, true) => DocumentId::automerge_from_text(&self.name),
            // A room may be called so, too, if it is no id.
            (Some(text), false) => {
                DocumentId::automerge_from_text(text).or_else(|_| DocumentId::yjs(&self.name))
            }
            (None, false) => DocumentId::yjs(&self.name),
        };
        id.map(|id| Named::of(&id))
            .map_err(|error| Error::Document { name: self.name.clone(), expected: error.to_string() })
    }
}

/// A name as one can give it to a command again.
pub(super) fn as_given(format: FormatName, name: &str) -> String {
    match format {
        FormatName::Yjs => name.to_owned(),
        FormatName::Automerge => format!("automerge:{name}"),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Doc {
    /// Which documents there are
    List(List),
    /// How much one document is, what it knows, what is in it
    Show(Show),
    /// One document as a file
    Export(Export),
    /// A file into a document; with a server its clients see it at once
    Import(Import),
    /// Delete a document, so that no client brings it back; its name stays refused
    Rm(Document),
    /// Let the name of a deleted document be used again
    Purge(Document),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) at: Where,
    /// Only names that start so
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    /// Most documents
    #[arg(long)]
    pub(super) limit: Option<u64>,
    /// Those that were deleted, and when
    #[arg(long, conflicts_with_all = ["prefix", "limit"])]
    pub(super) deleted: bool,
}

#[derive(Debug, Args)]
pub(super) struct Document {
    #[command(flatten)]
    pub(super) name: Name,
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) name: Name,
    #[command(flatten)]
    pub(super) at: Where,
    /// Leave its content out
    #[arg(long)]
    pub(super) no_content: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) name: Name,
    #[command(flatten)]
    pub(super) at: Where,
    /// Where to; - is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(super) to: PathBuf,
    #[command(flatten)]
    pub(super) form: Form,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    pub(super) name: Name,
    /// The file; - is stdin
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) at: Where,
    #[command(flatten)]
    pub(super) form: Form,
}

/// In which form a file is.
#[derive(Clone, Debug, Args)]
pub(super) struct Form {
    /// In which form [default: what the file's ending says (.update .bin .v2 .automerge .json .txt), else the
    /// document's own]
    #[arg(long = "as", value_enum, value_name = "FORM")]
    form: Option<FileForm>,
    /// Only what is under this name, or where JSON or a text goes
    #[arg(long)]
    pub(super) root: Option<String>,
}

impl Form {
    pub(super) fn of(&self, file: &std::path::Path, format: FormatName) -> FileForm {
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let by_ending = match ending.as_deref() {
            Some("update" | "bin" | "yjs" | "v1") => Some(FileForm::Update),
            Some("v2") => Some(FileForm::UpdateV2),
            Some("automerge") => Some(FileForm::Automerge),
            Some("json") => Some(FileForm::Json),
            Some("txt" | "text" | "md") => Some(FileForm::Text),
            _ => None,
        };
        self.form.or(by_ending).unwrap_or(match format {
            FormatName::Yjs => FileForm::Update,
            FormatName::Automerge => FileForm::Automerge,
        })
    }
}

/// The whole store.
#[derive(Debug, Args)]
pub(super) struct Whole {
    #[command(flatten)]
    pub(super) at: Where,
}

#[derive(Debug, Args)]
pub(super) struct Top {
    #[command(flatten)]
    pub(super) at: Where,
    /// Most rooms, the busiest first
    #[arg(long, default_value_t = 200)]
    pub(super) limit: u64,
}

#[derive(Debug, Args)]
pub(super) struct Repair {
    #[command(flatten)]
    pub(super) at: Where,
    /// Where the repaired copy goes; an unused one of before is made anew [default: the data folder's name and .repaired]
    #[arg(long, value_name = "DIR")]
    pub(super) to: Option<PathBuf>,
    /// Put the copy in the folder's place; the damaged folder stays beside it
    #[arg(long)]
    pub(super) apply: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// Which documents have operations in quarantine
    List(Whole),
    /// What of one document is in quarantine, and why
    Show(Document),
    /// Put an operation back into its document
    Retry(Release),
    /// Give an operation's content up; the same bytes stay refused
    Drop(Release),
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    pub(super) name: Name,
    /// Which, as `quarantine show` has it
    #[arg(value_name = "REPLICA/SEQ", value_parser = operation)]
    pub(super) operation: (String, u64),
    #[command(flatten)]
    pub(super) at: Where,
}

fn operation(text: &str) -> Result<(String, u64), String> {
    let parts = text.split_once('/').and_then(|(replica, seq)| Some((replica.to_owned(), seq.parse().ok()?)));
    parts.ok_or_else(|| "give it as `tombolo quarantine show` has it, such as 0011…eeff/7".to_owned())
}
