//! The store as its users see it: a folder, receipts, and a process that dies at any instant.

mod kill; // SIGKILL at random instants, on the real disk and the real sled
mod life; // opening, appending, folding, forgetting
mod typist; // updates of a client that types
