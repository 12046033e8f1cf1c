//! Documents in forms for people and other programs, and such forms as documents.
//!
//! | form | Yjs | Automerge |
//! |---|---|---|
//! | JSON | each root type under its name, as its `toJSON` | the document's map |
//! | text | a root text | a text under the root map |
//! | update v2 | everything, in the other encoding | |
//! | heads | | the hashes of the newest changes, as JSON |
//!
//! A Yjs root has no type until somebody asks for it under one, so its content is what tells: characters are a
//! text, XML nodes an XML fragment, other elements an array, keys a map; keys and elements together are
//! `{"$map": …, "$list": …}`; where all was deleted it is null. Formatting of texts is left out, bytes are base64,
//! what JSON cannot say is null. Of concurrent values the one is shown that clients show. What waits for an edit
//! that is not here is left out.
//!
//! The other way, an object's members are roots: texts, arrays and objects become shared types all the way down,
//! other values plain ones (in Automerge texts inside are shared, too). The same content gives the same bytes with
//! the same ids, so that making a document twice makes it once.
//!
//! As all of [`engine`](super), only for the merge worker.

use bytes::Bytes;

use super::{EngineError, automerge, yjs_make, yjs_view};
use crate::id::Format;
use crate::limits::UPDATE_BYTES_MAX;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// JSON.
    Json = 0,
    /// Plain text.
    Text = 1,
    /// A Yjs update in its v2 encoding.
    UpdateV2 = 2,
    /// The heads of an Automerge document: a JSON array of hex texts.
    Heads = 3,
}

impl Form {
    /// The form with this tag, if there is one.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        [Self::Json, Self::Text, Self::UpdateV2, Self::Heads].into_iter().find(|form| *form as u8 == tag)
    }
}

/// Largest view in bytes: JSON of a document at its largest, and of what is made of one.
const VIEW_BYTES_MAX: usize = 4 * UPDATE_BYTES_MAX;

/// The document that the parts give in another form. With `root`, only that member of it; a text without one is the
/// only text there is.
///
/// # Errors
/// [`EngineError::Unfit`] if it has no such form, [`EngineError::Malformed`] and [`EngineError::Diverged`] as for a
/// fold.
pub fn view(format: Format, form: Form, root: Option<&str>, parts: &[Bytes]) -> Result<Bytes, EngineError> {
    match (format, form) {
        (Format::Yjs, Form::Json) => yjs_view::json(parts, root, VIEW_BYTES_MAX),
        (Format::Yjs, Form::Text) => yjs_view::text(parts, root),
        (Format::Yjs, Form::UpdateV2) => yjs_view::to_v2(parts),
        (Format::Automerge, Form::Json) => automerge::view::json(parts, root, VIEW_BYTES_MAX),
        (Format::Automerge, Form::Text) => automerge::view::text(parts, root),
        (Format::Automerge, Form::Heads) => automerge::view::heads(parts),
        (Format::Yjs, Form::Heads) | (Format::Automerge, Form::UpdateV2) => Err(no_such_form()),
    }
}

/// The operation that brings `content` into a document that has nothing yet; a v2 update into any.
///
/// # Errors
/// [`EngineError::Malformed`] if the content is not of this form, [`EngineError::Unfit`] if no document can be made
/// of it.
pub fn make(format: Format, form: Form, root: Option<&str>, content: &Bytes) -> Result<Bytes, EngineError> {
    match (format, form) {
        (Format::Yjs, Form::Json) => yjs_make::from_json(content, root),
        (Format::Yjs, Form::Text) => yjs_make::from_text(content, root.unwrap_or(TEXT_ROOT)),
        (Format::Yjs, Form::UpdateV2) => yjs_view::from_v2(content),
        (Format::Automerge, Form::Json) => automerge::make::from_json(content, root),
        (Format::Automerge, Form::Text) => automerge::make::from_text(content, root.unwrap_or(TEXT_ROOT)),
        (_, Form::Heads) | (Format::Automerge, Form::UpdateV2) => Err(no_such_form()),
    }
}

/// Where a text goes unless told otherwise; the page keeps its text there, too.
pub const TEXT_ROOT: &str = "text";

fn no_such_form() -> EngineError {
    EngineError::unfit("a document of its format has no such form")
}

/// The only text of a document.
pub(super) fn only_text(mut texts: Vec<(String, String)>) -> Result<Bytes, EngineError> {
    match (texts.pop(), texts.len()) {
        (None, _) => Err(EngineError::unfit("it has no text")),
        (Some((_, text)), 0) => Ok(text.into()),
        (Some((last, _)), others) => {
            let names: Vec<_> = texts.iter().map(|(name, _)| name.as_str()).take(NAMES_MAX).collect();
            let more = if others > NAMES_MAX { ", …" } else { "" };
            let names = names.join(", ");
            Err(EngineError::unfit(format_args!("it has several texts: {names}{more}, {last}; name one")))
        }
    }
}

/// Names in a message.
const NAMES_MAX: usize = 20;

#[cfg(test)]
mod tests;
