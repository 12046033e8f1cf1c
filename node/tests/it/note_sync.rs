//! Notes on devices that are linked to a server, with the real binary: what is not synced is counted, what is deleted
//! here stays deleted here and stays elsewhere.

use std::path::Path;

use serde_json::{Value, json};

use crate::command_line::{Running, run, stderr, tombolo};

fn note(data: &Path, arguments: &[&str]) -> Value {
    let output = run(tombolo(&["note"]).args(arguments).arg("--json").arg("--data").arg(data));
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(data: &Path, arguments: &[&str]) -> String {
    let output = run(tombolo(&["note"]).args(arguments).arg("--data").arg(data));
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn names(data: &Path) -> Vec<String> {
    let listed = note(data, &["list"])["notes"].clone();
    listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_not_synced_is_counted_and_what_is_deleted_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let [data, one, two] = ["server", "one", "two"].map(|name| folder.path().join(name));
    let server = Running::serve(&data, &[]);
    let url = format!("ws://{}", server.host());
    note(&one, &["new", "stays", "--text", "s"]);
    note(&one, &["new", "goes", "--text", "g"]);
    let deleted = said(&one, &["rm", "goes"]);
    assert_eq!(deleted.lines().count(), 1, "nobody else has it: {deleted}");
    note(&one, &["new", "goes, too", "--text", "g"]);
    assert_eq!(note(&one, &["status"])["links"], json!([]));
    for device in [&one, &two] {
        note(device, &["link", "add", &url]);
    }
    let links = || note(&one, &["status"])["links"].clone();
    let linked = links()[0]["url"].as_str().unwrap().to_owned();
    let row = |unsynced| {
        json!([{
            "url": linked, "token": false, "unsynced": unsynced, "only": [], "stale_after_days": null, "hold": false,
        }])
    };
    note(&one, &["sync"]);
    assert_eq!(links(), row(0));
    note(&one, &["new", "later", "--text", "l"]);
    assert_eq!(links(), row(1));
    let status = said(&one, &["status"]);
    assert!(status.contains(&format!("not synced:  1 with {linked}\n")), "{status}");
    note(&one, &["sync"]);
    note(&two, &["sync"]);
    assert_eq!(names(&two), ["goes, too", "later", "stays"]);

    let deleted = said(&one, &["rm", "goes, too"]);
    assert!(deleted.contains("it stays") && deleted.contains(&linked), "{deleted}");
    for _ in 0..2 {
        // Also when somebody edits it elsewhere.
        let editor = ("EDITOR", "echo more >>");
        let edited = run(tombolo(&["note", "edit", "goes, too", "--data"]).arg(&two).env(editor.0, editor.1));
        assert!(edited.status.success(), "{}", stderr(&edited));
        for device in [&two, &one] {
            note(device, &["sync"]);
        }
        assert_eq!((names(&one), links()), (vec!["later".to_owned(), "stays".to_owned()], row(0)));
    }
    assert_eq!(names(&two), ["goes, too", "later", "stays"]);
    assert_eq!(note(&two, &["show", "goes, too"])["text"], "g\nmore\nmore");
    assert_eq!(server.end("TERM"), Some(0));
}

/// A `note sync --stay` that ends with the test.
struct Staying(std::process::Child);

impl Staying {
    fn begin(data: &Path) -> Self {
        let mut command = tombolo(&["note", "sync", "--stay", "--data"]);
        command.arg(data).stderr(std::process::Stdio::null());
        let staying = Self(command.spawn().unwrap());
        eventually("it answers", || data.join("admin.sock").exists());
        staying
    }

    fn end(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed().as_secs() < 60, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn notes_are_written_and_linked_while_a_sync_stays() {
    let folder = tempfile::tempdir().unwrap();
    let [data, one, two] = ["server", "one", "two"].map(|name| folder.path().join(name));
    let server = Running::serve(&data, &[]);
    let (first, none) = (format!("ws://{}", server.host()), "ws://127.0.0.1:9".to_owned());
    note(&one, &["link", "add", &none]);
    note(&two, &["link", "add", &first]);
    let staying = Staying::begin(&one);
    note(&one, &["new", "shopping", "--text", "milk"]);
    note(&one, &["new", "gone", "--text", "g"]);
    note(&one, &["rm", "gone"]);
    // Only from now on is anybody there.
    note(&one, &["link", "add", &first]);
    note(&one, &["link", "rm", &none]);
    let at_two = || {
        note(&two, &["sync"]);
        names(&two)
    };
    eventually("it is synced", || at_two() == ["shopping"]);
    let edited =
        run(tombolo(&["note", "edit", "shopping", "--data"]).arg(&one).env("EDITOR", "echo bread >>"));
    assert!(edited.status.success(), "{}", stderr(&edited));
    eventually("it is synced as well", || {
        at_two();
        note(&two, &["show", "shopping"])["text"] == "milk\nbread"
    });
    // What came is there, too.
    note(&two, &["new", "back", "--text", "b"]);
    note(&two, &["sync"]);
    eventually("it came", || names(&one) == ["back", "shopping"]);
    let refused = run(tombolo(&["note", "sync", "--data"]).arg(&one));
    assert!(stderr(&refused).contains("syncs them already"), "{}", stderr(&refused));
    assert_eq!(staying.end(), Some(0));
    assert_eq!(names(&one), ["back", "shopping"]);
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn a_link_can_be_partial_and_a_stale_one_waits_for_a_decision() {
    let folder = tempfile::tempdir().unwrap();
    let [data, one, two] = ["server", "one", "two"].map(|name| folder.path().join(name));
    let server = Running::serve(&data, &[]);
    let url = format!("ws://{}", server.host());
    ["shared/a", "shared/b", "own"].iter().for_each(|name| drop(note(&one, &["new", name, "--text", "old"])));
    note(&one, &["link", "add", &url, "--only", "shared/*", "--stale-after", "0", "--hold"]);
    note(&two, &["link", "add", &url]);
    note(&one, &["sync"]);
    note(&two, &["sync"]);
    assert_eq!(names(&two), ["shared/a", "shared/b"]);
    let edit = |data: &Path, name: &str, more: &str| {
        let edited = run(tombolo(&["note", "edit", name, "--data"])
            .arg(data)
            .env("EDITOR", format!("echo {more} >>")));
        assert!(edited.status.success(), "{}", stderr(&edited));
    };
    edit(&one, "shared/a", "mine");
    edit(&one, "shared/b", "mine");
    edit(&two, "shared/a", "theirs");
    note(&two, &["sync"]);
    let sync = |more: &[&str]| {
        let output = run(tombolo(&["note", "sync", "--json", "--data"]).arg(&one).args(more));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said["links"][0].clone())
    };
    let (code, link) = sync(&[]);
    assert_eq!((code, &link["in_sync"]), (Some(8), &json!(false)), "{link}");
    let about = [&link["backlog"]["operations_here_about"], &link["backlog"]["bytes_here_about"]];
    assert!(about[0].as_u64().unwrap() >= 2 && about[1].as_u64().unwrap() > 20, "{link}");
    let backlog = json!({
        "days_away": 0, "here": ["shared/b"], "there": [], "both": ["shared/a"], "knows_there": true, "held": 2,
        "operations_here_about": about[0], "bytes_here_about": about[1],
    });
    assert_eq!((&link["backlog"], &link["unsynced"]), (&backlog, &json!([])));
    let output = run(tombolo(&["note", "sync", "--data"]).arg(&one));
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.contains("1 changed here, 0 there, 1 on both sides (here about "), "{said}");
    assert!(said.contains(" bytes); 2 wait for --merge"), "{said}");
    assert!(
        said.contains("changed on both sides: shared/a") && stderr(&output).contains("--merge"),
        "{said}"
    );
    let (code, _) = sync(&["--merge-only", "**/b"]);
    assert_eq!(code, Some(8));
    note(&two, &["sync"]);
    let text = |data: &Path, name: &str| note(data, &["show", name])["text"].as_str().unwrap().to_owned();
    assert!(text(&two, "shared/b").contains("mine") && !text(&two, "shared/a").contains("mine"));
    assert!(!text(&one, "shared/a").contains("theirs"));
    let (code, link) = sync(&["--merge"]);
    assert_eq!((code, &link["in_sync"]), (Some(0), &json!(true)), "{link}");
    assert!(text(&one, "shared/a").contains("mine") && text(&one, "shared/a").contains("theirs"));
    assert_eq!(server.end("TERM"), Some(0));
}
