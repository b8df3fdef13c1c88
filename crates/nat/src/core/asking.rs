//! Questions out, answers in, and what is told of it.

use std::time::SystemTime;

use super::Core;
use super::command::{AskId, Command, GatewayKey};
use super::epoch::Table;
use super::gateway::Gateway;
use super::site::Pending;
use super::talker::{Asked, Purpose};
use super::time::Tick;
use crate::{Answer, Epoch, Proof, Protocol, RefusalKind, Request};

/// Gateways that are remembered for the case that they come back, at most.
const MOST_GATEWAYS: usize = 16;

impl Core {
    /// What is known of a gateway; a new one is entered.
    pub(super) fn gateway(&mut self, key: GatewayKey, now: Tick) -> &mut Gateway {
        let index = match self.gateways.iter().position(|gateway| gateway.key == key) {
            Some(index) => index,
            None => {
                if self.gateways.len() >= MOST_GATEWAYS {
                    let idle = |gateway: &Gateway| !self.sites.iter().any(|site| site.key == gateway.key);
                    let oldest = self.gateways.iter().position(idle).unwrap_or(0);
                    self.gateways.remove(oldest);
                }
                self.gateways.push(Gateway::new(key, now));
                self.gateways.len() - 1
            }
        };
        &mut self.gateways[index]
    }

    pub(super) fn ask(
        &mut self,
        index: usize,
        protocol: Protocol,
        purpose: Purpose,
        request: Request,
        now: Tick,
    ) {
        self.asks += 1;
        let id = AskId(self.asks);
        let site = &mut self.sites[index];
        let regular = site.pending.is_some_and(|pending| pending.regular);
        let counts = self.tally.entry(&site.uplink);
        let count = match purpose {
            Purpose::Discover => &mut counts.discover,
            Purpose::Map => &mut counts.map,
            Purpose::Renew => &mut counts.renewal,
            Purpose::Check if regular => &mut counts.check,
            Purpose::Check => &mut counts.look,
            Purpose::Look | Purpose::Verify(_) => &mut counts.read,
            Purpose::Entries => &mut counts.entries,
            Purpose::Clear | Purpose::Unmap(_) => &mut counts.unmap,
        };
        *count += 1;
        let talker = site.talker_mut(protocol);
        talker.asked = Some(Asked { id, purpose, at: now });
        talker.asked_at = now;
        self.commands.push_back(Command::Ask { id, uplink: site.uplink.clone(), protocol, request });
    }

    /// Gives up a request. What it was for is still to be done, and is asked again. Returns what it was for.
    pub(super) fn cancel(&mut self, index: usize, protocol: Protocol) -> Option<Purpose> {
        let now = self.clock.now();
        let talker = self.sites[index].talker_mut(protocol);
        let asked = talker.asked.take()?;
        if asked.purpose == Purpose::Discover {
            talker.discover_at = Some(now);
        }
        if asked.purpose == Purpose::Check
            && let Some(pending) = &mut self.sites[index].pending
        {
            // It is asked again before its time, because of an event.
            pending.regular = false;
        }
        self.commands.push_back(Command::Cancel { id: asked.id });
        Some(asked.purpose)
    }

    pub(super) fn answered(
        &mut self,
        index: usize,
        protocol: Protocol,
        purpose: Purpose,
        mut answer: Answer,
        now: Tick,
    ) {
        let epoch = match &mut answer {
            Answer::Found(found) => found.epoch,
            Answer::Mapped(grant) => grant.epoch,
            _ => None,
        };
        if !matches!(answer, Answer::Silent | Answer::Closed | Answer::Nonsense(_)) {
            self.sites[index].talker_mut(protocol).heard(now);
        }
        if let Some(epoch) = epoch {
            self.judge_epoch(index, protocol, epoch, matches!(answer, Answer::Mapped(_)), now);
        }
        if purpose == Purpose::Map && protocol == Protocol::Pcp {
            self.note_room(index, &answer, now);
        }
        self.note_free(index, purpose, &answer);
        self.note_trouble(index, now);
        match purpose {
            Purpose::Discover => self.discovered(index, protocol, answer, now),
            Purpose::Look => self.looked(index, answer, now),
            Purpose::Clear => self.cleared(index, answer, now),
            Purpose::Map => self.mapped(index, answer, now),
            Purpose::Renew => self.renewed(index, protocol, answer, now),
            Purpose::Check => self.checked(index, protocol, answer, now),
            Purpose::Verify(id) => self.verified(index, id, answer, now),
            Purpose::Unmap(id) => self.unmapped(index, id, answer, now),
            Purpose::Entries => self.listed(index, answer, now),
        }
        self.note_trouble(index, now);
    }

    /// A friend's dial that failed while the router was silent failed because of the router.
    fn note_trouble(&mut self, index: usize, now: Tick) {
        let site = &mut self.sites[index];
        if site.trouble.is_some() {
            site.troubled_at = Some(now);
            site.suspect = None;
        }
    }

    /// What an attempt shows about ports that belonged to other computers.
    fn note_free(&mut self, index: usize, purpose: Purpose, answer: &Answer) {
        let site = &mut self.sites[index];
        let Some(attempt) = &site.attempt else { return };
        let (port, internal) = (attempt.port(), attempt.internal_port);
        let tried = attempt.ports.iter().take(attempt.index + 1).any(|tried| *tried == internal);
        match (purpose, answer) {
            (Purpose::Look, Answer::Entry(None)) => site.free(port),
            (Purpose::Map, Answer::Mapped(grant)) => {
                site.free(grant.external_port);
                if !tried {
                    // It was not tried this time, and the router may have begun a new table.
                    site.free(internal);
                }
            }
            _ => {}
        }
    }

    /// What PCP says of its room for mappings.
    fn note_room(&mut self, index: usize, answer: &Answer, now: Tick) {
        let since = &mut self.sites[index].no_room_since;
        match answer {
            Answer::Refused(refusal) if refusal.kind == RefusalKind::NoResources => {
                since.get_or_insert(now);
            }
            Answer::Refused(_) | Answer::Mapped(_) => *since = None,
            _ => {}
        }
    }

    /// A router that began a new table lost the mapping: it is asked for once more, and the answer tells whether what a friend
    /// proved is still so. What `remade` it with the same answer has nothing more to do.
    fn judge_epoch(&mut self, index: usize, protocol: Protocol, epoch: Epoch, remade: bool, now: Tick) {
        let key = self.sites[index].key;
        let track = &mut self.gateway(key, now).epochs[protocol as usize];
        if track.judge(protocol, epoch, now) == Table::Kept {
            return;
        }
        let others = self.sites.iter().enumerate();
        let shared = others
            .filter(|(other, site)| *other != index && site.key == key)
            .any(|(_, site)| site.held.is_some());
        if shared {
            self.gateway(key, now).want_look(None);
        }
        let site = &mut self.sites[index];
        let holder = site.holder();
        if let Some(held) = site.held.as_mut().filter(|held| held.protocol.is_some()) {
            if held.blocked || matches!(held.proof, Proof::Failed { .. }) {
                // A restart may have mended what kept friends out.
                held.proof = Proof::NotYet;
                held.blocked = false;
            }
            if holder == Some(Protocol::NatPmp) && remade {
                site.talker_mut(Protocol::NatPmp).discover_at = Some(now);
            }
            if !(remade && holder == Some(protocol)) {
                site.pending.get_or_insert(Pending { discover: false, regular: false });
            }
        }
    }

    /// Tells what differs from what was told last.
    pub(super) fn publish(&mut self, now: Tick) {
        let memories = self.memories();
        if memories != self.told_memories {
            self.commands.retain(|command| !matches!(command, Command::Remember(_)));
            self.commands.push_back(Command::Remember(memories.clone()));
            self.told_memories = memories;
        }
        let gist = self.gist(now);
        if gist == self.told_gist {
            return;
        }
        self.told_gist = gist;
        // Ends of leases are told as if the wall's clock had started with ours: so the same moment is always the same.
        let wall = SystemTime::UNIX_EPOCH.checked_add(now.since(Tick::START));
        let state = self.state_at(now, wall.unwrap_or(SystemTime::UNIX_EPOCH));
        if state != self.told_state {
            self.told_state = state;
            if !self.commands.contains(&Command::Changed) {
                self.commands.push_back(Command::Changed);
            }
        }
    }
}
