//! A file into a document: judged like anything that comes over a wire, then brought like any client's edit.

use bytes::Bytes;
use serde_json::{Value, json};
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::limits::UPDATE_BYTES_MAX;
use tombolo_core::update::Update;
use tombolo_core::validate::validate_chunks;

use super::desk::Desk;
use super::export::check_form;
use super::protocol::{Failure, FileForm, FormatName};

/// Answers when everything in the file is durable, and with a server when its clients were sent it.
pub(super) fn import(
    desk: &Desk,
    id: &DocumentId,
    form: FileForm,
    root: Option<&str>,
    file: &Bytes,
) -> Result<Value, Failure> {
    check_form(id, form)?;
    if file.len() > UPDATE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {UPDATE_BYTES_MAX} are taken", file.len());
        return Err(Failure::unfit(message));
    }
    if root.is_some() && !form.is_text() {
        return Err(Failure::unfit("--root says where JSON or a text goes; this file says so itself"));
    }
    let before = operations(desk, id)?;
    if form.is_text() && before > 0 {
        return Err(Failure::unfit(format!(
            "document {id} exists; JSON and text can only become a new document, because they do not say which \
             edits they come from; choose another name, or import an update or an Automerge file"
        )));
    }
    let operation = operation(desk, id, form, root, file)?;
    match id.format() {
        Format::Yjs => bring_update(desk, id, operation)?,
        Format::Automerge => desk.entrance.bring_changes(desk, id, &operation)?,
    }
    let after = operations(desk, id)?;
    Ok(json!({
        "name": id.to_string(),
        "format": FormatName::of(id.format()),
        "bytes": file.len(),
        "operations": after.saturating_sub(before),
        "total_operations": after,
    }))
}

fn operations(desk: &Desk, id: &DocumentId) -> Result<u64, Failure> {
    Ok(desk.store.describe(id)?.map_or(0, |described| described.operations()))
}

/// What is to be appended.
fn operation(
    desk: &Desk,
    id: &DocumentId,
    form: FileForm,
    root: Option<&str>,
    file: &Bytes,
) -> Result<Bytes, Failure> {
    match form {
        FileForm::Update | FileForm::Automerge => Ok(file.clone()),
        FileForm::UpdateV2 => desk.make(id, Form::UpdateV2, None, file),
        FileForm::Json => desk.make(id, Form::Json, root, file),
        FileForm::Text => desk.make(id, Form::Text, root, file),
    }
    .and_then(|operation| {
        let judged = match id.format() {
            Format::Yjs => Update::parse(operation.clone()).map(|_| ()).map_err(|error| {
                format!("the file is no Yjs update of version 1: {error}; if it is of version 2 say `--as update-v2`")
            }),
            Format::Automerge => validate_chunks(&operation)
                .map_err(|error| format!("the file holds no Automerge chunks: {error}")),
        };
        judged.map(|()| operation).map_err(Failure::unfit)
    })
}

fn bring_update(desk: &Desk, id: &DocumentId, operation: Bytes) -> Result<(), Failure> {
    let update = Update::parse(operation).map_err(|error| Failure::unfit(error.to_string()))?;
    if update.is_empty() {
        return Err(Failure::unfit("the update has no edit in it"));
    }
    desk.entrance.bring_update(id, update)
}
