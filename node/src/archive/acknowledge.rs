//! From receipts to rooms: one task gathers what became durable and tells each room once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tombolo_core::room::{StoreRefused, Ticket};
use tombolo_relay::member::RoomPort;

/// One update that is durable, or will never be.
pub(super) struct Settled {
    pub(super) room: Arc<dyn RoomPort>,
    pub(super) ticket: Ticket,
    pub(super) result: Result<(), StoreRefused>,
}

/// Where the committer's thread leaves what it settled; bounded by the relay's pressure limit.
pub(super) type Settling = UnboundedSender<Settled>;

/// Starts the task; it ends when the last sender is gone.
pub(super) fn start() -> Settling {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(tell_rooms(receiver));
    sender
}

async fn tell_rooms(mut receiver: UnboundedReceiver<Settled>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, 4096).await > 0 {
        type Results = Vec<(Ticket, Result<(), StoreRefused>)>;
        let mut rooms: BTreeMap<usize, (Arc<dyn RoomPort>, Results)> = BTreeMap::new();
        for settled in batch.drain(..) {
            let key = Arc::as_ptr(&settled.room).cast::<()>() as usize;
            let (_, results) = rooms.entry(key).or_insert_with(|| (settled.room, Vec::new()));
            results.push((settled.ticket, settled.result));
        }
        for (room, results) in rooms.into_values() {
            room.stored(&results);
        }
    }
}
