//! Documents listed, shown, out as files and in again: the same commands on an idle folder and on a running server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use automerge::sync::{Message as SyncMessage, State, SyncDoc};
use automerge::{AutoCommit, ReadDoc};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message as Frame;
use tombolo_core::dialect::automerge_repo::{Message, PeerMetadata, parse};
use tombolo_core::engine::yjs;
use tombolo_core::id::DocumentId;
use tombolo_core::update::Update;

use crate::command_line::{Running, run, stderr, tombolo};

/// Client 1 typing "hi" into the text "t", as captured from Yjs.
const HI: &[u8] = &[1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];
const AUTOMERGE: &str = "automerge:1Bhh3pU9gLXZiNDL6PEa1Gs9fh";

/// A data folder that a server used once, and a place for files.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        assert_eq!(Running::serve(&world.data(), &[]).end("TERM"), Some(0));
        world
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs a command on the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(tombolo(arguments).arg("--data").arg(self.data()))
    }

    /// Its answer as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says when it fails with this code.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        stderr(&output)
    }

    fn import(&self, name: &str, file: &Path, more: &[&str]) -> Value {
        self.json(&[&["doc", "import", name, file.to_str().unwrap()], more].concat())
    }
}

/// The same on a folder that nobody uses and on one that a server uses, as two tests.
macro_rules! here_and_there {
    ($name:ident, $check:path) => {
        mod $name {
            #[test]
            fn here() {
                $check(&crate::doc::World::new());
            }

            #[test]
            fn there() {
                let world = crate::doc::World::new();
                let server = crate::command_line::Running::serve(&world.data(), &[]);
                $check(&world);
                assert_eq!(server.end("TERM"), Some(0));
                assert!(!world.data().join("admin.sock").exists());
            }
        }
    };
}
pub(crate) use here_and_there;

here_and_there!(documents_come_and_go, super::documents_go_in_are_listed_shown_and_come_out);
here_and_there!(refusals, super::what_cannot_be_is_said_and_changes_nothing);
here_and_there!(deletions, super::deleted_documents_stay_deleted_until_they_are_purged);

fn documents_go_in_are_listed_shown_and_come_out(world: &World) {
    assert_eq!(world.json(&["doc", "list"]), serde_json::json!({"documents": [], "more": false}));
    let file = world.file("hi.update", HI);
    let done = world.import("notes/a b", &file, &[]);
    assert_eq!((&done["operations"], &done["bytes"]), (&1.into(), &12.into()));
    // Twice does no harm.
    assert_eq!(world.import("notes/a b", &file, &[])["total_operations"], 2);
    let json = world.file("new.json", r#"{"list":[1,{"a":"b"}],"text":"x"}"#);
    world.import("notes/json", &json, &[]);
    world.import(AUTOMERGE, &json, &[]);

    let rows = world.json(&["doc", "list"])["documents"].clone();
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["notes/a b", "notes/json", &AUTOMERGE["automerge:".len()..]]);
    assert_eq!(rows[0]["operations"], 2);
    assert_eq!(rows[2]["format"], "automerge");
    let some = world.json(&["doc", "list", "--prefix", "notes/", "--limit", "1"]);
    assert_eq!((some["documents"].as_array().unwrap().len(), &some["more"]), (1, &true.into()));
    let table = String::from_utf8(world.run(&["doc", "list"]).stdout).unwrap();
    assert!(table.contains("OPERATIONS") && table.contains(AUTOMERGE), "{table}");

    let shown = world.json(&["doc", "show", "notes/a b"]);
    assert_eq!(shown["content"], serde_json::json!({"t": "hi"}));
    assert_eq!(shown["state_vector"], serde_json::json!({"1": 2}));
    let shown = world.json(&["doc", "show", AUTOMERGE]);
    assert_eq!(shown["content"]["list"][1]["a"], "b");
    assert_eq!(shown["heads"][0].as_str().unwrap().len(), 64);
    assert!(world.json(&["doc", "show", AUTOMERGE, "--no-content"])["content"].is_null());
    let said = String::from_utf8(world.run(&["doc", "show", "notes/a b"]).stdout).unwrap();
    assert!(said.contains(r#"{"t":"hi"}"#), "{said}");

    for (ending, form) in [("bin", "update"), ("v2", "update-v2")] {
        let path = world.folder.path().join(format!("out.{ending}"));
        let to = path.to_str().unwrap();
        assert_eq!(world.json(&["doc", "export", "notes/a b", "--to", to])["as"], form);
        world.import(form, &path, &[]);
        assert_eq!(world.json(&["doc", "show", form])["content"]["t"], "hi");
    }
    let out = |arguments: &[&str]| {
        let output = world.run(&[&["doc", "export"], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    };
    assert_eq!(out(&["notes/a b", "--as", "text"]), b"hi");
    assert_eq!(out(&["notes/json", "--as", "json", "--root", "list"]), br#"[1,{"a":"b"}]"#);
    assert_eq!(yjs::text(&[out(&["notes/a b"]).into()], "t").unwrap(), "hi");
    let loaded = AutoCommit::load(&out(&[AUTOMERGE])).unwrap();
    assert_eq!(loaded.length(automerge::ROOT), 2);
    let file = world.file("again.automerge", out(&[AUTOMERGE]));
    assert_eq!(world.import(AUTOMERGE, &file, &[])["operations"], 0);
    let other = DocumentId::Automerge([9; 16]).to_string();
    world.import(&other, &file, &["--automerge"]);
    let text = world.file("t.txt", "two\nlines");
    world.import("text", &text, &["--root", "r"]);
    assert_eq!(out(&["text", "--as", "json"]), br#"{"r":"two\nlines"}"#);
}

fn what_cannot_be_is_said_and_changes_nothing(world: &World) {
    let hi = world.file("hi.bin", HI);
    world.import("hi", &hi, &[]);
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (hi, json) = (path(hi), path(world.file("x.json", r#"{"a":"b"}"#)));
    let garbage = path(world.file("garbage.bin", [7; 100]));
    let nested = path(world.file("nested.json", "[".repeat(200_000)));
    let empty = path(world.file("empty.bin", [0, 0]));
    let lone = path(world.file("lone.automerge", lone_change()));
    for (arguments, words) in [
        (&["doc", "show", "nobody"][..], "there is no document nobody"),
        (&["doc", "export", "nobody"], "there is no document nobody"),
        (&["doc", "rm", "nobody"], "there is no document nobody"),
        (&["doc", "purge", "hi"], "no tombstone"),
        (&["doc", "export", "hi", "--as", "automerge"], "is no Automerge file"),
        (&["doc", "export", "hi", "--as", "text", "--root", "x"], "nothing under"),
        (&["doc", "export", "hi", "--root", "x"], "only has a JSON or a text form"),
        (&["doc", "import", "hi", &json], "document hi exists"),
        (&["doc", "import", "new", &garbage], "no Yjs update"),
        (&["doc", "import", "new", &garbage, "--as", "update-v2"], "cannot read"),
        (&["doc", "import", "new", &nested, "--root", "r"], "recursion"),
        (&["doc", "import", "new", &empty], "no edit in it"),
        (&["doc", "import", AUTOMERGE, &hi], "no Yjs update"),
        (&["doc", "import", AUTOMERGE, &garbage, "--as", "automerge"], "no Automerge chunks"),
        (&["doc", "import", AUTOMERGE, &lone], "waits for one"),
        (&["quarantine", "retry", "hi", "0/1"], "names no replica"),
        (&["quarantine", "drop", "hi", "00000000000000000000000000000000/1"], "in quarantine"),
    ] {
        let said = world.fails(arguments, 7);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    for (arguments, code) in [
        (&["doc", "show", " "][..], 2),
        (&["doc", "show", "x", "--automerge"], 2),
        (&["doc", "import", "new", "/no/such/file"], 1),
        (&["doc", "export", "hi", "--json"], 2),
        (&["quarantine", "drop", "hi", "1"], 2),
        (&["doc", "sing"], 2),
    ] {
        assert!(!world.fails(arguments, code).is_empty());
    }
    let rows = world.json(&["doc", "list"])["documents"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
}

/// A change that leans on one that is not there.
fn lone_change() -> Vec<u8> {
    use automerge::transaction::Transactable;
    let mut document = AutoCommit::new();
    document.put(automerge::ROOT, "a", 1).unwrap();
    document.commit();
    document.put(automerge::ROOT, "a", 2).unwrap();
    document.commit();
    document.get_changes(&[]).last().unwrap().raw_bytes().to_vec()
}

fn deleted_documents_stay_deleted_until_they_are_purged(world: &World) {
    let hi = world.file("hi.bin", HI);
    world.import("gone", &hi, &[]);
    assert_eq!(world.json(&["doc", "rm", "gone"])["name"], "gone");
    assert_eq!(world.json(&["doc", "list"])["documents"], serde_json::json!([]));
    let deleted = world.json(&["doc", "list", "--deleted"]);
    assert_eq!(deleted["deleted"][0]["name"], "gone");
    assert!(deleted["deleted"][0]["deleted_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let said = world.fails(&["doc", "import", "gone", hi.to_str().unwrap()], 7);
    assert!(said.contains("deleted"), "{said}");
    world.json(&["doc", "purge", "gone"]);
    assert_eq!(world.import("gone", &hi, &[])["operations"], 1);
}

#[test]
fn a_slip_of_the_pen_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("typo");
    for arguments in [&["doc", "list"][..], &["verify"], &["compact"], &["repair"], &["quarantine", "list"]] {
        let output = run(tombolo(arguments).arg("--data").arg(&data));
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).contains("there is no store"), "{}", stderr(&output));
    }
    assert!(!data.exists());
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn connect(host: &str, path: &str) -> Socket {
    let stream = tokio::net::TcpStream::connect(host).await.unwrap();
    tokio_tungstenite::client_async(format!("ws://{host}{path}"), stream).await.unwrap().0
}

async fn next(socket: &mut Socket) -> Bytes {
    loop {
        // Bounds the wait, so that silence is a failure.
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), socket.next()).await;
        if let Frame::Binary(bytes) = frame.unwrap().unwrap().unwrap() {
            return bytes;
        }
    }
}

/// The code with which the server closes.
async fn closed(socket: &mut Socket) -> u16 {
    loop {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), socket.next()).await;
        match frame.unwrap() {
            Some(Ok(Frame::Close(Some(close)))) => return u16::from(close.code),
            Some(Ok(_)) => {}
            other => panic!("no close: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_yjs_client_sees_an_import_and_a_deletion() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let mut client = connect(&server.host(), "/yjs/room").await;
    // SyncStep1 with an empty state vector; its answer says that the client has joined.
    client.send(Frame::binary(vec![0, 0, 1, 0])).await.unwrap();
    while next(&mut client).await[..2] != [0, 1] {}
    let file = world.file("hi.bin", HI);
    tokio::task::block_in_place(|| world.import("room", &file, &[]));
    let frame = loop {
        let frame = next(&mut client).await;
        if frame[..2] == [0, 2] {
            break frame;
        }
    };
    assert_eq!(frame[3..], *HI);
    Update::parse(frame.slice(3..)).unwrap();
    tokio::task::block_in_place(|| world.json(&["doc", "rm", "room"]));
    assert_eq!(closed(&mut client).await, 4410, "who has a deleted document open is told");
    // A client that reconnects with its copy does not bring it back.
    let mut again = connect(&server.host(), "/yjs/room").await;
    let mut edit = vec![0, 2, u8::try_from(HI.len()).unwrap()];
    edit.extend_from_slice(HI);
    again.send(Frame::binary(edit)).await.unwrap();
    assert_eq!(closed(&mut again).await, 4410, "who comes later is told, too");
    let listed = tokio::task::block_in_place(|| world.json(&["doc", "list"]));
    assert_eq!(listed["documents"], serde_json::json!([]));
    assert_eq!(server.end("TERM"), Some(0));
}

/// What an automerge-repo client says and hears of one document.
pub(crate) struct AutomergeClient {
    socket: Socket,
    target: String,
    id: DocumentId,
    pub(crate) document: AutoCommit,
    state: State,
    asked: bool,
}

impl AutomergeClient {
    pub(crate) async fn join(host: &str, id: &DocumentId) -> Self {
        let mut socket = connect(host, "/automerge").await;
        let (metadata, versions) = (PeerMetadata::default(), vec!["1".into()]);
        let join = Message::Join { sender: "me".into(), metadata, versions };
        socket.send(Frame::binary(join.encode())).await.unwrap();
        let Some(Message::Peer { sender: target, .. }) = parse(&next(&mut socket).await).unwrap() else {
            panic!("no peer")
        };
        let (document, state) = (AutoCommit::new(), State::new());
        Self { socket, target, id: id.clone(), document, state, asked: false }
    }

    /// Says what there is to say; the first time it asks for the document.
    pub(crate) async fn say(&mut self) {
        let Some(message) = self.document.sync().generate_sync_message(&mut self.state) else { return };
        let data = Bytes::from(message.encode());
        let (sender, target, document) = ("me".into(), self.target.clone(), self.id.clone());
        let message = match std::mem::replace(&mut self.asked, true) {
            false => Message::Request { sender, target, document, data },
            true => Message::Sync { sender, target, document, data },
        };
        self.socket.send(Frame::binary(message.encode())).await.unwrap();
    }

    /// The next message of the server, taken in.
    pub(crate) async fn hear(&mut self) -> Message {
        let message = parse(&next(&mut self.socket).await).unwrap().unwrap();
        if let Message::Sync { data, .. } = &message {
            let message = SyncMessage::decode(data).unwrap();
            self.document.sync().receive_sync_message(&mut self.state, message).unwrap();
        }
        message
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_automerge_client_sees_an_import() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let id = DocumentId::automerge_from_text(&AUTOMERGE["automerge:".len()..]).unwrap();
    let mut client = AutomergeClient::join(&server.host(), &id).await;
    client.say().await;
    client.hear().await;
    // The server has answered for the empty document: the session is open.
    let file = world.file("new.json", r#"{"a":1}"#);
    tokio::task::block_in_place(|| world.import(AUTOMERGE, &file, &[]));
    while client.document.length(automerge::ROOT) == 0 {
        client.say().await;
        client.hear().await;
    }
    assert_eq!(client.document.get(automerge::ROOT, "a").unwrap().unwrap().0.as_i64(), Some(1));
    assert_eq!(server.end("TERM"), Some(0));
}
