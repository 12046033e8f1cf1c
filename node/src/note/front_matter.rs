//! Tags and title of a note, in the front matter of its text.
//!
//! Front matter is what stands between two lines `---` at the beginning. Of its YAML only what is needed is understood:
//! the keys `tags` and `title` at its left edge. Guarantees: tagging changes the tags and no other byte; tags in a form
//! that is not understood are left alone and said.

use std::ops::Range;
use std::str::FromStr;

use super::error::NoteError;

/// A tag: one word that YAML reads as one, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a tag is this one, whatever its case.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }
}

impl FromStr for Tag {
    type Err = NoteError;

    /// With or without `#` before it.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let tag = text.strip_prefix('#').unwrap_or(text);
        let fits = |char: char| char.is_alphanumeric() || "-_/.+".contains(char);
        if tag.starts_with(char::is_alphanumeric) && tag.chars().all(fits) {
            Ok(Self(tag.to_owned()))
        } else {
            Err(NoteError::Tag { tag: text.to_owned() })
        }
    }
}

/// The tags of a text, in their order.
#[must_use]
pub fn tags(text: &str) -> Vec<String> {
    let Some(front) = Front::of(text) else { return Vec::new() };
    front.tags().map(|found| found.items.into_iter().map(|item| plain(&item)).collect()).unwrap_or_default()
}

/// What a text is called: the title in its front matter, else its first line that says something, without `#`.
#[must_use]
pub fn title(text: &str) -> String {
    let front = Front::of(text);
    let named = front.as_ref().and_then(|front| front.value("title")).map(|(_, value)| plain(value));
    let body = text.get(front.map_or(0, |front| front.end)..).unwrap_or_default();
    let first = || body.lines().map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty());
    named.filter(|title| !title.is_empty()).unwrap_or_else(|| first().unwrap_or_default().to_owned())
}

/// The text with some tags more and some less; the very same if it has them, or lacks them, already.
///
/// # Errors
/// Why its tags are left alone.
pub fn tagged(text: &str, add: &[Tag], remove: &[Tag]) -> Result<String, &'static str> {
    let Some(front) = Front::of(text) else {
        let add: Vec<_> = add.iter().map(Tag::as_str).collect();
        let gap = if text.is_empty() { "" } else { "\n" };
        return Ok(if add.is_empty() {
            text.to_owned()
        } else {
            format!("---\ntags: [{}]\n---\n{gap}{text}", add.join(", "))
        });
    };
    let found = front.tags();
    let old = found.as_ref().map(|found| found.items.clone()).unwrap_or_default();
    let has = |tag: &Tag| old.iter().any(|item| tag.is(&plain(item)));
    let new: Vec<_> = add.iter().filter(|tag| !has(tag)).map(Tag::as_str).collect();
    let mut kept = old.clone();
    kept.retain(|item| !remove.iter().any(|tag| tag.is(&plain(item))));
    if new.is_empty() && kept.len() == old.len() {
        return Ok(text.to_owned());
    }
    let Some(found) = found else {
        let line = format!("tags: [{}]{}", new.join(", "), front.newline);
        return Ok(replaced(text, front.close..front.close, &line));
    };
    if let Shape::Odd(why) = found.shape {
        return Err(why);
    }
    let written = found.written(&kept, &new, front.newline);
    Ok(replaced(text, found.range, &written))
}

fn replaced(text: &str, range: Range<usize>, with: &str) -> String {
    let (before, behind) = (text.get(..range.start), text.get(range.end..));
    [before.unwrap_or_default(), with, behind.unwrap_or_default()].concat()
}

/// An item without what YAML needs around it.
fn plain(item: &str) -> String {
    let item = item.trim();
    let inner = |quote: char| item.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(item).trim_start_matches('#').to_owned()
}

/// Where the front matter of a text is.
struct Front<'a> {
    text: &'a str,
    /// Lines between the two fences, where each starts and with its end.
    lines: Vec<(usize, &'a str)>,
    /// Where the closing fence starts.
    close: usize,
    /// Where the body starts.
    end: usize,
    newline: &'static str,
}

/// How tags are written.
enum Shape {
    /// `[a, b]`, or one line without brackets.
    Flow,
    /// A line for each.
    Block {
        indent: String,
    },
    Odd(&'static str),
}

struct Found {
    /// As they are written, with the space around them.
    items: Vec<String>,
    shape: Shape,
    /// From the value on to the end of the last line that belongs to it, without that line's end.
    range: Range<usize>,
}

impl<'a> Front<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let mut lines = text.get(at..)?.split_inclusive('\n');
        let first = lines.next()?;
        if first.trim_end_matches(['\r', '\n']) != "---" || !first.ends_with('\n') {
            return None;
        }
        let newline = if first.ends_with("\r\n") { "\r\n" } else { "\n" };
        at += first.len();
        let mut inner = Vec::new();
        for line in lines {
            if matches!(line.trim_end(), "---" | "...") {
                return Some(Self { text, lines: inner, close: at, end: at + line.len(), newline });
            }
            inner.push((at, line));
            at += line.len();
        }
        None
    }

    /// Which line a key is on, and its value without the space around it.
    fn value(&self, key: &str) -> Option<(usize, &'a str)> {
        self.lines.iter().enumerate().find_map(|(place, (_, line))| {
            let value = line.strip_prefix(key)?.trim_start_matches(' ').strip_prefix(':')?;
            (value.is_empty() || value.starts_with(char::is_whitespace)).then(|| (place, value.trim()))
        })
    }

    fn tags(&self) -> Option<Found> {
        let (place, value) = self.value("tags")?;
        let (start, line) = *self.lines.get(place)?;
        let colon = start + line.find(':')? + 1;
        let end = start + line.trim_end().len();
        if value.is_empty() {
            return Some(self.block(place, colon));
        }
        let range = colon..end;
        let Some(inner) = value.strip_prefix('[') else {
            let odd = value.starts_with(['{', '&', '*', '|', '>', '!', '#']) || value.contains(" #");
            let by = if value.contains(',') { ',' } else { ' ' };
            let items = value.split(by).map(str::to_owned).filter(|item| !item.trim().is_empty()).collect();
            let shape = if odd { Shape::Odd("neither a list nor words") } else { Shape::Flow };
            return Some(Found { items, shape, range });
        };
        let Some(inner) = inner.strip_suffix(']') else {
            // Shown as far as it goes.
            let rest = self.text.get(colon..self.close)?.trim_start().strip_prefix('[')?;
            let items = rest.split(']').next()?.split(',').map(|item| item.trim().to_owned());
            let items = items.filter(|item| !item.is_empty()).collect();
            return Some(Found { items, shape: Shape::Odd("a list over several lines"), range });
        };
        let odd = inner.contains(['[', '{']) || quoted_comma(inner);
        let items = inner.split(',').map(str::to_owned).filter(|item| !item.trim().is_empty()).collect();
        let shape = if odd { Shape::Odd("a list with lists or commas in it") } else { Shape::Flow };
        Some(Found { items, shape, range })
    }

    fn block(&self, key: usize, colon: usize) -> Found {
        let (mut items, mut indent, mut end) = (Vec::new(), None, colon);
        for (start, line) in self.lines.iter().skip(key + 1) {
            let Some(item) = line.trim_start_matches(' ').strip_prefix("- ") else { break };
            indent.get_or_insert_with(|| " ".repeat(line.len() - line.trim_start_matches(' ').len()));
            items.push(item.trim_end().to_owned());
            end = start + line.trim_end().len();
        }
        let indent = indent.unwrap_or_else(|| "  ".to_owned());
        Found { items, shape: Shape::Block { indent }, range: colon..end }
    }
}

fn quoted_comma(inner: &str) -> bool {
    let quoted = |quote: char| inner.split(quote).skip(1).step_by(2).any(|inside| inside.contains(','));
    quoted('"') || quoted('\'')
}

impl Found {
    fn written(&self, kept: &[String], new: &[&str], newline: &str) -> String {
        match &self.shape {
            Shape::Block { indent } if !kept.is_empty() || !new.is_empty() => {
                let all = kept.iter().map(String::as_str).chain(new.iter().copied());
                all.map(|item| format!("{newline}{indent}- {item}")).collect()
            }
            _ => {
                // The space of the first is that behind the bracket.
                let first = kept.first().map(|item| item.trim_start().to_owned());
                let mut all: Vec<_> = first.into_iter().chain(kept.iter().skip(1).cloned()).collect();
                for tag in new {
                    all.push(if all.is_empty() { (*tag).to_owned() } else { format!(" {tag}") });
                }
                format!(" [{}]", all.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests;
