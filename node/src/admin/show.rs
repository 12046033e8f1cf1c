//! One document: how much it is, what it knows, what is in it.

use serde_json::{Map, Value, json};
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::update::{Coverage, Update};

use super::desk::{Desk, missing};
use super::export::pieces;
use super::protocol::{Code, Failure, FormatName, Sink};

/// The answer describes it; its content as JSON comes before, as bytes. Content that cannot be shown is said in the
/// answer and fails nothing: the rest is worth knowing then.
pub(super) fn show(
    desk: &Desk,
    id: &DocumentId,
    content: bool,
    sink: &mut Sink<'_>,
) -> Result<Value, Failure> {
    let described = desk.store.describe(id)?.ok_or_else(|| missing(id))?;
    let version: Map<_, _> =
        described.version.iter().map(|(replica, seq)| (replica.to_string(), seq.0.into())).collect();
    let mut shown = json!({
        "name": id.to_string(),
        "format": FormatName::of(id.format()),
        "operations": described.operations(),
        "bytes": described.bytes(),
        "snapshot_bytes": described.snapshot_bytes,
        "tail_operations": described.tail_operations,
        "tail_bytes": described.tail_bytes,
        "quarantined": described.quarantined,
        "version": version,
    });
    let parts = desk.contents(id)?;
    match id.format() {
        Format::Yjs => {
            let mut coverage = Coverage::default();
            for part in &parts {
                coverage.add(&Update::parse(part.clone()).map_err(|error| {
                    Failure::new(Code::Store, format!("document {id} has a stored update that does not validate: {error}; run `tombolo verify`"))
                })?);
            }
            let clocks = coverage.state_vector();
            shown["state_vector"] = clocks
                .iter()
                .map(|(client, clock)| (client.to_string(), clock.into()))
                .collect::<Map<_, _>>()
                .into();
        }
        Format::Automerge => match desk.view(id, Form::Heads, None, parts.clone()) {
            Ok(heads) => shown["heads"] = serde_json::from_slice(&heads).unwrap_or_default(),
            Err(failure) => shown["heads_error"] = failure.message.into(),
        },
    }
    if content {
        match desk.view(id, Form::Json, None, parts) {
            Ok(json) => pieces(&json, sink)?,
            Err(failure) => shown["content_error"] = failure.message.into(),
        }
    }
    Ok(shown)
}
