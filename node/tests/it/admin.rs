//! The socket of a running server: whatever comes through it, the server serves on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::command_line::{Running, run, stderr, tombolo};
use crate::doc::World;

fn connect(world: &World) -> UnixStream {
    UnixStream::connect(world.data().join("admin.sock")).unwrap()
}

/// What the server says last to these bytes.
fn answer(world: &World, bytes: &[u8]) -> String {
    let mut socket = connect(world);
    // It may have refused and hung up before all was sent.
    let _ = socket.write_all(bytes);
    let mut lines = BufReader::new(socket).lines();
    lines.next().map(Result::unwrap).unwrap_or_default()
}

#[test]
fn garbage_is_refused_and_hurts_nobody() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let mode = fs::metadata(world.data().join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let request = r#"{"tombolo":1,"request":{"import":{"document":{"format":"yjs","name":"d"},"form":"update","root":null,"bytes":99999999999}}}"#;
    for (bytes, code) in [
        (b"\n".to_vec(), "request"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "request"),
        (vec![0xff; 100].into_iter().chain(*b"\n").collect(), "request"),
        (b"{}\n".to_vec(), "request"),
        (b"{\"tombolo\":1}\n".to_vec(), "request"),
        (b"{\"tombolo\":1,\"request\":{\"sing\":{}}}\n".to_vec(), "request"),
        (b"{\"tombolo\":2,\"request\":{\"sing\":{}}}\n".to_vec(), "version"),
        (format!("{}\n", "[".repeat(60_000)).into_bytes(), "request"),
        (vec![b'x'; 1 << 20], "request"),
        (format!("{request}\n").into_bytes(), "unfit"),
    ] {
        let said = answer(&world, &bytes);
        assert!(said.contains(&format!("\"code\":\"{code}\"")), "{said}");
    }
    // One that hangs up in the middle of a file.
    let request = request.replace("99999999999", "1000");
    drop(connect(&world).write_all(format!("{request}\nabc").as_bytes()));
    assert_eq!(world.json(&["doc", "list"])["more"], false);
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn silent_clients_fill_the_seats_and_neither_the_server_nor_its_end() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let mut silent: Vec<_> = (0..16).map(|_| connect(&world)).collect();
    // Accepted in their order, so the next one finds no seat.
    let said = answer(&world, b"");
    assert!(said.contains("\"code\":\"busy\""), "{said}");
    let said = world.fails(&["doc", "list"], 4);
    assert!(said.contains("try again"), "{said}");
    assert!(server.get("/healthz").ends_with("ok\n"));
    drop(silent.split_off(8));
    while !world.run(&["doc", "list"]).status.success() {}
    // The other eight wait on, and are not waited for.
    assert_eq!(server.end("TERM"), Some(0));
    for mut socket in silent {
        assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

#[test]
fn who_never_reads_holds_up_nobody() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let text = world.file("large.txt", "x".repeat(4 << 20));
    world.json(&["doc", "import", "large", text.to_str().unwrap()]);
    let request = r#"{"tombolo":1,"request":{"export":{"document":{"format":"yjs","name":"large"},"form":"text","root":null}}}"#;
    let mut deaf = connect(&world);
    deaf.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut first = [0; 16];
    deaf.read_exact(&mut first).unwrap();
    assert_eq!(world.json(&["doc", "show", "large", "--no-content"])["operations"], 1);
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn the_socket_of_a_killed_server_is_in_nobodys_way() {
    let world = World::new();
    let killed = Running::serve(&world.data(), &[]);
    let file = world.file("t.txt", "kept");
    world.json(&["doc", "import", "d", file.to_str().unwrap()]);
    assert_eq!(killed.end("KILL"), None);
    assert!(world.data().join("admin.sock").exists());
    assert_eq!(world.json(&["doc", "show", "d"])["content"]["text"], "kept");
    let server = Running::serve(&world.data(), &[]);
    assert_eq!(world.json(&["doc", "show", "d"])["content"]["text"], "kept");
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn a_process_that_does_not_answer_is_named() {
    let world = World::new();
    let lock = fs::File::options().write(true).open(world.data().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let said = world.fails(&["doc", "list"], 4);
    assert!(said.contains("does not answer"), "{said}");
}

#[test]
fn an_older_server_is_told_apart() {
    let world = World::new();
    let lock = fs::File::options().write(true).open(world.data().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let listener = UnixListener::bind(world.data().join("admin.sock")).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut line = String::new();
            BufReader::new(socket.try_clone().unwrap()).read_line(&mut line).unwrap();
            let _ = socket.write_all(b"{\"error\":{\"code\":\"version\",\"message\":\"other version\"}}\n");
        }
    });
    assert!(world.fails(&["doc", "list"], 4).contains("other version"));
}

#[test]
fn a_long_path_and_a_relative_one_do() {
    let folder = tempfile::tempdir().unwrap();
    let long: PathBuf = folder.path().join("x".repeat(100)).join("y".repeat(100)).join("data");
    fs::create_dir_all(&long).unwrap();
    let server = Running::serve(&long, &[]);
    let list = |data: &Path| {
        let output = run(tombolo(&["doc", "list", "--json", "--data"]).arg(data).current_dir(folder.path()));
        assert!(output.status.success(), "{}", stderr(&output));
    };
    assert!(long.join("admin.sock").exists());
    list(&long);
    list(long.strip_prefix(folder.path()).unwrap());
    assert_eq!(server.end("TERM"), Some(0));
    assert!(!long.join("admin.sock").exists());
}
