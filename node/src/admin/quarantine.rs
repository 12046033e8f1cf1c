//! Operations that were set aside because they break the merge engine.

use serde_json::{Value, json};
use tombolo_core::id::{DocumentId, ReplicaId, Seq};
use tombolo_store::{Noted, Release};

use super::desk::Desk;
use super::protocol::{Code, Event, Failure, FormatName, Sink};

pub(super) fn documents(desk: &Desk, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let documents = desk.store.quarantined()?;
    for (id, operations) in &documents {
        let format = FormatName::of(id.format());
        sink(Event::Row(json!({ "name": id.to_string(), "format": format, "operations": operations })))?;
    }
    Ok(json!({ "count": documents.len() }))
}

pub(super) fn operations(desk: &Desk, id: &DocumentId, sink: &mut Sink<'_>) -> Result<Value, Failure> {
    let noted = desk.store.quarantine(id)?;
    for noted in &noted {
        sink(Event::Row(row(noted)))?;
    }
    Ok(json!({ "count": noted.len() }))
}

fn row(noted: &Noted) -> Value {
    json!({
        "replica": noted.replica.to_string(),
        "seq": noted.seq.0,
        "set_aside_ms": noted.at_ms,
        "reason": noted.reason,
        "bytes": noted.bytes,
        "blake3": noted.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "dropped": noted.dropped,
    })
}

pub(super) fn release(
    desk: &Desk,
    id: &DocumentId,
    replica: &str,
    seq: u64,
    retry: bool,
) -> Result<Value, Failure> {
    let name = (parse_replica(replica)?, Seq(seq));
    let release = if retry { Release::Retry } else { Release::Drop };
    if desk.entrance.release(id, name, release)? {
        return Ok(json!({ "name": id.to_string(), "replica": replica, "seq": seq, "retried": retry }));
    }
    let how = "`tombolo quarantine show` says which it has";
    Err(Failure::new(
        Code::Missing,
        format!("document {id} has no operation {replica}/{seq} in quarantine; {how}"),
    ))
}

fn parse_replica(hex: &str) -> Result<ReplicaId, Failure> {
    let wrong = || Failure::new(Code::Request, format!("{hex:?} names no replica; give its 32 hex digits"));
    let whole = hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| whole).ok_or_else(wrong)?;
    Ok(ReplicaId(number.to_be_bytes()))
}
