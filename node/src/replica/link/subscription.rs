//! Which documents a link keeps in sync, and how urgent they are.

use tombolo_core::id::DocumentId;
use tombolo_core::schedule::Priority;

/// Documents by the beginnings of their names. The default is all Yjs documents.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    prefixes: Vec<String>,
    priorities: Vec<(String, Priority)>,
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
        Self { prefixes: prefixes.into_iter().map(Into::into).collect(), priorities: Vec::new() }
    }

    /// Those whose names begin like this are so urgent; the longest beginning counts.
    #[must_use]
    pub fn priority(mut self, prefix: impl Into<String>, priority: Priority) -> Self {
        self.priorities.push((prefix.into(), priority));
        self
    }

    pub(super) fn names(&self) -> &[String] {
        &self.prefixes
    }

    pub(super) fn has(&self, document: &DocumentId) -> bool {
        let DocumentId::Yjs(name) = document else { return false };
        let name: &str = name.as_ref();
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    pub(super) fn priority_of(&self, document: &DocumentId) -> Option<Priority> {
        let DocumentId::Yjs(name) = document else { return None };
        let name: &str = name.as_ref();
        let fits = self.priorities.iter().filter(|(prefix, _)| name.starts_with(prefix.as_str()));
        fits.max_by_key(|(prefix, _)| prefix.len()).map(|(_, priority)| *priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_chosen_by_the_beginnings_of_their_names() {
        let id = |name: &str| DocumentId::yjs(name).unwrap();
        let some = Subscription::prefixes(["notes/", "lists"])
            .priority("notes/", Priority::High)
            .priority("notes/big/", Priority::Low);
        for (name, has, priority) in [
            ("notes/a", true, Some(Priority::High)),
            ("notes/big/a", true, Some(Priority::Low)),
            ("lists", true, None),
            ("note", false, None),
        ] {
            assert_eq!((some.has(&id(name)), some.priority_of(&id(name))), (has, priority), "{name}");
            assert!(Subscription::all().has(&id(name)));
        }
        assert!(!Subscription::all().has(&DocumentId::Automerge([1; 16])));
    }
}
