//! Automerge documents as JSON and as text; see [`crate::engine::view`].

use ::automerge::{Automerge, ObjId, ObjType, ROOT, ReadDoc, ScalarValueRef, Value, ValueRef};
use bytes::Bytes;

use super::load;
use crate::engine::EngineError;
use crate::engine::json::Json;
use crate::engine::view::only_text;

pub(in crate::engine) fn json(
    parts: &[Bytes],
    root: Option<&str>,
    bytes_max: usize,
) -> Result<Bytes, EngineError> {
    let (document, _) = load(parts)?;
    let mut json = Json::new(bytes_max);
    match root {
        None => write_map(&document, &ROOT, &mut json)?,
        Some(name) => {
            let found = document.map_range(&ROOT, name.to_owned()..=name.to_owned()).next();
            let item = found.ok_or_else(|| no_root(name))?;
            write_value(&document, &item.value, &item.id(), &mut json)?;
        }
    }
    Ok(json.finish().into())
}

pub(in crate::engine) fn text(parts: &[Bytes], root: Option<&str>) -> Result<Bytes, EngineError> {
    let (document, _) = load(parts)?;
    if let Some(name) = root {
        return match document.get(ROOT, name).map_err(EngineError::malformed)? {
            None => Err(no_root(name)),
            Some((Value::Object(ObjType::Text), id)) => read_text(&document, &id).map(Bytes::from),
            Some(_) => Err(EngineError::unfit(format_args!("{name:?} is no text"))),
        };
    }
    let mut texts = Vec::new();
    for item in document.map_range(&ROOT, ..) {
        if matches!(item.value, ValueRef::Object(ObjType::Text)) {
            texts.push((item.key.to_string(), read_text(&document, &item.id())?));
        }
    }
    only_text(texts)
}

pub(in crate::engine) fn heads(parts: &[Bytes]) -> Result<Bytes, EngineError> {
    let (document, _) = load(parts)?;
    let heads: Vec<_> = document.get_heads().iter().map(ToString::to_string).collect();
    serde_json::to_vec(&heads).map(Bytes::from).map_err(EngineError::unfit)
}

fn no_root(name: &str) -> EngineError {
    EngineError::unfit(format_args!("it has nothing under {name:?}"))
}

fn read_text(document: &Automerge, id: &ObjId) -> Result<String, EngineError> {
    document.text(id).map_err(EngineError::malformed)
}

fn write_map(document: &Automerge, id: &ObjId, json: &mut Json) -> Result<(), EngineError> {
    json.open(b'{')?;
    for item in document.map_range(id, ..) {
        json.key(&item.key)?;
        write_value(document, &item.value, &item.id(), json)?;
    }
    json.close(b'}')
}

fn write_list(document: &Automerge, id: &ObjId, json: &mut Json) -> Result<(), EngineError> {
    json.open(b'[')?;
    for item in document.list_range(id, ..) {
        write_value(document, &item.value, &item.id(), json)?;
    }
    json.close(b']')
}

fn write_value(
    document: &Automerge,
    value: &ValueRef<'_>,
    id: &ObjId,
    json: &mut Json,
) -> Result<(), EngineError> {
    match value {
        ValueRef::Object(ObjType::Map | ObjType::Table) => write_map(document, id, json),
        ValueRef::Object(ObjType::List) => write_list(document, id, json),
        ValueRef::Object(ObjType::Text) => json.string(&read_text(document, id)?),
        ValueRef::Scalar(scalar) => match scalar {
            ScalarValueRef::Bytes(bytes) | ScalarValueRef::Unknown { bytes, .. } => json.bytes(bytes),
            ScalarValueRef::Str(text) => json.string(text),
            ScalarValueRef::Uint(value) => json.integer(*value),
            // A timestamp is milliseconds since 1970, as in JavaScript.
            ScalarValueRef::Int(value)
            | ScalarValueRef::Counter(value)
            | ScalarValueRef::Timestamp(value) => json.integer(*value),
            ScalarValueRef::F64(value) => json.float(*value),
            ScalarValueRef::Boolean(value) => json.bool(*value),
            ScalarValueRef::Null => json.null(),
        },
    }
}
