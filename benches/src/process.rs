//! A process that is measured: what it and its children cost, until it is dropped.

use std::io;
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::time::Duration;

/// Linux counts CPU time for `/proc` in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()? })
    }

    /// Its ends of the pipes, if it was started with both, once.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// User and system time until now, of all threads and children, in steps of 10 ms.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let mut ticks = 0;
        for pid in self.family() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name, which may hold anything, come the state and ten numbers before these two.
            let numbers = stat.rsplit(')').next().unwrap_or_default();
            ticks += numbers
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|ticks| ticks.parse::<u32>().ok())
                .sum::<u32>();
        }
        TICK * ticks
    }

    /// Bytes of memory that are its own, with those of its children.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let own = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.trim().to_owned();
            line.trim_end_matches(" kB").parse::<u64>().ok()
        };
        self.family().into_iter().filter_map(own).sum::<u64>() * 1024
    }

    /// The process and its children.
    fn family(&self) -> Vec<u32> {
        let parent = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        std::iter::once(parent)
            .chain(children.split_whitespace().filter_map(|pid| pid.parse().ok()))
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
