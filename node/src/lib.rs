//! Tombolo: what a client was told is saved, is saved.
