//! Ctrl-C and SIGTERM: both mean a clean end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals, installed; from then on neither kills the process.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Completes with the first of them.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
