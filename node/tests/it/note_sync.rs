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
    let row = |unsynced| json!([{"url": linked, "token": false, "unsynced": unsynced}]);
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
