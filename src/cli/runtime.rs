//! The runtime of serving commands, and the signals that stop them.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::Failed;

/// Runs the future of a serving command on a single-threaded runtime; [`Workers`](crate::server::Workers) have
/// their own threads. Blocking tasks that are left at the end, such as a name lookup, are not awaited.
pub(super) fn block_on(serving: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serving);
    runtime.shutdown_background();
    outcome
}

/// SIGTERM and SIGINT (Ctrl-C). Without a handler each of them ends the process.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Installs the handlers.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
