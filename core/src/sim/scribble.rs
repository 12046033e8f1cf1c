//! What people do in documents.

use automerge::transaction::{Transactable, Transaction};
use automerge::{ObjType, ROOT, ReadDoc};

use super::chance::Chance;
use crate::engine::edit::{Edit, EditError};

const WORDS: [&str; 5] = ["a", "tide", "säge", "😀", "a sentence that somebody pasted; "];

/// One of the things that they do in a Yjs document.
pub(super) fn in_yjs(edit: &mut Edit<'_, '_>, chance: &mut Chance) -> Result<(), EditError> {
    let word = chance.pick(&WORDS).copied().unwrap_or_default();
    match chance.below(8) {
        0 => {
            let key = ["k", "l", "m"].get(chance.index(3)).copied().unwrap_or_default();
            edit.map("m").insert(key, word);
        }
        1 => drop(edit.map("m").remove("k")),
        2 | 3 => {
            let mut text = edit.text("t");
            // All of it: a position may be inside a character.
            let units = text.len();
            if chance.one_in(3) {
                text.remove(0, units)?;
            }
            text.push(word);
        }
        4 => edit.text("t").push(&word.repeat(chance.index(80) + 1)),
        _ => edit.text("t").insert(0, word)?,
    }
    Ok(())
}

/// And in an Automerge document.
pub(super) fn in_automerge(edit: &mut Transaction<'_>, chance: &mut Chance) -> Result<(), EditError> {
    let word = chance.pick(&WORDS).copied().unwrap_or_default();
    let key = ["k", "l", "m"].get(chance.index(3)).copied().unwrap_or_default();
    match chance.below(8) {
        0 | 1 => edit.put(ROOT, key, word)?,
        2 => edit.delete(ROOT, key)?,
        3 => {
            let list = match edit.get(ROOT, "list")? {
                Some((_, list)) => list,
                None => edit.put_object(ROOT, "list", ObjType::List)?,
            };
            edit.insert(&list, 0, word)?;
        }
        _ => {
            let text = match edit.get(ROOT, "t")? {
                Some((_, text)) => text,
                None => edit.put_object(ROOT, "t", ObjType::Text)?,
            };
            // All of it: a position may be inside a character.
            let all = isize::try_from(edit.length(&text)).unwrap_or(0);
            let gone = if chance.one_in(6) { all } else { 0 };
            edit.splice_text(&text, 0, gone, &word.repeat(1 + chance.index(6) * chance.index(2)))?;
        }
    }
    Ok(())
}
