//! A client as a process, behind a proxy of its own: told what to do, and measured meanwhile.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tombolo_benches::Process;

use super::native;
use super::proxy::{Bytes, Proxy};

const PATIENCE: Duration = Duration::from_secs(30);
/// What may come after what was waited for: acknowledgements, and what the disk makes of it.
const AFTERWARDS: Duration = Duration::from_millis(400);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Native,
    YWebsocket,
    Hocuspocus,
    AutomergeRepo,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Native, Self::YWebsocket, Self::Hocuspocus, Self::AutomergeRepo];
    /// Those that can be in one document.
    pub(crate) const YJS: [Self; 3] = [Self::Native, Self::YWebsocket, Self::Hocuspocus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "tombolo::replica, linked",
            Self::YWebsocket => "y-websocket 3.1.0",
            Self::Hocuspocus => "@hocuspocus/provider 4.8.0",
            Self::AutomergeRepo => "automerge-repo 2.5.6",
        }
    }

    fn command(self, scripts: &Path) -> io::Result<Command> {
        let script = match self {
            Self::Native => return native::command(),
            Self::YWebsocket => "y-websocket",
            Self::Hocuspocus => "hocuspocus",
            Self::AutomergeRepo => "automerge-repo",
        };
        let mut command = Command::new("node");
        command.arg(scripts.join("client.mjs")).arg(script);
        Ok(command)
    }
}

/// `tombolo serve` with a folder of its own.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Server {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start(tombolo: &Path) -> io::Result<Self> {
        let data = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR"))?;
        let mut command = Command::new(tombolo);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        let quiet = command.env("RUST_LOG", "error").stdin(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(quiet.stdout(Stdio::piped()))?;
        let (_, output) = process.pipes().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut address = None;
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            let line = line?;
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["y-websocket", url] = words.as_slice() {
                let host = url.trim_start_matches("ws://").trim_end_matches("/yjs");
                address = host.parse().ok();
            }
            if words.first() == Some(&"health") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.ok_or_else(|| io::Error::other("tombolo does not start"))?;
        Ok(Self { process, address, _data: data })
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// Waits until it has nothing to do any more, or for half a minute.
    pub(crate) fn rest(&self) {
        let end = Instant::now() + PATIENCE;
        let mut before = self.process.cpu_time();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.process.cpu_time();
            if now - before <= Duration::from_millis(10) {
                return;
            }
            before = now;
        }
    }
}

/// What something cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Until the text was there.
    pub(crate) there: Duration,
    /// Until the client said that it is in sync.
    pub(crate) in_sync: Duration,
    pub(crate) client: Duration,
    pub(crate) server: Duration,
    pub(crate) bytes: Bytes,
}

/// A client that does as it is told.
pub(crate) struct Client {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    proxy: Proxy,
    kind: Kind,
    _data: tempfile::TempDir,
}

impl Client {
    /// Starts one that knows this server, and is not connected.
    pub(crate) fn start(kind: Kind, scripts: &Path, server: &Server) -> io::Result<Self> {
        let data = tombolo_benches::folder(env!("CARGO_TARGET_TMPDIR"))?;
        let proxy = Proxy::start(server.address)?;
        let mut command = kind.command(scripts)?;
        command.arg(format!("ws://{}", proxy.address())).arg(data.path());
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (input, output) = process.pipes().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, input, output: BufReader::new(output), proxy, kind, _data: data })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.proxy.delay(delay);
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.proxy.bytes()
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.cpu_time()
    }

    /// Tells it what to do, and gives what it answers when that is done.
    pub(crate) fn tell(&mut self, command: &Value) -> io::Result<Value> {
        writeln!(self.input, "{command}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => Err(io::Error::other(format!("{}: {command}: {error}", self.kind.name()))),
            None => Ok(answer),
        }
    }

    /// As [`Client::tell`], for what answers how long it took.
    pub(crate) fn measure(&mut self, server: &Server, command: &Value) -> io::Result<Cost> {
        let before = (self.cpu_time(), server.process.cpu_time(), self.bytes());
        let answer = self.tell(command)?;
        std::thread::sleep(AFTERWARDS);
        let bytes = self.bytes();
        let time =
            |name: &str| Duration::from_nanos(answer.get(name).and_then(Value::as_u64).unwrap_or_default());
        Ok(Cost {
            there: time("there"),
            in_sync: time("ns"),
            client: self.cpu_time() - before.0,
            server: server.process.cpu_time() - before.1,
            bytes: Bytes { up: bytes.up - before.2.up, down: bytes.down - before.2.down },
        })
    }
}

/// What is needed to run anything.
pub(crate) struct Place {
    /// The built binary.
    pub(crate) tombolo: PathBuf,
    /// Where the stock clients are.
    pub(crate) scripts: PathBuf,
    /// Whether it is a mere trial of this bench.
    pub(crate) quick: bool,
}
