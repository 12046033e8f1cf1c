//! y-websocket 3: one room a connection, named by the URL's path; each frame is one bare y-protocols message.
//!
//! Frames are those of [`y_protocols`](super::y_protocols); what is this dialect's own is how a connection ends.
//! The provider stops for good at close codes 4400 to 4499 and retries after every other one, so a code is
//! permanent only where the same client would be refused again.

/// The room's name cannot be used. Permanent.
pub const CLOSE_BAD_NAME: u16 = 4400;
/// May not join. Permanent.
pub const CLOSE_FORBIDDEN: u16 = 4403;
/// The document was deleted. Permanent.
pub const CLOSE_DELETED: u16 = 4410;
/// What this client sent was set aside, and would be again. Permanent.
pub const CLOSE_QUARANTINED: u16 = 4422;
/// A frame that no stock client sends. Transient: a client that was hit by somebody's bug comes back.
pub const CLOSE_BAD_FRAME: u16 = 4500;
/// What is stored of the document has to be repaired first. Transient.
pub const CLOSE_DAMAGED: u16 = 4503;
/// The disk is too full for a new document. Transient.
pub const CLOSE_NO_ROOM: u16 = 4507;
/// Nothing was heard for too long: a laptop slept, and must come back when it wakes. Transient.
pub const CLOSE_SILENT: u16 = 4508;
/// Too much of something. Transient.
pub const CLOSE_VIOLATION: u16 = 4529;
