//! When carriers are told what they keep for us, and which hubs are used. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kith_wire::{DeviceId, HubAddress, Moves, Registered};
use serde::{Deserialize, Serialize};

use super::standing::HubRole;

/// Changes within this time are told at once.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two registrations with the same carrier.
const BETWEEN: Duration = Duration::from_secs(1);
/// Before the second try, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A carrier that relayed nothing for us when it was told last is not asked again sooner whether it does.
const TERMS_LAST: Duration = Duration::from_secs(60);

/// Which carriers know what is to be known.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    version: u64,
    places: BTreeMap<DeviceId, Place>,
}

#[derive(Debug)]
struct Place {
    /// Which link it is with.
    serial: u64,
    /// Which version it knows.
    knows: Option<u64>,
    /// Which version it is being told.
    telling: Option<u64>,
    next: Instant,
    failures: u32,
    answer: Option<Registered>,
    /// When that was.
    answered: Instant,
    /// It is told once more what it knows, for its answer.
    again: bool,
}

impl Place {
    /// Whether it is to be told this version, which it may know.
    fn is_to_be_told(&self, version: u64) -> bool {
        self.telling.is_none() && (self.again || self.knows != Some(version))
    }
}

impl Registrar {
    /// These are connected, by links with these numbers. A new link is told all.
    pub(crate) fn handle_carriers(&mut self, carriers: &[(DeviceId, u64)], now: Instant) {
        self.places.retain(|id, place| carriers.contains(&(*id, place.serial)));
        for (id, serial) in carriers {
            self.places.entry(*id).or_insert(Place {
                serial: *serial,
                knows: None,
                telling: None,
                next: now,
                failures: 0,
                answer: None,
                answered: now,
                again: false,
            });
        }
    }

    /// Something that carriers keep for us has changed.
    pub(crate) fn handle_change(&mut self, now: Instant) {
        self.version += 1;
        for place in self.places.values_mut().filter(|place| place.failures == 0) {
            place.next = place.next.max(now + SETTLE);
        }
    }

    /// Whom to tell now, and what version that is.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(DeviceId, u64)> {
        let version = self.version;
        let mut due = Vec::new();
        for (id, place) in &mut self.places {
            if place.is_to_be_told(version) && place.next <= now {
                place.again = false;
                place.telling = Some(version);
                due.push((*id, place.serial));
            }
        }
        due
    }

    /// What a carrier answered over that link; none if it did not take it.
    pub(crate) fn handle_answer(
        &mut self,
        id: &DeviceId,
        serial: u64,
        answer: Option<Registered>,
        now: Instant,
    ) {
        let Some(place) = self.places.get_mut(id).filter(|place| place.serial == serial) else { return };
        let told = place.telling.take();
        match answer {
            Some(answer) => {
                place.knows = told;
                place.failures = 0;
                place.next = now + BETWEEN;
                (place.answer, place.answered) = (Some(answer), now);
            }
            None => {
                let pause = FIRST_PAUSE.saturating_mul(1 << place.failures.min(10)).min(LONGEST_PAUSE);
                place.failures = place.failures.saturating_add(1);
                place.next = now + pause;
            }
        }
    }

    /// What a carrier says unasked: which hubs are assigned, and where it moves. The terms of the last registration stand.
    pub(crate) fn handle_news(&mut self, id: &DeviceId, news: Registered) {
        if let Some(answer) = self.places.get_mut(id).and_then(|place| place.answer.as_mut()) {
            if !news.assigned.is_empty() {
                answer.assigned = news.assigned;
            }
            answer.moves = news.moves;
        }
    }

    /// A carrier refuses what its answer allows: it has another one by now, or has forgotten us.
    pub(crate) fn handle_refusal(&mut self, id: &DeviceId) {
        if let Some(place) = self.places.get_mut(id) {
            place.knows = None;
        }
    }

    /// A relay is needed. Who relayed nothing for us may do it by now: his owner has allowed it, or it is another day.
    pub(crate) fn handle_relay_wanted(&mut self, now: Instant) {
        for place in self.places.values_mut().filter(|place| place.telling.is_none()) {
            let terms = place.answer.as_ref().map(|answer| answer.relay);
            let relays = |terms: kith_wire::RelayTerms| terms.bytes_left != Some(0);
            if terms.is_some_and(|terms| !terms.is_some_and(relays)) && now >= place.answered + TERMS_LAST {
                place.again = true;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waits = |place: &&Place| place.is_to_be_told(self.version);
        self.places.values().filter(waits).map(|place| place.next).min()
    }

    /// What a carrier answered the last time.
    pub(crate) fn answer(&self, id: &DeviceId) -> Option<&Registered> {
        self.places.get(id)?.answer.as_ref()
    }

    /// Carriers that know all.
    pub(crate) fn knowing(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.places.iter().filter(|(_, place)| place.knows.is_some()).map(|(id, _)| *id)
    }
}

/// The primary may be away for so long before the alternate is dialled.
const PRIMARY_AWAY: Duration = Duration::from_secs(2);
/// Both may be away for so long before those are asked who assigned them.
const PAIR_AWAY: Duration = Duration::from_secs(20);
/// So long a hub must have been there before others are left for it: who comes and goes would be followed to and fro.
const STABLE: Duration = Duration::from_secs(60);
/// How long a friend's hub is kept after it was wanted.
const BORROWED_FOR: Duration = Duration::from_secs(10 * 60);
/// Most hubs of friends that are used at once.
const MOST_BORROWED: usize = 4;
/// Most hubs whose moving is remembered.
const MOST_MOVES: usize = 8;
/// The primary and the alternate.
const PAIR: usize = 2;
/// A hub that is away is looked for where it will be, so long ahead of its time: no two clocks are the same.
const EARLY: Duration = Duration::from_secs(10 * 60);
/// It is looked again after this time whether a hub moves, at the latest: the clock by which it does may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is remembered of hubs when the program ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubMemory {
    /// The primary and the alternate that were assigned.
    #[serde(default)]
    pub assigned: Vec<HubAddress>,
    /// Where hubs have said that they will be.
    #[serde(default)]
    pub moves: BTreeMap<DeviceId, Moves>,
}

/// Which hubs are used.
#[derive(Debug)]
pub(crate) struct Hubs {
    configured: Vec<HubAddress>,
    memory: HubMemory,
    /// Who is there, since when.
    up: BTreeMap<DeviceId, Instant>,
    /// Who is wanted and not there, since when.
    down: BTreeMap<DeviceId, Instant>,
    uses_alternate: bool,
    asks_again: bool,
    borrowed: BTreeMap<HubAddress, Instant>,
    /// Who relays a link at the moment.
    relaying: BTreeSet<DeviceId>,
    /// What [`Hubs::wanted`] said the last time.
    used: Vec<HubAddress>,
    /// When the next of those that are wanted moves.
    next_move: Option<Instant>,
}

impl Hubs {
    pub(crate) fn new(configured: Vec<HubAddress>, memory: HubMemory) -> Self {
        Self {
            configured,
            memory,
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            uses_alternate: false,
            asks_again: false,
            borrowed: BTreeMap::new(),
            relaying: BTreeSet::new(),
            used: Vec::new(),
            next_move: None,
        }
    }

    pub(crate) const fn memory(&self) -> &HubMemory {
        &self.memory
    }

    /// The person has chosen others.
    pub(crate) fn set_configured(&mut self, configured: Vec<HubAddress>) {
        if self.configured != configured {
            self.configured = configured;
            // Others may have assigned them.
            self.memory.assigned.clear();
            self.memory.moves.clear();
            self.uses_alternate = false;
        }
    }

    /// A hub answered a registration, or said something unasked. Only those that the person chose, and whom these have named, have a word in which are used. True if that is
    /// to be remembered.
    pub(crate) fn handle_answer(&mut self, from: &DeviceId, answer: &Registered, unix: u64) -> bool {
        let is_ours = self.configured.iter().chain(&self.memory.assigned).any(|hub| hub.id == *from);
        if !is_ours || self.configured.is_empty() {
            return false;
        }
        let before = self.memory.clone();
        if !answer.assigned.is_empty() {
            self.memory.assigned = answer.assigned.iter().take(PAIR).cloned().collect();
        }
        let HubMemory { assigned, moves } = &mut self.memory;
        moves.retain(|id, _| self.configured.iter().chain(&*assigned).any(|hub| hub.id == *id));
        match &answer.moves {
            Some(to) if moves.len() < MOST_MOVES || moves.contains_key(from) => {
                moves.insert(*from, to.clone());
            }
            // Who has moved says no more of it, and is still not where he was.
            None if moves.get(from).is_some_and(|moves| moves.at > unix) => {
                moves.remove(from);
            }
            _ => {}
        }
        before != self.memory
    }

    /// All that are used or stand by, with what for; the first word of a hub that comes twice counts.
    pub(crate) fn all(&self) -> impl Iterator<Item = (HubRole, HubAddress)> + '_ {
        let pair = [HubRole::Primary, HubRole::Alternate].into_iter().zip(self.pair());
        let chosen = self.configured.iter().take(PAIR).map(|hub| (HubRole::Registration, hub));
        // Those that are left over and still relay are here for the sake of a friend, too.
        let borrowed = self.borrowed.keys().chain(&self.used).map(|hub| (HubRole::Borrowed, hub));
        pair.chain(chosen).chain(borrowed).map(|(role, hub)| (role, hub.clone()))
    }

    /// One of a friend who is reached by no other way. If there are enough, the one that was wanted longest ago is left for it.
    pub(crate) fn borrow(&mut self, hub: HubAddress, now: Instant) {
        // The alternate is used only while the primary is away, or as somebody else's.
        let used = if self.uses_alternate { PAIR } else { 1 };
        if self.pair().iter().take(used).any(|own| *own == hub) {
            return;
        }
        if self.borrowed.len() >= MOST_BORROWED && !self.borrowed.contains_key(&hub) {
            let oldest = self
                .borrowed
                .iter()
                .filter(|(hub, _)| !self.relaying.contains(&hub.id))
                .min_by_key(|(_, until)| **until);
            let Some(oldest) = oldest.map(|(hub, _)| hub.clone()) else { return };
            self.borrowed.remove(&oldest);
        }
        self.borrowed.insert(hub, now + BORROWED_FOR);
    }

    /// Whether there is a link to a hub.
    pub(crate) fn is_up(&self, hub: &DeviceId) -> bool {
        self.up.contains_key(hub)
    }

    /// Links to friends go by these at the moment: they are kept for as long.
    pub(crate) fn handle_relaying(&mut self, relaying: BTreeSet<DeviceId>) {
        self.relaying = relaying;
    }

    /// Who has a link now.
    pub(crate) fn handle_links(&mut self, linked: &[DeviceId], now: Instant) {
        self.up.retain(|id, _| linked.contains(id));
        for id in linked {
            self.up.entry(*id).or_insert(now);
            self.down.remove(id);
        }
    }

    /// The primary and the alternate.
    fn pair(&self) -> &[HubAddress] {
        let pair = if self.memory.assigned.is_empty() || self.configured.is_empty() {
            &self.configured
        } else {
            &self.memory.assigned
        };
        &pair[..pair.len().min(PAIR)]
    }

    /// The hubs to have links to, with all addresses of each.
    pub(crate) fn wanted(&mut self, now: Instant, unix: u64) -> Vec<HubAddress> {
        self.borrowed.retain(|_, until| now < *until);
        let pair = self.pair().to_vec();
        self.look_for(pair.first(), now);
        let stable = |up: &BTreeMap<DeviceId, Instant>, hub: &HubAddress| {
            up.get(&hub.id).is_some_and(|since| now - *since >= STABLE)
        };
        if let Some(primary) = pair.first() {
            self.uses_alternate = if self.uses_alternate {
                !stable(&self.up, primary)
            } else {
                self.has_been_away(primary, PRIMARY_AWAY, now)
            };
        }
        if self.uses_alternate {
            self.look_for(pair.get(1), now);
        }
        // Who is not wanted is not away.
        let looked_for = if self.uses_alternate { &pair[..] } else { &pair[..pair.len().min(1)] };
        self.down.retain(|id, _| looked_for.iter().any(|hub| hub.id == *id));
        let all_away = !pair.is_empty() && pair.iter().all(|hub| self.has_been_away(hub, PAIR_AWAY, now));
        self.asks_again =
            if self.asks_again { !pair.iter().any(|hub| stable(&self.up, hub)) } else { all_away };
        let mut wanted: Vec<HubAddress> = pair.first().cloned().into_iter().collect();
        if self.uses_alternate {
            wanted.extend(pair.get(1).cloned());
        }
        if self.asks_again {
            wanted.extend(self.configured.iter().take(PAIR).cloned());
        }
        wanted.extend(self.borrowed.keys().cloned());
        // A link that goes by one that is not wanted any more would be cut when he has forgotten us.
        let serves = |hub: &&HubAddress| self.relaying.contains(&hub.id) && self.up.contains_key(&hub.id);
        wanted.extend(self.used.iter().filter(serves).cloned());
        let mut all: Vec<HubAddress> = Vec::new();
        self.next_move = None;
        for hub in wanted {
            let until = |moves: &Moves| Duration::from_secs(moves.at.saturating_sub(unix));
            let moves = self.memory.moves.get(&hub.id);
            let is_away = self.has_been_away(&hub, Duration::ZERO, now);
            let moved = moves.filter(|moves| until(moves) <= if is_away { EARLY } else { Duration::ZERO });
            if let (Some(moves), None) = (moves, moved) {
                // Nobody waits for years, and no clock has to bear it.
                let at = now + until(moves).min(LONGEST_WAIT);
                self.next_move = Some(self.next_move.map_or(at, |next| next.min(at)));
            }
            let new = moved.into_iter().flat_map(|moves| &moves.to);
            let new = new.map(|at| HubAddress { id: hub.id, at: at.clone() });
            for hub in new.chain([hub.clone()]) {
                if !all.contains(&hub) {
                    all.push(hub);
                }
            }
        }
        self.used.clone_from(&all);
        all
    }

    fn look_for(&mut self, hub: Option<&HubAddress>, now: Instant) {
        if let Some(hub) = hub.filter(|hub| !self.up.contains_key(&hub.id)) {
            self.down.entry(hub.id).or_insert(now);
        }
    }

    fn has_been_away(&self, hub: &HubAddress, time: Duration, now: Instant) -> bool {
        self.down.get(&hub.id).is_some_and(|since| now - *since >= time)
    }

    /// When [`Hubs::wanted`] may have another answer.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let pair = self.pair();
        let of_borrowed = self.borrowed.values().min().copied();
        let Some(primary) = pair.first() else { return of_borrowed };
        let down = |hub: &HubAddress, time| self.down.get(&hub.id).map(|since| *since + time);
        let up = |hub: &HubAddress| self.up.get(&hub.id).map(|since| *since + STABLE);
        let of_primary = if self.uses_alternate { up(primary) } else { down(primary, PRIMARY_AWAY) };
        let of_pair = if self.asks_again {
            pair.iter().filter_map(up).min()
        } else {
            // When the last of them has been away for so long.
            let all: Option<Vec<Instant>> = pair.iter().map(|hub| down(hub, PAIR_AWAY)).collect();
            all.and_then(|all| all.into_iter().max())
        };
        [of_primary, of_pair, of_borrowed, self.next_move].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::RelayTerms;

    use super::*;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn hub(byte: u8) -> HubAddress {
        HubAddress { id: device(byte), at: format!("11.0.0.{byte}:4287") }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_carrier_is_told_with_each_new_link_and_after_each_change() {
        let now = Instant::now();
        let mut registrar = Registrar::default();
        registrar.handle_carriers(&[(device(1), 7)], now);
        assert_eq!(registrar.due(now), [(device(1), 7)]);
        assert_eq!(registrar.due(now), [], "it is being told");
        registrar.handle_answer(&device(1), 7, Some(Registered::default()), now);
        assert_eq!(registrar.poll_timeout(), None);
        assert_eq!(registrar.knowing().collect::<Vec<_>>(), [device(1)]);
        registrar.handle_change(now);
        registrar.handle_change(now);
        assert_eq!(registrar.poll_timeout(), Some(now + BETWEEN));
        assert_eq!(registrar.due(now + BETWEEN), [(device(1), 7)]);
        // A change while it is told is told once more.
        registrar.handle_change(now + BETWEEN);
        registrar.handle_answer(&device(1), 7, Some(Registered::default()), now + BETWEEN);
        assert_eq!(registrar.due(now + BETWEEN * 2), [(device(1), 7)]);
        registrar.handle_carriers(&[(device(1), 8), (device(2), 9)], now + BETWEEN * 2);
        assert_eq!(registrar.due(now + BETWEEN * 2), [(device(1), 8), (device(2), 9)]);
        registrar.handle_answer(&device(1), 7, Some(Registered::default()), now + BETWEEN * 2);
        assert_eq!(registrar.knowing().count(), 0, "an answer over the old link says nothing of the new one");
        registrar.handle_carriers(&[], now);
        assert_eq!(registrar.poll_timeout(), None);
    }

    #[test]
    fn a_carrier_that_refuses_a_search_is_told_all_again_for_its_word() {
        let now = Instant::now();
        let mut registrar = Registrar::default();
        registrar.handle_carriers(&[(device(1), 7), (device(2), 8)], now);
        registrar.due(now);
        for (id, serial) in [(1, 7), (2, 8)] {
            registrar.handle_answer(&device(id), serial, Some(Registered::default()), now);
        }
        assert_eq!(registrar.poll_timeout(), None);
        registrar.handle_refusal(&device(1));
        assert_eq!(
            registrar.knowing().collect::<Vec<_>>(),
            [device(2)],
            "it is not searched there meanwhile"
        );
        assert_eq!(registrar.poll_timeout(), Some(now + BETWEEN));
        assert_eq!(registrar.due(now + BETWEEN), [(device(1), 7)]);
        let answer = Registered { prefix_digits: 2, ..Registered::default() };
        registrar.handle_answer(&device(1), 7, Some(answer), now + BETWEEN);
        assert_eq!(registrar.answer(&device(1)).map(|answer| answer.prefix_digits), Some(2));
        assert_eq!(registrar.knowing().count(), 2);
    }

    #[test]
    fn who_relayed_nothing_is_asked_again_when_a_relay_is_needed_and_not_all_the_time() {
        let now = Instant::now();
        let mut registrar = Registrar::default();
        let with = |bytes_left| {
            let terms = RelayTerms { bytes_per_second: None, bytes_left };
            Registered { relay: Some(terms), ..Registered::default() }
        };
        let answers = [Registered::default(), with(Some(0)), with(Some(1)), with(None)];
        let carriers = [1, 2, 3, 4].map(|id| (device(id), 7));
        registrar.handle_carriers(&carriers, now);
        assert_eq!(registrar.due(now), carriers);
        for ((id, serial), answer) in carriers.iter().zip(answers) {
            registrar.handle_answer(id, *serial, Some(answer), now);
        }
        registrar.handle_relay_wanted(now + TERMS_LAST - secs(1));
        assert_eq!(registrar.poll_timeout(), None, "it was asked just now");
        let later = now + TERMS_LAST;
        registrar.handle_relay_wanted(later);
        assert_eq!(registrar.knowing().count(), 4, "they know all the same");
        assert_eq!(registrar.due(later), carriers[..2]);
        registrar.handle_relay_wanted(later);
        assert_eq!(registrar.due(later), [], "they are being asked");
        // One of them allows it by now.
        registrar.handle_answer(&device(1), 7, Some(with(None)), later);
        registrar.handle_answer(&device(2), 7, Some(with(Some(0))), later);
        registrar.handle_relay_wanted(later + TERMS_LAST);
        assert_eq!(registrar.due(later + TERMS_LAST), [(device(2), 7)]);
    }

    #[test]
    fn a_carrier_that_does_not_take_it_is_asked_again_with_growing_pauses() {
        let mut now = Instant::now();
        let mut registrar = Registrar::default();
        registrar.handle_carriers(&[(device(1), 7)], now);
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                assert_eq!(registrar.due(now).len(), 1);
                registrar.handle_answer(&device(1), 7, None, now);
                // News don't make it faster.
                registrar.handle_change(now);
                let next = registrar.poll_timeout().unwrap();
                let pause = (next - now).as_secs();
                now = next;
                pause
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn the_alternate_is_dialled_two_seconds_after_the_primary_is_lost_and_left_when_it_is_stable() {
        let now = Instant::now();
        let mut hubs = Hubs::new(vec![hub(1), hub(2)], HubMemory::default());
        let at = |hubs: &mut Hubs, s| hubs.wanted(now + secs(s), 0);
        assert_eq!(at(&mut hubs, 0), [hub(1)]);
        hubs.handle_links(&[device(1)], now);
        assert_eq!(at(&mut hubs, 100), [hub(1)]);
        hubs.handle_links(&[], now + secs(100));
        assert_eq!(at(&mut hubs, 100), [hub(1)]);
        assert_eq!(hubs.poll_timeout(), Some(now + secs(102)));
        assert_eq!(at(&mut hubs, 101), [hub(1)]);
        assert_eq!(at(&mut hubs, 102), [hub(1), hub(2)]);
        hubs.handle_links(&[device(2)], now + secs(103));
        // It comes back, and goes, and comes: the alternate stays all the time.
        hubs.handle_links(&[device(1), device(2)], now + secs(110));
        assert_eq!(at(&mut hubs, 140), [hub(1), hub(2)]);
        hubs.handle_links(&[device(2)], now + secs(141));
        assert_eq!(at(&mut hubs, 150), [hub(1), hub(2)]);
        hubs.handle_links(&[device(1), device(2)], now + secs(150));
        assert_eq!(at(&mut hubs, 209), [hub(1), hub(2)]);
        assert_eq!(hubs.poll_timeout(), Some(now + secs(210)));
        assert_eq!(at(&mut hubs, 210), [hub(1)]);
    }

    #[test]
    fn what_is_assigned_takes_the_place_of_what_was_chosen_and_is_remembered() {
        let now = Instant::now();
        let mut hubs = Hubs::new(vec![hub(1), hub(2)], HubMemory::default());
        let answer = Registered { assigned: vec![hub(3), hub(4)], ..Registered::default() };
        assert!(!hubs.handle_answer(&device(9), &answer, 0), "nobody asked this one");
        assert!(hubs.handle_answer(&device(1), &answer, 0));
        assert!(!hubs.handle_answer(&device(1), &answer, 0));
        assert_eq!(hubs.wanted(now, 0), [hub(3)]);
        assert_eq!(hubs.wanted(now + PRIMARY_AWAY, 0), [hub(3), hub(4)]);
        assert_eq!(hubs.wanted(now + secs(3), 0), [hub(3), hub(4)]);
        assert_eq!(hubs.poll_timeout(), Some(now + PRIMARY_AWAY + PAIR_AWAY));
        // Those that were assigned are gone: the registration pair knows others.
        assert_eq!(hubs.wanted(now + secs(22), 0), [hub(3), hub(4), hub(1), hub(2)]);
        assert_eq!(hubs.poll_timeout(), None);
        let again = Registered { assigned: vec![hub(5)], ..Registered::default() };
        assert!(hubs.handle_answer(&device(2), &again, 0));
        let mut restarted = Hubs::new(vec![hub(1), hub(2)], hubs.memory().clone());
        assert_eq!(restarted.wanted(now, 0), [hub(5)]);
        restarted.set_configured(vec![hub(6)]);
        assert_eq!(restarted.wanted(now, 0), [hub(6)]);
        restarted.set_configured(Vec::new());
        assert_eq!(restarted.wanted(now, 0), []);
        assert!(!restarted.handle_answer(&device(6), &answer, 0), "no hub is wanted");
    }

    #[test]
    fn a_hub_that_moves_is_found_at_its_new_address_from_then_on() {
        let now = Instant::now();
        let mut hubs = Hubs::new(vec![hub(1)], HubMemory::default());
        let moves = Moves { at: 1000, to: vec!["11.0.0.77:443".into()] };
        assert!(hubs.handle_answer(
            &device(1),
            &Registered { moves: Some(moves), ..Registered::default() },
            0
        ));
        hubs.handle_links(&[device(1)], now);
        assert_eq!(hubs.wanted(now, 999), [hub(1)]);
        let there = HubAddress { id: device(1), at: "11.0.0.77:443".into() };
        assert_eq!(hubs.wanted(now, 1000), [there.clone(), hub(1)]);

        // It is waited for; and a hub that is gone already is looked for there.
        hubs.handle_links(&[device(1)], now);
        assert_eq!(hubs.wanted(now, 400 - 1), [hub(1)]);
        assert_eq!(hubs.poll_timeout(), Some(now + LONGEST_WAIT));
        assert_eq!(hubs.wanted(now, 990), [hub(1)]);
        assert_eq!(hubs.poll_timeout(), Some(now + secs(10)));
        hubs.handle_links(&[], now);
        assert_eq!(hubs.wanted(now, 400), [there.clone(), hub(1)]);
        assert_eq!(hubs.wanted(now, 400 - 1), [hub(1)]);
        hubs.handle_links(&[device(1)], now);

        // There it says no more of it. Before it is time, that means that it stays where it is.
        assert!(!hubs.handle_answer(&device(1), &Registered::default(), 1000));
        assert_eq!(hubs.wanted(now, 1001), [there, hub(1)]);
        assert!(hubs.handle_answer(&device(1), &Registered::default(), 999));
        assert_eq!(hubs.wanted(now, 1001), [hub(1)]);
    }

    #[test]
    fn hubs_of_friends_are_used_for_a_while_and_not_too_many() {
        let now = Instant::now();
        let mut hubs = Hubs::new(Vec::new(), HubMemory::default());
        for byte in 1..=9 {
            hubs.borrow(hub(byte), now);
        }
        assert_eq!(hubs.wanted(now, 0).len(), MOST_BORROWED);
        hubs.borrow(hub(1), now + secs(60));
        let answer = Registered { assigned: vec![hub(8)], ..Registered::default() };
        assert!(!hubs.handle_answer(&device(1), &answer, 0), "a friend's hub does not choose ours");
        assert_eq!(hubs.wanted(now + BORROWED_FOR, 0), [hub(1)]);
        assert_eq!(hubs.wanted(now + BORROWED_FOR + secs(60), 0), []);
    }

    #[test]
    fn the_hub_of_a_friend_always_gets_a_place_and_not_that_of_one_who_relays() {
        let now = Instant::now();
        let mut hubs = Hubs::new(vec![hub(9)], HubMemory::default());
        for byte in 1..=4 {
            hubs.borrow(hub(byte), now + secs(byte.into()));
        }
        hubs.borrow(hub(9), now + secs(5));
        assert_eq!(hubs.wanted(now, 0), [hub(9), hub(1), hub(2), hub(3), hub(4)], "ours takes no place");
        let mut others = Hubs::new(vec![hub(1), hub(2)], HubMemory::default());
        others.borrow(hub(2), now);
        assert_eq!(others.wanted(now, 0), [hub(1), hub(2)], "our alternate is a friend's first");
        hubs.handle_links(&[device(1)], now);
        hubs.handle_relaying([device(1)].into());
        hubs.borrow(hub(5), now + secs(5));
        assert_eq!(hubs.wanted(now, 0), [hub(9), hub(1), hub(3), hub(4), hub(5)]);
        // Whoever relays stays for as long as he does.
        assert_eq!(hubs.wanted(now + BORROWED_FOR + secs(10), 0)[..2], [hub(9), hub(1)]);
        hubs.handle_relaying(BTreeSet::new());
        assert!(!hubs.wanted(now + BORROWED_FOR + secs(10), 0).contains(&hub(1)));
    }

    #[test]
    fn the_alternate_is_not_left_while_it_relays() {
        let now = Instant::now();
        let mut hubs = Hubs::new(vec![hub(1), hub(2)], HubMemory::default());
        hubs.wanted(now, 0);
        assert_eq!(hubs.wanted(now + PRIMARY_AWAY, 0), [hub(1), hub(2)]);
        hubs.handle_links(&[device(1), device(2)], now + secs(3));
        hubs.handle_relaying([device(2)].into());
        assert_eq!(hubs.wanted(now + secs(3) + STABLE, 0), [hub(1), hub(2)]);
        hubs.handle_relaying(BTreeSet::new());
        assert_eq!(hubs.wanted(now + secs(4) + STABLE, 0), [hub(1)]);
    }

    #[test]
    fn news_of_a_hub_leave_the_terms_of_the_registration_as_they_were() {
        let now = Instant::now();
        let mut registrar = Registrar::default();
        registrar.handle_carriers(&[(device(1), 7)], now);
        registrar.due(now);
        let relay = Some(RelayTerms { bytes_per_second: None, bytes_left: Some(9) });
        let told = Registered { prefix_digits: 3, relay, assigned: vec![hub(1)], moves: None };
        registrar.handle_answer(&device(1), 7, Some(told.clone()), now);
        let moves = Some(Moves { at: 1000, to: vec!["11.0.0.77:443".into()] });
        registrar.handle_news(&device(1), Registered { moves: moves.clone(), ..Registered::default() });
        assert_eq!(registrar.answer(&device(1)), Some(&Registered { moves, ..told }));
    }

    #[test]
    fn it_can_be_told_which_hubs_are_used_and_what_for() {
        let mut hubs = Hubs::new(vec![hub(1), hub(2), hub(9)], HubMemory::default());
        let roles = |hubs: &Hubs| -> Vec<(HubRole, HubAddress)> { hubs.all().collect() };
        let chosen = [(HubRole::Registration, hub(1)), (HubRole::Registration, hub(2))];
        let pair = [(HubRole::Primary, hub(1)), (HubRole::Alternate, hub(2))];
        assert_eq!(roles(&hubs), [pair.as_slice(), &chosen].concat());
        let answer = Registered { assigned: vec![hub(3), hub(4)], ..Registered::default() };
        hubs.handle_answer(&device(1), &answer, 0);
        hubs.borrow(hub(5), Instant::now());
        let pair = [(HubRole::Primary, hub(3)), (HubRole::Alternate, hub(4))];
        assert_eq!(roles(&hubs), [&pair, chosen.as_slice(), &[(HubRole::Borrowed, hub(5))]].concat());
    }
}
