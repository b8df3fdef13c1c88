//! Keeping a mapping: discovery, checks, renewals, and what to do when the router is silent.

use std::net::IpAddr;

use super::Core;
use super::address::told;
use super::attempt::why;
use super::gateway::BEAT;
use super::lease::{self, Lease, Rung};
use super::site::{Held, Pending, Sight};
use super::talker::{Absence, Known, Purpose, Talker, Trouble};
use super::time::Tick;
use crate::{
    Answer, Entry, Family, Found, Grant, Lifetime, MapRequest, Nonce, Proof, Protocol, Refusal, RefusalKind,
    Request,
};

/// With every check of this number the external address is asked for too.
const ADDRESS_EVERY: u32 = 4;

impl Held {
    /// No router is in the way.
    pub(super) const fn own(ip: IpAddr, port: u16, now: Tick) -> Self {
        Self {
            protocol: None,
            internal_port: port,
            external_port: port,
            external_ip: Some(ip),
            nonce: Nonce([0; 12]),
            pinhole: None,
            rung: Rung::Limited,
            lease: Lease::permanent(now),
            proof: Proof::NotYet,
            blocked: false,
            sight: Sight::Seen,
            look_at: None,
        }
    }
}

impl Core {
    /// A public address of our own is a mapping without a router. Says whether anything changed.
    pub(super) fn hold_own(&mut self, index: usize, now: Tick) -> bool {
        let site = &self.sites[index];
        let Some(port) = self.desired_port(site).filter(|_| site.is_own() && site.held.is_none()) else {
            return false;
        };
        let ip = site.uplink.local;
        self.sites[index].held = Some(Held::own(ip, port, now));
        true
    }

    /// The answer to a discovery.
    pub(super) fn discovered(&mut self, index: usize, protocol: Protocol, answer: Answer, now: Tick) {
        match answer {
            Answer::Found(found) => self.found(index, protocol, found, now),
            Answer::Refused(refusal) if refusal.kind == RefusalKind::NetworkFailure => {
                // It is spoken; there is just no address to tell.
                let known = match &self.sites[index].talker(protocol).known {
                    Known::Found(found) => found.clone(),
                    _ => Found::default(),
                };
                self.found(index, protocol, Found { external_ip: None, epoch: None, ..known }, now);
            }
            answer => {
                let absence = match &answer {
                    Answer::Refused(refusal) if refusal.kind == RefusalKind::Unsupported => {
                        Absence::Unsupported
                    }
                    Answer::Refused(refusal) => Absence::Refused(why(refusal)),
                    other => Absence::of(other).unwrap_or(Absence::Nonsense),
                };
                if self.sites[index].holder() == Some(protocol) {
                    self.no_answer(index, protocol, now);
                } else {
                    self.sites[index].talker_mut(protocol).absent(absence, now);
                }
                self.undiscovered(index, protocol, now);
            }
        }
    }

    fn found(&mut self, index: usize, protocol: Protocol, found: Found, now: Tick) {
        let site = &mut self.sites[index];
        let needs_address = site.family() == Family::V4 && protocol != Protocol::Pcp;
        let external = told(found.external_ip);
        let holds = site.holder() == Some(protocol);
        let talker = site.talker_mut(protocol);
        let is_up = talker.wan_down_since().is_some() && (external.is_some() || !needs_address);
        talker.found(found, now);
        if needs_address && external.is_none() {
            let again = talker.wan_is_down(now);
            if holds {
                talker.discover_at = Some(again);
            }
        } else if needs_address {
            talker.wan_is_up();
        }
        if holds {
            if external.is_some() && needs_address {
                self.external_is(index, external, now);
            }
            let site = &mut self.sites[index];
            match &mut site.pending {
                Some(pending) => pending.discover = false,
                // The gateway speaks again: is the mapping still there?
                None if site.trouble.is_some() || is_up => {
                    site.pending = Some(Pending { discover: false, regular: false });
                }
                None => {}
            }
        }
    }

    /// A new mapping is read back for the first time.
    pub(super) fn first_look(&mut self, index: usize) {
        let site = &mut self.sites[index];
        let Some(held) = &mut site.held else { return };
        held.look_at = None;
        site.pending.get_or_insert(Pending { discover: false, regular: false });
    }

    /// The regular check is due.
    pub(super) fn beat(&mut self, index: usize, now: Tick) {
        let key = self.sites[index].key;
        self.gateway(key, now).checked = Some(now);
        let site = &mut self.sites[index];
        site.check_due = now + BEAT;
        site.beats = site.beats.wrapping_add(1);
        let tells_address = site.holder() == Some(Protocol::Pcp) || site.family() == Family::V6;
        let discover = !tells_address && site.beats.is_multiple_of(ADDRESS_EVERY);
        site.pending = Some(Pending { discover, regular: true });
    }

    /// The gateway did not answer last time.
    pub(super) fn retry(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        let (Some(holder), Some(trouble)) = (site.holder(), &mut site.trouble) else { return };
        trouble.next = Tick::NEVER;
        let (serious, since) = (trouble.is_serious(), trouble.since);
        // Its control port may have moved: UPnP is looked for again before it is asked.
        site.pending = Some(Pending { discover: serious && holder == Protocol::Upnp, regular: false });
        if serious {
            // One that was found since then may take over soon, and is not asked over and over.
            let missing = |talker: &&mut Talker| {
                talker.protocol != holder && talker.found_at.is_none_or(|found| found <= since)
            };
            for talker in site.talkers.iter_mut().filter(missing) {
                talker.discover_at = Some(now);
            }
        }
    }

    /// Sends the check that waits.
    pub(super) fn check(&mut self, index: usize, now: Tick) {
        let site = &self.sites[index];
        let (Some(pending), Some(held)) = (site.pending, &site.held) else { return };
        let Some(protocol) = held.protocol else { return };
        if pending.discover {
            return self.discover(index, protocol, now);
        }
        let request = if site.reads(protocol) {
            Request::ReadBack { external_port: held.external_port }
        } else {
            self.same_again(index, held)
        };
        let key = site.key;
        if pending.regular {
            self.gateway(key, now).checked = Some(now);
        }
        self.sites[index].check_due = now + BEAT;
        self.ask(index, protocol, Purpose::Check, request, now);
    }

    /// A renewal by timer.
    pub(super) fn renew(&mut self, index: usize, now: Tick) {
        let Some(held) = &mut self.sites[index].held else { return };
        let Some(protocol) = held.protocol else { return };
        held.lease.asked(now);
        let Some(held) = &self.sites[index].held else { return };
        let request = self.same_again(index, held);
        self.ask(index, protocol, Purpose::Renew, request, now);
    }

    /// The request that made the mapping, with the lifetime first wanted, not the one granted.
    fn same_again(&self, index: usize, held: &Held) -> Request {
        let family = self.sites[index].family();
        let protocol = held.protocol.unwrap_or(Protocol::Upnp);
        Request::Map(MapRequest {
            internal_port: held.internal_port,
            external_port: held.external_port,
            external_ip: held.external_ip.filter(|_| family == Family::V4 && protocol == Protocol::Pcp),
            lifetime: lease::requested(protocol, family, held.rung),
            nonce: held.nonce,
            label: self.config.label.clone(),
            any_port: protocol != Protocol::Upnp,
            pinhole: held.pinhole,
        })
    }

    /// The answer to a check.
    pub(super) fn checked(&mut self, index: usize, protocol: Protocol, answer: Answer, now: Tick) {
        let site = &mut self.sites[index];
        match answer {
            Answer::Entry(entry) => {
                site.pending = None;
                self.read_back(index, entry, now);
            }
            Answer::Mapped(_) => {
                site.pending = None;
                self.renewed(index, protocol, answer, now);
            }
            Answer::Refused(_) | Answer::Nonsense(_) if site.reads(protocol) => {
                // Reading back is not understood, whatever the description says: ask for the mapping again instead.
                self.unreadable(index, now);
            }
            answer => {
                site.pending = None;
                self.renewed(index, protocol, answer, now);
            }
        }
    }

    fn read_back(&mut self, index: usize, entry: Option<Entry>, now: Tick) {
        let mut chance = self.chance(index);
        let site = &mut self.sites[index];
        site.trouble = None;
        let local = site.uplink.local;
        let Some(held) = &mut site.held else { return };
        let Some(entry) = entry else {
            if held.sight != Sight::Seen {
                return self.not_seen(index, now);
            }
            return self.lose(index, now);
        };
        let leads_here = entry.internal.ip() == local && entry.internal.port() == held.internal_port;
        if !leads_here || !entry.enabled {
            return self.lose(index, now);
        }
        if let Some(left) = entry.left {
            held.lease.shows(left, now, &mut chance);
        }
        self.seen_there(index, entry.left.is_some(), now);
        self.confirmed(index, now);
    }

    /// The answer to the same request repeated, by a check or by a renewal.
    pub(super) fn renewed(&mut self, index: usize, protocol: Protocol, answer: Answer, now: Tick) {
        match answer {
            Answer::Mapped(grant) if grant.external_port != 0 && grant.lifetime != Lifetime::Seconds(0) => {
                self.granted_again(index, &grant, now);
            }
            Answer::Refused(refusal) => self.not_renewed(index, protocol, &refusal, now),
            Answer::Closed => {
                self.no_answer(index, protocol, now);
                let site = &mut self.sites[index];
                site.trouble = site.trouble.map(Trouble::moved);
            }
            _ => self.no_answer(index, protocol, now),
        }
    }

    fn granted_again(&mut self, index: usize, grant: &Grant, now: Tick) {
        let lease = Lease::new(grant.lifetime, now, &mut self.chance(index));
        let site = &mut self.sites[index];
        let family = site.family();
        if site.trouble.take().is_some() && site.holder() == Some(Protocol::NatPmp) {
            // Its answer does not hold the external address, which may be another one after the silence.
            site.talker_mut(Protocol::NatPmp).discover_at = Some(now);
        }
        let Some(held) = &site.held else { return };
        let believed = held.sight == Sight::Seen;
        if let Some(protocol) = held.protocol {
            let readable = site.reads(protocol);
            let talker = site.talker_mut(protocol);
            talker.granted();
            if believed || !readable {
                talker.works();
            }
        }
        let Some(held) = &mut site.held else { return };
        held.lease = lease;
        held.pinhole = grant.pinhole.or(held.pinhole);
        if family == Family::V4 && held.external_port != grant.external_port {
            held.external_port = grant.external_port;
            held.proof = Proof::NotYet;
            held.blocked = false;
            site.suspect = None;
            site.place = Some((held.internal_port, held.external_port));
        }
        if family == Family::V4 && told(grant.external_ip).is_some() {
            self.external_is(index, grant.external_ip, now);
        }
        self.confirmed(index, now);
    }

    fn not_renewed(&mut self, index: usize, protocol: Protocol, refusal: &Refusal, now: Tick) {
        let site = &mut self.sites[index];
        site.trouble = None;
        let Some(held) = &mut site.held else { return };
        let pinhole = held.pinhole.is_some();
        let about_time = refusal.kind == RefusalKind::OnlyPermanent
            || (refusal.kind == RefusalKind::Failed && matches!(refusal.code, 402 | 501));
        match refusal.kind {
            RefusalKind::NetworkFailure => {
                // The mapping may be there still; the far side is not. A router that starts says so before it is ready.
                let talker = site.talker_mut(protocol);
                talker.discover_at = Some(talker.wan_is_down(now));
            }
            // The pinhole is gone: make it anew.
            _ if pinhole || about_time => self.lose(index, now),
            // The port is somebody else's, or the router renews nothing: make it anew, on another port if need be.
            RefusalKind::Conflict => self.remake(index, protocol, now),
            _ => {
                self.give_back(index, now);
                let site = &mut self.sites[index];
                site.talker_mut(protocol).refuse(why(refusal), now);
            }
        }
    }

    /// The gateway did not answer about the mapping.
    fn no_answer(&mut self, index: usize, protocol: Protocol, now: Tick) {
        let site = &mut self.sites[index];
        site.pending = None;
        let asked = site.talker(protocol).asked_at;
        let mut trouble = Trouble::again(site.trouble, asked, now);
        if std::mem::take(&mut site.again) {
            trouble.next = now;
        }
        site.trouble = Some(trouble);
    }

    /// The mapping is not there any more.
    pub(super) fn lose(&mut self, index: usize, _now: Tick) {
        if let Some(holder) = self.sites[index].holder() {
            let asked = self.sites[index].talker(holder).asked;
            if asked.is_some_and(|asked| matches!(asked.purpose, Purpose::Check | Purpose::Renew)) {
                self.cancel(index, holder);
            }
        }
        let site = &mut self.sites[index];
        site.held = None;
        site.trouble = None;
        site.pending = None;
        site.suspect = None;
        site.replace = None;
    }

    /// The mapping is not wanted any more: it is to be removed, and not to be shown.
    pub(super) fn give_back(&mut self, index: usize, now: Tick) {
        let replace = self.sites[index].replace.take();
        let held = self.sites[index].held.clone();
        self.lose(index, now);
        self.sites[index].replace = replace;
        if let Some(held) = held {
            self.remove_held(index, &held, now);
        }
    }

    /// The external address as the router tells it.
    pub(super) fn external_is(&mut self, index: usize, ip: Option<IpAddr>, now: Tick) {
        let site = &mut self.sites[index];
        let Some(held) = &mut site.held else { return };
        let ip = told(ip);
        if held.external_ip == ip {
            return;
        }
        held.external_ip = ip;
        held.proof = Proof::NotYet;
        held.blocked = false;
        site.suspect = None;
        if site.last_ip != ip {
            site.external_since = now;
            site.replaced = false;
        }
        site.last_ip = ip;
    }

    /// The external address that a discovery told.
    pub(super) fn told_external(&self, index: usize, protocol: Protocol) -> Option<IpAddr> {
        let site = &self.sites[index];
        let of = |protocol: Protocol| match &site.talker(protocol).known {
            Known::Found(found) => told(found.external_ip),
            _ => None,
        };
        of(protocol).or_else(|| Protocol::ALL.into_iter().find_map(of))
    }
}
