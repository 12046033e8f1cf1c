//! The command's end of the socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use tombolo_store::maintain::Progress;

use super::protocol::{Asked, Code, Event, Failure, Line, Request, Sink, VERSION};
use super::socket::{Address, Wire};

/// Longest line of a server: a state vector of half a million clients, and more.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A connection to the server that has a data folder open.
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects to the server that uses this folder.
    ///
    /// # Errors
    /// What the system says; not found or refused if there is no server.
    pub fn connect(folder: &Path) -> io::Result<Self> {
        let address = Address::in_folder(folder)?;
        Ok(Self { wire: Wire::new(UnixStream::connect(address.path())?, None)? })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`Failure`] of the server, or of the way to it.
    pub fn ask(mut self, request: &Request, body: &[u8], sink: &mut Sink<'_>) -> Result<Value, Failure> {
        let asked = Asked { tombolo: VERSION, request: request.clone() };
        // A server that refuses says why and hangs up, perhaps before it has read everything.
        let sent = self.wire.write_line(&asked).and_then(|()| self.wire.write_bytes(body));
        loop {
            let line = match self.wire.read_line(LINE_BYTES_MAX) {
                Ok(Some(line)) => line,
                Ok(None) => return Err(ended(sent.err().unwrap_or(io::ErrorKind::UnexpectedEof.into()))),
                Err(error) => return Err(ended(sent.err().unwrap_or(error))),
            };
            match serde_json::from_slice(&line).map_err(ended)? {
                Line::Progress { done, of } => sink(Event::Progress(Progress { done, of }))?,
                Line::Row(row) => sink(Event::Row(row))?,
                Line::Bytes(count) => {
                    let bytes = self.wire.read_bytes(count).map_err(ended)?;
                    sink(Event::Bytes(&bytes))?;
                }
                Line::Done(done) => return Ok(done),
                Line::Error(failure) => return Err(failure),
            }
        }
    }
}

fn ended(why: impl std::fmt::Display) -> Failure {
    let message =
        format!("the server ended the request before it answered ({why}); see its log, then try again");
    Failure::new(Code::Gone, message)
}
