//! y-websocket 3: one room a connection, named by the URL's path; each frame is one bare y-protocols message.
//!
//! Frames are those of [`y_protocols`](super::y_protocols); what is this dialect's own is how a connection ends.
//! The provider stops for good at close codes 4400 to 4499 and retries after every other one, so a code is
//! permanent only where the same client would be refused again.

/// The room's name cannot be used. Permanent.
pub const CLOSE_BAD_NAME: u16 = 4400;
/// May not join. Permanent.
pub const CLOSE_FORBIDDEN: u16 = 4403;
/// A frame that no stock client sends. Transient: a client that was hit by somebody's bug comes back.
pub const CLOSE_BAD_FRAME: u16 = 4500;
/// Too much of something. Transient.
pub const CLOSE_VIOLATION: u16 = 4529;
