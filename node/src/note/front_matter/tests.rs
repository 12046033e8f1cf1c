//! Tags read, added and taken away in every way that they are written.

use proptest::prelude::*;

use super::*;

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

#[test]
fn tags_and_titles_are_read_however_they_are_written() {
    for (text, expected, called) in [
        ("", &[][..], ""),
        ("# Plan\n\nrest", &[], "Plan"),
        ("\n\n  first\n", &[], "first"),
        ("---\ntags: [a, \"b c\", '#d']\n---\n# T\n", &["a", "b c", "d"], "T"),
        ("---\ntitle: \"Real\"\ntags:\n  - a\n  - b\nother: 1\n---\n# T\n", &["a", "b"], "Real"),
        ("---\r\ntags: a, b\r\n---\r\nT\r\n", &["a", "b"], "T"),
        ("---\ntags: a b\n...\nT", &["a", "b"], "T"),
        ("---\ntags: [a,\n  b]\n---\nT", &["a", "b"], "T"),
        ("---\ntags: []\n---\nT", &[], "T"),
        ("---\nno end\ntags: [a]\n", &[], "---"),
        ("--- \ntags: [a]\n---\n", &[], "---"),
        ("---\nother:\n  tags: [a]\n---\nT", &[], "T"),
        ("\u{feff}---\ntags: [a]\n---\nT", &["a"], "T"),
        ("---", &[], "---"),
    ] {
        assert_eq!(tags(text), expected, "{text:?}");
        if !called.is_empty() {
            assert_eq!(title(text), called, "{text:?}");
        }
    }
}

#[test]
fn tagging_changes_the_tags_and_nothing_else() {
    for (text, add, remove, expected) in [
        ("", "a", "", "---\ntags: [a]\n---\n"),
        ("# T\n", "a", "", "---\ntags: [a]\n---\n\n# T\n"),
        ("# T\n", "", "a", "# T\n"),
        ("---\nx: 1\n---\nT", "a", "", "---\nx: 1\ntags: [a]\n---\nT"),
        ("---\r\nx: 1\r\n---\r\nT", "a", "", "---\r\nx: 1\r\ntags: [a]\r\n---\r\nT"),
        ("---\ntags: [a,b]\n---\nT", "c", "", "---\ntags: [a,b, c]\n---\nT"),
        ("---\ntags: [a, b, c]\n---\nT", "", "b", "---\ntags: [a, c]\n---\nT"),
        ("---\ntags: [a, b]\n---\nT", "c", "a", "---\ntags: [b, c]\n---\nT"),
        ("---\ntags: [a]\n---\nT", "", "a", "---\ntags: []\n---\nT"),
        ("---\ntags: []\n---\nT", "a", "", "---\ntags: [a]\n---\nT"),
        ("---\ntags: [\"A\"]\n---\nT", "a", "", "---\ntags: [\"A\"]\n---\nT"),
        ("---\ntags: a, b\n---\nT", "c", "", "---\ntags: [a, b, c]\n---\nT"),
        ("---\ntags:\n- a\n- b\nx: 1\n---\nT", "c", "a", "---\ntags:\n- b\n- c\nx: 1\n---\nT"),
        ("---\ntags:\n  - a\n---\nT", "b", "", "---\ntags:\n  - a\n  - b\n---\nT"),
        ("---\ntags:\n  - a\n---\nT", "", "a", "---\ntags: []\n---\nT"),
        ("---\ntags:\nx: 1\n---\nT", "a", "", "---\ntags:\n  - a\nx: 1\n---\nT"),
    ] {
        let some = |text: &str| (!text.is_empty()).then(|| tag(text)).into_iter().collect::<Vec<_>>();
        assert_eq!(tagged(text, &some(add), &some(remove)).unwrap(), expected, "{text:?} +{add} -{remove}");
    }
    for odd in ["[a,\n b]", "{a: 1}", "[[a], b]", "[\"a,b\"]", "a # why", "&x a"] {
        assert!(tagged(&format!("---\ntags: {odd}\n---\n"), &[tag("new")], &[]).is_err(), "{odd}");
    }
}

#[test]
fn what_yaml_would_read_otherwise_is_no_tag() {
    for no in ["", "#", "a b", "a,b", "-a", "a:b", "[a]", "\"a\"", "a#b", "a\n"] {
        assert!(no.parse::<Tag>().is_err(), "{no:?}");
    }
    for yes in ["a", "#a", "work/plan-2", "c++", "日本", "2026"] {
        assert!(yes.parse::<Tag>().is_ok(), "{yes:?}");
    }
}

proptest! {
    /// Whatever a text is: what was added is there, what was removed is not, and the body is untouched.
    #[test]
    fn tags_come_and_go(
        text in "(---\r?\n((tags: ?(\\[[ab, ]{0,6}\\]|a|)|  - [ab]|x: 1)\r?\n){0,4}---\r?\n)?[a-c#\n-]{0,12}|\\PC{0,30}",
        add in "[a-e]", remove in "[f-h]",
    ) {
        let (add, remove) = (tag(&add), tag(&remove));
        if let Ok(once) = tagged(&text, std::slice::from_ref(&add), std::slice::from_ref(&remove)) {
            prop_assert!(tags(&once).iter().any(|tag| *tag == add.as_str()), "{:?}", once);
            prop_assert!(!tags(&once).iter().any(|tag| *tag == remove.as_str()));
            prop_assert_eq!(&tagged(&once, std::slice::from_ref(&add), &[]).unwrap(), &once);
            let body = &text[Front::of(&text).map_or(0, |front| front.end)..];
            prop_assert!(once.ends_with(body), "{:?} {:?}", text, once);
            let gone = tagged(&once, &[], std::slice::from_ref(&add)).unwrap();
            prop_assert!(!tags(&gone).iter().any(|tag| *tag == add.as_str()), "{:?}", gone);
        }
    }
}
