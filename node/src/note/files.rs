//! Which note a file is, and which file a note.
//!
//! Guarantees: each name has one file below the folder and none elsewhere, whatever it is made of, and comes back from
//! it. Names that are plain paths are their own.

use std::path::{Component, Path, PathBuf};

/// What stands for a part of a name with nothing in it, as in `a//b`; no name has a NUL.
const NOTHING: &str = "%00";

/// The file of a note, relative to a folder. Its `/` make folders. What a file system would take for something else is
/// written as `%` and two hex digits: a leading dot, control characters, a folder that looks like a note.
#[must_use]
pub fn file_of(name: &str) -> PathBuf {
    let parts: Vec<&str> = name.split('/').collect();
    let last = parts.len().saturating_sub(1);
    let mut path = PathBuf::new();
    for (place, part) in parts.into_iter().enumerate() {
        let mut written = if part.is_empty() { NOTHING.to_owned() } else { encoded(part, place < last) };
        if place == last {
            written.push_str(".md");
        }
        path.push(written);
    }
    path
}

/// The note of a file, by its path relative to a folder; none if it is no Markdown or its path no text.
#[must_use]
pub fn name_of(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    if ending != "md" && ending != "markdown" {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    let mut parts = Vec::new();
    for part in path.parent()?.components() {
        let Component::Normal(part) = part else { return None };
        parts.push(part.to_str()?);
    }
    parts.push(stem);
    let parts = parts.into_iter().map(|part| if part == NOTHING { String::new() } else { decoded(part) });
    Some(parts.collect::<Vec<_>>().join("/"))
}

fn encoded(part: &str, is_folder: bool) -> String {
    let looks_like_note = is_folder && ends_like_a_note(part);
    let last_dot = part.rfind('.');
    let mut out = String::with_capacity(part.len());
    for (at, char) in part.char_indices() {
        let odd = match char {
            '.' => at == 0 || (looks_like_note && last_dot == Some(at)),
            // Only what would be read as something else.
            '%' => part.get(at + 1..).and_then(code).is_some() || part == NOTHING,
            other => other.is_ascii_control(),
        };
        if odd {
            out.push_str(&format!("%{:02X}", u32::from(char)));
        } else {
            out.push(char);
        }
    }
    out
}

fn ends_like_a_note(part: &str) -> bool {
    let ending = part.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    matches!(ending.as_deref(), Some("md" | "markdown"))
}

fn decoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(char) = rest.chars().next() {
        rest = rest.get(char.len_utf8()..).unwrap_or_default();
        match (char, code(rest)) {
            ('%', Some(byte)) => {
                out.push(char::from(byte));
                rest = rest.get(2..).unwrap_or_default();
            }
            _ => out.push(char),
        }
    }
    out
}

/// What two hex digits stand for, if it is something that [`file_of`] writes so.
fn code(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (byte == b'%' || byte == b'.' || (byte != 0 && byte.is_ascii_control())).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_are_their_own_and_odd_ones_stay_below_the_folder() {
        for (name, file) in [
            ("today", "today.md"),
            ("work/plan 2", "work/plan 2.md"),
            ("100% off", "100% off.md"),
            ("a%20b", "a%20b.md"),
            ("a.md", "a.md.md"),
            ("a.md/b", "a%2Emd/b.md"),
            ("..", "%2E..md"),
            ("../../etc/passwd", "%2E./%2E./etc/passwd.md"),
            ("/root", "%00/root.md"),
            ("a//b", "a/%00/b.md"),
            ("a\nb", "a%0Ab.md"),
            ("%2E", "%252E.md"),
            (".hidden", "%2Ehidden.md"),
        ] {
            assert_eq!(file_of(name), PathBuf::from(file), "{name:?}");
            assert_eq!(name_of(Path::new(file)).as_deref(), Some(name), "{file:?}");
        }
        for no_note in ["a.txt", "md", "/a.md", "../a.md"] {
            assert_eq!(name_of(Path::new(no_note)), None, "{no_note}");
        }
    }

    proptest! {
        #[test]
        fn each_name_comes_back_from_its_own_file(name in "[a%./0-2EF\u{1}é\\-]{1,12}|\\PC{1,20}") {
            let file = file_of(&name);
            prop_assert!(file.components().all(|part| matches!(part, Component::Normal(_))), "{:?}", file);
            prop_assert_eq!(name_of(&file), Some(name));
        }
    }
}
