//! What is to be done next, and when: the one place where wanted and known are compared.

use std::time::Duration;

use super::command::{Command, spoken_over};
use super::gateway::Gateway;
use super::site::{Known, Pending, Purpose, Removal, Site, Stage};
use super::time::Tick;
use super::{Core, gateway, site};
use crate::{Answer, Family, Protocol, Request};

/// Everything is looked at again at least that often.
const BEAT: Duration = Duration::from_secs(30);
/// The shell answers every request long before; a request without an answer must not block for ever.
const OVERDUE: Duration = Duration::from_secs(60);
/// Another protocol that was found while the holder of the mapping is silent waits for it that long.
const GRACE: Duration = Duration::from_secs(3);
/// An external address older than that is asked for again before a mapping is made.
const FRESH: Duration = Duration::from_secs(10);
/// More steps at one moment than ever needed: a bound, not a plan.
const MOST_STEPS: usize = 512;

/// Something to be done at an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Overdue(Protocol),
    Expire,
    Drop,
    Begin(Protocol),
    Advance,
    Block,
    Check,
    Retry,
    Beat,
    Renew,
    Discover(Protocol),
    Remove(u32),
    Entries,
}

#[derive(Clone, Copy, Debug)]
struct Duty {
    at: Tick,
    why: &'static str,
    step: Step,
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
    /// Does everything that is due, then tells what changed. Runs after every input.
    pub(super) fn settle(&mut self, now: Tick) {
        for _ in 0..MOST_STEPS {
            if !self.settle_once(now) {
                break;
            }
        }
        self.settled = now;
        self.publish(now);
    }

    fn settle_once(&mut self, now: Tick) -> bool {
        for index in 0..self.gateways.len() {
            if self.gateways[index].look_at().is_some_and(|at| at <= now) {
                self.look(index, now);
                return true;
            }
        }
        for index in 0..self.sites.len() {
            if self.hold_own(index, now) {
                return true;
            }
            if let Some(duty) = self.duty(&self.sites[index], now).filter(|duty| duty.at <= now) {
                self.perform(index, duty.step, now);
                return true;
            }
        }
        false
    }

    pub(super) fn next_timeout(&self) -> Option<(Tick, &'static str)> {
        if self.is_stopped() || self.sites.is_empty() {
            return None;
        }
        let now = self.settled;
        let sites = self.sites.iter().filter_map(|site| self.duty(site, now)).map(|duty| (duty.at, duty.why));
        let looks = self.gateways.iter().filter_map(Gateway::look_at).map(|at| (at, "an event"));
        let beat = (!self.stopping).then_some((now + BEAT, "the regular look at everything"));
        sites.chain(looks).chain(beat).min_by_key(|(at, _)| *at)
    }

    /// The next thing to be done at an uplink.
    fn duty(&self, site: &Site, now: Tick) -> Option<Duty> {
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

    fn perform(&mut self, index: usize, step: Step, now: Tick) {
        match step {
            Step::Overdue(protocol) => {
                if let Some(asked) = self.sites[index].talker_mut(protocol).asked.take() {
                    self.commands.push_back(Command::Cancel { id: asked.id });
                    self.answered(index, protocol, asked.purpose, Answer::Silent, now);
                }
            }
            Step::Expire => {
                let holder = self.sites[index].holder();
                self.lose(index, now);
                if let Some(holder) = holder {
                    let talker = self.sites[index].talker_mut(holder);
                    talker.known = Known::Unknown;
                    talker.discover_at = Some(now);
                }
            }
            Step::Drop => self.give_back(index, now),
            Step::Begin(protocol) => {
                let talker = self.sites[index].talker_mut(protocol);
                let fresh = talker.found_at.is_some_and(|found| now.since(found) < FRESH);
                if fresh || protocol == Protocol::Pcp {
                    self.begin(index, protocol, now);
                } else {
                    // The external address first: the router may just have lost it.
                    self.discover(index, protocol, now);
                }
            }
            Step::Advance => self.advance(index, now),
            Step::Block => {
                if let Some(failure) = self.sites[index].replace.take() {
                    self.block(index, failure);
                }
            }
            Step::Check => self.check(index, now),
            Step::Retry => self.retry(index, now),
            Step::Beat => self.beat(index, now),
            Step::Renew => self.renew(index, now),
            Step::Discover(protocol) => self.discover(index, protocol, now),
            Step::Remove(id) => self.remove(index, id, now),
            Step::Entries => {
                self.sites[index].unread = false;
                let label = self.config.label.clone();
                self.ask(index, Protocol::Upnp, Purpose::Entries, Request::Entries { label }, now);
            }
        }
    }

    pub(super) fn discover(&mut self, index: usize, protocol: Protocol, now: Tick) {
        let talker = self.sites[index].talker_mut(protocol);
        talker.discover_at = None;
        talker.retry_at = None;
        self.ask(index, protocol, Purpose::Discover, Request::Discover, now);
    }

    /// An event: everything at a gateway is looked at.
    fn look(&mut self, gateway: usize, now: Tick) {
        let key = self.gateways[gateway].key;
        let wanted = self.gateways[gateway].take_look(now);
        for index in 0..self.sites.len() {
            let site = &self.sites[index];
            if site.key != key || site.is_own() {
                continue;
            }
            let fits = site.held.as_ref().is_some_and(|held| self.fits(site, held));
            let holder = site.holder().filter(|_| fits);
            if holder.is_none() || site.trouble.is_some() {
                self.ask_again(index, now);
            }
            let site = &mut self.sites[index];
            if let Some(holder) = holder {
                if site.pending.is_none() {
                    // PCP tells everything with the mapping; the others tell the address apart.
                    site.pending = Some(Pending { discover: holder != Protocol::Pcp, regular: false });
                }
                site.unread |= site.reads(Protocol::Upnp) && wanted == [true; 3];
            }
            for talker in &mut site.talkers {
                if holder.is_none() || (wanted[talker.protocol as usize] && holder != Some(talker.protocol)) {
                    talker.look_again(now);
                }
            }
        }
    }

    /// What has been waiting for a while was perhaps asked while the router was still silent: ask again now that it may not be.
    fn ask_again(&mut self, index: usize, now: Tick) {
        const WHILE: Duration = Duration::from_millis(500);
        for protocol in Protocol::ALL {
            let asked = self.sites[index].talker(protocol).asked;
            let mut looks = asked.filter(|asked| matches!(asked.purpose, Purpose::Discover | Purpose::Check));
            if looks.take_if(|asked| now.since(asked.at) >= WHILE).is_some() {
                self.cancel(index, protocol);
            } else if looks.is_some() {
                self.sites[index].again = true;
            }
        }
    }

    /// The port that is to be reachable at this uplink.
    pub(super) fn desired_port(&self, site: &Site) -> Option<u16> {
        let wanted = self.wanted.as_ref().filter(|_| !self.stopping)?;
        wanted.covers(site.uplink.local).then_some(wanted.port.get())
    }

    /// Whether a protocol may be used and makes sense there.
    pub(super) const fn allows(&self, site: &Site, protocol: Protocol) -> bool {
        self.config.protocols.allows(protocol) && spoken_over(protocol, site.family())
    }

    /// Whether a mapping is what is wanted.
    pub(super) fn fits(&self, site: &Site, held: &site::Held) -> bool {
        self.desired_port(site) == Some(held.internal_port)
            && held.protocol.is_none_or(|protocol| self.allows(site, protocol))
    }

    /// Whether a mapping may come of what is under way.
    pub(super) fn has_prospects(&self, site: &Site) -> bool {
        if self.desired_port(site).is_none() || site.is_own() {
            return false;
        }
        site.attempt.is_some()
            || site.talkers.iter().filter(|talker| self.allows(site, talker.protocol)).any(|talker| {
                match &talker.known {
                    Known::Unknown => true,
                    Known::Found(_) => talker.refused.is_none(),
                    Known::Absent(_) => false,
                }
            })
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

    pub(super) fn gateway_of(&self, site: &Site) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.key == site.key)
    }

    /// How long from one check of an uplink to the next: those of one gateway take turns.
    pub(super) fn beat_of(&self, index: usize) -> Duration {
        let key = self.sites[index].key;
        let sharing = self.sites.iter().filter(|site| site.key == key && site.holder().is_some()).count();
        gateway::BEAT * u32::try_from(sharing.max(1)).unwrap_or(1)
    }
}

impl Stage {
    /// Where an attempt begins.
    pub(super) fn first(site: &Site, protocol: Protocol) -> Self {
        if site.reads(protocol) { Self::Look } else { Self::Map }
    }
}
