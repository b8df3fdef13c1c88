//! The decisions: what is wanted against what is known of the gateways, as a state machine without clock, sockets or randomness.
//!
//! Level-triggered: every input changes what is wanted or known, and then one function compares the two and emits what is missing
//! (`settle`). Nothing is remembered as "to be done later": what is due follows from the state, so a lost answer or a late timer
//! can't make it forget anything. The caller passes the time in; [`Core::poll_timeout`] says when it wants to be called again.
//!
//! Invariants, which the simulation of 30 days checks: one request per protocol and uplink at a time; one mapping per uplink, two
//! while it moves; the external address is asked for before UPnP or NAT-PMP is asked for a mapping; one turn of regular
//! checks per gateway in 26 s, in which every mapping there is looked at once; at most three renewals by timer per
//! lease; a flood of hints costs one look in 5 s.

pub mod address;
mod asking;
mod attempt;
mod chance;
mod choice;
mod cleaning;
mod command;
mod duties;
mod epoch;
mod gateway;
mod lease;
mod proof;
mod remake;
mod settle;
mod site;
mod talker;
mod time;
mod upkeep;
mod uplinks;
mod view;
mod witness;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use kith_network::Snapshot;

pub use command::{AskId, Command, CoreConfig, Counts, ProofOutcome, ProofReport, Tally};

use crate::{Answer, Hint, Protocol, Protocols, Remembered, State, Wanted};
use epoch::EpochTrack;
use gateway::Gateway;
use site::Site;
pub(crate) use site::Taken;
use talker::{Purpose, Talker};
use time::{Clock, Tick};

/// The reconciler. See the [module](self).
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    clock: Clock,
    wanted: Option<Wanted>,
    wanted_told: bool,
    network: Option<Snapshot>,
    /// The uplinks, the preferred first.
    sites: Vec<Site>,
    gateways: Vec<Gateway>,
    /// Mappings of former times that nobody looks after now.
    stale: Vec<Remembered>,
    commands: VecDeque<Command>,
    asks: u64,
    removals: u32,
    leases: u32,
    stopping: bool,
    tally: Tally,
    settled: Tick,
    /// What was told last.
    told_state: State,
    told_gist: u64,
    told_memories: Vec<Remembered>,
}

impl Core {
    /// Nothing is wanted yet, and no network is known.
    #[must_use]
    pub fn new(config: CoreConfig, now: Instant) -> Self {
        let mut core = Self {
            clock: Clock::new(now),
            wanted: None,
            wanted_told: false,
            network: None,
            sites: Vec::new(),
            gateways: Vec::new(),
            stale: config.remembered.clone(),
            commands: VecDeque::new(),
            asks: 0,
            removals: 0,
            leases: 0,
            stopping: false,
            tally: Tally::default(),
            settled: Tick::START,
            told_state: State::default(),
            told_gist: 0,
            told_memories: config.remembered.clone(),
            config,
        };
        core.told_state = core.state_at(Tick::START, SystemTime::UNIX_EPOCH);
        core.told_gist = core.gist(Tick::START);
        core
    }

    /// The network as it is. To be called also when something may have changed without a visible difference: then every gateway
    /// is looked at at once.
    pub fn handle_network(&mut self, snapshot: &Snapshot, now: Instant) {
        let now = self.clock.advance(now);
        if self.stopping {
            return;
        }
        self.network = Some(snapshot.clone());
        let mut former = std::mem::take(&mut self.sites);
        for uplink in uplinks::uplinks(snapshot) {
            match former.iter().position(|site| site.uplink == uplink) {
                Some(index) => self.sites.push(former.remove(index)),
                None => self.sites.push(Site::new(uplink, now)),
            }
        }
        for mut gone in former {
            for talker in &mut gone.talkers {
                if let Some(asked) = talker.asked.take() {
                    self.commands.push_back(Command::Cancel { id: asked.id });
                }
            }
            self.leave(&gone);
        }
        self.recall(now);
        self.look_everywhere(now);
        self.settle(now);
    }

    /// The computer slept, and monotonic time stood still for so long: leases are older than it says, and everything may be
    /// different.
    pub fn handle_resume(&mut self, slept: Duration, now: Instant) {
        self.clock.sleep(slept, now);
        let now = self.clock.advance(now);
        if !self.stopping {
            for index in 0..self.sites.len() {
                for protocol in Protocol::ALL {
                    self.cancel(index, protocol);
                }
                self.sites[index].seen.forget();
            }
            // How long it slept is known roughly, and what was heard since it woke was judged without knowing that it slept.
            for gateway in &mut self.gateways {
                gateway.epochs.fill_with(EpochTrack::default);
            }
            self.look_everywhere(now);
        }
        self.settle(now);
    }

    /// What shall be reachable; `None`: nothing. When the port changes, the new mapping is made before the old one is removed.
    pub fn handle_wanted(&mut self, wanted: Option<Wanted>, now: Instant) {
        let now = self.clock.advance(now);
        if self.stopping || (self.wanted_told && self.wanted == wanted) {
            return;
        }
        let port = |wanted: &Option<Wanted>| wanted.as_ref().map(|wanted| wanted.port);
        let moved = port(&self.wanted) != port(&wanted);
        self.wanted = wanted;
        self.wanted_told = true;
        for index in 0..self.sites.len() {
            let desired = self.desired_port(&self.sites[index]);
            let attempted = self.sites[index].attempt.as_ref().map(|attempt| attempt.internal_port);
            if attempted.is_some() && attempted != desired {
                self.abandon(index, now);
            }
            self.sites[index].replace = None;
            if moved {
                let site = &mut self.sites[index];
                site.replaced = false;
                site.suspect = None;
                site.taken.clear();
            }
            let own = self.sites[index].held.as_ref().is_some_and(|held| held.protocol.is_none());
            if own && attempted.is_none() && desired != self.held_port(index) {
                self.lose(index, now);
            }
            for talker in &mut self.sites[index].talkers {
                let pace = talker.retry_at.is_some() || talker.refused.is_some();
                if desired.is_some() && pace {
                    talker.look_again(now);
                }
            }
        }
        self.recall(now);
        self.settle(now);
    }

    /// Which protocols may be used. The mapping of one that is switched off is removed, once another has taken over or none can.
    pub fn handle_protocols(&mut self, protocols: Protocols, now: Instant) {
        let now = self.clock.advance(now);
        let before = std::mem::replace(&mut self.config.protocols, protocols);
        for index in 0..self.sites.len() {
            if self.sites[index].attempting().is_some_and(|protocol| !protocols.allows(protocol)) {
                self.abandon(index, now);
            }
            for protocol in Protocol::ALL {
                if protocols.allows(protocol) && !before.allows(protocol) {
                    self.sites[index].talker_mut(protocol).look_again(now);
                }
            }
        }
        self.recall(now);
        self.settle(now);
    }

    /// The answer to a [`Command::Ask`]. One that was cancelled, or answered before, is ignored.
    pub fn handle_answer(&mut self, id: AskId, answer: Answer, now: Instant) {
        let now = self.clock.advance(now);
        let position = self.sites.iter().enumerate().find_map(|(index, site)| {
            let of = |talker: &&Talker| talker.asked.is_some_and(|asked| asked.id == id);
            site.talkers.iter().find(of).map(|talker| (index, talker.protocol))
        });
        let Some((index, protocol)) = position else { return };
        if let Some(asked) = self.sites[index].talker_mut(protocol).asked.take() {
            self.answered(index, protocol, asked.purpose, answer, now);
        }
        self.settle(now);
    }

    /// Something that makes a look worth while. Never believed: it costs one look at most, and that not often.
    pub fn handle_hint(&mut self, hint: Hint, now: Instant) {
        let now = self.clock.advance(now);
        match hint {
            Hint::Announced { from, index, protocol, epoch: _ } => {
                let from = from.to_canonical();
                let sender = |site: &&Site| {
                    site.key.address == from && index.is_none_or(|index| index == site.key.index)
                };
                let keys: Vec<_> = self.sites.iter().filter(sender).map(|site| site.key).collect();
                for key in keys {
                    self.gateway(key, now).want_look(Some(protocol));
                }
            }
            Hint::Doubt { why: _ } => self.look_everywhere(now),
        }
        self.settle(now);
    }

    /// A person wants everything asked anew: what is held is looked at, and who refused or did not answer is asked now and not at the end
    /// of the pause.
    pub fn handle_asked_anew(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.look_everywhere(now);
        for index in 0..self.sites.len() {
            let is_wanted = self.desired_port(&self.sites[index]).is_some();
            for talker in self.sites[index].talkers.iter_mut().filter(|_| is_wanted) {
                if talker.is_waiting() {
                    talker.look_again(now);
                }
            }
        }
        self.settle(now);
    }

    /// A friend dialled an external address of ours, or tried to.
    pub fn handle_proof(&mut self, report: ProofReport, now: Instant) {
        let now = self.clock.advance(now);
        self.proof(report, now);
        self.settle(now);
    }

    /// A friend elsewhere, whom this computer dialled, sees it come from that address. `local` is this computer's end of the link,
    /// which tells by which router it goes out; `heard_at` is when that was last known to be so.
    pub fn handle_seen_from_outside(&mut self, ip: IpAddr, local: IpAddr, heard_at: Instant, now: Instant) {
        let now = self.clock.advance(now);
        self.seen(ip, local, self.clock.past(heard_at));
        self.settle(now);
    }

    /// The time of [`Core::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.settle(now);
    }

    /// When to call [`Core::handle_timeout`] if nothing else happens, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.next_timeout().map(|(at, why)| (self.clock.instant(at), why))
    }

    /// What to do next; to be called until there is nothing more, after every call of the others.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Removes everything that is held, permanent mappings too. Afterwards only those answers are awaited.
    pub fn stop(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        if self.stopping {
            return;
        }
        for index in 0..self.sites.len() {
            self.abandon(index, now);
            for protocol in Protocol::ALL {
                let asked = self.sites[index].talker(protocol).asked;
                if asked.is_some_and(|asked| !matches!(asked.purpose, Purpose::Unmap(_))) {
                    self.cancel(index, protocol);
                }
            }
            self.give_back(index, now);
            // What was held until now goes first: there may be little time.
            let removals = &mut self.sites[index].removals;
            removals.sort_by_key(|removal| removal.verify);
            for removal in removals {
                removal.due = now;
            }
        }
        self.stopping = true;
        self.settle(now);
    }

    /// Whether everything is removed, or has been given up, after [`Core::stop`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let busy = |site: &Site| {
            !site.removals.is_empty() || site.talkers.iter().any(|talker| talker.asked.is_some())
        };
        self.stopping && !self.sites.iter().any(busy)
    }

    /// What others may see. `wall` is the same moment as `now` by the clock on the wall.
    #[must_use]
    pub fn state(&self, now: Instant, wall: SystemTime) -> State {
        let mut clock = self.clock;
        self.state_at(clock.advance(now), wall)
    }

    /// How much was asked.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    fn held_port(&self, index: usize) -> Option<u16> {
        self.sites[index].held.as_ref().map(|held| held.internal_port)
    }

    fn look_everywhere(&mut self, now: Tick) {
        let keys: Vec<_> = self.sites.iter().map(|site| site.key).collect();
        for key in keys {
            self.gateway(key, now).want_look(None);
        }
    }
}

#[cfg(test)]
mod tests;
