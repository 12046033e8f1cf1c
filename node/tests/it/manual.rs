//! Completions and man pages, as shells and `man` read them: each command is in them, and nothing that is hidden.

use std::fs;

use crate::command_line::{run, stderr, tombolo};

/// Commands that help lists, below these words.
fn commands(below: &[&str]) -> Vec<String> {
    let output = run(tombolo(below).arg("--help"));
    let help = String::from_utf8(output.stdout).unwrap();
    let Some(listed) = help.split("Commands:\n").nth(1) else { return Vec::new() };
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn shells_complete_each_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&mut tombolo(&["completions", shell]));
        assert!(output.status.success(), "{}", stderr(&output));
        let script = String::from_utf8(output.stdout).unwrap();
        let found = [commands(&[]), commands(&["note"]), commands(&["note", "link"])].concat();
        assert!(found.len() > 20, "{found:?}");
        for word in found.iter().map(String::as_str).chain(["data", "stay"]) {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
    assert_eq!(run(&mut tombolo(&["completions", "tcsh"])).status.code(), Some(2));
}

#[test]
fn each_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/if/missing");
    let output = run(tombolo(&["man"]).arg(&pages));
    assert!(output.status.success(), "{}", stderr(&output));
    let mut expected = vec!["tombolo.1".to_owned()];
    let mut rest: Vec<Vec<String>> = commands(&[]).into_iter().map(|name| vec![name]).collect();
    while let Some(words) = rest.pop() {
        expected.push(format!("tombolo-{}.1", words.join("-")));
        let below = commands(&words.iter().map(String::as_str).collect::<Vec<_>>());
        rest.extend(below.into_iter().map(|name| [words.clone(), vec![name]].concat()));
    }
    let mut found: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let page = fs::read_to_string(pages.join("tombolo-note-sync.1")).unwrap();
    assert!(page.contains("tombolo note sync") && page.contains("Ctrl"), "{page}");
}
