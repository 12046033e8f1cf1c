//! The server's end of the socket: bounded in clients, in what they send and in how long they take to send it.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tombolo_core::limits::UPDATE_BYTES_MAX;

use super::desk::Answers;
use super::protocol::{Asked, Code, Event, Failure, Line, Request, VERSION};
use super::socket::{Address, Wire};

/// Requests answered at the same time; a person has one or two.
const CLIENTS_MAX: usize = 16;
/// Longest first line in bytes; a name has 512 at most.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Time for a request, and for the file that follows it.
const REQUEST_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(120);
/// How long a client may read nothing: somebody may page through a long list.
const READ_NOTHING: Duration = Duration::from_secs(600);

/// The socket of a running server.
pub struct AdminServer {
    accepting: JoinHandle<()>,
    open: Arc<Open>,
    address: Address,
}

impl AdminServer {
    /// Listens in the folder, which this process has locked, on the current tokio runtime.
    ///
    /// # Errors
    /// What the system says if it gives no socket there.
    pub fn start(folder: &Path, desk: Arc<dyn Answers>) -> io::Result<Self> {
        let address = Address::in_folder(folder)?;
        // The folder is ours, so a socket that is there is that of a server that was killed.
        match std::fs::remove_file(address.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(address.path())?;
        std::fs::set_permissions(address.path(), PermissionsExt::from_mode(0o600))?;
        let open = Arc::<Open>::default();
        let accepting = tokio::spawn(accept(listener, desk, Arc::clone(&open)));
        Ok(Self { accepting, open, address })
    }

    /// Ends every request and takes the socket away.
    pub async fn stop(self) {
        self.accepting.abort();
        // It was told to end, so that it did is no news.
        let _ = self.accepting.await;
        for stream in self.open.streams().values() {
            // One that is closed already needs no closing.
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Err(error) = std::fs::remove_file(self.address.path()) {
            tracing::warn!(%error, "the admin socket stays in the data folder; it does no harm there");
        }
    }
}

/// Connections that are served now.
#[derive(Default)]
struct Open {
    next: AtomicU64,
    streams: Mutex<HashMap<u64, UnixStream>>,
}

impl Open {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: UnixListener, desk: Arc<dyn Answers>, open: Arc<Open>) {
    let seats = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection at the admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !is_allowed(&stream) {
            continue;
        }
        let seat = Arc::clone(&seats).try_acquire_owned().ok();
        let (desk, open) = (Arc::clone(&desk), Arc::clone(&open));
        let Ok(stream) = stream.into_std() else { continue };
        let key = open.next.fetch_add(1, Ordering::Relaxed);
        if let (Some(_), Ok(copy)) = (&seat, stream.try_clone()) {
            open.streams().insert(key, copy);
        }
        tokio::task::spawn_blocking(move || {
            let served = match seat {
                Some(_seat) => serve(stream, &*desk),
                None => turn_away(stream),
            };
            open.streams().remove(&key);
            if let Err(error) = served {
                tracing::debug!(%error, "a connection at the admin socket ended early");
            }
        });
    }
}

/// Who may read the files may ask: this user, and root. The socket's mode says the same from its second instant on.
fn is_allowed(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

fn turn_away(stream: UnixStream) -> io::Result<()> {
    // A line fits the socket's buffer, so this never waits.
    let busy = "the server answers as many commands as it can already; try again when one of them has ended";
    Wire::new(stream, None)?.write_line(&Line::Error(Failure::new(Code::Busy, busy)))
}

fn serve(stream: UnixStream, desk: &dyn Answers) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut wire = Wire::new(stream, Some(READ_NOTHING))?;
    let answer = match read(&mut wire)? {
        Ok((request, body)) => answer(&mut wire, desk, &request, &body),
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(done) => wire.write_line(&Line::Done(done)),
        Err(Failure { code: Code::Gone, message }) => Err(io::Error::other(message)),
        Err(failure) => wire.write_line(&Line::Error(failure)),
    }
}

fn answer(wire: &mut Wire, desk: &dyn Answers, request: &Request, body: &Bytes) -> Result<Value, Failure> {
    desk.handle(request, body, &mut |event| match event {
        Event::Progress(progress) => {
            wire.write_line(&Line::Progress { done: progress.done, of: progress.of })
        }
        Event::Row(row) => wire.write_line(&Line::Row(row)),
        Event::Bytes(bytes) => {
            wire.write_line(&Line::Bytes(bytes.len() as u64))?;
            wire.write_bytes(bytes)
        }
    })
}

/// A request and what follows it; the outer error is a client that is gone.
fn read(wire: &mut Wire) -> io::Result<Result<(Request, Bytes), Failure>> {
    wire.read_within(REQUEST_TIME);
    let nonsense = |what: String| Failure::new(Code::Request, format!("this is no request: {what}"));
    let line = match wire.read_line(REQUEST_BYTES_MAX) {
        Ok(Some(line)) => line,
        Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Err(nonsense(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    let request = match understand(&line) {
        Ok(request) => request,
        Err(failure) => return Ok(Err(failure)),
    };
    let count = match request {
        Request::Import { bytes, .. } => bytes,
        _ => 0,
    };
    if count > UPDATE_BYTES_MAX as u64 {
        return Ok(Err(Failure::unfit(format!(
            "the file has {count} bytes; at most {UPDATE_BYTES_MAX} are taken"
        ))));
    }
    wire.read_within(BODY_TIME);
    Ok(Ok((request, wire.read_bytes(count)?.into())))
}

fn understand(line: &[u8]) -> Result<Request, Failure> {
    let nonsense =
        |error: serde_json::Error| Failure::new(Code::Request, format!("this is no request: {error}"));
    let value: Value = serde_json::from_slice(line).map_err(nonsense)?;
    match value.get("tombolo").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(Failure::new(
                Code::Version,
                format!(
                    "this server is tombolo {}, which speaks version {VERSION} of the admin protocol, and was asked \
                     in version {version}; use the program that the server was started with",
                    env!("CARGO_PKG_VERSION"),
                ),
            ));
        }
        None => return Err(Failure::new(Code::Request, "this is no request: it names no version")),
    }
    serde_json::from_value::<Asked>(value).map(|asked| asked.request).map_err(nonsense)
}
