//! How a member that the archive refused is told, in its dialect: whether to come back, and why.
//!
//! | reason | y-websocket | Hocuspocus |
//! |---|---|---|
//! | trouble | close 1013: retried | close 1013: retried |
//! | no room | close 4507: retried | Close for the document: retried with the next connection |
//! | damaged | close 4503: retried | Close for the document: retried with the next connection |
//! | deleted | close 4410: not retried | `PermissionDenied` and Close for the document |
//! | quarantined | close 4422: not retried | `PermissionDenied` and Close for the document |
//!
//! One document's end is no reason to end the others on a Hocuspocus socket. Trouble is: the provider comes back
//! to a closed document only with a new connection, and trouble is expected to pass. A replica is told of each document
//! by a Shut with the outcome, and comes back to it by itself.

use tombolo_core::dialect::replica;
use tombolo_core::dialect::{hocuspocus, y_websocket};
use tombolo_core::room::StoreRefused;

use super::framing::{Framing, Seat};
use crate::connection::frame;
use crate::connection::queue::CLOSE_BEHIND;

/// What ends with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// The whole connection, and all its seats with it.
    Connection,
    /// This seat; its connection goes on.
    Seat,
}

/// Tells a member why it must go.
pub(super) fn tell(seat: &Seat, reason: StoreRefused) -> Ends {
    let words = reason.to_string();
    match (&seat.framing, reason) {
        (
            Framing::Addressed(address),
            StoreRefused::NoRoom | StoreRefused::Damaged | StoreRefused::Deleted | StoreRefused::Quarantined,
        ) => {
            if reason.is_permanent() {
                seat.queue.answer(frame::binary(&[&hocuspocus::permission_denied(address, &words)]));
            }
            seat.queue.answer(frame::binary(&[&hocuspocus::close(address, &words)]));
            Ends::Seat
        }
        (Framing::Numbered(handle), _) => {
            if let Some(pages) = &seat.pages {
                pages.shut(*handle);
            }
            seat.queue.answer(frame::binary(&[&replica::shut(*handle, reason.into(), &words)]));
            Ends::Seat
        }
        (Framing::Bare | Framing::Addressed(_), _) => {
            seat.queue.close(close_code(reason), &words);
            Ends::Connection
        }
    }
}

fn close_code(reason: StoreRefused) -> u16 {
    match reason {
        StoreRefused::Trouble => CLOSE_BEHIND,
        StoreRefused::NoRoom => y_websocket::CLOSE_NO_ROOM,
        StoreRefused::Damaged => y_websocket::CLOSE_DAMAGED,
        StoreRefused::Deleted => y_websocket::CLOSE_DELETED,
        StoreRefused::Quarantined => y_websocket::CLOSE_QUARANTINED,
    }
}
