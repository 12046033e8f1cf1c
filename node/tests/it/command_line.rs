//! What the binary says, how it ends, and whose word weighs more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn tombolo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
    for name in [
        "LISTEN",
        "DATA",
        "LOG",
        "CONFIG",
        "ACK",
        "OPEN",
        "ALLOW_ORIGIN",
        "DROP_IN",
        "ADMIN",
        "PEER_TOKEN",
        "BACKPLANE",
        "RELAY",
        "LIMIT",
        "TOKEN",
        "READ_ONLY_TOKEN",
    ] {
        command.env_remove(format!("TOMBOLO_{name}"));
    }
    command.args(arguments);
    command
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server that said it is ready, and what it said.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) said: Vec<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.trim_start().starts_with(LAST)) {
            said.push(lines.next().expect("it ended before it was ready").unwrap());
        }
        Self { child, said }
    }

    pub(crate) fn serve(data: &Path, more: &[&str]) -> Self {
        Self::start(tombolo(&["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(more))
    }

    pub(crate) fn host(&self) -> String {
        let line = self.said.iter().find(|line| line.trim_start().starts_with("health")).unwrap();
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.host()).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a signal by name and waits for the end.
    pub(crate) fn end(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

/// What the last line that a server prints starts with; a relay's is another.
const LAST: &str = "data ";

#[test]
fn it_says_where_everything_is_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("made if missing");
        let server = Running::serve(&data, &[]);
        let said = server.said.join("\n");
        for word in [
            "page",
            "y-websocket",
            "/yjs",
            "hocuspocus",
            "automerge",
            "health",
            "data",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(said.contains(word), "{said}");
        }
        assert!(server.get("/healthz").ends_with("ok\n"));
        assert!(server.get("/readyz").ends_with("ready\n"));
        let metrics = server.get("/metrics");
        for name in [
            "tombolo_rooms 0",
            "tombolo_commits_total 0",
            "tombolo_journal_bytes",
            "tombolo_commit_seconds_count",
        ] {
            assert!(metrics.contains(name), "{name} in {metrics}");
        }
        assert!(metrics.ends_with("# EOF\n"));
        assert!(server.get("/").contains("<title>"));
        assert!(server.get("/api/documents").ends_with(r#"{"documents":[],"more":false}"#));
        assert!(server.get("/nothing").starts_with("HTTP/1.1 404"));
        assert!(server.get("/yjs/room").starts_with("HTTP/1.1 426"));
        assert_eq!(server.end(signal), Some(0), "{signal}");
        assert!(data.join("replica").exists());
    }
}

#[test]
fn what_cannot_be_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let port = run(tombolo(&["serve", "--listen", &address, "--data"]).arg(&data));
    assert_eq!(port.status.code(), Some(3));
    assert!(stderr(&port).contains(&format!("{address} is already in use")), "{}", stderr(&port));

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unwritable = run(tombolo(&["serve", "--listen", "127.0.0.1:0", "--data"]).arg(file.join("data")));
    assert_eq!(unwritable.status.code(), Some(4));
    assert!(stderr(&unwritable).contains("cannot write in the data folder"), "{}", stderr(&unwritable));

    let server = Running::serve(&data, &[]);
    let second = run(tombolo(&["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data));
    assert_eq!(second.status.code(), Some(4));
    assert!(stderr(&second).contains("another process uses the data folder"), "{}", stderr(&second));
    assert_eq!(server.end("TERM"), Some(0));

    let other =
        run(tombolo(&["serve", "--listen", "127.0.0.1:0", "--data"]).arg(with_engine("redb:", &data)));
    assert_eq!(other.status.code(), Some(4));
    let right = format!("start with --data sled:{}", data.display());
    assert!(stderr(&other).contains(&right), "{}", stderr(&other));

    for wrong in [
        &["serve", "--data", "redb:"][..],
        &["serve", "--listen", "here"],
        &["serve", "--log", "=,="],
        &["relay", "--ack", "maybe"],
        &["relay", "--allow-origin", "app.example"],
        &["relay", "--proxy", "proxy.example"],
        &["relay", "--trust-proxy", "10.0.0.0/33"],
        &["relay", "--drop-in", "y-sweet"],
        &["relay", "--drop-in", "yjs:"],
        &["relay", "--drop-in", "yjs:99999"],
        &["relay", "--limit", "room-members"],
        &["relay", "--limit", "room-members=0"],
        &["relay", "--limit", "rooms=5"],
        &["relay", "--token", "short"],
        &["relay", "--read-only-token", "0123456789abcdef"],
        &["sing"],
        &[],
    ] {
        let output = run(&mut tombolo(wrong));
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!stderr(&output).is_empty());
    }
}

fn with_engine(engine: &str, data: &Path) -> String {
    format!("{engine}{}", data.display())
}

#[test]
fn an_engine_is_chosen_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for given in [with_engine("redb:", &data), with_engine("", &data), with_engine("redb:", &data)] {
        let server = Running::serve(Path::new(&given), &[]);
        assert!(server.get("/readyz").ends_with("ready\n"));
        assert_eq!(server.end("TERM"), Some(0));
        let layout = std::fs::read(data.join("shelf/layout")).unwrap();
        assert_eq!(layout[18], 2, "{given} has engine {}", layout[18]);
    }
}

#[test]
fn a_flag_weighs_more_than_the_environment_and_that_more_than_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = ["by-file", "by-environment", "by-flag"].map(|name| folder.path().join(name)).into();
    let file = folder.path().join("tombolo.toml");
    std::fs::write(&file, format!("listen = \"127.0.0.1:0\"\ndata = {:?}\n", names[0])).unwrap();
    let made = |command: &mut Command| {
        let server = Running::start(command.arg("--config").arg(&file));
        assert_eq!(server.end("TERM"), Some(0));
        names.iter().map(|name| name.exists()).collect::<Vec<_>>()
    };
    assert_eq!(made(&mut tombolo(&["serve"])), [true, false, false]);
    assert_eq!(made(tombolo(&["serve"]).env("TOMBOLO_DATA", &names[1])), [true, true, false]);
    let flag = made(
        tombolo(&["serve", "--data"]).arg(&names[2]).env("TOMBOLO_DATA", folder.path().join("not used")),
    );
    assert_eq!(flag, [true, true, true]);
    assert!(!folder.path().join("not used").exists());
}

#[test]
fn help_reads_well() {
    let help = run(&mut tombolo(&["--help"]));
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for word in ["serve", "relay", "top", "Exit codes"] {
        assert!(text.contains(word), "{text}");
    }
    let text = String::from_utf8(run(&mut tombolo(&["serve", "--help"])).stdout).unwrap();
    for word in [
        "--listen",
        "TOMBOLO_LISTEN",
        "127.0.0.1:8484",
        "--data",
        "tombolo-data",
        "--log",
        "--config",
        "--open",
        "--drop-in",
        "--allow-origin",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_token_is_never_printed() {
    const SECRET: &str = "a-secret-of&25+characters";
    let folder = tempfile::tempdir().unwrap();
    let help = run(tombolo(&["serve", "--help"]).env("TOMBOLO_TOKEN", SECRET));
    let said = String::from_utf8(help.stdout).unwrap();
    assert!(said.contains("TOMBOLO_TOKEN") && !said.contains(SECRET), "{said}");
    let same = ["relay", "--token", SECRET, "--read-only-token", SECRET];
    let file = folder.path().join("tombolo.toml");
    std::fs::write(&file, format!("token = {SECRET:?}\nopne = true\nread-only-token = {SECRET:?}")).unwrap();
    for refused in [run(&mut tombolo(&same)), run(tombolo(&["relay", "--config"]).arg(&file))] {
        assert_eq!(refused.status.code(), Some(2));
        assert!(!stderr(&refused).contains(SECRET), "{}", stderr(&refused));
    }
    let log = folder.path().join("log");
    let mut guarded = tombolo(&["serve", "--listen", "127.0.0.1:0", "--log", "trace", "--data"]);
    guarded.arg(folder.path().join("data")).env("TOMBOLO_TOKEN", SECRET);
    let server = Running::start(guarded.stderr(std::fs::File::create(&log).unwrap()));
    let shown = format!("token={}", SECRET.replace('&', "%26"));
    for path in ["/yjs/room", "/automerge", "/signaling", "/hocuspocus", "/api/documents", "/nothing"] {
        server.get(&format!("{path}?{shown}"));
        server.get(&format!("{path}?{shown}x"));
    }
    assert!(!server.said.join("\n").contains(SECRET));
    assert_eq!(server.end("TERM"), Some(0));
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("a request was turned away"), "{logged}");
    assert!(!logged.contains(SECRET) && !logged.contains(&shown), "{logged}");
}

#[test]
fn a_log_that_nobody_sees_has_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    Running::serve(folder.path(), &[]).end("TERM");
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let witness = names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("witness-"));
    witness.for_each(|path| std::fs::remove_file(path).unwrap());
    // It says that this is another store now.
    let said = stderr(&run(tombolo(&["doc", "list", "--data"]).arg(folder.path())));
    assert!(said.contains("WARN") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn other_machines_are_let_in_only_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8484"] {
        for command in ["serve", "relay"] {
            let refused = run(tombolo(&[command, "--listen", address]).env("TOMBOLO_DATA", &data));
            let said = stderr(&refused);
            assert_eq!(refused.status.code(), Some(2), "{said}");
            for word in [
                address,
                "everybody who reaches it may read and write everything",
                "--open",
                "--token",
                "127.0.0.1",
            ] {
                assert!(said.contains(word), "{word}: {said}");
            }
        }
    }
    assert!(!data.exists(), "nothing was made");
    let listen = ["serve", "--listen", "0.0.0.0:0"];
    let server = Running::start(tombolo(&listen).arg("--open").arg("--data").arg(&data));
    assert_eq!(server.end("TERM"), Some(0));
    let server = Running::start(tombolo(&listen).arg("--data").arg(&data).env("TOMBOLO_OPEN", "true"));
    assert_eq!(server.end("TERM"), Some(0));
    let file = folder.path().join("tombolo.toml");
    std::fs::write(&file, "listen = \"0.0.0.0:0\"\nopen = true\n").unwrap();
    let server = Running::start(tombolo(&["serve", "--config"]).arg(&file).arg("--data").arg(&data));
    assert_eq!(server.end("TERM"), Some(0));
    let token = "0123456789abcdef";
    let server = Running::start(tombolo(&listen).arg("--data").arg(&data).env("TOMBOLO_TOKEN", token));
    assert!(server.get("/api/documents").starts_with("HTTP/1.1 401 "));
    assert!(server.get(&format!("/api/documents?token={token}")).starts_with("HTTP/1.1 200 "));
    assert!(server.get("/healthz").ends_with("ok\n"));
    assert_eq!(server.end("TERM"), Some(0));
    std::fs::write(&file, "listen = \"0.0.0.0:0\"\n").unwrap();
    let list = run(tombolo(&["doc", "list", "--config"]).arg(&file).arg("--data").arg(&data));
    assert!(list.status.success(), "only who serves is asked: {}", stderr(&list));
}

#[test]
fn foreign_web_pages_are_turned_away_unless_they_are_allowed() {
    let ask = |server: &Running, origin: &str| {
        let host = server.host();
        let mut socket = TcpStream::connect(&host).unwrap();
        let request = format!("GET /api/documents HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n");
        write!(socket, "{request}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Running::serve(folder.path(), &[]);
    let turned = ask(&server, "https://app.example");
    assert!(turned.starts_with("HTTP/1.1 403"), "{turned}");
    assert!(turned.contains("web pages of https://app.example may not speak to this server"), "{turned}");
    assert!(turned.contains("--allow-origin"), "{turned}");
    assert!(ask(&server, &format!("http://{}", server.host())).starts_with("HTTP/1.1 200"));
    assert_eq!(server.end("TERM"), Some(0));
    let two = ["--allow-origin", "https://app.example", "--allow-origin", "http://b.example"];
    let server = Running::serve(folder.path(), &two);
    for origin in ["https://app.example", "http://b.example"] {
        assert!(ask(&server, origin).starts_with("HTTP/1.1 200"));
    }
    assert!(ask(&server, "http://c.example").starts_with("HTTP/1.1 403"));
    assert_eq!(server.end("TERM"), Some(0));
    let mut several = tombolo(&["serve", "--listen", "127.0.0.1:0", "--data"]);
    several.arg(folder.path()).env("TOMBOLO_ALLOW_ORIGIN", "https://app.example,*");
    let server = Running::start(&mut several);
    assert!(ask(&server, "http://c.example").starts_with("HTTP/1.1 200"));
    assert_eq!(server.end("TERM"), Some(0));
}
