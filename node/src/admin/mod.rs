//! Looking into a store and after it: what `tombolo doc`, `verify` and their like ask, and who answers.
//!
//! One function answers, [`Desk::handle`]. On a folder that nobody uses the command calls it itself; on a running
//! server it reaches the same function through a Unix socket, `admin.sock` in the data folder, that only the user
//! who runs the server can open. The command tries the folder's lock and need not be told which it is.
//!
//! A relay that keeps nothing has such a socket in a folder of its own, if it is given one; it answers about its rooms
//! only ([`RelayDesk`]).
//!
//! The protocol, version [`VERSION`]. Each connection is one request:
//!
//! ```text
//! client  {"tombolo":1,"request":{"list":{"prefix":"","limit":10}}}⏎     at most 64 KiB
//!         …the bytes of an import, as many as its request says…
//! server  {"row":{…}}⏎  {"progress":{"done":1,"of":2}}⏎                   any number of them
//!         {"bytes":5}⏎hello                                               pieces of at most 256 KiB
//!         {"done":{…}}⏎  or  {"error":{"code":"missing","message":"…"}}⏎  the last
//! ```
//!
//! Guarantees: what a client sends is bounded in length and time, the number of clients is bounded, and one that
//! sends garbage or never reads holds up nobody but itself. A server of another version says so.

mod client; // the other end, in the command
mod desk; // who answers
mod entrance; // how changes come in
mod export;
mod import;
mod list;
mod maintain;
mod protocol; // what is asked and answered
mod quarantine;
mod rooms;
mod server; // the socket
mod show;
mod socket; // where it is, lines on it
mod visitor; // brings changes into an Automerge document

pub use client::Client;
pub use desk::{Answers, Desk, RelayDesk};
pub use maintain::{finding, verification};
pub use protocol::{Code, Event, Failure, FileForm, FormatName, Named, Request, Sink, VERSION};
pub use server::AdminServer;
