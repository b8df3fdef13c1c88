//! Leaving nothing behind: what is to be removed from routers, what the last run left there, what the next run must know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Core;
use super::lease::Rung;
use super::site::{Held, MOST_REMOVALS, Removal, Site};
use super::talker::Purpose;
use super::time::Tick;
use crate::{Answer, Entry, Family, Protocol, Remembered, Request, UnmapRequest};

/// Mappings that are remembered at most; the oldest are forgotten.
const MOST_REMEMBERED: usize = 32;
/// Tries of a removal until it is left to the next time the gateway appears.
const TRIES: u8 = 3;
/// Waits between them.
const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

impl Core {
    pub(super) fn add_removal(&mut self, index: usize, mut removal: Removal) {
        let site = &mut self.sites[index];
        site.removals.retain(|known| !same_mapping(known, &removal));
        if site.removals.len() >= MOST_REMOVALS {
            site.removals.remove(0);
        }
        self.removals = self.removals.wrapping_add(1);
        removal.id = self.removals;
        site.removals.push(removal);
    }

    /// What was held is to be removed.
    pub(super) fn remove_held(&mut self, index: usize, held: &Held, now: Tick) {
        let Some(protocol) = held.protocol else { return };
        let removal = Removal {
            id: 0,
            protocol,
            internal_port: held.internal_port,
            external_port: held.external_port,
            external_ip: held.external_ip,
            nonce: held.nonce,
            pinhole: held.pinhole,
            former: None,
            permanent: held.lease.length().is_none(),
            verify: false,
            later: false,
            tries: 0,
            due: now,
        };
        self.add_removal(index, removal);
    }

    /// Sends a removal, or what must come before it.
    pub(super) fn remove(&mut self, index: usize, id: u32, now: Tick) {
        let site = &self.sites[index];
        let Some(removal) = site.removals.iter().find(|removal| removal.id == id) else { return };
        let protocol = removal.protocol;
        if protocol == Protocol::Upnp && !site.talker(protocol).is_found() {
            // Where to send it is not known.
            if self.stopping {
                return self.put_off(index, id, now);
            }
            return self.discover(index, protocol, now);
        }
        if removal.verify && site.reads(protocol) {
            let request = Request::ReadBack { external_port: removal.external_port };
            return self.ask(index, protocol, Purpose::Verify(id), request, now);
        }
        let request = Request::Unmap(UnmapRequest {
            internal_port: removal.internal_port,
            external_port: removal.external_port,
            nonce: removal.nonce,
            pinhole: removal.pinhole,
            former: removal.former,
        });
        self.ask(index, protocol, Purpose::Unmap(id), request, now);
    }

    /// A discovery came to nothing: removals that waited for it wait longer.
    pub(super) fn undiscovered(&mut self, index: usize, protocol: Protocol, now: Tick) {
        if protocol != Protocol::Upnp || self.sites[index].talker(protocol).is_found() {
            return;
        }
        let waiting = |removal: &&Removal| removal.protocol == protocol && removal.due <= now;
        let ids: Vec<u32> =
            self.sites[index].removals.iter().filter(waiting).map(|removal| removal.id).collect();
        for id in ids {
            self.put_off(index, id, now);
        }
    }

    /// What the router holds in the place of a removal.
    pub(super) fn verified(&mut self, index: usize, id: u32, answer: Answer, now: Tick) {
        let site = &mut self.sites[index];
        let local = site.uplink.local;
        let locals: Vec<IpAddr> = self.sites.iter().map(|site| site.uplink.local).collect();
        let site = &mut self.sites[index];
        let Some(removal) = site.removals.iter_mut().find(|removal| removal.id == id) else { return };
        match answer {
            Answer::Entry(Some(entry)) => {
                let ip = entry.internal.ip();
                let called_ours = entry.label == self.config.label && (ip == local || !locals.contains(&ip));
                let own = removal.former.unwrap_or_else(|| SocketAddr::new(local, removal.internal_port));
                if entry.internal == own || called_ours {
                    removal.verify = false;
                    removal.internal_port = entry.internal.port();
                    removal.former = (ip != local).then_some(entry.internal);
                } else {
                    site.removals.retain(|removal| removal.id != id);
                }
            }
            Answer::Silent | Answer::Closed => self.put_off(index, id, now),
            // Removing what is not there does no harm, and some routers say of everything that it is not there.
            _ => removal.verify = false,
        }
    }

    /// The answer to a removal.
    pub(super) fn unmapped(&mut self, index: usize, id: u32, answer: Answer, now: Tick) {
        let site = &mut self.sites[index];
        let Some(position) = site.removals.iter().position(|removal| removal.id == id) else { return };
        match answer {
            Answer::Silent | Answer::Closed | Answer::Nonsense(_) => self.put_off(index, id, now),
            // Gone; or refused, and it will be so next time.
            _ => {
                let removal = site.removals.remove(position);
                let holder = site.holder();
                if holder.is_some_and(|holder| holder != removal.protocol) && site.pending.is_none() {
                    // Where the protocols share a table, the removal may have hit what is held now.
                    site.pending = Some(super::site::Pending { discover: false, regular: false });
                }
            }
        }
    }

    fn put_off(&mut self, index: usize, id: u32, now: Tick) {
        let stopping = self.stopping;
        let site = &mut self.sites[index];
        let Some(position) = site.removals.iter().position(|removal| removal.id == id) else { return };
        let removal = &mut site.removals[position];
        removal.tries += 1;
        if stopping || removal.tries >= TRIES {
            let removal = site.removals.remove(position);
            let memory = memory_of_removal(&self.sites[index], &removal);
            self.keep(memory);
        } else {
            let wait = WAITS.get(usize::from(removal.tries) - 1).or(WAITS.last()).copied();
            removal.due = now + wait.unwrap_or_default();
        }
    }

    /// A mapping was made: what it replaces needs no removal, what else was here does.
    pub(super) fn supersede(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        let Some(held) = &site.held else { return };
        let Some(protocol) = held.protocol else { return };
        let (internal, external) = (held.internal_port, held.external_port);
        let same = |of: Protocol, of_internal: u16, of_external: u16| {
            of == protocol
                && if of == Protocol::Upnp { of_external == external } else { of_internal == internal }
        };
        site.removals.retain(|removal| !same(removal.protocol, removal.internal_port, removal.external_port));
        let uplink = site.uplink.clone();
        let here = |memory: &Remembered| memory.gateway == uplink.gateway && memory.local == uplink.local;
        let (of_here, elsewhere): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.stale).into_iter().partition(here);
        self.stale = elsewhere;
        for memory in of_here {
            if !same(memory.protocol, memory.internal_port, memory.external_port) {
                self.add_removal(index, removal_of_memory(&memory, now));
            }
        }
    }

    /// What the last run left at the uplinks that are here, and what is not wanted like that any more, is removed.
    pub(super) fn recall(&mut self, now: Tick) {
        if !self.wanted_told || self.stopping {
            return;
        }
        for index in 0..self.sites.len() {
            let site = &self.sites[index];
            let (uplink, port) = (site.uplink.clone(), self.desired_port(site));
            let own = site.is_own();
            let protocols = self.config.protocols;
            let (of_here, elsewhere): (Vec<_>, Vec<_>) = std::mem::take(&mut self.stale)
                .into_iter()
                .partition(|memory| memory.gateway == uplink.gateway && memory.local == uplink.local);
            self.stale = elsewhere;
            let held = self.sites[index].holder().is_some();
            for memory in of_here {
                // A protocol that is switched off is used for that all the same: it is off so that nothing is open.
                if Some(memory.internal_port) != port || own || held || !protocols.allows(memory.protocol) {
                    self.add_removal(index, removal_of_memory(&memory, now));
                    continue;
                }
                let site = &mut self.sites[index];
                if site.head_start.is_none() {
                    site.head_start = Some((memory.protocol, now + HEAD_START));
                }
                let key = site.key;
                if memory.permanent && memory.protocol == Protocol::Upnp {
                    self.gateway(key, now).took_no_lease();
                }
                self.stale.push(memory);
            }
        }
    }

    /// The entries of the router's table that are called like ours.
    pub(super) fn listed(&mut self, index: usize, answer: Answer, now: Tick) {
        self.heard_witness(index, &answer, now);
        let Answer::Entries(entries) = answer else { return };
        for entry in &entries {
            if entry.label != self.config.label {
                continue;
            }
            let site = &self.sites[index];
            let here = entry.internal.ip() == site.uplink.local;
            let held = site.held.as_ref().is_some_and(|held| held.external_port == entry.external_port);
            if !held && (here || self.was_ours(site, entry)) {
                let removal = Removal {
                    id: 0,
                    protocol: Protocol::Upnp,
                    internal_port: entry.internal.port(),
                    external_port: entry.external_port,
                    external_ip: None,
                    nonce: crate::Nonce([0; 12]),
                    pinhole: None,
                    former: (!here).then_some(entry.internal),
                    permanent: entry.left.is_none(),
                    verify: false,
                    later: false,
                    tries: 0,
                    due: now,
                };
                self.add_removal(index, removal);
            }
        }
        self.forget_old_addresses(index);
    }

    /// Whether an entry leads to an address that was ours at this gateway, and is not any more.
    fn was_ours(&self, site: &Site, entry: &Entry) -> bool {
        let ip = entry.internal.ip();
        let lives = self.sites.iter().any(|other| other.uplink.local == ip);
        let was = |memory: &Remembered| memory.gateway == site.uplink.gateway && memory.local == ip;
        !lives && self.stale.iter().any(was)
    }

    /// UPnP mappings to former addresses of ours were dealt with.
    fn forget_old_addresses(&mut self, index: usize) {
        let gateway = self.sites[index].uplink.gateway;
        let locals: Vec<_> = self.sites.iter().map(|site| site.uplink.local).collect();
        self.stale.retain(|memory| {
            memory.gateway != gateway
                || memory.protocol != Protocol::Upnp
                || Family::of(memory.local) == Family::V6
                || locals.contains(&memory.local)
        });
    }

    /// An uplink is gone: what was mapped there can't be removed now.
    pub(super) fn leave(&mut self, site: &Site) {
        let held = site.held.as_ref().and_then(|held| self.memory_of_held(site, held));
        let removals = site.removals.iter().map(|removal| memory_of_removal(site, removal));
        for memory in removals.chain(held).collect::<Vec<_>>() {
            self.keep(memory);
        }
    }

    fn keep(&mut self, memory: Remembered) {
        let same = |known: &Remembered| {
            known.gateway == memory.gateway
                && known.local == memory.local
                && known.protocol == memory.protocol
                && known.internal_port == memory.internal_port
                && known.external_port == memory.external_port
        };
        self.stale.retain(|known| !same(known));
        self.stale.push(memory);
        if self.stale.len() > MOST_REMEMBERED {
            self.stale.remove(0);
        }
    }

    /// Everything that the next run must know.
    pub(super) fn memories(&self) -> Vec<Remembered> {
        let mut memories = self.stale.clone();
        for site in &self.sites {
            memories.extend(site.removals.iter().map(|removal| memory_of_removal(site, removal)));
            memories.extend(site.held.as_ref().and_then(|held| self.memory_of_held(site, held)));
        }
        let surplus = memories.len().saturating_sub(MOST_REMEMBERED);
        memories.drain(..surplus);
        memories
    }

    fn memory_of_held(&self, site: &Site, held: &Held) -> Option<Remembered> {
        let protocol = held.protocol?;
        // Where leases are not taken, an older permanent mapping may be what is seen there.
        let takes_none = protocol == Protocol::Upnp
            && self.gateway_of(site).is_some_and(|gateway| gateway.rung == Rung::Permanent);
        Some(Remembered {
            gateway: site.uplink.gateway,
            local: site.uplink.local,
            protocol,
            internal_port: held.internal_port,
            external_port: held.external_port,
            external_ip: held.external_ip,
            nonce: held.nonce,
            pinhole: held.pinhole,
            permanent: held.lease.length().is_none() || takes_none,
        })
    }
}

/// How long the protocol of the last run goes first.
const HEAD_START: Duration = Duration::from_secs(1);

/// Whether two removals are about the same mapping.
fn same_mapping(one: &Removal, other: &Removal) -> bool {
    one.protocol == other.protocol
        && one.internal_port == other.internal_port
        && one.external_port == other.external_port
        && one.pinhole == other.pinhole
}

const fn memory_of_removal(site: &Site, removal: &Removal) -> Remembered {
    Remembered {
        gateway: site.uplink.gateway,
        local: match removal.former {
            Some(former) => former.ip(),
            None => site.uplink.local,
        },
        protocol: removal.protocol,
        internal_port: removal.internal_port,
        external_port: removal.external_port,
        external_ip: removal.external_ip,
        nonce: removal.nonce,
        pinhole: removal.pinhole,
        permanent: removal.permanent,
    }
}

const fn removal_of_memory(memory: &Remembered, now: Tick) -> Removal {
    Removal {
        id: 0,
        protocol: memory.protocol,
        internal_port: memory.internal_port,
        external_port: memory.external_port,
        external_ip: memory.external_ip,
        nonce: memory.nonce,
        pinhole: memory.pinhole,
        former: None,
        permanent: memory.permanent,
        verify: true,
        later: false,
        tries: 0,
        due: now,
    }
}
