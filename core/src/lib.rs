//! The meaning of Tombolo: documents, operations, versions, the dialects that stock clients speak and
//! the room machine that joins them.
//!
//! Bytes and time go in, effects and deadlines come out: this crate never touches a socket, a file, a
//! clock or a random source, so whatever happens here can be replayed exactly.
//!
//! The way of one edit: [`dialect`] turns a frame into a message, [`update`] and [`validate`] refuse
//! what is malformed before anything decodes it, [`room`] (Yjs) and [`pairs`] (Automerge) decide who
//! receives it and when it is acknowledged, [`operation`] is what the store keeps. Between a
//! replica and its peers, [`link`] says whether one is there, [`schedule`] what goes out next, and [`clock`] when
//! something was done. Start reading at [`id::DocumentId`].

pub mod clock;
pub mod cluster;
pub mod dialect;
#[cfg(feature = "engines")]
pub mod engine;
pub mod id;
pub mod limits;
pub mod link;
pub mod operation;
pub mod pairs;
pub mod pattern;
pub mod presence;
pub mod room;
pub mod schedule;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;
pub mod update;
pub mod validate;
pub mod wire;
