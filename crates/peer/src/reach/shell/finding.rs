//! Records: ours told to carriers, friends' searched there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kith_identity::{PairKey, PairTag};
use kith_wire::{DeviceId, Found, HubAddress, HubAdmission, Registered, Search};
use tracing::{debug, info, warn};

use super::actor::{Actor, Asked, MOST_ASKED};
use super::asking::{self, AskError};
use crate::carriers::{Carrier, CarrierKind};
use crate::reach::records;

/// Most hubs of one friend that are used for his sake: his primary and his alternate.
const MOST_HUBS_OF_ONE: usize = 2;

/// Between two times that refused records of one carrier are told of.
pub(super) const BETWEEN_DOUBTS: Duration = Duration::from_secs(10 * 60);

impl Actor {
    fn linked_carrier(&self, id: &DeviceId) -> Option<Carrier> {
        self.peers.upgrade()?.carriers().into_iter().find(|carrier| carrier.id == *id)
    }

    pub(super) fn tell_carriers(&mut self, now: Instant, unix: u64) {
        if self.asked.len() >= MOST_ASKED {
            return;
        }
        for (carrier, serial) in self.registrar.due(now) {
            // He is a friend himself: what he carries for us is meant for the others.
            let friends: Vec<(DeviceId, PairKey)> =
                self.pairs.iter().filter(|(id, _)| *id != carrier).cloned().collect();
            let known = self.linked_carrier(&carrier);
            // Invites name hubs, and no friends.
            let is_hub = known.as_ref().is_some_and(|known| known.kind == CarrierKind::Hub);
            let invites = if is_hub { self.inviting.keys(unix) } else { Vec::new() };
            let registration =
                records::registration(&self.us, &friends, &invites, self.signed.as_deref(), unix);
            let chosen = self.host.hubs().into_iter().find(|chosen| chosen.hub.id == carrier);
            let token = chosen.and_then(|chosen| chosen.token);
            let link = known.map(|known| known.link);
            self.asked.spawn(async move {
                let registering = async {
                    let link = link.ok_or_else(|| "the link is over".to_owned())?;
                    if let Some(token) = token {
                        let admission = HubAdmission { token: token.reveal() };
                        let admitted = asking::be_admitted(&link, &admission).await;
                        admitted
                            .inspect_err(|error| warn!(%error, hub = %carrier.short(), "a hub does not let this computer in"))
                            .map_err(|error| format!("it does not let this computer in: {}", error.reason()))?;
                    }
                    let registered = asking::register(&link, &registration).await;
                    registered
                        .inspect_err(|error| debug!(%error, carrier = %carrier.short(), "not registered"))
                        .map_err(|error| error.reason())
                };
                let answer = registering.await;
                Asked::Registered { carrier, serial, answer }
            });
        }
    }

    pub(super) fn take_registered(
        &mut self,
        carrier: DeviceId,
        serial: u64,
        answer: Result<Registered, String>,
    ) {
        match &answer {
            Ok(answer) => {
                debug!(carrier = %carrier.short(), relays = answer.relay.is_some(), "registered");
                self.refusals.remove(&carrier);
                self.take_hubs_word(&carrier, answer);
            }
            // Of others it is nothing to be told.
            Err(why) if self.used_hubs.iter().any(|hub| hub.id == carrier) => {
                self.refusals.insert(carrier, why.clone());
            }
            Err(_) => {}
        }
        let is_there = answer.is_ok();
        self.registrar.handle_answer(&carrier, serial, answer.ok(), Instant::now());
        self.tell_calls_of_carriers();
        if is_there {
            self.call_those_at(&carrier);
        }
    }

    /// Friends without a link who are to be found at this hub are called now, instead of after the pause.
    fn call_those_at(&self, hub: &DeviceId) {
        let Some(peers) = self.peers.upgrade() else { return };
        for (friend, known) in &self.memory.friends {
            let hubs = known.record.iter().flat_map(|seen| &seen.record.hubs);
            let is_there = |line: &String| line.parse().is_ok_and(|known: HubAddress| known.id == *hub);
            if hubs.clone().any(is_there) && Self::link_of(&peers, friend).is_none() {
                peers.dial_now(friend);
            }
        }
    }

    /// Which hubs are used from now on, and where they will be.
    pub(super) fn take_hubs_word(&mut self, hub: &DeviceId, word: &Registered) {
        let is_move = self.memory.hubs.moves.get(hub) != word.moves.as_ref();
        if !self.hubs.handle_answer(hub, word, super::actor::unix()) {
            return;
        }
        if let Some(moves) = word.moves.as_ref().filter(|_| is_move) {
            info!(hub = %hub.short(), to = ?moves.to, at = moves.at, "a hub moves to another address");
        }
        self.memory.hubs = self.hubs.memory().clone();
        self.host.remember(self.memory.clone());
    }

    /// Asks all carriers for the records of those to whom no address led.
    pub(super) fn search(&mut self, now: Instant, unix: u64) {
        let knowing: Vec<DeviceId> = self.registrar.knowing().collect();
        if !self.searches.is_due(now) || knowing.is_empty() || self.asked.len() >= MOST_ASKED {
            return;
        }
        let due = self.searches.due(now);
        let friends: Vec<(DeviceId, PairKey)> =
            self.pairs.iter().filter(|(id, _)| due.contains(id)).cloned().collect();
        let tags = records::sought(&friends, unix);
        if tags.is_empty() {
            return;
        }
        for carrier in knowing {
            let digits = self.registrar.answer(&carrier).map_or(0, |answer| answer.prefix_digits);
            let Some(Carrier { kind, link, .. }) = self.linked_carrier(&carrier) else { continue };
            let search = Search { prefixes: records::prefixes(&tags, kind, digits) };
            let tags = tags.clone();
            self.asked.spawn(async move {
                let found = asking::search(&link, &search)
                    .await
                    .inspect_err(|error| debug!(%error, carrier = %carrier.short(), "a search failed"));
                Asked::Found { tags, carrier, found }
            });
        }
    }

    pub(super) fn take_found(
        &mut self,
        tags: &BTreeMap<PairTag, DeviceId>,
        carrier: DeviceId,
        found: Result<Found, AskError>,
    ) {
        let found = match found {
            Ok(found) => found,
            Err(AskError::Refused(_)) => {
                // It says with the next registration how it is searched by now.
                self.registrar.handle_refusal(&carrier);
                for friend in tags.values() {
                    self.searches.want(*friend);
                }
                return;
            }
            Err(_) => return,
        };
        let unix = super::actor::unix();
        let now = Instant::now();
        let is_warned = self.doubted.get(&carrier).is_some_and(|at| now - *at < BETWEEN_DOUBTS);
        let (mut news, mut is_refused) = (Vec::new(), false);
        for (friend, sealed) in records::candidates(tags, &found.records) {
            let Some(pair) = self.pair_key(&friend) else { continue };
            let seen = self.memory.friends.get(&friend).and_then(|known| known.record.as_ref());
            match records::judge(pair, &friend, sealed, seen, unix) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    let sequence = record.record.sequence;
                    info!(friend = %friend.short(), carrier = %carrier.short(), sequence, "a friend's addresses were found");
                    self.memory.friends.entry(friend).or_default().record = Some(record);
                    self.use_record(&friend);
                    news.push(friend);
                }
                // Whoever finds forged ones with a carrier finds them again with the next search.
                Err(error) if is_warned => {
                    debug!(%error, friend = %friend.short(), carrier = %carrier.short(), "an address record was refused");
                }
                Err(error) => {
                    is_refused = true;
                    warn!(%error, friend = %friend.short(), carrier = %carrier.short(), "an address record was refused");
                }
            }
        }
        if is_refused {
            self.doubted.insert(carrier, now);
        }
        if news.is_empty() {
            return;
        }
        self.host.remember(self.memory.clone());
        // Whoever has hubs and no addresses is called by one of them as soon as it is there.
        for friend in news {
            let is_alone = self.peers.upgrade().is_some_and(|peers| Self::link_of(&peers, &friend).is_none());
            if is_alone {
                self.borrow_hubs(&friend);
            }
        }
    }

    /// What is known of a friend by his record is dialled.
    pub(super) fn use_record(&self, friend: &DeviceId) {
        let record = self.memory.friends.get(friend).and_then(|known| known.record.as_ref());
        if let (Some(seen), Some(peers)) = (record, self.peers.upgrade()) {
            peers.set_record(friend, records::book(&seen.record));
        }
    }

    /// A friend was reached by none of our carriers: perhaps one of his hubs knows him.
    pub(super) fn borrow_hubs(&mut self, friend: &DeviceId) {
        let Some(known) = self.memory.friends.get(friend) else { return };
        let record = known.record.as_ref().map(|seen| &seen.record);
        let record = record.filter(|record| record.expires > super::actor::unix());
        // Until he could say where he is, he is where he was met.
        let hubs: Vec<HubAddress> = match record {
            Some(record) => record.hubs.iter().filter_map(|hub| hub.parse().ok()).collect(),
            None => known.hubs.clone(),
        };
        for hub in hubs.into_iter().filter(|hub| hub.id != self.us).take(MOST_HUBS_OF_ONE) {
            // One that is there did not find him either: it is kept no longer for his sake.
            if !self.hubs.is_up(&hub.id) {
                self.hubs.borrow(hub, Instant::now());
            }
        }
    }
}
