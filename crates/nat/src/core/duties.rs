//! What is to be done next at an uplink, and when: wanted against known.

use std::time::Duration;

use super::Core;
use super::gateway::Gateway;
use super::site::{Removal, Site};
use super::talker::Known;
use super::time::Tick;
use crate::{Family, Protocol};

/// Another protocol that was found while the holder of the mapping is silent waits for it that long.
const GRACE: Duration = Duration::from_secs(3);
/// The shell answers every request long before; a request without an answer must not block for ever.
const OVERDUE: Duration = Duration::from_secs(60);
/// Something to be done at an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Overdue(Protocol),
    Expire,
    Drop,
    Begin(Protocol),
    Advance,
    Block,
    Check,
    Retry,
    Beat,
    FirstLook,
    Renew,
    Discover(Protocol),
    Remove(u32),
    Entries,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Duty {
    pub(super) at: Tick,
    pub(super) why: &'static str,
    pub(super) step: Step,
}

/// Keeps the most urgent duty: of those that are due, the one offered first.
struct Agenda {
    now: Tick,
    best: Option<Duty>,
}

impl Agenda {
    fn offer(&mut self, at: Tick, why: &'static str, step: Step) {
        if self.best.is_none_or(|best| at.max(self.now) < best.at.max(self.now)) {
            self.best = Some(Duty { at, why, step });
        }
    }
}

impl Core {
    /// The next thing to be done at an uplink.
    pub(super) fn duty(&self, site: &Site, now: Tick) -> Option<Duty> {
        let mut agenda = Agenda { now, best: None };
        for talker in &site.talkers {
            if let Some(asked) = &talker.asked {
                agenda.offer(
                    asked.at + OVERDUE,
                    "a request without an answer",
                    Step::Overdue(talker.protocol),
                );
            }
        }
        self.duties_of_mapping(site, &mut agenda);
        self.duties_of_attempt(site, &mut agenda);
        self.duties_of_discovery(site, &mut agenda);
        self.duties_of_cleaning(site, &mut agenda);
        agenda.best
    }

    fn duties_of_mapping(&self, site: &Site, agenda: &mut Agenda) {
        let now = agenda.now;
        let Some(held) = &site.held else { return };
        if let Some(ends) = held.lease.ends() {
            agenda.offer(ends, "the lease ends", Step::Expire);
        }
        if !self.fits(site, held) {
            if !self.has_prospects(site) {
                agenda.offer(now, "nothing replaces the mapping", Step::Drop);
            }
            return;
        }
        let Some(holder) = held.protocol.filter(|holder| site.talker(*holder).is_idle()) else { return };
        if site.attempting() == Some(holder) {
            return;
        }
        if site.pending.is_some() {
            agenda.offer(now, "a check", Step::Check);
        } else if let Some(trouble) = &site.trouble {
            agenda.offer(trouble.next, "the gateway did not answer", Step::Retry);
        } else {
            let allowed = self.gateway_of(site).map_or(Tick::START, Gateway::next_check);
            agenda.offer(site.check_due.max(allowed), "a regular check", Step::Beat);
        }
        if let Some(look) = held.look_at {
            agenda.offer(look, "a first look at the mapping", Step::FirstLook);
        }
        if let Some(renewal) = held.lease.renewal() {
            agenda.offer(renewal, "a renewal", Step::Renew);
        }
    }

    fn duties_of_attempt(&self, site: &Site, agenda: &mut Agenda) {
        if let Some(attempt) = &site.attempt {
            if site.talker(attempt.protocol).is_idle() {
                agenda.offer(agenda.now, "a mapping", Step::Advance);
            }
            return;
        }
        if self.desired_port(site).is_none() || site.is_own() {
            return;
        }
        // What worked before goes first; then the order of preference.
        let first = site.last_holder.into_iter();
        let others = Protocol::ALL.into_iter().filter(|other| site.last_holder != Some(*other));
        let mut replaceable = false;
        for protocol in first.chain(others) {
            let talker = site.talker(protocol);
            let ready = talker.refused.as_ref().is_none_or(|refused| refused.ready);
            if !self.allows(site, protocol) || !talker.is_found() || !ready {
                continue;
            }
            let found = talker.found_at.unwrap_or(Tick::START);
            let other = site.holder() != Some(protocol);
            replaceable |= other;
            if !talker.is_idle() {
                continue;
            }
            let at = match &site.held {
                None => Some(site.not_before.max(self.head_start(site, protocol))),
                Some(held) if !self.fits(site, held) => Some(agenda.now),
                Some(_) if site.replace.is_some() => other.then_some(agenda.now),
                // The router may have been exchanged for one that speaks something else.
                Some(_) => site
                    .trouble
                    .filter(|trouble| trouble.is_serious() && found > trouble.since && other)
                    .map(|_| found + GRACE),
            };
            if let Some(at) = at {
                agenda.offer(at, "a mapping", Step::Begin(protocol));
            }
        }
        if site.replace.is_some() && !replaceable {
            agenda.offer(agenda.now, "no other protocol", Step::Block);
        }
    }

    fn duties_of_discovery(&self, site: &Site, agenda: &mut Agenda) {
        if self.desired_port(site).is_none() || site.is_own() {
            return;
        }
        let settled = site.held.as_ref().is_some_and(|held| self.fits(site, held)) && site.trouble.is_none();
        for talker in &site.talkers {
            let protocol = talker.protocol;
            if !self.allows(site, protocol) || !talker.is_idle() || site.attempting() == Some(protocol) {
                continue;
            }
            if let Some(at) = talker.discover_at {
                agenda.offer(at, "a discovery", Step::Discover(protocol));
            }
            if let Some(at) = talker.retry_at.filter(|_| !settled) {
                agenda.offer(at, "another discovery", Step::Discover(protocol));
            }
        }
    }

    fn duties_of_cleaning(&self, site: &Site, agenda: &mut Agenda) {
        for removal in &site.removals {
            let idle = site.talker(removal.protocol).is_idle();
            if idle && site.attempting() != Some(removal.protocol) && self.may_remove(site, removal) {
                agenda.offer(removal.due, "a removal", Step::Remove(removal.id));
            }
        }
        let upnp = site.talker(Protocol::Upnp);
        let refused = upnp.refused.as_ref().is_some_and(|refused| !refused.wan);
        let time = site.held.is_some() || refused;
        if site.unread
            && time
            && site.attempt.is_none()
            && self.desired_port(site).is_some()
            && self.allows(site, Protocol::Upnp)
            && site.reads(Protocol::Upnp)
            && upnp.is_idle()
        {
            agenda.offer(agenda.now, "entries left behind", Step::Entries);
        }
    }

    /// Whether a removal would not hit what is held: routers often have one table for all protocols.
    fn may_remove(&self, site: &Site, removal: &Removal) -> bool {
        let Some(held) = &site.held else {
            return !removal.later || self.desired_port(site).is_none() || !self.has_prospects(site);
        };
        let Some(holder) = held.protocol else { return true };
        let same_entry = site.family() == Family::V4 && held.external_port == removal.external_port;
        let same_client = holder == removal.protocol
            && holder != Protocol::Upnp
            && held.internal_port == removal.internal_port;
        !same_entry && !same_client
    }

    /// When a protocol may begin: the one that the last run used goes first.
    fn head_start(&self, site: &Site, protocol: Protocol) -> Tick {
        match site.head_start {
            Some((first, until))
                if first != protocol
                    && self.allows(site, first)
                    && site.talker(first).known == Known::Unknown =>
            {
                until
            }
            _ => Tick::START,
        }
    }
}
