//! What makes one text of another: lines first, then the characters of the lines that changed.
//!
//! Guarantees: applied to the first text, the splices give the second; they are in order, apart, and never inside a
//! character. They are few, though not always the fewest: the time is bounded, also for texts with nothing in common.

use similar::{Algorithm, DiffOp, capture_diff_slices};
use tombolo_core::engine::edit::Splice;

/// The changes that make `new` of `old`, for [`Text::splice`](super::Text::splice): so that an edited copy becomes an
/// edit, and what others changed meanwhile stays.
///
/// ```
/// use tombolo::replica::{Splice, splices};
///
/// let changes = splices("one\ntwo\nthree\n", "one\ntwo!\nthree\n");
/// assert_eq!(changes, [Splice { at: 7, remove: 0, insert: "!".into() }]);
/// ```
#[must_use]
pub fn splices(old: &str, new: &str) -> Vec<Splice> {
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let mut made = Made { splices: Vec::new(), at: 0 };
    for op in capture_diff_slices(Algorithm::Myers, &old_lines, &new_lines) {
        let old = old_lines.get(op.old_range()).unwrap_or_default();
        let new = new_lines.get(op.new_range()).unwrap_or_default();
        if matches!(op, DiffOp::Equal { .. }) {
            old.iter().for_each(|line| made.keep(line));
        } else {
            made.characters(&old.concat(), &new.concat());
        }
    }
    made.splices
}

struct Made {
    splices: Vec<Splice>,
    /// How far in the old text, in UTF-16 units.
    at: u32,
}

impl Made {
    fn keep(&mut self, text: &str) {
        self.at += units(text);
    }

    fn characters(&mut self, old: &str, new: &str) {
        let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
        for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
            let old: String = old.get(op.old_range()).unwrap_or_default().iter().collect();
            let new: String = new.get(op.new_range()).unwrap_or_default().iter().collect();
            if matches!(op, DiffOp::Equal { .. }) {
                self.keep(&old);
            } else {
                self.replace(&old, new);
            }
        }
    }

    fn replace(&mut self, old: &str, insert: String) {
        let (at, remove) = (self.at, units(old));
        self.at += remove;
        match self.splices.last_mut() {
            // Two that touch are one.
            Some(last) if last.at + last.remove == at => {
                last.remove += remove;
                last.insert.push_str(&insert);
            }
            _ => self.splices.push(Splice { at, remove, insert }),
        }
    }
}

/// Length in UTF-16 units; a text of a document is far from 2^32 of them.
fn units(text: &str) -> u32 {
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::replica::Replica;

    fn applied(old: &str, splices: &[Splice]) -> String {
        let old: Vec<u16> = old.encode_utf16().collect();
        let (mut new, mut at) = (Vec::new(), 0);
        for splice in splices {
            let (start, end) = (splice.at as usize, (splice.at + splice.remove) as usize);
            assert!(start >= at, "splices overlap: {splices:?}");
            new.extend(&old[at..start]);
            new.extend(splice.insert.encode_utf16());
            at = end;
        }
        new.extend(&old[at..]);
        String::from_utf16(&new).expect("a character was cut")
    }

    #[test]
    fn an_edit_is_small() {
        let old = "# List\n\nmilk\nbread\nsalt\n";
        for (new, count, units) in [
            (old, 0, 0),
            ("# List\n\nmilk\nbread and butter\nsalt\n", 1, 11),
            ("# List\n\nmilk\nsalt\n", 1, 6),
            ("# Lists\n\nmilk\nbread\nsalt!\n", 2, 2),
            ("# List\n\nmilk\nbread\nsalt", 1, 1),
        ] {
            let made = splices(old, new);
            let cost: usize =
                made.iter().map(|splice| splice.remove as usize + splice.insert.encode_utf16().count()).sum();
            assert_eq!((made.len(), cost), (count, units), "{new:?}: {made:?}");
        }
    }

    proptest! {
        #[test]
        fn splices_give_the_other_text(old in "[a-c😀é\r\n]{0,40}", new in "[a-c😀é\r\n]{0,40}") {
            prop_assert_eq!(applied(&old, &splices(&old, &new)), new);
        }

        #[test]
        fn a_few_changes_in_many_lines(
            lines in proptest::collection::vec("[a-c ]{0,6}", 0..30),
            edits in proptest::collection::vec((0usize..30, "[x-z\n]{0,4}"), 0..4),
        ) {
            let mut other = lines.clone();
            for (at, line) in edits {
                if let Some(place) = other.get_mut(at) { *place = line } else { other.push(line) }
            }
            let (old, new) = (lines.join("\n"), other.join("\n"));
            prop_assert_eq!(applied(&old, &splices(&old, &new)), new);
        }
    }

    /// One folder for all cases: opening one takes longer than they do.
    static WORLD: LazyLock<(tempfile::TempDir, Replica)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let replica = Replica::open(folder.path()).unwrap();
        (folder, replica)
    });

    static CASES: AtomicU64 = AtomicU64::new(0);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Two who edit copies of one text lose nothing of what they wrote, and both have the same.
        #[test]
        fn copies_edited_apart_merge(
            start in "[a-d\n]{0,30}",
            one in proptest::collection::vec((0usize..31, 0usize..4, "[XYZ]{1,3}"), 1..4),
            other in proptest::collection::vec((0usize..31, 0usize..4, "[123\n]{1,3}"), 1..4),
        ) {
            let open = |name: &str| WORLD.1.yjs(name).unwrap();
            let case = CASES.fetch_add(1, Ordering::Relaxed);
            let (here, there) = (open(&format!("{case}/here")), open(&format!("{case}/there")));
            here.edit(|edit| edit.text("text").insert(0, &start)).unwrap();
            let _ = there.apply(&here.state().unwrap()).unwrap();
            for (document, edits) in [(&here, &one), (&there, &other)] {
                let mut copy: Vec<char> = start.chars().collect();
                for (at, remove, insert) in edits {
                    let at = (*at).min(copy.len());
                    let end = (at + remove).min(copy.len());
                    copy.splice(at..end, insert.chars());
                }
                let copy: String = copy.into_iter().collect();
                document.edit(|edit| edit.text("text").splice(&splices(&start, &copy))).unwrap();
                prop_assert_eq!(document.text("text").unwrap(), copy);
            }
            let written = |document: &crate::replica::YjsDocument, of: &str| {
                let text = document.text("text").unwrap();
                text.chars().filter(|char| of.contains(*char)).count()
            };
            let (letters, digits) = (written(&here, "XYZ"), written(&there, "123"));
            here.apply(&there.state().unwrap()).unwrap();
            there.apply(&here.state().unwrap()).unwrap();
            prop_assert_eq!(here.text("text").unwrap(), there.text("text").unwrap());
            prop_assert_eq!((written(&here, "XYZ"), written(&here, "123")), (letters, digits));
        }
    }
}
