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
    let mut row = json!({ "name": id.to_string(), "format": FormatName::of(id.format()) });
    match described {
        Ok(None) => return None,
        Ok(Some(described)) => {
            row["operations"] = described.operations().into();
            row["bytes"] = described.bytes().into();
        }
        Err(error) => row["error"] = Failure::from(error).message.into(),
    }
    Some(row)
}
