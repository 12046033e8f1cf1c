//! Notes with the real binary and a real editor, which is a script: the same on an idle folder and on a running server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;

use crate::command_line::{Running, run, stderr, tombolo};
use crate::doc::{World, here_and_there};

here_and_there!(notes, super::notes_are_written_found_tagged_and_deleted);
here_and_there!(refusals, super::what_cannot_be_is_said);
here_and_there!(edits, super::an_edit_merges_with_what_happened_meanwhile);
here_and_there!(unsaved, super::what_cannot_be_saved_is_kept_in_a_file);
here_and_there!(files, super::files_come_and_go_byte_for_byte);
here_and_there!(foreign, super::other_documents_are_no_notes);

/// An editor that runs these lines of shell; `$1` is the file.
fn editor(world: &World, lines: &str) -> PathBuf {
    let path = world.file("editor", format!("#!/bin/sh\nset -e\n{lines}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn edit(world: &World, arguments: &[&str], lines: &str) -> Output {
    let editor = editor(world, lines);
    let mut command = tombolo(arguments);
    command.arg("--data").arg(world.data()).env_remove("VISUAL").env("EDITOR", editor);
    command.env("TOMBOLO", env!("CARGO_BIN_EXE_tombolo")).env("NOTES", world.data());
    run(command.env("TMPDIR", world.folder.path()))
}

fn text(world: &World, name: &str) -> String {
    let output = world.run(&["note", "show", name]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn notes_are_written_found_tagged_and_deleted(world: &World) {
    assert_eq!(world.json(&["note", "list"]), json!({"notes": []}));
    good(&edit(world, &["note", "new", "today"], "printf '# Today\\n\\nBuy MILK 😀\\n' > \"$1\""));
    world.json(&["note", "new", "ideas/boat", "--text", "A boat\n"]);
    let file = world.file("from.md", "from a file");
    world.json(&["note", "new", "third", "--from", file.to_str().unwrap()]);
    assert_eq!(text(world, "today"), "# Today\n\nBuy MILK 😀\n");
    // It is the text that the page of a server edits.
    let shown = world.json(&["doc", "show", "today"]);
    assert_eq!(shown["content"], json!({"text": "# Today\n\nBuy MILK 😀\n"}));

    let tags = world.json(&["note", "tag", "today", "shop", "#home"]);
    assert_eq!((&tags["tags"], &tags["changed"]), (&json!(["shop", "home"]), &true.into()));
    assert_eq!(world.json(&["note", "tag", "today", "Shop"])["changed"], false);
    world.json(&["note", "tag", "today", "--remove", "home"]);
    assert_eq!(text(world, "today"), "---\ntags: [shop]\n---\n\n# Today\n\nBuy MILK 😀\n");
    let listed = world.json(&["note", "list", "--tag", "SHOP"]);
    let row = json!({"name": "today", "title": "Today", "tags": ["shop"], "characters": 42});
    assert_eq!(listed, json!({"notes": [row]}));
    assert_eq!(world.json(&["note", "list", "--prefix", "ideas/"])["notes"][0]["title"], "A boat");
    let table = good(&world.run(&["note", "list"]));
    assert!(table.starts_with("NAME        TAGS  TITLE\nideas/boat        A boat\n"), "{table}");

    let found = world.json(&["note", "search", "milk"]);
    assert_eq!(found, json!({"matches": [{"name": "today", "line": 7, "snippet": "Buy MILK 😀"}]}));
    assert_eq!(good(&world.run(&["note", "search", "BOAT"])), "ideas/boat:1: A boat\n");
    assert_eq!(good(&world.run(&["note", "search", "thir"])), "third\n");

    world.json(&["note", "rm", "third"]);
    let status = world.json(&["note", "status"]);
    assert_eq!(
        (&status["notes"], &status["deleted"], &status["unreadable"]),
        (&2.into(), &1.into(), &0.into())
    );
    assert_eq!(status["server"], world.data().join("admin.sock").exists());
}

fn what_cannot_be_is_said(world: &World) {
    for name in ["today", "third"] {
        world.json(&["note", "new", name, "--text", "x"]);
    }
    world.json(&["note", "rm", "third"]);
    for (arguments, code, says) in [
        (&["note", "show", "third"][..], 7, "there is no note"),
        (&["note", "rm", "third"], 7, "there is no note"),
        (&["note", "edit", "nothing"], 7, "there is no note"),
        (&["note", "new", "third", "--text", "again"], 7, "was deleted"),
        (&["note", "new", "today", "--text", "again"], 7, "already"),
        (&["note", "new", "empty", "--text", ""], 7, "nothing was written"),
        (&["note", "tag", "today", "a b"], 2, "is no tag"),
        (&["note", "show", " "], 2, "names no document"),
    ] {
        let said = world.fails(arguments, code);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

fn an_edit_merges_with_what_happened_meanwhile(world: &World) {
    world.json(&["note", "new", "n", "--text", "one\ntwo\nthree"]);
    // The folder is free while the editor is open.
    let other = world.file("other", "zero\none\ntwo\nthree\n");
    let meanwhile = format!(
        "EDITOR='cp {}' \"$TOMBOLO\" note edit n --data \"$NOTES\" >&2
        \"$TOMBOLO\" note tag n while --data \"$NOTES\" >&2
        sed -i 's/two/twofold/; s/three/3/' \"$1\"",
        other.display()
    );
    let answer = edit(world, &["note", "edit", "n", "--json"], &meanwhile);
    assert_eq!(good(&answer), "{\"changed\":true,\"name\":\"n\"}\n");
    assert_eq!(text(world, "n"), "---\ntags: [while]\n---\n\nzero\none\ntwofold\n3");

    let operations = || world.json(&["doc", "show", "n"])["operations"].clone();
    let before = operations();
    let answer = edit(world, &["note", "edit", "n"], "true");
    assert_eq!((good(&answer).as_str(), operations()), ("n is as it was\n", before));
    let answer = edit(world, &["note", "edit", "n"], "exit 3");
    assert_eq!(answer.status.code(), Some(1));
    assert!(stderr(&answer).contains("the note is as it was"), "{}", stderr(&answer));
    assert_eq!(leftovers(world), 0);
    let bytes = || world.json(&["doc", "show", "long"])["bytes"].as_u64().unwrap();
    world.json(&["note", "new", "long", "--text", &"many lines\n".repeat(2000)]);
    let before = bytes();
    good(&edit(world, &["note", "edit", "long"], "echo x >> \"$1\"; sed -i '1s/many/few/' \"$1\""));
    let grown = bytes() - before;
    assert!(grown < 150, "{grown} bytes for a few characters");
}

/// Files that an editor was given and that are still there.
fn leftovers(world: &World) -> usize {
    let names = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("note-")).count()
}

fn what_cannot_be_saved_is_kept_in_a_file(world: &World) {
    let kept = |answer: &Output, code: i32| {
        assert_eq!(answer.status.code(), Some(code), "{}", stderr(answer));
        let said = stderr(answer);
        let path = said.split("what was written is in ").nth(1).unwrap_or_else(|| panic!("{said}"));
        let bytes = fs::read(path.lines().next().unwrap()).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    world.json(&["note", "new", "n", "--text", "one\n"]);
    let failed = edit(world, &["note", "edit", "n"], "echo two >> \"$1\"; exit 1");
    assert_eq!(kept(&failed, 1), "one\ntwo\n");
    let no_text = edit(world, &["note", "edit", "n"], "printf '\\377' >> \"$1\"");
    assert_eq!(kept(&no_text, 7), "one\n\u{fffd}");
    let deleted = edit(
        world,
        &["note", "edit", "n"],
        "echo two >> \"$1\"; \"$TOMBOLO\" note rm n --data \"$NOTES\" >&2",
    );
    assert_eq!(kept(&deleted, 7), "one\ntwo\n");
    assert!(stderr(&deleted).contains("deleted"), "{}", stderr(&deleted));
    let taken = edit(
        world,
        &["note", "new", "m"],
        "echo mine > \"$1\"; \"$TOMBOLO\" note new m --text theirs --data \"$NOTES\" >&2",
    );
    assert_eq!(kept(&taken, 7), "mine\n");
    assert_eq!(text(world, "m"), "theirs");
    assert_eq!(leftovers(world), 4);
}

fn files_come_and_go_byte_for_byte(world: &World) {
    let folder = world.folder.path().join("in");
    let files: [(&str, &str); 5] = [
        ("plain.md", "# Plain\n"),
        ("work/plan 2.md", "---\ntags:   [a,b]\nodd: {x: [1,  2]} # kept\n---\nbody"),
        ("crlf.md", "---\r\ntags:\r\n- a\r\n---\r\n\r\nbody\r\n"),
        ("bom.MD", "\u{feff}---\ntitle: 'T'\n---\n\n\n"),
        ("deep/er/😀.markdown", "no end"),
    ];
    fs::create_dir_all(folder.join("deep/er/.hidden")).unwrap();
    fs::create_dir_all(folder.join("work")).unwrap();
    for (file, bytes) in files {
        fs::write(folder.join(file), bytes).unwrap();
    }
    fs::write(folder.join("deep/er/.hidden/x.md"), "hidden").unwrap();
    fs::write(folder.join("picture.png"), "no note").unwrap();
    let path = folder.to_str().unwrap();
    let done = world.json(&["note", "import", path]);
    assert_eq!((&done["new"], &done["refused"]), (&5.into(), &0.into()));
    let done = world.json(&["note", "import", path]);
    assert_eq!((&done["unchanged"], &done["new"]), (&5.into(), &0.into()));
    assert_eq!(world.json(&["note", "list", "--tag", "a"])["notes"].as_array().unwrap().len(), 2);
    assert_eq!(text(world, "work/plan 2"), files[1].1);

    let out = world.folder.path().join("out");
    let to = out.to_str().unwrap();
    world.json(&["note", "new", "../escape", "--text", "stays below"]);
    assert_eq!(world.json(&["note", "export", to])["new"], 6);
    for (file, bytes) in files {
        let file = Path::new(file).with_extension("md");
        assert_eq!(fs::read_to_string(out.join(&file)).unwrap(), bytes, "{}", file.display());
    }
    assert_eq!(fs::read_to_string(out.join("%2E./escape.md")).unwrap(), "stays below");
    assert!(!world.folder.path().join("escape.md").exists());

    // What differs is left alone unless it is said otherwise; both ways.
    fs::write(out.join("plain.md"), "# Plainer\n").unwrap();
    fs::write(out.join("bad.md"), [0xff]).unwrap();
    for verb in ["import", "export"] {
        let refused = world.run(&["note", verb, to]);
        assert_eq!(refused.status.code(), Some(7));
        let said = String::from_utf8(refused.stdout).unwrap();
        assert!(said.contains("left out plain.md") && said.contains("--replace"), "{said}");
    }
    assert_eq!(
        (text(world, "plain").as_str(), fs::read(out.join("plain.md")).unwrap().len()),
        ("# Plain\n", 10)
    );
    fs::remove_file(out.join("bad.md")).unwrap();
    assert_eq!(world.json(&["note", "import", to, "--replace"])["changed"], 1);
    assert_eq!(text(world, "plain"), "# Plainer\n");
    fs::write(out.join("plain.md"), "theirs").unwrap();
    assert_eq!(world.json(&["note", "export", to, "--replace"])["changed"], 1);
    assert_eq!(fs::read_to_string(out.join("plain.md")).unwrap(), "# Plainer\n");
}

fn other_documents_are_no_notes(world: &World) {
    let file = world.file("map.json", r#"{"map":{"a":1}}"#);
    world.json(&["doc", "import", "map", file.to_str().unwrap()]);
    world.json(&["doc", "import", "automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh", file.to_str().unwrap()]);
    world.json(&["note", "new", "n", "--text", "x"]);
    assert_eq!(world.json(&["note", "list"])["notes"].as_array().unwrap().len(), 1);
    assert_eq!(world.json(&["note", "status"])["notes"], 1);
    world.fails(&["note", "show", "map"], 7);
    // Client 7 typing "hi" into "text" and putting {"a":1} behind it, as an editor of rich texts does.
    let head = [&[1, 2, 7, 0, 4, 1, 4][..], b"text", &[2], b"hi", &[0x85, 7, 1, 7]].concat();
    let file = world.file("rich.update", [&head[..], b"{\"a\":1}", &[0]].concat());
    world.json(&["doc", "import", "rich", file.to_str().unwrap()]);
    assert_eq!(text(world, "rich"), "hi");
    let said = world.fails(&["note", "tag", "rich", "no"], 7);
    assert!(said.contains("more in it than text"), "{said}");
    let failed = edit(world, &["note", "edit", "rich"], "echo more >> \"$1\"");
    assert!(failed.status.code() == Some(7) && stderr(&failed).contains("what was written is in"));
}

#[test]
fn a_first_note_makes_the_folder_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("notes");
    let note = |arguments: &[&str]| run(tombolo(arguments).arg("--data").arg(&data));
    for arguments in [&["note", "list"][..], &["note", "status"], &["note", "search", "x"]] {
        let output = note(arguments);
        assert_eq!(output.status.code(), Some(4));
        assert!(stderr(&output).contains("tombolo note new"), "{}", stderr(&output));
    }
    assert!(!data.exists());
    good(&note(&["note", "new", "n", "--text", "x"]));
    assert_eq!(good(&note(&["note", "show", "n"])), "x");
    // A server on the folder has it, too.
    let server = Running::serve(&data, &[]);
    assert!(server.get("/api/documents").contains(r#""name":"n""#));
    assert_eq!(good(&note(&["note", "show", "n"])), "x");
    assert_eq!(server.end("TERM"), Some(0));
}

/// The fenced blocks of this language in the README's section on notes.
fn readme(language: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let section = readme.split("## Offline notes").nth(1).unwrap().split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_readme_works_word_for_word() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_tombolo")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    // But for the port.
    let server = Running::serve(&folder.path().join("server-data"), &[]);
    let real = |text: &str| text.replace("127.0.0.1:8484", &server.host());
    let (scripts, words) = (readme("sh"), readme("text"));
    assert_eq!((scripts.len(), words.len()), (2, 2));
    for (script, words) in scripts.iter().zip(&words) {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-e", "-c", &real(script)]).current_dir(folder.path()).env("PATH", &path);
        shell.env_remove("TOMBOLO_DATA").env_remove("VISUAL").env("EDITOR", "sed -i s/milk/oat\\ milk/");
        assert_eq!(good(&run(&mut shell)), real(words));
    }
    assert!(folder.path().join("my-notes/ideas/boat.md").exists());
    // Where the page looks for it.
    assert!(server.get("/api/documents").contains(r#""name":"today""#));
    assert_eq!(server.end("TERM"), Some(0));
}
