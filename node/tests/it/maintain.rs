//! Verify, repair, compact and quarantine as commands, here and on a server.

use std::fs;

use tombolo_core::id::DocumentId;
use tombolo_store::SetAside;
use tombolo_store::shelf::{Fold, Shelves};

use crate::doc::{World, here_and_there};

here_and_there!(whole_stores, super::a_store_as_it_was_written_verifies_and_is_compacted);

fn import(world: &World, name: &str) {
    let file = world.file("t.txt", format!("the text of {}", name.replace("twin", "away")));
    world.json(&["doc", "import", name, file.to_str().unwrap()]);
}

fn a_store_as_it_was_written_verifies_and_is_compacted(world: &World) {
    import(world, "a");
    import(world, "b");
    let verified = world.json(&["verify"]);
    assert_eq!(
        (&verified["damaged"], &verified["findings"]),
        (&false.into(), &serde_json::json!([])),
        "{verified}"
    );
    let said = String::from_utf8(world.run(&["verify"]).stdout).unwrap();
    assert!(said.contains("as it was written"), "{said}");
    assert!(world.json(&["compact"])["bytes_after"].as_u64().unwrap() > 0);
    assert_eq!(world.json(&["doc", "list"])["documents"].as_array().unwrap().len(), 2);
    assert_eq!(world.json(&["quarantine", "list"])["documents"], serde_json::json!([]));
    assert_eq!(world.json(&["quarantine", "show", "a"])["operations"], serde_json::json!([]));
}

/// Sets the only operation of a document aside, as a fold does that found out that it kills the merge worker.
fn set_aside(world: &World, name: &str) {
    let id = DocumentId::yjs(name).unwrap();
    let shelves = Shelves::open(&world.data().join("shelf"), 16, None).unwrap();
    let operation = shelves.load(&id, false).unwrap().unwrap().tail[0].clone();
    let aside = SetAside::new(operation, "it kills\u{1b}[2J".into(), 1_709_251_199_999);
    let fold = Fold { count: 1, set_aside: vec![aside], ..Fold::default() };
    shelves.fold(&id, &fold).unwrap();
    shelves.close().unwrap();
}

#[test]
fn what_is_in_quarantine_is_shown_and_goes_back_or_away() {
    let world = World::new();
    for name in ["back", "away"] {
        import(&world, name);
        set_aside(&world, name);
    }
    let server = crate::command_line::Running::serve(&world.data(), &[]);
    let listed = world.json(&["quarantine", "list"])["documents"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["operations"]), (2, &1.into()));
    let shown = |name| world.json(&["quarantine", "show", name])["operations"][0].clone();
    let (back, away) = (shown("back"), shown("away"));
    assert_eq!((&back["dropped"], &back["seq"]), (&false.into(), &1.into()));
    let said = String::from_utf8(world.run(&["quarantine", "show", "back"]).stdout).unwrap();
    assert!(said.contains("2024-02-29T23:59:59Z") && said.contains("it kills\\u{1b}"), "{said}");
    let named = |row: &serde_json::Value| format!("{}/{}", row["replica"].as_str().unwrap(), row["seq"]);

    world.json(&["quarantine", "retry", "back", &named(&back)]);
    assert_eq!(world.json(&["doc", "show", "back"])["content"]["text"], "the text of back");
    world.json(&["quarantine", "drop", "away", &named(&away)]);
    assert_eq!(shown("away")["dropped"], true);
    assert_eq!(shown("back"), serde_json::Value::Null);
    // The same bytes are not taken again.
    import(&world, "twin");
    let bytes = world.run(&["doc", "export", "twin"]).stdout;
    assert_eq!(shown("away")["blake3"], blake3::hash(&bytes).to_hex().as_str(), "the same bytes");
    let said = world.fails(&["doc", "import", "away", world.file("twin.update", bytes).to_str().unwrap()], 7);
    assert!(said.contains("set aside"), "{said}");
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn damage_is_found_and_what_is_intact_is_saved() {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        import(&world, name);
    }
    let shelf = fs::read_dir(world.data().join("shelf"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir() && path.join("db").is_file())
        .unwrap();
    let mut bytes = fs::read(shelf.join("db")).unwrap();
    for byte in &mut bytes {
        *byte ^= 0x55;
    }
    fs::write(shelf.join("db"), bytes).unwrap();

    let output = world.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(6));
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verified["damaged"], true, "{verified}");
    assert_eq!(verified["findings"][0]["severity"], "damage", "{verified}");
    let output = world.run(&["verify"]);
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8(output.stdout).unwrap().contains("damage: "));

    let copied = world.json(&["repair"]);
    assert_eq!(copied["applied"], false);
    assert!(world.folder.path().join("data.repaired").is_dir());
    assert!(world.fails(&["repair"], 2).contains("exists already"));
    let to = world.folder.path().join("other");
    let applied = world.json(&["repair", "--apply", "--to", to.to_str().unwrap()]);
    assert!(std::path::Path::new(applied["damaged"].as_str().unwrap()).is_dir());
    assert_eq!(world.json(&["verify"])["damaged"], false);
    let saved = applied["whole"].as_u64().unwrap();
    let listed = world.json(&["doc", "list"])["documents"].as_array().unwrap().len() as u64;
    assert!(listed >= saved && saved > 0, "{applied}");
}

#[test]
fn a_server_is_not_repaired_while_it_runs() {
    let world = World::new();
    let server = crate::command_line::Running::serve(&world.data(), &[]);
    let said = world.fails(&["repair"], 4);
    assert!(said.contains("another process uses"), "{said}");
    assert_eq!(server.end("TERM"), Some(0));
}
