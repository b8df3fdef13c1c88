//! What a burst of the kernel's messages was about.

use std::collections::BTreeSet;

use crate::snapshot::{InterfaceKind, Snapshot};

/// Most interfaces that a burst names one by one; beyond, it is about everything.
const MOST_NAMED: usize = 256;

/// What happened, as far as the messages say. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Burst {
    /// Something may differ: look.
    look: bool,
    /// It counts whatever the look shows.
    everything: bool,
    /// It counts if one of these interfaces leads to other computers.
    interfaces: BTreeSet<u32>,
}

impl Burst {
    /// Something may have changed; only a look can tell.
    pub(crate) fn look(&mut self) {
        self.look = true;
    }

    /// Something about an interface changed, though perhaps back again.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells so much"))]
    pub(crate) fn interface(&mut self, index: u32) {
        self.look = true;
        if self.interfaces.len() < MOST_NAMED {
            self.interfaces.insert(index);
        } else if !self.interfaces.contains(&index) {
            self.everything = true;
        }
    }

    /// Something changed, and nobody knows what.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells so much"))]
    pub(crate) fn everything(&mut self) {
        self.look = true;
        self.everything = true;
    }

    /// Takes in another one that came before anybody looked.
    pub(crate) fn merge(&mut self, other: Self) {
        self.look |= other.look;
        self.everything |= other.everything;
        other.interfaces.into_iter().for_each(|index| self.interface(index));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.look
    }

    /// Whether it is a change to whoever talks with other computers.
    pub(crate) fn counts(&self, before: &Snapshot, after: &Snapshot) -> bool {
        let leads_out = |snapshot: &Snapshot, index: u32| {
            snapshot.interface(index).is_some_and(|interface| interface.kind != InterfaceKind::Container)
        };
        self.everything
            || outside(before) != outside(after)
            || self.interfaces.iter().any(|index| leads_out(before, *index) || leads_out(after, *index))
    }
}

/// What of a snapshot matters to other computers: containers come and go.
fn outside(snapshot: &Snapshot) -> impl PartialEq {
    let interfaces =
        snapshot.interfaces.iter().filter(|interface| interface.kind != InterfaceKind::Container);
    let interfaces: Vec<_> = interfaces.cloned().collect();
    (interfaces, snapshot.gateways.clone(), snapshot.direct.clone(), snapshot.leaves_by)
}
