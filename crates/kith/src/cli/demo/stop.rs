//! Ending early: long work on other threads looks here now and then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether to end early.
#[derive(Default)]
pub(super) struct Stop {
    flag: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// Ends all work soon.
    pub(super) fn request(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// Returns when somebody asked for the end.
    pub(super) async fn requested(&self) {
        self.notify.notified().await;
    }

    /// An error once the end was asked for.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the demo ends early"));
        }
        Ok(())
    }
}

/// Asks for the end when it is dropped, also by a panic.
pub(super) struct StopAtEnd(pub(super) Arc<Stop>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.request();
    }
}
