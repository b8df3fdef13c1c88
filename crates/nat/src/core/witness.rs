//! Whether the router's table holds what the router granted. Some say yes and do nothing, some forget every lease of limited time,
//! and some can't be read back though they do what they say: the list of all entries is the second witness, a friend the third.

use super::Core;
use super::lease::Rung;
use super::site::{Pending, Sight};
use super::time::Tick;
use crate::{Answer, Entry, Proof, Protocol};

/// So many mappings in a row that were never seen, and no longer lease helps.
const MOST_UNSEEN: u8 = 3;
/// So many leases of limited time, and a permanent mapping is tried; so many, and no permanent one helps either. One may be lost to
/// a restart of the router.
const UNSEEN_LEASES: u8 = 2;

/// What the list of all entries says of a mapping that could not be read back.
enum Witness {
    There,
    NotThere,
    /// Its port leads elsewhere.
    Wrong,
    /// There is no list.
    Mute,
}

impl Core {
    /// The table holds what is held here; `runs` says whether as a lease that ends.
    pub(super) fn seen_there(&mut self, index: usize, runs: bool, now: Tick) {
        let site = &mut self.sites[index];
        let key = site.key;
        let Some(held) = &mut site.held else { return };
        held.sight = Sight::Seen;
        let rung = held.rung;
        // Without an end it may be an older mapping, which is permanent.
        let runs = held.lease.length().is_some() && runs;
        if let Some(protocol) = held.protocol {
            site.talker_mut(protocol).works();
        }
        if rung != Rung::Permanent {
            let gateway = self.gateway(key, now);
            gateway.unseen = 0;
            if runs {
                gateway.rung = rung;
            }
        }
    }

    /// A mapping that was granted can't be read back, and never could.
    pub(super) fn not_seen(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        let Some(held) = &mut site.held else { return };
        if matches!(held.proof, Proof::Proved { .. }) {
            // It works: what does not is reading it back.
            return self.unreadable(index, now);
        }
        held.sight = Sight::Missing;
        site.unread = true;
    }

    /// Whether all entries are to be listed, not only those that are called like ours: routers cut labels off.
    pub(super) fn wants_witness(&self, index: usize) -> bool {
        self.sites[index].held.as_ref().is_some_and(|held| held.sight == Sight::Missing)
    }

    /// The list of all entries came, or did not: does it hold what could not be read back?
    pub(super) fn heard_witness(&mut self, index: usize, answer: &Answer, now: Tick) {
        if !self.wants_witness(index) {
            return;
        }
        match answer {
            // Asked again with the next check.
            Answer::Silent | Answer::Closed => {}
            Answer::Entries(entries) => match self.witness(index, entries) {
                Witness::There => self.unreadable(index, now),
                other => self.unseen(index, &other, now),
            },
            _ => self.unseen(index, &Witness::Mute, now),
        }
    }

    fn witness(&self, index: usize, entries: &[Entry]) -> Witness {
        let site = &self.sites[index];
        let Some(held) = &site.held else { return Witness::Mute };
        let of_port = entries.iter().find(|entry| entry.external_port == held.external_port);
        match of_port {
            None => Witness::NotThere,
            Some(entry)
                if entry.internal.ip() == site.uplink.local
                    && entry.internal.port() == held.internal_port
                    && entry.enabled =>
            {
                Witness::There
            }
            Some(_) => Witness::Wrong,
        }
    }

    /// The mapping counts as made, and can't be seen in the table: whether it works is for a friend to say.
    pub(super) fn unreadable(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        if let Some(holder) = site.holder() {
            site.talker_mut(holder).unreadable = true;
        }
        // In case that it was not made, or was lost just now: asking for the same again makes it.
        site.pending = Some(Pending { discover: false, regular: false });
        self.seen_there(index, false, now);
    }

    /// Neither reading back nor the list shows the mapping.
    fn unseen(&mut self, index: usize, witness: &Witness, now: Tick) {
        let site = &self.sites[index];
        let (Some(protocol), Some(held)) = (site.holder(), &site.held) else { return };
        let (key, permanent) = (site.key, held.rung == Rung::Permanent);
        let gateway = self.gateway(key, now);
        if gateway.rung == Rung::Permanent && !permanent {
            // It was a try; what took no lease before takes none now.
            return self.lose(index, now);
        }
        gateway.unseen = gateway.unseen.saturating_add(1);
        let last = gateway.unseen >= if permanent { UNSEEN_LEASES } else { MOST_UNSEEN };
        match witness {
            Witness::Mute if last => self.unreadable(index, now),
            Witness::NotThere | Witness::Mute if !last => {
                if gateway.unseen >= UNSEEN_LEASES {
                    // The lease should run for long: this router drops every lease of limited time.
                    gateway.rung = Rung::Permanent;
                }
                self.lose(index, now);
            }
            _ => {
                gateway.unseen = 0;
                gateway.rung = Rung::default();
                self.give_back(index, now);
                self.says_yes_only(index, protocol, now);
            }
        }
    }

    fn says_yes_only(&mut self, index: usize, protocol: Protocol, now: Tick) {
        let why = "it says yes, but its table does not hold the mapping".to_owned();
        self.sites[index].talker_mut(protocol).refuse(why, now);
    }
}
