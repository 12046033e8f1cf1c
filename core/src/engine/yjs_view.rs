//! Yjs documents as JSON, as text and in the v2 encoding; see [`super::view`].

use std::collections::BTreeMap;

use bytes::Bytes;
use yrs::branch::BranchPtr;
use yrs::types::xml::XmlOut;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Any, Array, ArrayRef, GetString, Map, MapRef, Number, Out, ReadTxn, TextRef, Transact, Xml,
    XmlElementRef, XmlFragment, XmlFragmentRef,
};

use super::EngineError;
use super::json::{DEPTH_MAX, Json};
use super::view::only_text;
use super::yjs::Hydrated;
use crate::update::{self, Coverage, Update};

pub(super) fn json(parts: &[Bytes], root: Option<&str>, bytes_max: usize) -> Result<Bytes, EngineError> {
    with_roots(parts, |txn, roots| {
        let mut json = Json::new(bytes_max);
        if let Some(name) = root {
            write_root(txn, *roots.get(name).ok_or_else(|| no_root(name))?, &mut json)?;
        } else {
            json.open(b'{')?;
            for (name, branch) in roots {
                json.key(&name)?;
                write_root(txn, branch, &mut json)?;
            }
            json.close(b'}')?;
        }
        Ok(json.finish().into())
    })
}

pub(super) fn text(parts: &[Bytes], root: Option<&str>) -> Result<Bytes, EngineError> {
    with_roots(parts, |txn, roots| {
        if let Some(name) = root {
            let branch = *roots.get(name).ok_or_else(|| no_root(name))?;
            return match shape(txn, branch) {
                Shape::Text(text) => Ok(text.into()),
                Shape::Empty => Ok(Bytes::new()),
                Shape::Xml => {
                    let mut out = String::new();
                    write_children(txn, &XmlFragmentRef::from(branch), &mut out, 0)?;
                    Ok(out.into())
                }
                Shape::Map | Shape::List | Shape::Both => {
                    Err(EngineError::unfit(format_args!("{name:?} is no text")))
                }
            };
        }
        let texts = roots.into_iter().filter_map(|(name, branch)| match shape(txn, branch) {
            Shape::Text(text) => Some((name, text)),
            Shape::Empty | Shape::Xml | Shape::Map | Shape::List | Shape::Both => None,
        });
        only_text(texts.collect())
    })
}

/// All parts as one update in the v2 encoding; nothing is hydrated for it, so what waits for others goes along.
pub(super) fn to_v2(parts: &[Bytes]) -> Result<Bytes, EngineError> {
    let parts: Vec<_> = parts.iter().map(|part| for_engine(part.clone())).collect::<Result<_, _>>()?;
    let whole = update::merge(&parts);
    let decoded = yrs::Update::decode_v1(&whole).map_err(EngineError::malformed)?;
    let coded = Bytes::from(decoded.encode_v2());
    let (mut before, mut after) = (Coverage::default(), Coverage::default());
    let (whole, again) = (for_engine(whole)?, for_engine(from_v2(&coded)?)?);
    before.add(&whole);
    after.add(&again);
    if before.covers(&again) && after.covers(&whole) {
        Ok(coded)
    } else {
        Err(EngineError::diverged("the v2 encoding holds other edits"))
    }
}

pub(super) fn from_v2(content: &Bytes) -> Result<Bytes, EngineError> {
    let decoded = yrs::Update::decode_v2(content).map_err(EngineError::malformed)?;
    let update = for_engine(decoded.encode_v1().into())?;
    Ok(update.bytes().clone())
}

fn for_engine(bytes: Bytes) -> Result<Update, EngineError> {
    let update = Update::parse(bytes).map_err(EngineError::malformed)?;
    if update.has_legacy_json() {
        return Err(EngineError::unfit(
            "it has legacy JSON items, which yrs 0.28.1 reads differently from Yjs",
        ));
    }
    Ok(update)
}

/// Hydrates, as far as that is possible, and leaks the document if what is done with it fails half-way.
fn with_roots<T>(
    parts: &[Bytes],
    work: impl FnOnce(&yrs::Transaction<'_>, BTreeMap<String, BranchPtr>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    for part in parts {
        for_engine(part.clone())?;
    }
    let (document, _) = Hydrated::as_far_as_possible(parts)?;
    let done = {
        let txn = document.doc.transact();
        let roots = txn.root_refs().filter_map(|(name, out)| match out {
            Out::UndefinedRef(branch) => Some((name.to_owned(), branch)),
            _ => None, // None is typed here: nobody asked for one.
        });
        let roots = roots.collect();
        work(&txn, roots)
    };
    document.close();
    done
}

fn no_root(name: &str) -> EngineError {
    EngineError::unfit(format_args!("it has nothing under {name:?}"))
}

/// What the content of a root looks like.
enum Shape {
    Empty,
    Text(String),
    Xml,
    List,
    Map,
    Both,
}

fn shape(txn: &impl ReadTxn, branch: BranchPtr) -> Shape {
    let text = TextRef::from(branch).get_string(txn);
    let has_keys = MapRef::from(branch).keys(txn).next().is_some();
    match (ArrayRef::from(branch).iter(txn).next(), has_keys) {
        (None, false) => Shape::Empty,
        (None, true) => Shape::Map,
        (Some(_), true) => Shape::Both,
        // An array never holds bare characters.
        (Some(_), false) if !text.is_empty() => Shape::Text(text),
        (Some(Out::YXmlElement(_) | Out::YXmlText(_)), false) => Shape::Xml,
        (Some(_), false) => Shape::List,
    }
}

fn write_root(txn: &impl ReadTxn, branch: BranchPtr, json: &mut Json) -> Result<(), EngineError> {
    match shape(txn, branch) {
        Shape::Empty => json.null(),
        Shape::Text(text) => json.string(&text),
        Shape::Xml => write_xml(txn, &XmlFragmentRef::from(branch), json),
        Shape::List => write_list(txn, &ArrayRef::from(branch), json),
        Shape::Map => write_map(txn, &MapRef::from(branch), json),
        Shape::Both => {
            json.open(b'{')?;
            json.key("$map")?;
            write_map(txn, &MapRef::from(branch), json)?;
            json.key("$list")?;
            write_list(txn, &ArrayRef::from(branch), json)?;
            json.close(b'}')
        }
    }
}

fn write_list(txn: &impl ReadTxn, list: &ArrayRef, json: &mut Json) -> Result<(), EngineError> {
    json.open(b'[')?;
    for value in list.iter(txn) {
        write_value(txn, &value, json)?;
    }
    json.close(b']')
}

fn write_map(txn: &impl ReadTxn, map: &MapRef, json: &mut Json) -> Result<(), EngineError> {
    let entries: BTreeMap<_, _> = map.iter(txn).collect();
    json.open(b'{')?;
    for (key, value) in entries {
        json.key(key)?;
        write_value(txn, &value, json)?;
    }
    json.close(b'}')
}

fn write_value(txn: &impl ReadTxn, value: &Out, json: &mut Json) -> Result<(), EngineError> {
    match value {
        Out::Any(any) => write_any(any, json),
        Out::YText(text) => json.string(&text.get_string(txn)),
        Out::YArray(list) => write_list(txn, list, json),
        Out::YMap(map) => write_map(txn, map, json),
        Out::YXmlElement(element) => {
            let mut out = String::new();
            write_element(txn, element, &mut out, 0)?;
            json.string(&out)
        }
        Out::YXmlFragment(fragment) => write_xml(txn, fragment, json),
        Out::YXmlText(text) => {
            let text: &TextRef = text.as_ref();
            json.string(&text.get_string(txn))
        }
        Out::YDoc(doc) => {
            json.open(b'{')?;
            json.key("guid")?;
            json.string(&doc.guid())?;
            json.close(b'}')
        }
        Out::UndefinedRef(_) => json.null(),
    }
}

fn write_any(any: &Any, json: &mut Json) -> Result<(), EngineError> {
    match any {
        Any::Null | Any::Undefined => json.null(),
        Any::Bool(value) => json.bool(*value),
        Any::Number(Number::Int(value)) => json.integer(*value),
        Any::Number(Number::Float(value)) => json.float(*value),
        Any::String(text) => json.string(text),
        Any::Buffer(bytes) => json.bytes(bytes),
        Any::Array(values) => {
            json.open(b'[')?;
            for value in values.iter() {
                write_any(value, json)?;
            }
            json.close(b']')
        }
        Any::Map(entries) => {
            let entries: BTreeMap<_, _> = entries.iter().collect();
            json.open(b'{')?;
            for (key, value) in entries {
                json.key(key)?;
                write_any(value, json)?;
            }
            json.close(b'}')
        }
    }
}

fn write_xml(txn: &impl ReadTxn, fragment: &XmlFragmentRef, json: &mut Json) -> Result<(), EngineError> {
    let mut out = String::new();
    write_children(txn, fragment, &mut out, 0)?;
    json.string(&out)
}

/// As `toString` in Yjs: names in lower case, attributes in order, nothing escaped.
fn write_element(
    txn: &impl ReadTxn,
    element: &XmlElementRef,
    out: &mut String,
    depth: usize,
) -> Result<(), EngineError> {
    let tag = element.try_tag().map(|tag| tag.to_lowercase()).unwrap_or_default();
    let attributes: BTreeMap<_, _> = element.attributes(txn).collect();
    out.push('<');
    out.push_str(&tag);
    for (name, value) in attributes {
        if let Out::Any(value) = value {
            out.push_str(&format!(" {name}=\"{value}\""));
        }
    }
    out.push('>');
    write_children(txn, element, out, depth + 1)?;
    out.push_str(&format!("</{tag}>"));
    Ok(())
}

fn write_children(
    txn: &impl ReadTxn,
    parent: &impl XmlFragment,
    out: &mut String,
    depth: usize,
) -> Result<(), EngineError> {
    if depth > DEPTH_MAX {
        return Err(EngineError::unfit(format_args!("its XML is nested deeper than {DEPTH_MAX} levels")));
    }
    for child in parent.children(txn) {
        match child {
            XmlOut::Element(element) => write_element(txn, &element, out, depth)?,
            XmlOut::Fragment(fragment) => write_children(txn, &fragment, out, depth + 1)?,
            XmlOut::Text(text) => {
                let text: &TextRef = text.as_ref();
                out.push_str(&text.get_string(txn));
            }
        }
    }
    Ok(())
}
