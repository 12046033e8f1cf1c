//! A document as a file.

use bytes::Bytes;
use serde_json::{Value, json};
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::operation::Kind;
use tombolo_core::update::{self, Update};

use super::desk::Desk;
use super::protocol::{Code, Event, Failure, FileForm, FormatName, Sink};

/// Bytes sent at once.
pub(super) const PIECE: usize = 256 * 1024;

/// The file, as bytes; the answer tells how many.
pub(super) fn export(
    desk: &Desk,
    id: &DocumentId,
    form: FileForm,
    root: Option<&str>,
    sink: &mut Sink<'_>,
) -> Result<Value, Failure> {
    check_form(id, form)?;
    if root.is_some() && !form.is_text() {
        return Err(Failure::unfit(
            "--root names a part of a document, which only has a JSON or a text form",
        ));
    }
    let parts = desk.contents(id)?;
    let file = match form {
        FileForm::Update => merged(id, &parts)?,
        FileForm::UpdateV2 => desk.view(id, Form::UpdateV2, None, parts)?,
        FileForm::Json => desk.view(id, Form::Json, root, parts)?,
        FileForm::Text => desk.view(id, Form::Text, root, parts)?,
        FileForm::Automerge => folded(desk, &parts)?,
    };
    pieces(&file, sink)?;
    Ok(
        json!({ "name": id.to_string(), "format": FormatName::of(id.format()), "as": form, "bytes": file.len() }),
    )
}

/// Refuses a form that documents of this format do not have.
pub(super) fn check_form(id: &DocumentId, form: FileForm) -> Result<(), Failure> {
    match (id.format(), form) {
        (Format::Yjs, FileForm::Automerge) => {
            Err(Failure::unfit("a Yjs document is no Automerge file; choose update, update-v2, json or text"))
        }
        (Format::Automerge, FileForm::Update | FileForm::UpdateV2) => {
            Err(Failure::unfit("an Automerge document is no Yjs update; choose automerge, json or text"))
        }
        _ => Ok(()),
    }
}

pub(super) fn pieces(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
    Ok(bytes.chunks(PIECE).try_for_each(|piece| sink(Event::Bytes(piece)))?)
}

/// Without an engine: whatever was stored goes out, what waits for other edits, too.
fn merged(id: &DocumentId, parts: &[Bytes]) -> Result<Bytes, Failure> {
    Ok(update::merge(&parsed(id, parts)?))
}

/// Stored parts, judged again: nothing that does not validate was ever taken.
pub(super) fn parsed(id: &DocumentId, parts: &[Bytes]) -> Result<Vec<Update>, Failure> {
    parts.iter().map(|part| Update::parse(part.clone())).collect::<Result<_, _>>().map_err(|error| {
        let what = "has a stored update that does not validate";
        Failure::new(Code::Store, format!("document {id} {what}: {error}; run `tombolo verify`"))
    })
}

/// One document chunk as Automerge itself saves it; if the engine refuses to fold, the stored chunks as they are,
/// which Automerge loads as well.
fn folded(desk: &Desk, parts: &[Bytes]) -> Result<Bytes, Failure> {
    let fold =
        tombolo_store::worker::Request::Compact { kind: Kind::AutomergeChanges, parts: parts.to_vec() };
    match desk.ask(fold) {
        Err(Failure { code: Code::Unfit, .. }) => Ok(parts.concat().into()),
        other => other,
    }
}
