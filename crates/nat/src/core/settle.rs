//! What is to be done next, and when: the one place where wanted and known are compared.

use std::time::Duration;

use super::command::{Command, spoken_over};
use super::duties::Step;
use super::gateway::Gateway;
use super::site::{Pending, Site, Stage};
use super::talker::{Known, Purpose};
use super::time::Tick;
use super::{Core, site};
use crate::{Answer, Protocol, Request};

/// Everything is looked at again at least that often.
const BEAT: Duration = Duration::from_secs(30);
/// An external address older than that is asked for again before a mapping is made.
const FRESH: Duration = Duration::from_secs(10);
/// More steps at one moment than ever needed: a bound, not a plan.
const MOST_STEPS: usize = 512;

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
            Step::Beat => self.turn(index, now),
            Step::FirstLook => self.first_look(index),
            Step::Renew => self.renew(index, now),
            Step::Discover(protocol) => self.discover(index, protocol, now),
            Step::Remove(id) => self.remove(index, id, now),
            Step::Entries => {
                self.sites[index].unread = false;
                let all = self.wants_witness(index);
                let label = if all { String::new() } else { self.config.label.clone() };
                self.ask(index, Protocol::Upnp, Purpose::Entries, Request::Entries { label }, now);
            }
        }
    }

    /// A gateway's turn for the regular check: every mapping there is looked at, or what it forgot silently would be noticed only
    /// after as many turns as there are addresses of ours.
    fn turn(&mut self, index: usize, now: Tick) {
        let key = self.sites[index].key;
        for other in 0..self.sites.len() {
            let site = &self.sites[other];
            let calm = site.pending.is_none() && site.trouble.is_none();
            let kept =
                site.held.as_ref().is_some_and(|held| held.protocol.is_some() && self.fits(site, held));
            if other == index || (site.key == key && calm && kept) {
                self.beat(other, now);
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
                // PCP tells everything with the mapping; the others tell the address apart.
                site.pending.get_or_insert(Pending { discover: holder != Protocol::Pcp, regular: false });
            }
            for talker in &mut site.talkers {
                let named = wanted.protocols[talker.protocol as usize] && holder != Some(talker.protocol);
                if holder.is_some() && !named {
                    continue;
                }
                if wanted.seen_here {
                    talker.look_again(now);
                } else {
                    talker.announced(now);
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
        self.is_searching(site) || (site.attempt.is_some() && self.desired_port(site).is_some())
    }

    /// The same, without what was refused and is only tried once more: nothing new is to be told of that.
    pub(super) fn is_searching(&self, site: &Site) -> bool {
        if self.desired_port(site).is_none() || site.is_own() {
            return false;
        }
        site.attempting().is_some_and(|protocol| site.talker(protocol).refused.is_none())
            || site.talkers.iter().filter(|talker| self.allows(site, talker.protocol)).any(|talker| {
                match &talker.known {
                    Known::Unknown => true,
                    Known::Found(_) => talker.refused.is_none(),
                    Known::Absent(_) => false,
                }
            })
    }

    pub(super) fn gateway_of(&self, site: &Site) -> Option<&Gateway> {
        self.gateways.iter().find(|gateway| gateway.key == site.key)
    }
}

impl Stage {
    /// Where an attempt begins.
    pub(super) fn first(site: &Site, protocol: Protocol) -> Self {
        if site.reads(protocol) { Self::Look } else { Self::Map }
    }
}
