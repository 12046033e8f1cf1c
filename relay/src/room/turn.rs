//! The end of a turn: when everything that was ready on this thread has been read, what it made rooms spread is
//! handed out.
//!
//! The task that does so stands behind all that is ready already in the queue of its thread's runtime. Only the
//! threads of [shards](crate::shards) have turns; elsewhere nothing is gathered.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::driver::RoomDriver;

thread_local! {
    /// Rooms that have something to hand out; none on a thread without turns.
    static WAITING: RefCell<Option<Vec<Arc<RoomDriver>>>> = const { RefCell::new(None) };
}

/// From now on this thread has turns. It must be in a runtime of one thread whenever it drives a room.
pub(crate) fn begin() {
    WAITING.set(Some(Vec::new()));
}

/// Has the room hand out what it gathered at the end of this turn; false if there is none.
pub(super) fn end_with(room: &Arc<RoomDriver>) -> bool {
    WAITING.with_borrow_mut(|waiting| {
        let Some(rooms) = waiting else { return false };
        if rooms.is_empty() {
            // None at the end of the runtime.
            let Ok(runtime) = Handle::try_current() else { return false };
            runtime.spawn(async { end() });
        }
        rooms.push(Arc::clone(room));
        true
    })
}

fn end() {
    let rooms = WAITING.with_borrow_mut(|waiting| waiting.as_mut().map(std::mem::take));
    rooms.into_iter().flatten().for_each(|room| room.end_turn());
}
