//! The sockets on which routers are heard, open for as long as their protocols may be used.

use std::sync::Arc;

use kith_network::Snapshot;
use tokio::sync::mpsc;

use super::announcements::Announcements;
use super::upnp::notify::Notifies;
use crate::{Hint, Protocols};

/// Listens for what routers tell everybody.
pub(crate) struct Ears {
    hints: mpsc::Sender<Hint>,
    announcements: Option<Announcements>,
    notifies: Option<Notifies>,
}

impl Ears {
    /// Closed at first.
    pub(crate) const fn new(hints: mpsc::Sender<Hint>) -> Self {
        Self { hints, announcements: None, notifies: None }
    }

    /// Opens and closes sockets, so that these protocols are heard and no others.
    pub(crate) fn listen(&mut self, protocols: Protocols, snapshot: &Arc<Snapshot>) {
        keep(&mut self.announcements, protocols.pcp || protocols.nat_pmp, || {
            Announcements::start(self.hints.clone())
        });
        keep(&mut self.notifies, protocols.upnp, || Notifies::start(self.hints.clone()));
        self.interfaces(snapshot);
    }

    /// The interfaces on which to listen.
    pub(crate) fn interfaces(&self, snapshot: &Arc<Snapshot>) {
        if let Some(announcements) = &self.announcements {
            announcements.interfaces(snapshot.clone());
        }
        if let Some(notifies) = &self.notifies {
            notifies.interfaces(snapshot.clone());
        }
    }
}

fn keep<T>(slot: &mut Option<T>, wanted: bool, start: impl FnOnce() -> T) {
    match (wanted, slot.is_some()) {
        (true, false) => *slot = Some(start()),
        (false, true) => *slot = None,
        _ => {}
    }
}
