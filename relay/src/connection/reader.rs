//! Members of Yjs rooms that may only read: what of theirs reaches the room.
//!
//! Guarantees: no content of theirs does, neither as a change nor as an answer for somebody else.

use tombolo_core::dialect::y_protocols::Message;

/// What becomes of a message of a member that may only read.
pub(super) enum Fate {
    /// It is the room's.
    Room(Message),
    /// It brings nothing, and the room has no use for it.
    Nothing,
    /// It brings content.
    Refused,
}

/// Judges a message; `keeps` if an archive keeps what the room says.
pub(super) fn fate(message: Message, keeps: bool) -> Fate {
    match message {
        Message::SyncStep1(_) | Message::Awareness(_) | Message::QueryAwareness => Fate::Room(message),
        // "I have nothing that you lack", as an answer to the archive. Where nothing is kept it may be one for another
        // member, who would believe it.
        Message::SyncStep2(ref update) if update.is_empty() => {
            if keeps {
                Fate::Room(message)
            } else {
                Fate::Nothing
            }
        }
        Message::SyncStep2(_) | Message::Update(_) => Fate::Refused,
    }
}
