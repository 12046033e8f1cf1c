//! Stopping: no new connections, a close frame for the open ones, a bounded wait until they are gone.

use tokio::sync::watch;

/// Tells every task of a relay to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    sender: watch::Sender<bool>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { sender: watch::Sender::new(false) }
    }

    pub(crate) fn ask(&self) {
        self.sender.send_replace(true);
    }

    /// Completes when the end was asked for.
    pub(crate) async fn asked(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in self, so this ends by the value only.
        let _ = receiver.wait_for(|asked| *asked).await;
    }
}
