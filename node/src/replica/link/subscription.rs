//! Which documents a link keeps in sync, and how urgent they are.
//!
//! The other end is asked for documents by the beginnings of their names; what it lists beyond what is wanted is left out
//! here.

use tombolo_core::id::DocumentId;
use tombolo_core::limits::{DOCUMENT_NAME_BYTES_MAX, PATTERNS_MAX};
use tombolo_core::pattern::{Pattern, Rules};
use tombolo_core::schedule::Priority;

/// What one part of a subscription was made of; it names what is remembered of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Prefix(String),
    Document(DocumentId),
    Pattern(Pattern),
}

/// Documents by their names, the beginnings of these, or patterns; names of Automerge documents are their URLs, and
/// `automerge:` is the beginning of all of them. The default is all documents.
///
/// ```
/// use tombolo::replica::{DocumentId, Priority, Subscription};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let some = Subscription::prefixes(["shared/"])
///     .and_documents([DocumentId::yjs("todo")?])
///     .and_patterns(["notes/*/2026-??".parse()?])
///     .priority_of_pattern("**/todo".parse()?, Priority::High);
/// assert!(some.has(&DocumentId::yjs("notes/anna/2026-11")?));
/// assert!(!some.has(&DocumentId::yjs("notes/anna/2025-11")?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    parts: Vec<Part>,
    priorities: Rules<Priority>,
}

impl Subscription {
    /// All documents.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Those whose names begin with one of these.
    #[must_use]
    pub fn prefixes(prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::all().and_prefixes(prefixes)
    }

    /// These.
    #[must_use]
    pub fn documents(documents: impl IntoIterator<Item = DocumentId>) -> Self {
        Self::all().and_documents(documents)
    }

    /// Those that one of these patterns fits ([`Pattern`] says how they are written).
    #[must_use]
    pub fn patterns(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        Self::all().and_patterns(patterns)
    }

    /// And those whose names begin with one of these.
    #[must_use]
    pub fn and_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.parts.extend(prefixes.into_iter().map(|prefix| Part::Prefix(prefix.into())));
        self
    }

    /// And these.
    #[must_use]
    pub fn and_documents(mut self, documents: impl IntoIterator<Item = DocumentId>) -> Self {
        self.parts.extend(documents.into_iter().map(Part::Document));
        self
    }

    /// And those that one of these patterns fits.
    #[must_use]
    pub fn and_patterns(mut self, patterns: impl IntoIterator<Item = Pattern>) -> Self {
        self.parts.extend(patterns.into_iter().map(Part::Pattern));
        self
    }

    /// Those whose names begin like this are so urgent, unless something more specific says otherwise
    /// ([`Subscription::priority_of_pattern`]).
    #[must_use]
    pub fn priority(self, prefix: impl AsRef<str>, priority: Priority) -> Self {
        self.priority_of_pattern(Pattern::under(prefix.as_ref()), priority)
    }

    /// Those that this pattern fits are so urgent. Of several that fit, the most specific counts: the whole name of one
    /// document, else the one with the most characters given, and of two as specific the one that was added last.
    #[must_use]
    pub fn priority_of_pattern(mut self, pattern: Pattern, priority: Priority) -> Self {
        self.priorities.add(pattern, priority);
        self
    }

    /// Whether a document is kept in sync.
    #[must_use]
    pub fn has(&self, document: &DocumentId) -> bool {
        let is_it = |part: &Part| match part {
            Part::Prefix(prefix) => document.is_under(prefix),
            Part::Document(wanted) => document == wanted,
            Part::Pattern(pattern) => pattern.fits(document),
        };
        self.parts.is_empty() || self.parts.iter().any(is_it)
    }

    /// What it is made of, as a text for each part.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |part: &Part| match part {
            Part::Prefix(prefix) => prefix.clone(),
            // No name and no beginning of one has such a character in it.
            Part::Document(document) => format!("\0document {}", Pattern::document(document)),
            Part::Pattern(pattern) => format!("\0pattern {pattern}"),
        };
        self.parts.iter().map(name).collect()
    }

    /// The beginnings of the names of all that it has, as many as may be asked for; none for everything.
    pub(super) fn asked_for(&self) -> Vec<String> {
        let beginning = |part: &Part| match part {
            Part::Prefix(prefix) => prefix.clone(),
            Part::Document(document) => Pattern::document(document).literal().to_owned(),
            Part::Pattern(pattern) => pattern.literal().to_owned(),
        };
        let mut all: Vec<_> = self.parts.iter().map(beginning).collect();
        // No name is longer, so nothing is under it.
        all.retain(|beginning| beginning.len() <= DOCUMENT_NAME_BYTES_MAX);
        all.sort();
        all.dedup_by(|later, sooner| covers(sooner, later));
        if all.is_empty() && !self.parts.is_empty() {
            // Asking for none would be asking for all.
            all.push("\0".to_owned());
        }
        if all.len() > PATTERNS_MAX { Vec::new() } else { all }
    }

    pub(super) fn priority_for(&self, document: &DocumentId) -> Option<Priority> {
        self.priorities.get(document).copied()
    }
}

/// Whether everything that begins like the second begins like the first. What is shorter than `automerge:` is about
/// Yjs documents only.
fn covers(sooner: &str, later: &str) -> bool {
    later.starts_with(sooner) && (sooner.starts_with("automerge:") || !later.starts_with("automerge:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DocumentId {
        DocumentId::yjs(name).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn documents_are_chosen_by_the_beginnings_of_their_names() {
        let some = Subscription::prefixes(["notes/", "lists"])
            .priority("notes/", Priority::High)
            .priority("notes/big/", Priority::Low);
        for (name, has, priority) in [
            ("notes/a", true, Some(Priority::High)),
            ("notes/big/a", true, Some(Priority::Low)),
            ("lists", true, None),
            ("note", false, None),
        ] {
            assert_eq!((some.has(&id(name)), some.priority_for(&id(name))), (has, priority), "{name}");
            assert!(Subscription::all().has(&id(name)));
        }
        let (one, two) = (DocumentId::Automerge([1; 16]), DocumentId::Automerge([2; 16]));
        let has = |prefix: &str| {
            let some = Subscription::prefixes([prefix]);
            (some.has(&one), some.has(&two))
        };
        assert!(Subscription::all().has(&one) && !some.has(&one));
        assert_eq!(has("automerge:"), (true, true));
        assert_eq!(has(&format!("automerge:{one}")), (true, false));
        // The beginnings of other names.
        assert_eq!(
            (has(""), has("auto"), has(&one.to_string())),
            ((false, false), (false, false), (false, false))
        );
    }

    #[test]
    fn names_and_patterns_choose_as_well_and_all_of_them_together() {
        let list = DocumentId::Automerge([1; 16]);
        let some = Subscription::documents([id("todo"), list.clone()])
            .and_patterns([pattern("notes/*/2026-??")])
            .and_prefixes(["shared/"])
            .priority_of_pattern(pattern("**/2026-??"), Priority::Low)
            .priority_of_pattern(Pattern::document(&id("todo")), Priority::Critical)
            .priority("", Priority::High);
        for (name, has, priority) in [
            ("todo", true, Priority::Critical),
            ("todo/more", false, Priority::High),
            ("notes/a/2026-11", true, Priority::Low),
            ("notes/a/b", false, Priority::High),
            ("shared/b", true, Priority::High),
        ] {
            assert_eq!((some.has(&id(name)), some.priority_for(&id(name))), (has, Some(priority)), "{name}");
        }
        assert!(some.has(&list) && !some.has(&DocumentId::Automerge([2; 16])));
        assert_eq!(some.asked_for(), [&format!("automerge:{list}"), "notes/", "shared/", "todo"]);
        let names = some.names();
        assert_ne!(names, Subscription::prefixes(some.asked_for()).names());
        assert_eq!(names.last().unwrap(), "shared/");
    }

    #[test]
    fn what_is_asked_for_is_enough_and_bounded() {
        let asked =
            |patterns: &[&str]| Subscription::patterns(patterns.iter().map(|text| pattern(text))).asked_for();
        assert_eq!(asked(&["a/b*", "a/*", "b"]), ["a/", "b"]);
        // All Yjs documents, and those of Automerge besides.
        assert_eq!(asked(&["*/a", "automerge:*"]), ["", "automerge:"]);
        assert!(Subscription::all().asked_for().is_empty());
        let many: Vec<_> = (0..PATTERNS_MAX + 1).map(|n| format!("{n:03}")).collect();
        assert_eq!(Subscription::prefixes(&many[1..]).asked_for().len(), PATTERNS_MAX);
        assert!(Subscription::prefixes(&many).asked_for().is_empty(), "all are listed, and left out here");
        let long = Subscription::prefixes(["x".repeat(DOCUMENT_NAME_BYTES_MAX + 1)]);
        assert!(!long.asked_for().is_empty(), "nothing, and not all");
    }
}
