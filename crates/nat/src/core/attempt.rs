//! Making a mapping: which port, for how long, and what if the router says no.

use std::time::Duration;

use super::Core;
use super::chance::{Chance, bytes};
use super::gateway::BEAT;
use super::lease::{self, Lease, Rung};
use super::site::{Attempt, Held, Removal, Sight, Site, Stage};
use super::talker::{Absence, Purpose};
use super::time::Tick;
use crate::{
    Answer, Entry, Family, Grant, Lifetime, MapRequest, Proof, Protocol, Refusal, RefusalKind, Request,
    UnmapRequest,
};

/// A UPnP mapping is read back that long after it was made: some routers drop every lease of limited time.
const READ_BACK: Duration = Duration::from_secs(10);
/// The same, if the one before was not there.
const READ_BACK_AGAIN: Duration = Duration::from_secs(5);

impl Core {
    /// Begins to make a mapping.
    pub(super) fn begin(&mut self, index: usize, protocol: Protocol, now: Tick) {
        let site = &self.sites[index];
        let (key, family) = (site.key, site.family());
        if self.desired_port(site).is_none() {
            return;
        }
        let rung = match (protocol, family) {
            (Protocol::Upnp, Family::V4) => self.gateway(key, now).next_rung(),
            _ => Rung::default(),
        };
        let site = &self.sites[index];
        let Some(internal_port) = self.desired_port(site) else { return };
        let attempt = Attempt {
            protocol,
            internal_port,
            nonce: self.nonce_for(site, protocol, internal_port),
            ports: self.ports_for(site, protocol, internal_port),
            index: 0,
            stage: Stage::first(site, protocol),
            rung,
            rungs: 1,
            cleared: false,
            ours: false,
            former: None,
            renews: false,
        };
        self.sites[index].attempt = Some(attempt);
        if self.sites[index].attempt.as_ref().is_some_and(|attempt| attempt.ports.is_empty()) {
            self.exhausted(index, now);
        }
    }

    /// The next request of the attempt.
    pub(super) fn advance(&mut self, index: usize, now: Tick) {
        let site = &self.sites[index];
        let Some(attempt) = &site.attempt else { return };
        let (protocol, port) = (attempt.protocol, attempt.port());
        let (purpose, request) = match attempt.stage {
            Stage::Look => (Purpose::Look, Request::ReadBack { external_port: port }),
            Stage::Clear => (
                Purpose::Clear,
                Request::Unmap(UnmapRequest {
                    internal_port: attempt.internal_port,
                    external_port: port,
                    nonce: attempt.nonce,
                    pinhole: None,
                    former: attempt.former,
                }),
            ),
            Stage::Map => (
                Purpose::Map,
                Request::Map(MapRequest {
                    internal_port: attempt.internal_port,
                    external_port: port,
                    external_ip: self.suggested_ip(site, protocol),
                    lifetime: lease::requested(protocol, site.family(), attempt.rung),
                    nonce: attempt.nonce,
                    label: self.config.label.clone(),
                    any_port: true,
                    pinhole: None,
                }),
            ),
        };
        self.ask(index, protocol, purpose, request, now);
    }

    /// The port was read back before it is mapped.
    pub(super) fn looked(&mut self, index: usize, answer: Answer, now: Tick) {
        let Some(protocol) = self.sites[index].attempting() else { return };
        match answer {
            Answer::Entry(entry) => self.looked_at(index, entry, now),
            Answer::Silent | Answer::Closed => self.unreachable(index, protocol, &answer, now),
            // Not every router that offers it understands it.
            _ => {
                self.sites[index].talker_mut(protocol).unreadable = true;
                self.stage(index, Stage::Map);
            }
        }
    }

    fn looked_at(&mut self, index: usize, entry: Option<Entry>, now: Tick) {
        let Some(entry) = entry else { return self.stage(index, Stage::Map) };
        let site = &self.sites[index];
        let Some(attempt) = &site.attempt else { return };
        let (port, internal_port) = (attempt.port(), attempt.internal_port);
        let leads_here = entry.internal.ip() == site.uplink.local && entry.internal.port() == internal_port;
        if leads_here {
            let renews = attempt.renews;
            if let Some(attempt) = &mut self.sites[index].attempt {
                attempt.ours = true;
            }
            self.stage(index, if renews { Stage::Clear } else { Stage::Map });
        } else if self.is_left_behind(index, &entry) {
            if let Some(attempt) = &mut self.sites[index].attempt {
                attempt.former = Some(entry.internal);
            }
            self.stage(index, Stage::Clear);
        } else {
            self.sites[index].note_taken(port, Some(&entry));
            self.next_port(index, now);
        }
    }

    /// Whether an entry is of this installation and leads to where none of it is any more.
    fn is_left_behind(&self, index: usize, entry: &Entry) -> bool {
        let lives_elsewhere = |(other, site): (usize, &Site)| {
            other != index && site.uplink.local == entry.internal.ip() && self.desired_port(site).is_some()
        };
        entry.label == self.config.label && !self.sites.iter().enumerate().any(lives_elsewhere)
    }

    /// Our own old entry was removed, or could not be.
    pub(super) fn cleared(&mut self, index: usize, answer: Answer, now: Tick) {
        let Some(protocol) = self.sites[index].attempting() else { return };
        match answer {
            Answer::Silent | Answer::Closed => self.unreachable(index, protocol, &answer, now),
            _ => {
                if let Some(attempt) = &mut self.sites[index].attempt {
                    attempt.cleared = true;
                }
                self.stage(index, Stage::Map);
            }
        }
    }

    /// The answer to the mapping itself.
    pub(super) fn mapped(&mut self, index: usize, answer: Answer, now: Tick) {
        let Some(protocol) = self.sites[index].attempting() else { return };
        match answer {
            Answer::Mapped(grant) if grant.external_port != 0 && grant.lifetime != Lifetime::Seconds(0) => {
                self.establish(index, grant, now);
            }
            Answer::Refused(refusal) => self.map_refused(index, protocol, &refusal, now),
            Answer::Silent | Answer::Closed | Answer::Nonsense(_) => {
                // Perhaps it was made all the same.
                self.doubt_attempt(index, now);
                self.unreachable(index, protocol, &answer, now);
            }
            _ => {
                self.doubt_attempt(index, now);
                let why = "answered nonsense when asked for a mapping".to_owned();
                self.sites[index].talker_mut(protocol).refuse(why, now);
                self.failed(index, now);
            }
        }
    }

    fn map_refused(&mut self, index: usize, protocol: Protocol, refusal: &Refusal, now: Tick) {
        let family = self.sites[index].family();
        let key = self.sites[index].key;
        let about_time = refusal.kind == RefusalKind::OnlyPermanent
            || (refusal.kind == RefusalKind::Failed && matches!(refusal.code, 402 | 501));
        match refusal.kind {
            RefusalKind::Conflict if family == Family::V4 => {
                let remembered = self.is_remembered(index);
                let Some(attempt) = &mut self.sites[index].attempt else { return };
                if (attempt.ours || remembered) && !attempt.cleared {
                    // Some routers do not renew: the entry must go first.
                    attempt.stage = Stage::Clear;
                    return;
                }
                let port = attempt.port();
                if !self.sites[index].taken.iter().any(|taken| taken.port == port) {
                    self.sites[index].note_taken(port, None);
                }
                self.next_port(index, now);
            }
            RefusalKind::SamePort if family == Family::V4 => {
                self.gateway(key, now).same_port = true;
                let Some(attempt) = &mut self.sites[index].attempt else { return };
                let internal = attempt.internal_port;
                if attempt.ports == [internal] {
                    return self.refused(index, protocol, refusal, now);
                }
                attempt.ports = vec![internal];
                attempt.index = 0;
                if self.sites[index].taken.iter().any(|taken| taken.port == internal) {
                    return self.exhausted(index, now);
                }
                let first = Stage::first(&self.sites[index], protocol);
                self.stage(index, first);
            }
            RefusalKind::NetworkFailure => {
                self.sites[index].talker_mut(protocol).wan_is_down(now);
                self.failed(index, now);
            }
            _ if about_time && protocol == Protocol::Upnp && family == Family::V4 => {
                let Some(attempt) = &mut self.sites[index].attempt else { return };
                if attempt.rungs >= Rung::COUNT {
                    return self.refused(index, protocol, refusal, now);
                }
                attempt.rungs += 1;
                attempt.rung = attempt.rung.next();
            }
            _ => self.refused(index, protocol, refusal, now),
        }
    }

    fn refused(&mut self, index: usize, protocol: Protocol, refusal: &Refusal, now: Tick) {
        self.sites[index].talker_mut(protocol).refuse(why(refusal), now);
        self.failed(index, now);
    }

    fn next_port(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        let Some(attempt) = &mut site.attempt else { return };
        attempt.index += 1;
        attempt.ours = false;
        attempt.cleared = false;
        attempt.former = None;
        if std::mem::take(&mut attempt.renews) {
            // The place of the mapping that was held is somebody else's.
            self.lose(index, now);
        }
        let site = &mut self.sites[index];
        let Some(attempt) = &mut site.attempt else { return };
        if attempt.index >= attempt.ports.len() {
            return self.exhausted(index, now);
        }
        let protocol = attempt.protocol;
        let first = Stage::first(site, protocol);
        self.stage(index, first);
    }

    fn exhausted(&mut self, index: usize, now: Tick) {
        let key = self.sites[index].key;
        let same_port = self.gateway(key, now).same_port;
        let site = &mut self.sites[index];
        let Some(attempt) = &site.attempt else { return };
        let internal = attempt.internal_port;
        let why = if same_port {
            format!("maps only port {internal} to port {internal}, and another computer has that port")
        } else {
            "every port that was tried belongs to another computer".to_owned()
        };
        let protocol = attempt.protocol;
        site.talker_mut(protocol).exhaust(why, now);
        self.failed(index, now);
    }

    fn stage(&mut self, index: usize, stage: Stage) {
        if let Some(attempt) = &mut self.sites[index].attempt {
            attempt.stage = stage;
        }
    }

    /// The protocol fell silent while it was asked.
    fn unreachable(&mut self, index: usize, protocol: Protocol, answer: &Answer, now: Tick) {
        let absence = Absence::of(answer).unwrap_or(Absence::Silent);
        self.sites[index].talker_mut(protocol).absent(absence, now);
        self.failed(index, now);
    }

    /// The attempt came to nothing.
    fn failed(&mut self, index: usize, now: Tick) {
        self.give_up_renewal(index, now);
        let site = &mut self.sites[index];
        site.attempt = None;
        if let Some(failure) = site.replace.take() {
            site.replaced = true;
            self.block(index, failure);
        }
    }

    /// Ends an attempt from our side.
    pub(super) fn abandon(&mut self, index: usize, now: Tick) {
        let Some(protocol) = self.sites[index].attempting() else { return };
        let purpose = self.cancel(index, protocol);
        if purpose == Some(Purpose::Map) {
            self.doubt_attempt(index, now);
        }
        self.give_up_renewal(index, now);
        self.sites[index].attempt = None;
    }

    /// The router may have made the mapping without our knowing.
    pub(super) fn doubt_attempt(&mut self, index: usize, now: Tick) {
        let site = &self.sites[index];
        let Some(attempt) = &site.attempt else { return };
        let removal = Removal {
            id: 0,
            protocol: attempt.protocol,
            internal_port: attempt.internal_port,
            external_port: attempt.port(),
            external_ip: None,
            nonce: attempt.nonce,
            pinhole: None,
            former: None,
            permanent: attempt.rung == Rung::Permanent,
            verify: true,
            later: true,
            tries: 0,
            due: now,
        };
        self.add_removal(index, removal);
    }

    /// The mapping is there.
    fn establish(&mut self, index: usize, grant: Grant, now: Tick) {
        let Some(attempt) = self.sites[index].attempt.take() else { return };
        let (key, protocol) = (self.sites[index].key, attempt.protocol);
        let family = self.sites[index].family();
        let before = self.sites[index].held.clone().filter(|held| {
            attempt.renews && family == Family::V4 && held.external_port == grant.external_port
        });
        let (beats, suspect) = (self.sites[index].beats, self.sites[index].suspect.clone());
        self.give_back(index, now);
        if protocol == Protocol::Upnp && family == Family::V4 {
            self.gateway(key, now).took(attempt.rung);
        }
        let gateway = self.gateway(key, now);
        let dubious = gateway.unseen > 0 || gateway.rung != attempt.rung;
        let read_back = if dubious { READ_BACK_AGAIN } else { READ_BACK };
        let lease = Lease::new(grant.lifetime, now, &mut self.chance(index));
        let site = &mut self.sites[index];
        let external_port = if family == Family::V6 { attempt.internal_port } else { grant.external_port };
        let readable = site.reads(protocol);
        let talker = site.talker_mut(protocol);
        talker.granted();
        if !readable {
            talker.works();
        }
        site.held = Some(Held {
            protocol: Some(protocol),
            internal_port: attempt.internal_port,
            external_port,
            external_ip: None,
            nonce: attempt.nonce,
            pinhole: grant.pinhole,
            rung: attempt.rung,
            lease,
            proof: Proof::NotYet,
            blocked: false,
            sight: if readable { Sight::NotYet } else { Sight::Seen },
            look_at: readable.then_some(now + read_back),
        });
        site.place = Some((attempt.internal_port, external_port));
        site.last_holder = Some(protocol);
        site.not_before = now + lease::CLOSEST;
        site.head_start = None;
        site.trouble = None;
        site.pending = None;
        site.suspect = None;
        site.replaced |= site.replace.take().is_some();
        site.beats = 0;
        self.sites[index].check_due = now + BEAT;
        let external = match family {
            Family::V6 => Some(self.sites[index].uplink.local),
            Family::V4 => grant.external_ip.or_else(|| self.told_external(index, protocol)),
        };
        let again = before.is_some();
        if let (Some(before), Some(held)) = (before, &mut self.sites[index].held) {
            held.external_ip = before.external_ip;
            held.proof = before.proof;
            held.blocked = before.blocked;
            held.sight = before.sight;
        }
        self.external_is(index, external, now);
        self.supersede(index, now);
        if again {
            self.sites[index].beats = beats;
            self.sites[index].suspect = suspect;
            self.confirmed(index, now);
        }
    }

    /// Jitter of this uplink, different at every lease.
    pub(super) fn chance(&mut self, index: usize) -> Chance {
        self.leases = self.leases.wrapping_add(1);
        let uplink = &self.sites[index].uplink;
        let words: [&[u8]; 4] =
            [b"lease", &bytes(uplink.gateway), &bytes(uplink.local), &self.leases.to_be_bytes()];
        Chance::of(self.config.seed, &words)
    }
}

/// A refusal in words for a person.
pub(super) fn why(refusal: &Refusal) -> String {
    let meaning = match refusal.kind {
        RefusalKind::Conflict => "the port belongs to another computer",
        RefusalKind::OnlyPermanent => "it takes no lease of any length",
        RefusalKind::SamePort => "it maps only to the same port, and refused that too",
        RefusalKind::NotAuthorized => "it is not allowed there",
        RefusalKind::NetworkFailure => "the router says that it has no Internet address",
        RefusalKind::NoResources => "its table is full, or it has no public address of its own",
        RefusalKind::Unsupported => "it does not know how",
        RefusalKind::Failed | RefusalKind::Other => "the router gave no reason",
    };
    let words = if refusal.words.is_empty() { meaning } else { &refusal.words };
    match refusal.code {
        // It is not the router that says so.
        0 => format!("refused: {words}"),
        code => format!("refused: {words} (error {code})"),
    }
}
