//! The thread on which presence is heard and time passes. It ends with the replica.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tombolo_core::id::DocumentId;
use tombolo_core::validate::AwarenessUpdate;

use crate::replica::link::{Hub, LinkId};

/// How often it is looked who is silent, as y-protocols does.
const LOOK: Duration = Duration::from_secs(3);

/// What is heard.
pub(super) enum Event {
    Heard {
        via: LinkId,
        document: DocumentId,
        update: AwarenessUpdate,
    },
    /// Nobody is heard through it any more.
    Lost(LinkId),
}

pub(super) fn start(hub: Weak<Hub>, events: Receiver<Event>) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name("presence".to_owned());
    builder.spawn(move || run(&hub, &events)).map(drop)
}

fn run(hub: &Weak<Hub>, events: &Receiver<Event>) {
    let mut looked = Instant::now();
    loop {
        let event = match events.recv_timeout(LOOK.saturating_sub(looked.elapsed())) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(hub) = hub.upgrade() else { return };
        match event {
            Some(Event::Heard { via, document, update }) => {
                if let Some(stage) = hub.presences.stage(&document) {
                    stage.hear(via, update);
                }
            }
            Some(Event::Lost(via)) => hub.presences.stages().iter().for_each(|stage| stage.lost(via)),
            None => {}
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            hub.presences.stages().iter().for_each(|stage| stage.tick());
        }
    }
}
