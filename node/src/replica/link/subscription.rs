//! Which documents a link keeps in sync, and how urgent they are.

use tombolo_core::dialect::replica::is_wanted;
use tombolo_core::id::DocumentId;
use tombolo_core::schedule::Priority;

/// Documents by the beginnings of their names, which for Automerge documents are their URLs: `automerge:` is all of
/// them. The default is all documents.
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
        is_wanted(&self.prefixes, document)
    }

    pub(super) fn priority_of(&self, document: &DocumentId) -> Option<Priority> {
        let fits = self.priorities.iter().filter(|(prefix, _)| document.is_under(prefix));
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
}
