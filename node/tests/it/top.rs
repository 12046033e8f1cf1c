//! `tombolo top`: which room is busy, on a server and on a relay, and a terminal that is as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::command_line::{Running, run, stderr, tombolo};
use crate::doc::World;

/// "hi", typed into the text "t", as a y-websocket message in a frame of a client.
const HI: &[u8] = &[0x82, 0x8f, 0, 0, 0, 0, 0, 2, 12, 1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0];

/// Clients of a room; one of them types until it is told to be quiet.
struct Busy {
    quiet: Arc<AtomicBool>,
    _sockets: Vec<TcpStream>,
}

impl Busy {
    fn new(host: &str, room: &str, members: usize) -> Self {
        let connect = || {
            let mut socket = TcpStream::connect(host).unwrap();
            let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
            write!(socket, "GET /yjs/{room} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n{key}\r\n\r\n")
                .unwrap();
            let mut start = [0; 12];
            socket.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 101");
            socket
        };
        let sockets: Vec<_> = (0..members).map(|_| connect()).collect();
        let (stop, mut author) = (Arc::new(AtomicBool::new(false)), sockets[0].try_clone().unwrap());
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && author.write_all(HI).is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { quiet: stop, _sockets: sockets }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
    }
}

fn rate(of: &Value, key: &str) -> f64 {
    of[key].as_f64().unwrap()
}

#[test]
fn the_busiest_room_comes_first() {
    let world = World::new();
    let server = Running::serve(&world.data(), &[]);
    let nothing = world.json(&["top"]);
    assert_eq!((&nothing["count"], &nothing["rooms"]), (&0.into(), &Value::Array(vec![])));
    let quiet = Busy::new(&server.host(), "quiet", 1);
    quiet.quiet.store(true, Ordering::Relaxed);
    let busy = Busy::new(&server.host(), "a%1B%5Bbusy", 3);
    let seen = world.json(&["top"]);
    assert_eq!(seen["count"], 2, "{seen}");
    assert_eq!(seen["connections"]["yjs"], 4, "{seen}");
    let names: Vec<_> = seen["rooms"].as_array().unwrap().iter().map(|room| &room["name"]).collect();
    assert_eq!(names, ["a\u{1b}[busy", "quiet"]);
    let first = &seen["rooms"][0];
    assert_eq!(
        (&first["members"], &first["format"], &first["refusals"]),
        (&3.into(), &"yjs".into(), &0.into())
    );
    assert!(rate(first, "messages_in_per_s") > 0.0 && rate(first, "bytes_in_per_s") >= 15.0, "{first}");
    assert!(
        rate(first, "messages_out_per_s") > rate(first, "messages_in_per_s"),
        "each goes to two: {first}"
    );
    assert!(rate(&seen, "bytes_out_per_s") >= rate(first, "bytes_out_per_s"), "{seen}");
    assert_eq!(rate(&seen["rooms"][1], "bytes_in_per_s"), 0.0, "{seen}");

    let one = world.json(&["top", "--limit", "1"]);
    assert_eq!((one["rooms"].as_array().unwrap().len(), &one["count"]), (1, &2.into()));
    let table = world.run(&["top", "--limit", "1"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("2 rooms · connections: 4 yjs"), "{table}");
    assert!(lines[2].contains("MEMBERS") && lines[3].ends_with("(all)"), "{table}");
    assert!(lines[4].ends_with("a\\u{1b}[busy"), "no name plays with a terminal: {table}");
    assert_eq!(lines[5..], ["1 more; --limit shows them"]);
    drop(busy);
    assert_eq!(server.end("TERM"), Some(0));
}

#[test]
fn nobody_to_be_watched_is_said() {
    let world = World::new();
    let said = world.fails(&["top"], 4);
    assert!(said.contains("no server answers in") && said.contains("--admin"), "{said}");
    let none = run(tombolo(&["top", "--data"]).arg(world.folder.path().join("none")));
    assert_eq!(none.status.code(), Some(4), "{}", stderr(&none));
    assert!(!world.folder.path().join("none").exists());
}

/// A relay, once it can be asked in this folder.
fn relay(folder: &std::path::Path) -> (std::process::Child, String) {
    let mut relay = tombolo(&["relay", "--listen", "127.0.0.1:0", "--admin"]);
    let mut child = relay.arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut out = child.stdout.take().unwrap();
    while !said.contains("  admin ") {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let host = said.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    (child, host)
}

fn end(mut child: std::process::Child) {
    assert!(Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_relay_is_watched_in_a_folder_of_its_own_and_answers_nothing_else() {
    let world = World::new();
    let folder = world.folder.path().join("relay");
    let (child, host) = relay(&folder);
    let _busy = Busy::new(&host, "busy", 2);
    let top = run(tombolo(&["top", "--json", "--data"]).arg(&folder));
    let seen: Value = serde_json::from_slice(&top.stdout).unwrap();
    assert_eq!(
        (&seen["rooms"][0]["name"], &seen["rooms"][0]["members"]),
        (&"busy".into(), &2.into()),
        "{seen}"
    );
    let list = run(tombolo(&["doc", "list", "--data"]).arg(&folder));
    assert!(stderr(&list).contains("there is no store"), "{}", stderr(&list));

    let refused = |folder: &std::path::Path, why: &str| {
        let output = run(tombolo(&["relay", "--listen", "127.0.0.1:0", "--admin"]).arg(folder));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    };
    refused(&folder, "another relay uses it");
    refused(&world.data(), "it is the data folder of a store");
    end(child);
    assert!(!folder.join("admin.sock").exists());
    end(relay(&folder).0);
}

/// A terminal: what is behind it, and its name.
fn terminal() -> (File, std::path::PathBuf) {
    let behind: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&behind).unwrap();
    unlockpt(&behind).unwrap();
    let name = ptsname(&behind, Vec::new()).unwrap();
    (behind.into(), name.to_str().unwrap().into())
}

#[test]
fn it_is_drawn_until_somebody_ends_it_and_the_terminal_is_as_it_was() {
    let world = World::new();
    let mut server = Some(Running::serve(&world.data(), &[]));
    let _busy = Busy::new(&server.as_ref().unwrap().host(), "busy", 2);
    for how in ["q", "INT", "server"] {
        let (mut behind, name) = terminal();
        let open = || File::options().read(true).write(true).open(&name).unwrap();
        let front = open();
        let before = tcgetattr(&front).unwrap().local_modes;
        let mut top = tombolo(&["top", "--data"]);
        top.arg(world.data()).env("TERM", "xterm").stdin(open()).stdout(open()).stderr(Stdio::piped());
        let child = top.spawn().unwrap();
        drop(top);
        let mut drawn = String::new();
        let mut until = |behind: &mut File, word: &str| {
            while !drawn.contains(word) {
                let mut bytes = [0; 4096];
                let count = behind.read(&mut bytes).unwrap();
                drawn.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            drawn.clear();
        };
        until(&mut behind, "  busy");
        assert!(!tcgetattr(&front).unwrap().local_modes.contains(LocalModes::ECHO));
        until(&mut behind, "  busy");
        match how {
            "q" => behind.write_all(b"xq").unwrap(),
            "server" => assert_eq!(server.take().unwrap().end("KILL"), None),
            signal => {
                let kill = format!("kill -{signal} {}", child.id());
                assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            }
        }
        until(&mut behind, "\u{1b}[?1049l");
        let ended = child.wait_with_output().unwrap();
        let code = if how == "server" { 1 } else { 0 };
        assert_eq!(ended.status.code(), Some(code), "{how}: {}", stderr(&ended));
        assert_eq!(tcgetattr(&front).unwrap().local_modes, before, "{how}");
    }
}
