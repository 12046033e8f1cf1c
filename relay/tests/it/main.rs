//! The relay as its clients see it: a real listener, real sockets, every dialect, honest and hostile peers.

#[cfg(test)]
mod access; // who may join, and who may write
#[cfg(test)]
mod archive; // an archive that answers when the test says so
#[cfg(test)]
mod automerge; // automerge-repo: joining, pairwise messages, gossip
#[cfg(test)]
mod cluster; // what is between a relay and its peers
#[cfg(test)]
mod crowd; // rooms with many members
#[cfg(test)]
mod drop_in; // in the place of other servers
#[cfg(test)]
mod far; // another relay, driven by hand
#[cfg(test)]
mod flood; // floods of connections, handshakes, identities and stuck readers
#[cfg(test)]
mod forwarded; // clients behind a proxy
#[cfg(test)]
mod frames; // what clients send, as bytes
#[cfg(test)]
mod guest; // updates from inside the process
#[cfg(test)]
mod hocuspocus; // many documents on one socket, acknowledgements, back-pressure
#[cfg(test)]
mod hostility; // malformed messages of each dialect
#[cfg(test)]
mod http; // what is served beside WebSocket, and handshakes
#[cfg(test)]
mod native; // the door for peers
#[cfg(test)]
mod onlooker; // rooms, seen from outside
#[cfg(test)]
mod pairs; // automerge-repo without an archive
#[cfg(test)]
mod rates; // who sends too fast, and who does not
#[cfg(test)]
mod replica;
#[cfg(test)]
mod replica_pages; // large documents
#[cfg(test)]
mod signaling; // y-webrtc: topics
#[cfg(test)]
mod slow; // members that do not read
#[cfg(test)]
mod stateless; // messages of applications
#[cfg(test)]
mod stop; // the end of a relay
#[cfg(test)]
mod websocket; // malformed WebSocket frames and floods of them
#[cfg(test)]
mod world; // relays, clients and raw sockets
#[cfg(test)]
mod yjs; // y-websocket rooms without an archive
