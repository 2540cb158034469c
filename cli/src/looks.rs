//! When files are looked at again while the server serves.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often they are looked at by themselves.
const LOOK: Duration = Duration::from_secs(60);

/// One look after another: every minute, and at SIGHUP.
pub(crate) struct Looks(Signal);

impl Looks {
    /// Begins. From now on SIGHUP no longer ends the program.
    pub(crate) fn begin() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = self.0.recv() => {}
        }
    }
}
