//! Notes: Yjs documents with a text, in a folder of a person's own.
//!
//! A note is the document of its name and nothing else: its text is the one that the page of `tombolo serve` edits, under
//! [`TEXT_ROOT`]. Tags are in the front matter of the text, and not in a map beside it, because then a file says all
//! that a note says: what goes in as Markdown comes out byte for byte, every editor and the page can tag, and there
//! are no two places that could disagree. Who tags apart from each other merges as text does.
//!
//! Guarantees: a change is made against the text that its writer saw and merged into what the note is by then; what was
//! not changed is not touched; everything that is answered is fsynced.

mod elsewhere; // what was evicted, fetched
mod error;
mod files; // which note a file is
mod front_matter; // tags and title
mod links; // where they are synced to
mod notebook; // the notes of a folder, here or on a server
mod search;

pub use error::NoteError;
pub use files::{file_of, name_of};
pub use front_matter::{Tag, tagged, tags, title};
pub use links::{NoteLink, load as load_links, save as save_links};
pub use notebook::{Listed, Note, Notebook};
pub use search::{Match, search};
pub use tombolo_core::engine::view::TEXT_ROOT;
