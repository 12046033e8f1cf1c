//! Which documents there are.

use serde_json::{Value, json};
use tombolo_core::id::DocumentId;
use tombolo_store::StoreError;

use super::desk::Desk;
use super::protocol::{Event, Failure, FormatName, Sink};

/// Documents asked for at once: memory does not grow with the store.
const PAGE: usize = 1000;

/// A row for each document; the answer tells how many, and whether there are more.
pub(super) fn list(desk: &Desk, prefix: &str, limit: u64, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let mut after: Option<DocumentId> = None;
    let mut count = 0;
    loop {
        let page = desk.store.documents(after.as_ref(), PAGE)?;
        for id in page.iter().filter(|id| id.to_string().starts_with(prefix)) {
            if count == limit {
                return Ok(json!({ "count": count, "more": true }));
            }
            if let Some(row) = row(id, desk.store.describe(id)) {
                count += 1;
                sink(Event::Row(row))?;
            }
        }
        match page.into_iter().last() {
            Some(last) => after = Some(last),
            None => return Ok(json!({ "count": count, "more": false })),
        }
    }
}

/// None if it was deleted meanwhile. One that cannot be read says so, and the list goes on.
fn row(id: &DocumentId, described: Result<Option<tombolo_store::Description>, StoreError>) -> Option<Value> {
    let (name, format) = (id.to_string(), FormatName::of(id.format()));
    match described {
        Ok(None) => None,
        Ok(Some(described)) => {
            let (operations, bytes) = (described.operations(), described.bytes());
            let mut row = json!({ "name": name, "format": format, "operations": operations, "bytes": bytes });
            if let (Some(row), Some(stub)) = (row.as_object_mut(), described.stub) {
                row.insert("evicted".to_owned(), stub.address.into());
            }
            Some(row)
        }
        Err(error) => Some(json!({ "name": name, "format": format, "error": Failure::from(error).message })),
    }
}

/// A row for each deleted document whose name is still refused.
pub(super) fn tombstones(desk: &Desk, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let tombstones = desk.store.tombstones()?;
    for (id, deleted_ms) in &tombstones {
        let format = FormatName::of(id.format());
        sink(Event::Row(json!({ "name": id.to_string(), "format": format, "deleted_ms": deleted_ms })))?;
    }
    Ok(json!({ "count": tombstones.len() }))
}
