//! What changes or judges a store as a whole, and deleting.

use serde_json::{Value, json};
use tombolo_core::id::DocumentId;
use tombolo_store::maintain::{Finding, Severity, Verification};

use super::desk::{Desk, missing};
use super::protocol::{Code, Event, Failure, FormatName, Sink};

/// Deletes a document; those who have it open are told.
pub(super) fn remove(desk: &Desk, id: &DocumentId) -> Result<Value, Failure> {
    if desk.entrance.remove(id)? { Ok(named(id)) } else { Err(missing(id)) }
}

pub(super) fn purge(desk: &Desk, id: &DocumentId) -> Result<Value, Failure> {
    if desk.store.purge(id)? {
        return Ok(named(id));
    }
    let how = "`tombolo doc list --deleted` says which documents were deleted";
    Err(Failure::new(Code::Missing, format!("there is no tombstone of {id}; {how}")))
}

fn named(id: &DocumentId) -> Value {
    json!({ "name": id.to_string(), "format": FormatName::of(id.format()) })
}

pub(super) fn verify(desk: &Desk, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let mut heard = Ok(());
    let verification = desk.store.verify(&mut |progress| {
        if heard.is_ok() {
            heard = sink(Event::Progress(progress));
        }
    });
    heard?;
    for finding in &verification.findings {
        sink(Event::Row(self::finding(finding)))?;
    }
    Ok(self::verification(&verification))
}

/// What verify says besides its findings.
#[must_use]
pub fn verification(verification: &Verification) -> Value {
    json!({
        "documents": verification.documents,
        "operations": verification.operations,
        "bytes": verification.bytes,
        "damaged": verification.is_damaged(),
    })
}

/// One finding as a row.
#[must_use]
pub fn finding(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Damage => "damage",
        Severity::Note => "note",
    };
    json!({
        "severity": severity,
        "document": finding.document,
        "place": finding.place,
        "found": finding.found,
    })
}

pub(super) fn compact(desk: &Desk, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let mut heard = Ok(());
    let (before, after) = desk.store.compact(&mut |progress| {
        if heard.is_ok() {
            heard = sink(Event::Progress(progress));
        }
    })?;
    heard?;
    Ok(json!({ "bytes_before": before, "bytes_after": after }))
}
