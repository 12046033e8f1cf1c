//! Automerge changes made of JSON and text, for documents that have nothing yet; see [`crate::engine::view`].
//!
//! The actor id is a hash of the content, the time is 0 and the order is fixed: the same content gives the same
//! change, which counts once however often it is brought.

use ::automerge::transaction::{CommitOptions, Transactable};
use ::automerge::{ActorId, AutoCommit, AutomergeError, ObjId, ObjType, ROOT, ScalarValue};
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::engine::EngineError;

pub(in crate::engine) fn from_json(content: &Bytes, root: Option<&str>) -> Result<Bytes, EngineError> {
    let value: Value = serde_json::from_slice(content).map_err(EngineError::malformed)?;
    let members = match (root, value) {
        (Some(root), value) => std::iter::once((root.to_owned(), value)).collect(),
        (None, Value::Object(members)) => members,
        (None, _) => {
            return Err(EngineError::unfit(
                "an Automerge document is a map; give an object, or a name for what it is",
            ));
        }
    };
    made(content, root, |document| fill_map(document, &ROOT, members))
}

pub(in crate::engine) fn from_text(content: &Bytes, root: &str) -> Result<Bytes, EngineError> {
    let text = std::str::from_utf8(content).map_err(EngineError::malformed)?;
    made(content, Some(root), |document| {
        let id = document.put_object(ROOT, root, ObjType::Text)?;
        document.splice_text(&id, 0, 0, text)
    })
}

fn made(
    content: &[u8],
    root: Option<&str>,
    write: impl FnOnce(&mut AutoCommit) -> Result<(), AutomergeError>,
) -> Result<Bytes, EngineError> {
    let mut hash = blake3::Hasher::new();
    hash.update(root.unwrap_or_default().as_bytes()).update(&[0]).update(content);
    let actor: [u8; 16] = hash.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
    let mut document = AutoCommit::new().with_actor(ActorId::from(actor));
    write(&mut document).map_err(EngineError::unfit)?;
    if document.commit_with(CommitOptions::default().with_time(0)).is_none() {
        return Err(EngineError::unfit("there is nothing in it"));
    }
    let changes = document.get_changes(&[]);
    Ok(changes.iter().flat_map(|change| change.raw_bytes()).copied().collect())
}

fn fill_map(
    document: &mut AutoCommit,
    map: &ObjId,
    members: Map<String, Value>,
) -> Result<(), AutomergeError> {
    for (key, value) in members {
        match value {
            Value::Object(inner) => {
                let id = document.put_object(map, key, ObjType::Map)?;
                fill_map(document, &id, inner)?;
            }
            Value::Array(values) => {
                let id = document.put_object(map, key, ObjType::List)?;
                fill_list(document, &id, values)?;
            }
            Value::String(text) => {
                let id = document.put_object(map, key, ObjType::Text)?;
                document.splice_text(&id, 0, 0, &text)?;
            }
            plain => document.put(map, key, scalar(&plain))?,
        }
    }
    Ok(())
}

fn fill_list(document: &mut AutoCommit, list: &ObjId, values: Vec<Value>) -> Result<(), AutomergeError> {
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Object(inner) => {
                let id = document.insert_object(list, index, ObjType::Map)?;
                fill_map(document, &id, inner)?;
            }
            Value::Array(values) => {
                let id = document.insert_object(list, index, ObjType::List)?;
                fill_list(document, &id, values)?;
            }
            Value::String(text) => {
                let id = document.insert_object(list, index, ObjType::Text)?;
                document.splice_text(&id, 0, 0, &text)?;
            }
            plain => document.insert(list, index, scalar(&plain))?,
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(value) => ScalarValue::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => ScalarValue::Int(whole),
            (None, Some(whole)) => ScalarValue::Uint(whole),
            (None, None) => ScalarValue::F64(number.as_f64().unwrap_or_default()),
        },
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => ScalarValue::Null,
    }
}
