//! `--drop-in`: what it says, where it listens, and which ports cannot be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::command_line::{Running, run, stderr, tombolo};

/// What a handshake at this URL is answered with.
fn shake(url: &str) -> String {
    let (host, path) =
        url.strip_prefix("ws://").unwrap().split_once('/').map_or((&url[5..], ""), |both| both);
    let mut socket = TcpStream::connect(host).unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    write!(socket, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n{key}\r\n\r\n").unwrap();
    let mut start = [0; 12];
    socket.read_exact(&mut start).unwrap();
    String::from_utf8(start.into()).unwrap()
}

#[test]
fn it_says_where_it_stands_in_and_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["--drop-in", "yjs:0", "--drop-in", "hocuspocus:0,automerge:0"];
    let server = Running::serve(folder.path(), &all);
    let said: Vec<_> = server.said.iter().filter_map(|line| line.trim().strip_prefix("drop-in ")).collect();
    let words: Vec<Vec<_>> = said.iter().map(|line| line.split_whitespace().collect()).collect();
    let names: Vec<_> = words.iter().map(|line| line[1]).collect();
    assert_eq!(names, ["yjs", "hocuspocus", "automerge"], "{said:?}");
    for line in &words {
        assert!(line[0].starts_with("ws://127.0.0.1:"), "the address of --listen: {said:?}");
        assert_eq!(shake(line[0]), "HTTP/1.1 101", "{line:?}");
    }
    assert_eq!(shake(&format!("ws://{}/healthz", server.host())), "HTTP/1.1 200");
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn ports_that_cannot_be_are_named() {
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = run(tombolo(&["relay", "--listen", "127.0.0.1:0"]).args(arguments));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
    };
    let both = "--drop-in yjs and --drop-in hocuspocus both want port 1234";
    refused(&["--drop-in", "yjs", "--drop-in", "hocuspocus"], 2, &[both, "--drop-in hocuspocus:1235"]);
    refused(&["--drop-in", "automerge,automerge"], 2, &["both want port 3030"]);
    let main = ["--drop-in", "yjs:5", "--listen", "127.0.0.1:5"];
    let output = run(tombolo(&["relay"]).args(main));
    assert!(stderr(&output).contains("--listen and --drop-in yjs both want port 5"), "{}", stderr(&output));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("automerge:{}", taken.local_addr().unwrap().port());
    refused(&["--drop-in", &port], 3, &["is already in use", "--drop-in automerge:PORT"]);
}
