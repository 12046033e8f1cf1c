//! The far end of a process worker: reads requests from stdin, answers on stdout, until stdin ends.

use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::codec::{decode_request, encode_reply};
use super::thread::{STACK_BYTES, Shard};

/// Turns this process into a merge worker until its parent goes away.
///
/// The process bounds its own memory before it reads anything, leaves no core dump, and says nothing on
/// stderr when an engine panics: what the panic said goes back as the answer.
///
/// # Errors
/// What the system says to the limits or the pipes. A parent that is gone is no error.
pub fn run_child(memory_bytes_max: u64) -> io::Result<()> {
    let bound = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, bound(memory_bytes_max))?;
    setrlimit(Resource::Core, bound(0))?;
    // A busy engine does not see that its pipe ended. (The system's signal for that comes with the end of the thread
    // that started this process, which is none of the server's end.)
    let parent = rustix::process::getppid();
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        while rustix::process::getppid() == parent {
            std::thread::sleep(PARENT_LOOK);
        }
        std::process::exit(0);
    })?;
    std::panic::set_hook(Box::new(|_| ()));
    let worker = std::thread::Builder::new().name("merge".into()).stack_size(STACK_BYTES).spawn(serve)?;
    let served = worker.join().unwrap_or_else(|_| Err(io::Error::other("the merge thread panicked")));
    match served {
        // Killed in the middle of a request, or while it waited for the answer: nobody is left who needs to know.
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        served => served,
    }
}

/// How soon an orphan ends.
const PARENT_LOOK: Duration = Duration::from_millis(500);

fn serve() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut shard = Shard::default();
    while let Some(frame) = read_frame(&mut input)? {
        let request = decode_request(&frame).map_err(io::Error::other)?;
        write_frame(&mut output, &encode_reply(&shard.handle(request)))?;
    }
    Ok(())
}

/// One frame: its length in 4 bytes, big-endian, then that many bytes; none at the end of the pipe.
pub(super) fn read_frame(input: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut len = [0; 4];
    match input.read_exact(&mut len) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = u64::from(u32::from_be_bytes(len));
    let mut bytes = Vec::new();
    // Grows by what arrives, whatever the length claims.
    if input.take(len).read_to_end(&mut bytes)? as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes.into()))
}

pub(super) fn write_frame(output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    output.write_all(&len.to_be_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}
