//! One document: how much it is, what it knows, what is in it.

use serde_json::{Map, Value, json};
use tombolo_core::engine::view::Form;
use tombolo_core::id::{DocumentId, Format};
use tombolo_core::update::Coverage;

use super::desk::{Desk, missing};
use super::export::{parsed, pieces};
use super::protocol::{Failure, FormatName, Sink};

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
    let mut say = |key: &str, value: Value| {
        if let Some(shown) = shown.as_object_mut() {
            shown.insert(key.to_owned(), value);
        }
    };
    if let Some(stub) = described.stub {
        // There is nothing more of it here.
        say("evicted", stub.address.into());
        say("evicted_ms", stub.evicted_ms.into());
        say("evicted_bytes", stub.bytes.into());
        return Ok(shown);
    }
    let parts = desk.contents(id)?;
    match id.format() {
        Format::Yjs => {
            let mut coverage = Coverage::default();
            for part in &parsed(id, &parts)? {
                coverage.add(part);
            }
            let clocks = coverage.state_vector();
            let clocks: Map<_, _> =
                clocks.iter().map(|(client, clock)| (client.to_string(), clock.into())).collect();
            say("state_vector", clocks.into());
        }
        Format::Automerge => match desk.view(id, Form::Heads, None, parts.clone()) {
            Ok(heads) => say("heads", serde_json::from_slice(&heads).unwrap_or_default()),
            Err(failure) => say("heads_error", failure.message.into()),
        },
    }
    if content {
        match desk.view(id, Form::Json, None, parts) {
            Ok(json) => pieces(&json, sink)?,
            Err(failure) => say("content_error", failure.message.into()),
        }
    }
    Ok(shown)
}
