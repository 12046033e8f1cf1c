//! Every bound on foreign bytes, with its unit and reason. Nothing from a wire or a disk is decoded
//! past these.

/// Longest name of a Yjs document in bytes of UTF-8; long enough for paths, short enough for a key.
pub const DOCUMENT_NAME_BYTES_MAX: usize = 512;
/// Largest update, sync message or chunk in bytes: what stock clients send at most in practice.
pub const UPDATE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting of `Any` values; 7,000 levels overflow a 2 MiB stack (HAZARDS yrs-3).
pub const NESTING_MAX: usize = 64;
/// Highest Yjs clock. JavaScript keeps 53-bit integers, yrs 32-bit clocks; half of that leaves room to append.
pub const CLOCK_MAX: u64 = 1 << 31;
/// Highest Yjs client id: what JavaScript keeps exactly.
pub const CLIENT_ID_MAX: u64 = (1 << 53) - 1;
/// Most structs of one Yjs update: 64 MiB of ordinary edits hold about 3 million.
pub const UPDATE_STRUCTS_MAX: usize = 8 * 1024 * 1024;
/// Most delete ranges in one Yjs update.
pub const UPDATE_DELETES_MAX: usize = 2 * 1024 * 1024;
/// Most clients in one Yjs update; a client id lasts for a session.
pub const UPDATE_CLIENTS_MAX: usize = 256 * 1024;
/// Most holes in one Yjs update. Stock clients leave none in what they type, but what a document has collected of
/// updates that wait for others is sent as one; each costs memory in every index.
pub const UPDATE_HOLES_MAX: usize = 1024 * 1024;
/// Highest Automerge operation counter; near 2^32 every later local change panics (HAZARDS am-3).
pub const OP_COUNTER_MAX: u64 = 1 << 31;
/// Most rows that the columns of one Automerge message may claim, however long it is. A row costs the engine some
/// 350 bytes of memory.
pub const AUTOMERGE_ROWS_MAX: u64 = 16 * 1024 * 1024;
/// Rows that any Automerge message may claim: a run of 75 bytes can delete a whole text, and does in honest use.
pub const AUTOMERGE_ROWS_FREE: u64 = 1024 * 1024;
/// Rows that it may claim besides for each of its bytes.
pub const AUTOMERGE_ROWS_PER_BYTE: u64 = 64;
/// Largest inflated size of one compressed part in bytes (HAZARDS am-2).
pub const INFLATED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Highest ratio of inflated to deflated bytes past the first MiB (HAZARDS am-2).
pub const INFLATE_RATIO_MAX: usize = 200;
/// Longest text frame of y-webrtc signaling in bytes; an offer with many candidates has some 10 KB.
pub const SIGNAL_BYTES_MAX: usize = 64 * 1024;
/// Longest topic of y-webrtc signaling in bytes.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Most entries in one awareness update.
pub const AWARENESS_ENTRIES_MAX: usize = 4096;
/// Largest JSON state of one awareness entry in bytes.
pub const AWARENESS_STATE_BYTES_MAX: usize = 64 * 1024;
/// Most awareness clients that one connection may own in a room: stock clients own one, bridges many.
pub const AWARENESS_OWNED_MAX: usize = 1024;
/// Most bytes of awareness states that one connection may own in a room: names, cursors, small pictures. Whoever joins
/// is sent those of everybody.
pub const AWARENESS_OWNED_BYTES_MAX: usize = 256 * 1024;
/// Most awareness clients that a room knows. Whoever joins is sent them in one message and, if it is a stock client,
/// sends them back in one.
pub const AWARENESS_ROOM_MAX: usize = AWARENESS_ENTRIES_MAX;
/// Most bytes of their states; for the same reason less than a message has.
pub const AWARENESS_ROOM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest peer id, storage id, token or reason in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Largest message of an application to whoever is there now (ephemeral, stateless) in bytes: presence and
/// signals, copied once for each listener; documents are not sent this way.
pub const EPHEMERAL_BYTES_MAX: usize = 1024 * 1024;
/// Most heads of one member that are remembered; who has more than this at once has not merged for long.
pub const HEADS_KEPT_MAX: usize = 64;
/// Most storages whose heads one connection may want to hear of; each is kept as text.
pub const SUBSCRIPTIONS_MAX: usize = 256;
/// Most members of one Automerge document whom a relay without an archive joins in pairs: each change goes to each
/// other member by itself, and so does each confirmation.
pub const PAIRED_MEMBERS_MAX: usize = 32;
/// Most fields of one CBOR message; automerge-repo has at most 7.
pub const MESSAGE_FIELDS_MAX: usize = 64;
/// Most texts in all lists of one CBOR message (protocol versions, storage ids, heads) together.
pub const LIST_ENTRIES_MAX: usize = 4096;
/// Payloads from this length on share their frame's memory, shorter ones are copied out of it: the read
/// buffer of a connection is as large, and one small slice would keep all of it.
pub const SHARED_BYTES_MIN: usize = 4 * 1024;
/// Largest encoded state vector in bytes: some 500,000 clients of one document.
pub const STATE_VECTOR_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest payload that peers say to each other through a relay in bytes: half of what a NATS server takes by default.
pub const PEER_PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// Longest token or reason of the native dialect in bytes.
pub const PEER_TEXT_BYTES_MAX: usize = 1024;
/// Most versions that a peer offers.
pub const PEER_VERSIONS_MAX: usize = 16;
/// Most prefixes that one connection watches; each is compared with the name of each document that changes.
pub const PATTERNS_MAX: usize = 64;
/// Most documents that one frame lists: 2 MiB at the longest names.
pub const LISTED_MAX: usize = 4096;
/// Longest checkpoint of a change feed in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 64;
