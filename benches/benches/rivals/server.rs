//! One contestant: how it is started, and what its processes cost.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tombolo_benches::Process;
use tombolo_benches::load::Speech;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server to be measured.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) speech: Speech,
    program: PathBuf,
    args: Vec<String>,
    /// Whether rooms must be made over HTTP before anybody can join.
    makes_rooms: bool,
}

impl Contestant {
    pub(crate) fn is_installed(&self) -> bool {
        let is_there = self.program.is_file()
            && self.args.first().is_none_or(|arg| !arg.ends_with("js") || Path::new(arg).is_file());
        if !is_there {
            println!("{} is not installed: left out", self.name);
        }
        is_there
    }
}

/// Everybody; `PORT` and `DATA` in the arguments are replaced at the start.
pub(crate) fn contestants(folder: &Path) -> Vec<Contestant> {
    let tombolo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/release/tombolo");
    let node = std::env::var_os("NODE").map_or_else(|| PathBuf::from("/usr/bin/node"), PathBuf::from);
    let ours = Speech::YWebsocket("/yjs/{}");
    let script = |name: &str| folder.join(name).display().to_string();
    let new = |name, speech, program: &Path, args: &[&str]| Contestant {
        name,
        speech,
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        makes_rooms: false,
    };
    let listen = "127.0.0.1:PORT";
    vec![
        new("tombolo relay", ours.clone(), &tombolo, &["relay", "--listen", listen]),
        new("tombolo serve", ours, &tombolo, &["serve", "--listen", listen, "--data", "DATA"]),
        new("Hocuspocus 4.7.0", Speech::Hocuspocus("/"), &node, &[&script("hocuspocus.mjs"), "PORT"]),
        new(
            "y-websocket-server 0.1.1",
            Speech::YWebsocket("/{}"),
            &node,
            &[&script("y-websocket-server.mjs"), "PORT"],
        ),
        Contestant {
            makes_rooms: true,
            ..new(
                "y-sweet 0.9.1",
                Speech::YWebsocket("/d/{}/ws/{}"),
                &folder.join("tools/bin/y-sweet"),
                &["serve", "--host", "127.0.0.1", "--port", "PORT"],
            )
        },
    ]
}

/// A running contestant; dropping it kills it.
pub(crate) struct Running {
    process: Process,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Running {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start(contestant: &Contestant, rooms: usize) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let data = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR"))?;
        let fill = |arg: &String| {
            arg.replace("PORT", &port.to_string()).replace("DATA", &data.path().display().to_string())
        };
        let process = Process::start(
            Command::new(&contestant.program)
                .args(contestant.args.iter().map(fill))
                .env("RUST_LOG", "error")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let running = Self { process, address, _data: data };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} does not start", contestant.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if contestant.makes_rooms {
            (0..rooms).try_for_each(|room| make_room(address, room))?;
        }
        Ok(running)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time until now, of all threads and children.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// Bytes of memory that are its own.
    pub(crate) fn memory(&self) -> u64 {
        self.process.memory()
    }
}

fn make_room(address: SocketAddr, room: usize) -> io::Result<()> {
    use std::io::{Read, Write};
    let body = format!("{{\"docId\":\"room-{room}\"}}");
    let mut socket = TcpStream::connect(address)?;
    let request = format!(
        "POST /doc/new HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes())?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    if response.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(io::Error::other(response)) }
}
