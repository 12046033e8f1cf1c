//! Which documents somebody means: names with places left open, and rules of which the most specific counts.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `?` | one character, but not `/` |
//! | `*` | any characters but `/`, or none |
//! | `**` | any characters, or none |
//! | `**/` at the beginning or behind a `/` | any folders, or none |
//! | `\` and a character | that character |
//!
//! Automerge documents go by their URLs, and only patterns that begin with `automerge:` are about them.
//!
//! Guarantees: whatever the pattern and the name, a match takes at most their lengths multiplied, and no memory but a
//! bit for each character of the pattern.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::id::{DocumentId, Format};

/// Longest pattern in bytes: the longest name with each character escaped.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// Longer than any that means something.
    #[error("the pattern has {bytes} bytes, more than {PATTERN_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A backslash at its end.
    #[error(
        "the pattern ends with a \\, which is to stand before a character; write \\\\ for one of its own"
    )]
    OpenEscape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    This(char),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**`
    All,
    /// `**/`
    Folders,
}

/// A pattern of names.
///
/// ```
/// use tombolo_core::id::DocumentId;
/// use tombolo_core::pattern::Pattern;
///
/// let months: Pattern = "notes/*/2026-??".parse()?;
/// assert!(months.fits(&DocumentId::yjs("notes/anna/2026-11")?));
/// assert!(!months.fits(&DocumentId::yjs("notes/anna/old/2026-11")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    parts: Vec<Part>,
    /// What every name that fits begins with.
    literal: String,
}

impl Pattern {
    /// What fits the name of this document and no other.
    #[must_use]
    pub fn document(document: &DocumentId) -> Self {
        Self::of(name(document).chars().map(Part::This).collect())
    }

    /// What fits all names that begin so.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self::of(prefix.chars().map(Part::This).chain([Part::All]).collect())
    }

    fn of(parts: Vec<Part>) -> Self {
        let literal = |part: &Part| if let Part::This(this) = part { Some(*this) } else { None };
        let literal = parts.iter().map_while(literal).collect();
        Self { parts, literal }
    }

    /// Whether a document is meant.
    #[must_use]
    pub fn fits(&self, document: &DocumentId) -> bool {
        let is_about = document.format() == Format::Yjs || self.literal.starts_with("automerge:");
        is_about && self.fits_name(&name(document))
    }

    /// What every name that fits begins with; empty if they need not begin alike.
    #[must_use]
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// How specific it is: the whole name of one document before everything else, then by the characters that are given.
    fn weight(&self) -> (bool, usize) {
        let given = self.parts.iter().filter(|part| matches!(part, Part::This(_))).count();
        (given == self.parts.len(), given)
    }

    /// Goes through the name once, with all the places of the pattern that it may be at.
    fn fits_name(&self, name: &str) -> bool {
        if !name.starts_with(&self.literal) {
            return false;
        }
        let mut at = vec![false; self.parts.len() + 1];
        if let Some(first) = at.first_mut() {
            *first = true;
        }
        self.pass(&mut at, true);
        for this in name.chars() {
            let mut next = vec![false; at.len()];
            for (place, part) in self.parts.iter().enumerate().filter(|(place, _)| is_set(&at, *place)) {
                match part {
                    Part::This(wanted) if *wanted == this => set(&mut next, place + 1),
                    Part::One if this != '/' => set(&mut next, place + 1),
                    Part::Some if this != '/' => set(&mut next, place),
                    Part::All | Part::Folders => set(&mut next, place),
                    Part::This(_) | Part::One | Part::Some => {}
                }
            }
            at = next;
            self.pass(&mut at, this == '/');
        }
        at.last().is_some_and(|end| *end)
    }

    /// What may stand for nothing is passed; folders only where one may begin.
    fn pass(&self, at: &mut [bool], begins: bool) {
        for (place, part) in self.parts.iter().enumerate() {
            let may = matches!(part, Part::Some | Part::All) || (*part == Part::Folders && begins);
            if may && is_set(at, place) {
                set(at, place + 1);
            }
        }
    }
}

fn is_set(at: &[bool], place: usize) -> bool {
    at.get(place).is_some_and(|is| *is)
}

fn set(at: &mut [bool], place: usize) {
    if let Some(is) = at.get_mut(place) {
        *is = true;
    }
}

/// What a document goes by.
fn name(document: &DocumentId) -> Cow<'_, str> {
    match document {
        DocumentId::Yjs(name) => Cow::Borrowed(name),
        DocumentId::Automerge(_) => Cow::Owned(format!("automerge:{document}")),
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(InvalidPattern::TooLong { bytes: text.len() });
        }
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(this) = chars.next() {
            let part = match this {
                '\\' => Part::This(chars.next().ok_or(InvalidPattern::OpenEscape)?),
                '?' => Part::One,
                '*' if chars.next_if_eq(&'*').is_some() => {
                    while chars.next_if_eq(&'*').is_some() {}
                    let begins = matches!(parts.last(), None | Some(Part::This('/') | Part::Folders));
                    if begins && chars.next_if_eq(&'/').is_some() { Part::Folders } else { Part::All }
                }
                '*' => Part::Some,
                this => Part::This(this),
            };
            parts.push(part);
        }
        Ok(Self::of(parts))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = std::iter::once(None).chain(self.parts.iter().map(Some));
        for (part, before) in self.parts.iter().zip(before) {
            match part {
                // Behind two stars it would be one of them.
                Part::This('/') if before == Some(&Part::All) => f.write_str("\\/")?,
                Part::This(this @ ('*' | '?' | '\\')) => write!(f, "\\{this}")?,
                Part::This(this) => write!(f, "{this}")?,
                Part::One => f.write_str("?")?,
                Part::Some => f.write_str("*")?,
                Part::All => f.write_str("**")?,
                Part::Folders => f.write_str("**/")?,
            }
        }
        Ok(())
    }
}

/// What holds for which documents. Of the patterns that fit the most specific counts: one that is the whole name of a
/// document first, then the one with the most characters given; of two as specific the one that was added last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules<T>(Vec<(Pattern, T)>);

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Rules<T> {
    /// Adds a rule.
    pub fn add(&mut self, pattern: Pattern, what: T) {
        self.0.push((pattern, what));
    }

    /// What holds for a document.
    #[must_use]
    pub fn get(&self, document: &DocumentId) -> Option<&T> {
        let fits = self.0.iter().filter(|(pattern, _)| pattern.fits(document));
        fits.max_by_key(|(pattern, _)| pattern.weight()).map(|(_, what)| what)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &(Pattern, T)> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same patterns with something else.
    #[must_use]
    pub fn map<U>(&self, to: impl Fn(&T) -> U) -> Rules<U> {
        Rules(self.0.iter().map(|(pattern, what)| (pattern.clone(), to(what))).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    fn yjs(name: &str) -> DocumentId {
        DocumentId::yjs(name).unwrap()
    }

    #[test]
    fn names_fit_or_do_not() {
        for (text, fits, does_not) in [
            (
                "notes/*/2026-??",
                &["notes/a/2026-11", "notes//2026-1ü"][..],
                &["notes/a/b/2026-11", "notes/a/2026-1/"][..],
            ),
            ("notes/**", &["notes/", "notes/a", "notes/a/b"], &["notes", "note/a", "a/notes/a"]),
            ("**/todo", &["todo", "a/todo", "a/b/todo"], &["atodo", "a/btodo", "todo/a"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab", "a/b/"]),
            ("a**b", &["ab", "a/b", "axx/b"], &["a/bc", "b"]),
            ("**", &["a", "a/b", "automerge"], &[]),
            ("*", &["a", "ab"], &["a/b"]),
            (r"a\*\?\\", &[r"a*?\"], &["ab", "abc"]),
            ("***/x", &["x", "a/x"], &["ax"]),
            ("**/**/x", &["x", "a/x", "a/b/x"], &["ax"]),
        ] {
            let pattern = pattern(text);
            for name in fits {
                assert!(pattern.fits(&yjs(name)), "{text} and {name}");
            }
            for name in does_not {
                assert!(!pattern.fits(&yjs(name)), "{text} and {name}");
            }
        }
        assert_eq!("a\\".parse::<Pattern>(), Err(InvalidPattern::OpenEscape));
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert_eq!(long.parse::<Pattern>(), Err(InvalidPattern::TooLong { bytes: PATTERN_BYTES_MAX + 1 }));
    }

    #[test]
    fn automerge_documents_go_by_their_urls() {
        let id = DocumentId::Automerge([1; 16]);
        let other = DocumentId::Automerge([2; 16]);
        assert!(pattern("automerge:*").fits(&id) && Pattern::document(&id).fits(&id));
        assert!(!Pattern::document(&id).fits(&other) && !Pattern::document(&id).fits(&yjs("automerge")));
        for text in ["**", "*", "auto*", &id.to_string()] {
            assert!(!pattern(text).fits(&id), "{text}");
        }
        assert_eq!(pattern("automerge:*").literal(), "automerge:");
    }

    #[test]
    fn the_most_specific_rule_counts() {
        let mut rules = Rules::default();
        for (text, what) in [
            ("**", 0),
            ("notes/**", 1),
            ("notes/big/*", 2),
            ("*/big/*", 3),
            ("notes/big/a*", 4),
            ("notes/**", 5),
        ] {
            rules.add(pattern(text), what);
        }
        rules.add(Pattern::document(&yjs("notes/big/a*")), 6);
        for (name, what) in [
            ("x", 0),
            ("notes/x", 5),
            ("notes/big/x", 2),
            ("x/big/x", 3),
            ("notes/big/ab", 4),
            ("notes/big/a*", 6),
        ] {
            assert_eq!(rules.get(&yjs(name)), Some(&what), "{name}");
        }
        assert_eq!(Rules::<u8>::default().get(&yjs("x")), None);
        // Places left open count nothing, and a whole name more than any pattern, whatever was added last.
        let mut rules = Rules::default();
        rules.add(pattern("list/*"), 0);
        rules.add(pattern("???????e"), 1);
        assert_eq!(rules.get(&yjs("list/one")), Some(&0));
        rules.add(Pattern::document(&yjs("list/one")), 2);
        rules.add(pattern("list/one*"), 3);
        assert_eq!(rules.get(&yjs("list/one")), Some(&2));
    }

    /// As the table says, and as slow as that may be.
    fn fits_slowly(parts: &[Part], name: &[char], begins: bool) -> bool {
        let rest = |skip: usize| name.get(skip..).unwrap_or_default();
        let begins_at = |skip: usize| if skip == 0 { begins } else { name[skip - 1] == '/' };
        let Some((part, parts)) = parts.split_first() else { return name.is_empty() };
        let any = |may: &dyn Fn(usize) -> bool| {
            (0..=name.len())
                .filter(|skip| may(*skip))
                .any(|skip| fits_slowly(parts, rest(skip), begins_at(skip)))
        };
        match part {
            Part::This(this) => any(&|skip| skip == 1 && name[0] == *this),
            Part::One => any(&|skip| skip == 1 && name[0] != '/'),
            Part::Some => any(&|skip| !name[..skip].contains(&'/')),
            Part::All => any(&|_| true),
            Part::Folders => any(&|skip| begins_at(skip)),
        }
    }

    #[test]
    fn nothing_takes_long() {
        let text = "*a".repeat(PATTERN_BYTES_MAX / 2);
        let name = "a".repeat(511) + "b";
        assert!(!pattern(&text).fits(&yjs(&name)));
    }

    proptest! {
        #[test]
        fn it_fits_as_the_table_says(text in "[ab/*?]{0,8}", name in "[ab/]{1,8}") {
            let pattern = pattern(&text);
            let chars: Vec<_> = name.chars().collect();
            prop_assert_eq!(pattern.fits_name(&name), fits_slowly(&pattern.parts, &chars, true));
            prop_assert!(!pattern.fits_name(&name) || name.starts_with(pattern.literal()));
        }

        #[test]
        fn what_is_shown_reads_as_the_same(text in "[ab/*?\\\\]{0,8}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
            }
        }
    }
}
