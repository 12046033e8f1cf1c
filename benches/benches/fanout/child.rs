//! The server under load: this binary once more, as a child that ends when its standard input does.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tombolo_benches::load::Speech;

/// Tells the child what it is.
const ROLE: &str = "TOMBOLO_BENCH_SERVER";
/// Linux counts CPU time for `/proc` in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Ours.
    Relay,
    /// The yardstick.
    Limit,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Limit => "limit",
        }
    }

    /// How to talk to it.
    pub(crate) fn speech(self) -> Speech {
        match self {
            Self::Relay => Speech::YWebsocket("/yjs/{}"),
            Self::Limit => Speech::None,
        }
    }

    /// What this process was started to be, if it is a child.
    pub(crate) fn asked_to_be() -> Option<Self> {
        let role = std::env::var(ROLE).ok()?;
        [Self::Relay, Self::Limit].into_iter().find(|server| server.name() == role)
    }
}

/// A running server.
pub(crate) struct Child {
    process: std::process::Child,
    address: SocketAddr,
}

impl Child {
    /// Starts it and waits until it listens.
    pub(crate) fn start(server: Server) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(ROLE, server.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self { process, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time of all its threads until now.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Behind the name, which may hold anything, come the state and ten numbers before these two.
        let numbers = stat.rsplit(')').next().unwrap_or_default();
        let ticks = numbers.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
        Ok(TICK * ticks.sum())
    }

    /// Bytes of memory that are its own.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("this system does not say"))
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A run that failed; a child that has ended already is none the worse.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the child: says where it listens.
pub(crate) fn announce(address: SocketAddr) {
    println!("{address}");
}

/// In the child: returns when the parent lets go or is gone.
pub(crate) fn wait_for_end() {
    // Nothing is ever written; an error is an end, too.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}
