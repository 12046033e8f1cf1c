//! The binary as a person meets it, and the repository held to its own rules.

#[cfg(test)]
mod admin; // the socket of a server, and what hostile clients do to it
#[cfg(test)]
mod backplane; // what joins relays, over NATS and through the door
#[cfg(test)]
mod blame; // documents that an engine dies of, over processes of its own
#[cfg(test)]
mod budget; // what is evicted, and what is refused
#[cfg(test)]
mod budget_random; // the same, any steps and SIGKILL
#[cfg(test)]
mod command_line; // what it says and how it ends
#[cfg(test)]
mod corpus; // what fuzzers found worth keeping
#[cfg(test)]
mod doc; // documents listed, shown, out and in, here and on a server
#[cfg(test)]
mod drop_in; // in the place of other servers
#[cfg(test)]
mod join; // a cold document, served
#[cfg(test)]
mod kill; // SIGKILL under a client that types
#[cfg(test)]
mod link;
#[cfg(test)]
mod link_automerge;
#[cfg(test)]
mod link_automerge_direct; // from replica to replica
#[cfg(test)]
mod link_away; // to a relay whose archive is elsewhere
#[cfg(test)]
mod link_clock; // stamps that linked replicas give
#[cfg(test)]
mod link_frozen; // over a disk that stands still
#[cfg(test)]
mod link_pages; // large documents over links that break
#[cfg(test)]
mod link_presence; // who is in a document, between replicas
#[cfg(test)]
mod link_stale; // partial replicas, and those that were away for long
#[cfg(test)]
mod maintain; // verify, repair, compact, quarantine
#[cfg(test)]
mod manual; // completions and man pages
#[cfg(test)]
#[path = "../../../store/tests/it/mount.rs"]
#[expect(dead_code, reason = "the store's tests look at the image, too")]
mod mount; // small file systems, shared with the store's tests
#[cfg(test)]
mod note; // notes of one's own, here and on a server
#[cfg(test)]
mod note_sync; // notes on devices that are linked to a server
#[cfg(test)]
mod quarantine; // what is set aside and released under who has it open
#[cfg(test)]
mod readme; // its programs, run
#[cfg(test)]
mod replica; // SIGKILL under a program that edits
#[cfg(test)]
mod tidy; // lengths, layers, cited hazards, documents in step
#[cfg(test)]
mod top; // rooms, watched
#[cfg(test)]
mod worker; // merging in processes of their own
