//! Where the socket is, and lines and bytes on it with bounds on length and time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The socket's name in the data folder.
const NAME: &str = "admin.sock";
/// The system takes paths of at most 108 bytes for a socket, the last of them a zero.
const PATH_BYTES_MAX: usize = 107;

/// A path to the socket of a data folder that the system takes, however long the folder's own is.
pub(super) struct Address {
    path: PathBuf,
    /// Names the folder for as long as the path is used.
    _folder: Option<File>,
}

impl Address {
    pub(super) fn in_folder(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// One end of a connection.
pub(super) struct Wire {
    input: BufReader<Timed>,
    output: UnixStream,
}

impl Wire {
    /// Writes wait at most `write`, each.
    pub(super) fn new(stream: UnixStream, write: Option<Duration>) -> io::Result<Self> {
        stream.set_write_timeout(write)?;
        let output = stream.try_clone()?;
        Ok(Self { input: BufReader::new(Timed { stream, until: None }), output })
    }

    /// What is read from now on must have come within this time, all of it.
    pub(super) fn read_within(&mut self, time: Duration) {
        self.input.get_mut().until = Some(Instant::now() + time);
    }

    /// One line without its end; none if the other end is gone.
    pub(super) fn read_line(&mut self, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.input.by_ref().take(bytes_max).read_until(b'\n', &mut line)?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() as u64 + 1 == bytes_max => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"))
            }
            Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// So many bytes; memory grows with what comes, whatever was claimed.
    pub(super) fn read_bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(count).read_to_end(&mut bytes)?;
        if read as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    pub(super) fn write_line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.output.write_all(&bytes)
    }

    pub(super) fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}

/// A stream whose reads end at a point in time.
struct Timed {
    stream: UnixStream,
    until: Option<Instant>,
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(into)
    }
}
