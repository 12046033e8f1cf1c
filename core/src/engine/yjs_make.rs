//! Yjs updates made of JSON and text, for documents that have nothing yet; see [`super::view`].
//!
//! The client id is a hash of the content, and everything is written in a fixed order: the same content gives the
//! same update, which counts once however often it is brought.

use bytes::Bytes;
use serde_json::Value;
use yrs::block::ClientID;
use yrs::{
    Any, Array, ArrayPrelim, ArrayRef, Doc, Map, MapPrelim, MapRef, OffsetKind, Options, ReadTxn,
    StateVector, Text, Transact, TransactionMut, WriteTxn,
};

use super::EngineError;
use crate::limits::CLIENT_ID_MAX;

pub(super) fn from_json(content: &Bytes, root: Option<&str>) -> Result<Bytes, EngineError> {
    let value: Value = serde_json::from_slice(content).map_err(EngineError::malformed)?;
    made(content, root, |txn| match (root, value) {
        (Some(root), value) => add_root(txn, root, value),
        (None, Value::Object(members)) => {
            members.into_iter().try_for_each(|(key, value)| add_root(txn, &key, value))
        }
        (None, _) => Err(EngineError::unfit(
            "each member of a JSON object becomes a shared type; give an object, or a name for what it is",
        )),
    })
}

pub(super) fn from_text(content: &Bytes, root: &str) -> Result<Bytes, EngineError> {
    let text = std::str::from_utf8(content).map_err(EngineError::malformed)?;
    made(content, Some(root), |txn| {
        txn.get_or_insert_text(root).insert(txn, 0, text);
        Ok(())
    })
}

/// One transaction of one client on a new document. Nothing foreign is decoded here, so it may end in a destructor.
fn made(
    content: &[u8],
    root: Option<&str>,
    write: impl FnOnce(&mut TransactionMut<'_>) -> Result<(), EngineError>,
) -> Result<Bytes, EngineError> {
    let doc = Doc::with_options(Options {
        offset_kind: OffsetKind::Utf16, // HAZARDS yrs-6
        cleanup_formatting: false,
        ..Options::with_guid_and_client_id("tombolo".into(), client_of(content, root))
    });
    write(&mut doc.transact_mut())?;
    let txn = doc.transact();
    if txn.state_vector().is_empty() {
        return Err(EngineError::unfit("there is nothing in it"));
    }
    Ok(txn.encode_state_as_update_v1(&StateVector::default()).into())
}

fn client_of(content: &[u8], root: Option<&str>) -> ClientID {
    let mut hash = blake3::Hasher::new();
    hash.update(root.unwrap_or_default().as_bytes()).update(&[0]).update(content);
    let first = hash.finalize().as_bytes().first_chunk().copied().map(u64::from_be_bytes);
    // 0 and 1 are taken by tests and by folds.
    ClientID::new((first.unwrap_or_default() & CLIENT_ID_MAX).max(2))
}

fn add_root(txn: &mut TransactionMut<'_>, name: &str, value: Value) -> Result<(), EngineError> {
    match value {
        Value::String(text) => txn.get_or_insert_text(name).insert(txn, 0, &text),
        Value::Array(values) => {
            let list = txn.get_or_insert_array(name);
            fill_list(txn, &list, values);
        }
        Value::Object(members) => {
            let map = txn.get_or_insert_map(name);
            fill_map(txn, &map, members);
        }
        // What an export says of a root where all was deleted.
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => {
            return Err(EngineError::unfit(format_args!(
                "{name:?} is a single value; a shared type is made of a text, an array or an object"
            )));
        }
    }
    Ok(())
}

fn fill_map(txn: &mut TransactionMut<'_>, map: &MapRef, members: serde_json::Map<String, Value>) {
    for (key, value) in members {
        match value {
            Value::Array(values) => {
                let list = map.insert(txn, key, ArrayPrelim::default());
                fill_list(txn, &list, values);
            }
            Value::Object(members) => {
                let inner = map.insert(txn, key, MapPrelim::default());
                fill_map(txn, &inner, members);
            }
            plain => {
                map.insert(txn, key, any(plain));
            }
        }
    }
}

/// From the end to the front: an insertion at the front costs the same however long the list is.
fn fill_list(txn: &mut TransactionMut<'_>, list: &ArrayRef, values: Vec<Value>) {
    let mut plain = Vec::new();
    for value in values.into_iter().rev() {
        match value {
            Value::Array(values) => {
                insert_plain(txn, list, &mut plain);
                let inner = list.insert(txn, 0, ArrayPrelim::default());
                fill_list(txn, &inner, values);
            }
            Value::Object(members) => {
                insert_plain(txn, list, &mut plain);
                let inner = list.insert(txn, 0, MapPrelim::default());
                fill_map(txn, &inner, members);
            }
            value => plain.push(any(value)),
        }
    }
    insert_plain(txn, list, &mut plain);
}

fn insert_plain(txn: &mut TransactionMut<'_>, list: &ArrayRef, plain: &mut Vec<Any>) {
    plain.reverse();
    list.insert_range(txn, 0, std::mem::take(plain));
}

fn any(value: Value) -> Any {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => Any::Null,
        Value::Bool(value) => Any::from(value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if whole.unsigned_abs() <= CLIENT_ID_MAX => Any::from(whole),
            // JavaScript would read it so, too.
            _ => Any::from(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Any::from(text),
    }
}
