//! Tombolo: a CRDT document store for local-first collaboration. What a client was told is saved, is saved.
//!
//! This crate joins the parts: the relay that forwards ([`tombolo_relay`]), the store that survives
//! ([`tombolo_store`]) and the archive between them, whose acknowledgement means fsynced. Programs that have no server
//! start at [`replica`].
//! The binary `tombolo` is a thin shell around [`cli`].

#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod archive;
mod automerge_names; // how clients of automerge-repo know a store
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod error;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod limits;
#[cfg(feature = "server")]
pub mod note;
mod refusal; // what clients are told of a store
pub mod replica;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tokens;

/// What is written in Automerge documents, in the version of [`replica::AutomergeDocument`].
pub use automerge;
/// Rust types for Automerge documents. What derives them wants it among a program's own dependencies, too.
pub use autosurgeon;
/// What [`replica::YjsDocument::set_presence`] shows.
pub use serde_json;

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
