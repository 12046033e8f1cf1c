//! Verify, repair, compact and quarantine as commands, here and on a server.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tombolo_core::id::DocumentId;
use tombolo_core::operation::Kind;
use tombolo_store::shelf::{Fold, Shelves};
use tombolo_store::worker::ThreadWorker;
use tombolo_store::{SetAside, Store, StoreConfig};

use crate::command_line::Running;
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
    assert_eq!((&verified["documents"], &verified["operations"]), (&2.into(), &2.into()), "each once");
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
fn what_is_in_quarantine_is_shown_and_goes_back_or_away_here() {
    quarantine(&quarantined());
}

#[test]
fn what_is_in_quarantine_is_shown_and_goes_back_or_away_there() {
    let world = quarantined();
    let server = Running::serve(&world.data(), &[]);
    quarantine(&world);
    assert_eq!(server.end("TERM"), Some(0));
}

fn quarantined() -> World {
    let world = World::new();
    for name in ["back", "away"] {
        import(&world, name);
        set_aside(&world, name);
    }
    world
}

fn quarantine(world: &World) {
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
    import(world, "twin");
    let bytes = world.run(&["doc", "export", "twin"]).stdout;
    assert_eq!(shown("away")["blake3"], blake3::hash(&bytes).to_hex().as_str(), "the same bytes");
    let said = world.fails(&["doc", "import", "away", world.file("twin.update", bytes).to_str().unwrap()], 7);
    assert!(said.contains("set aside"), "{said}");
}

#[test]
fn damage_is_found_and_what_is_intact_is_saved() {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        import(&world, name);
    }
    let shelf = databases(&world).remove(0);
    let mut bytes = fs::read(&shelf).unwrap();
    for byte in &mut bytes {
        *byte ^= 0x55;
    }
    fs::write(&shelf, bytes).unwrap();

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
    assert_eq!(world.json(&["repair"])["copy"], copied["copy"], "made anew: nobody used it");
    let taken = world.folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(world.fails(&["repair", "--to", taken.to_str().unwrap()], 2).contains("exists already"));
    let applied = world.json(&["repair", "--apply"]);
    assert!(std::path::Path::new(applied["damaged"].as_str().unwrap()).is_dir());
    assert_eq!(world.json(&["verify"])["damaged"], false);
    let saved = applied["whole"].as_u64().unwrap();
    let listed = world.json(&["doc", "list"])["documents"].as_array().unwrap().len() as u64;
    assert!(listed >= saved && saved > 0, "{applied}");
}

#[test]
fn a_server_is_not_repaired_while_it_runs() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let said = world.fails(&["repair"], 4);
    assert!(said.contains("another process uses"), "{said}");
    assert_eq!(server.end("TERM"), Some(0));
}

/// The file below `folder` that holds these bytes, with one bit of them turned over.
fn flip(folder: &Path, needle: &str) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()) {
                bytes[at] ^= 1;
                return fs::write(&path, bytes).unwrap();
            }
        }
    }
    panic!("{needle} is nowhere");
}

/// Documents that verify names as damaged.
fn damaged(world: &World) -> Vec<String> {
    let output = world.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(6));
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = verified["findings"].as_array().unwrap();
    rows.iter().filter_map(|row| Some(row["document"].as_str()?.to_owned())).collect()
}

/// Three documents, put away; the middle one is going to be damaged.
fn three() -> World {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    ["one", "two", "three"].iter().for_each(|name| import(&world, name));
    assert_eq!(server.end("TERM"), Some(0));
    world
}

#[test]
fn one_flipped_bit_on_a_shelf_is_found_here_and_there_and_repaired() {
    let world = three();
    flip(&world.data().join("shelf"), "the text of two");
    assert!(damaged(&world).contains(&"two".to_owned()));
    let server = Running::serve(&world.data(), &[]);
    assert!(damaged(&world).contains(&"two".to_owned()));
    assert_eq!(server.end("TERM"), Some(0));
    let repaired = world.json(&["repair", "--apply"]);
    assert_eq!((&repaired["lost"], &repaired["applied"]), (&serde_json::json!([]), &true.into()));
    assert_eq!(world.json(&["verify"])["damaged"], false);
    // The journal still had it.
    assert_eq!(world.json(&["doc", "show", "two"])["content"]["text"], "the text of two");
}

#[test]
fn one_flipped_bit_in_the_journal_is_found_and_repaired() {
    let world = three();
    flip(&world.data().join("journal"), "the text of two");
    assert_eq!(damaged(&world), ["two"]);
    world.json(&["repair", "--apply"]);
    assert_eq!(world.json(&["verify"])["damaged"], false);
    // The shelf had it already.
    assert_eq!(world.json(&["doc", "show", "two"])["content"]["text"], "the text of two");
}

/// The files in which shelves keep documents.
fn databases(world: &World) -> Vec<PathBuf> {
    let shelves = fs::read_dir(world.data().join("shelf")).unwrap();
    shelves.map(|entry| entry.unwrap().path().join("db")).filter(|path| path.is_file()).collect()
}

#[test]
fn of_many_findings_people_see_the_first_and_scripts_all() {
    let world = World::new();
    let store = Store::open(StoreConfig::new(world.data()), ThreadWorker::start().unwrap()).unwrap();
    for number in 0..60 {
        let document = store.document(&DocumentId::yjs(&format!("d{number}")).unwrap()).unwrap();
        let update = Bytes::from_static(&[1, 1, 1, 0, 4, 1, 1, b't', 1, b'x', 0]);
        document.append(Kind::YjsUpdate, update, Box::new(|_| {})).unwrap();
    }
    store.close().unwrap();
    drop(store);
    for path in databases(&world) {
        let length = fs::metadata(&path).unwrap().len();
        fs::write(&path, vec![0x55; usize::try_from(length).unwrap()]).unwrap();
    }
    assert_eq!(damaged(&world).iter().filter(|name| name.starts_with('d')).count(), 60);
    let output = world.run(&["verify"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("damage: ")).count(), 50, "{said}");
    assert!(said.contains("findings more; --json"), "{said}");
}
