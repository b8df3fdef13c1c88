//! The one task: all that happens comes to it, and it begins all that is to be done.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kith_identity::{DAY, Identity, PairKey, PairTag, TagUse};
use kith_network::News;
use kith_wire::{Class, DeviceId, Found, HubAddress, Registered};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info};

use super::asking::AskError;
use super::calling::{Friend, Happened, random_tag};
use super::finding::BETWEEN_DOUBTS;
use super::inviting::Inviting;
use super::meeting::{Helper, ListenSeen};
use super::{Awaited, Message, Shared};
use crate::carriers::CarrierKind;
use crate::outbound::Outbound;
use crate::peers::{Peers, WeakPeers};
use crate::reach::carriers::{Hubs, Registrar};
use crate::reach::core::{Carrier, Pair};
use crate::reach::host::{ReachHost, ReachMemory};
use crate::reach::records::{self, Own, Searches};
use crate::reach::standing::{self, HubStanding};
use crate::way::Way;

/// Questions to carriers that are under way at once; searches and registrations wait, messages are given up.
pub(super) const MOST_ASKED: usize = 256;
/// What calls have to tell.
const MOST_HAPPENED: usize = 64;
/// Clock, friends and addresses are looked at at least so often.
const LOOK: Duration = Duration::from_secs(60);

/// What a carrier answered.
pub(super) enum Asked {
    Registered { carrier: DeviceId, serial: u64, answer: Result<Registered, String> },
    Found { tags: BTreeMap<PairTag, DeviceId>, carrier: DeviceId, found: Result<Found, AskError> },
    Posted { friend: DeviceId, call: u64, carrier: DeviceId, is_handed_over: bool },
}

pub(super) struct Actor {
    pub(super) us: DeviceId,
    pub(super) identity: Arc<Identity>,
    pub(super) host: Arc<dyn ReachHost>,
    pub(super) outbound: Outbound,
    pub(super) peers: WeakPeers,
    pub(super) shared: Weak<Shared>,
    pub(super) memory: ReachMemory,
    pub(super) pairs: Vec<(DeviceId, PairKey)>,
    pub(super) inviting: Inviting,
    /// Carriers of which refused records were told, and when.
    pub(super) doubted: BTreeMap<DeviceId, Instant>,
    pub(super) friends: BTreeMap<DeviceId, Friend>,
    pub(super) own: Own,
    /// Our record, signed.
    pub(super) signed: Option<Vec<u8>>,
    pub(super) registrar: Registrar,
    pub(super) searches: Searches,
    pub(super) hubs: Hubs,
    pub(super) used_hubs: Vec<HubAddress>,
    /// Why hubs did not take a registration the last time.
    pub(super) refusals: BTreeMap<DeviceId, String>,
    /// How hubs stood when that was told the last time.
    told_hubs: Vec<HubStanding>,
    pub(super) listen_seen: Arc<ListenSeen>,
    pub(super) asked: JoinSet<Asked>,
    pub(super) happening: mpsc::Sender<(DeviceId, u64, Happened)>,
    happened: Option<mpsc::Receiver<(DeviceId, u64, Happened)>>,
    /// Links of carriers, by their beginning; a new one has another number.
    links: BTreeMap<DeviceId, (SystemTime, u64)>,
    last_link: u64,
    day: u64,
    looked: Instant,
}

impl Actor {
    pub(super) fn new(
        (host, memory): (Arc<dyn ReachHost>, ReachMemory),
        (identity, outbound): (Arc<Identity>, Outbound),
        peers: &Peers,
        shared: Weak<Shared>,
    ) -> Self {
        let (happening, happened) = mpsc::channel(MOST_HAPPENED);
        Self {
            us: identity.device_id(),
            hubs: Hubs::new(hubs(&*host), memory.hubs.clone()),
            identity,
            host,
            outbound,
            peers: peers.downgrade(),
            shared,
            memory,
            pairs: Vec::new(),
            inviting: Inviting::default(),
            doubted: BTreeMap::new(),
            friends: BTreeMap::new(),
            own: Own::default(),
            signed: None,
            registrar: Registrar::default(),
            searches: Searches::default(),
            used_hubs: Vec::new(),
            refusals: BTreeMap::new(),
            told_hubs: Vec::new(),
            listen_seen: Arc::default(),
            asked: JoinSet::new(),
            happening,
            happened: Some(happened),
            links: BTreeMap::new(),
            last_link: 0,
            day: 0,
            looked: Instant::now(),
        }
    }

    /// Until the last handle is dropped.
    pub(super) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        (changed, afresh): (Arc<Notify>, Arc<Notify>),
        (mut carriers, mut news): (watch::Receiver<u64>, watch::Receiver<News>),
    ) {
        let Some(mut happened) = self.happened.take() else { return };
        self.look_around();
        self.take_carriers();
        loop {
            self.go_on();
            let timer = self.poll_timeout().unwrap_or_else(|| Instant::now() + LOOK);
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                Some((friend, call, happened)) = happened.recv() => self.take_happened(friend, call, happened),
                Some(Ok(asked)) = self.asked.join_next() => self.take_answer(asked),
                Ok(()) = carriers.changed() => self.take_carriers(),
                Ok(()) = news.changed() => {
                    self.searches.handle_network_change();
                    self.friends.values_mut().for_each(|friend| friend.is_stale = true);
                    self.look_around();
                }
                () = changed.notified() => self.look_around(),
                () = afresh.notified() => self.begin_afresh(),
                () = tokio::time::sleep_until(timer.into()) => {}
            }
        }
    }

    /// Whatever its time has come for.
    fn go_on(&mut self) {
        let (now, unix) = (Instant::now(), unix());
        // Tags change with the day, a record is renewed in the middle of its life, and not every change is told.
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.look_around();
        }
        self.tell_carriers(now, unix);
        self.search(now, unix);
        self.use_hubs(now, unix);
        let due: Vec<DeviceId> = self
            .friends
            .iter()
            .filter(|(_, friend)| friend.pair.poll_timeout().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.with_friend(id, |friend| friend.pair.handle_timeout(now));
        }
        self.tell_of_hubs(unix);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let look = Some(self.looked + LOOK);
        let calls = self.friends.values().filter_map(|friend| friend.pair.poll_timeout()).min();
        let asks = self.asked.len() < MOST_ASKED;
        let registrar = self.registrar.poll_timeout().filter(|_| asks);
        let searches =
            self.searches.poll_timeout().filter(|_| asks && self.registrar.knowing().next().is_some());
        [look, calls, registrar, searches, self.hubs.poll_timeout()].into_iter().flatten().min()
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Call { friend, worst, answer } => self.call(friend, worst, answer),
            Message::Posted { carrier, from: Awaited::Friend(friend), post, handed_by } => {
                self.hear((carrier, handed_by), friend, &post);
            }
            Message::Posted { carrier, from: Awaited::Invited(one_time), post, handed_by } => {
                self.hear_knock(carrier, handed_by.is_some(), one_time, &post);
            }
            Message::Registered { hub, news } => self.take_news_of_hub(hub, news),
            Message::Borrow(hub) => self.hubs.borrow(hub, Instant::now()),
            Message::Hubs { friend, hubs } => {
                self.memory.friends.entry(friend).or_default().hubs = hubs;
                self.host.remember(self.memory.clone());
            }
        }
    }

    fn take_answer(&mut self, asked: Asked) {
        match asked {
            Asked::Registered { carrier, serial, answer } => self.take_registered(carrier, serial, answer),
            Asked::Found { tags, carrier, found } => self.take_found(&tags, carrier, found),
            Asked::Posted { friend, call, carrier, is_handed_over } => {
                if !is_handed_over {
                    let input = crate::reach::core::Input::Undelivered { via: carrier };
                    self.tell_call(friend, call, input);
                }
            }
        }
    }

    /// Friends, addresses, settings or the day may have changed.
    fn look_around(&mut self) {
        let (now, unix) = (Instant::now(), unix());
        self.looked = now;
        let mut pairs = self.host.pairs();
        pairs.sort_by_key(|(id, _)| *id);
        let same = |(ours, other): (&(DeviceId, PairKey), &(DeviceId, PairKey))| {
            ours.0 == other.0 && ours.1.as_bytes() == other.1.as_bytes()
        };
        let is_same = pairs.len() == self.pairs.len() && self.pairs.iter().zip(&pairs).all(same);
        let is_new_day = unix / DAY != self.day;
        let has_other_invites = self.inviting.set_open(self.host.open_invites());
        if !is_same || is_new_day || has_other_invites {
            self.day = unix / DAY;
            self.take_pairs(pairs, unix);
            self.registrar.handle_change(now);
        }
        let whereabouts = self.host.whereabouts();
        if let Some(record) = self.own.due(&whereabouts, self.memory.sequence, unix_ms()) {
            self.memory.sequence = record.sequence;
            match record.sign(&self.identity) {
                Ok(signed) => self.signed = Some(signed),
                Err(error) => tracing::error!(%error, "this computer's address record can't be made"),
            }
            self.registrar.handle_change(now);
            self.host.remember(self.memory.clone());
        }
        self.hubs.set_configured(hubs(&*self.host));
    }

    fn take_pairs(&mut self, pairs: Vec<(DeviceId, PairKey)>, unix: u64) {
        let gone = |id: &DeviceId| pairs.iter().all(|(known, _)| known != id);
        self.friends.retain(|id, _| !gone(id));
        self.memory.friends.retain(|id, _| !gone(id));
        let of_friends = pairs.iter().map(|(id, pair)| (pair, Awaited::Friend(*id)));
        let awaited = of_friends.chain(self.inviting.awaited());
        let tags: BTreeMap<PairTag, Awaited> = awaited
            .flat_map(|(pair, from)| pair.tags(TagUse::Post, &self.us, unix).map(|tag| (tag, from)))
            .collect();
        if let Some(shared) = self.shared.upgrade() {
            shared.set_tags(tags);
        }
        for (id, _) in &pairs {
            if !self.friends.contains_key(id) {
                self.friends.insert(*id, Friend::new(Pair::new(&self.us, id)));
                self.use_record(id);
            }
        }
        self.pairs = pairs;
    }

    pub(super) fn pair_key(&self, friend: &DeviceId) -> Option<&PairKey> {
        self.pairs.iter().find(|(id, _)| id == friend).map(|(_, pair)| pair)
    }

    /// A hub says what is different from now on.
    fn take_news_of_hub(&mut self, hub: DeviceId, news: Registered) {
        if news.check().is_ok() {
            self.take_hubs_word(&hub, &news);
            self.registrar.handle_news(&hub, news);
            self.tell_calls_of_carriers();
        }
    }

    /// A person wants everything anew: every carrier is told all again as soon as there is a link to it, and friends who have none are searched
    /// again, whenever they were searched last.
    fn begin_afresh(&mut self) {
        self.links.clear();
        self.registrar.handle_carriers(&[], Instant::now());
        self.searches.handle_network_change();
        self.take_carriers();
        self.look_around();
    }

    /// Tells how hubs stand, if that has changed.
    fn tell_of_hubs(&mut self, unix: u64) {
        let known = standing::Known {
            wanted: self.used_hubs.iter().map(|hub| hub.id).collect(),
            linked: self.links.keys().copied().collect(),
            registered: self.registrar.knowing().collect(),
        };
        let moves = &self.hubs.memory().moves;
        let hubs = standing::standings(self.hubs.all(), moves, &known, &self.refusals, unix);
        if hubs == self.told_hubs {
            return;
        }
        self.refusals.retain(|id, _| hubs.iter().any(|hub| hub.id == *id));
        self.told_hubs.clone_from(&hubs);
        self.host.hubs_changed(hubs);
    }

    /// Links came and went.
    fn take_carriers(&mut self) {
        let Some(peers) = self.peers.upgrade() else { return };
        let now = Instant::now();
        let carriers = peers.carriers();
        self.links.retain(|id, _| carriers.iter().any(|carrier| carrier.id == *id));
        self.doubted.retain(|_, at| now.saturating_duration_since(*at) < BETWEEN_DOUBTS);
        for carrier in &carriers {
            let since = carrier.connection.since;
            if self.links.get(&carrier.id).is_none_or(|(known, _)| *known != since) {
                self.last_link += 1;
                self.links.insert(carrier.id, (since, self.last_link));
                if carrier.connection.class >= Class::Relayed {
                    self.searches.handle_relayed(&carrier.id);
                }
            }
        }
        let links: Vec<(DeviceId, u64)> = self.links.iter().map(|(id, (_, serial))| (*id, *serial)).collect();
        self.registrar.handle_carriers(&links, now);
        let hubs = carriers.iter().filter(|carrier| carrier.kind == CarrierKind::Hub);
        self.hubs.handle_links(&hubs.map(|carrier| carrier.id).collect::<Vec<_>>(), now);
        let relayed = |id: &DeviceId| match Self::link_of(&peers, id)?.2 {
            Way::Relayed { by } => Some(by),
            _ => None,
        };
        self.hubs.handle_relaying(self.friends.keys().filter_map(relayed).collect());
        self.searches
            .retain(|id| Self::link_of(&peers, id).is_none_or(|(class, ..)| class >= Class::Relayed));
        let busy: Vec<DeviceId> =
            self.friends.iter().filter(|(_, friend)| friend.pair.is_busy()).map(|(id, _)| *id).collect();
        for id in busy {
            self.look_at_link(&peers, id);
            let carriers = self.carriers_to(&peers, &id);
            self.with_friend(id, |friend| {
                friend.pair.handle(crate::reach::core::Input::Carriers(carriers), now)
            });
        }
    }

    /// Who may carry to a friend: everybody but himself; the surest first, and of those who are alike none always before the others.
    pub(super) fn carriers_to(&self, peers: &Peers, friend: &DeviceId) -> Vec<Carrier> {
        let all: Vec<_> = peers.carriers().into_iter().filter(|carrier| carrier.id != *friend).collect();
        let mut carriers: Vec<Carrier> = all.iter().map(|carrier| self.carrier(carrier)).collect();
        carriers.sort_by_cached_key(|carrier| (!carrier.is_sure, random_tag()));
        // What somebody inside our network sees is not what others see.
        let is_inside =
            |id: &DeviceId| all.iter().any(|carrier| carrier.id == *id && carrier.connection.way == Way::Lan);
        if carriers.iter().any(|carrier| carrier.observes && !is_inside(&carrier.id)) {
            let inside = carriers.iter_mut().filter(|carrier| is_inside(&carrier.id));
            inside.for_each(|carrier| carrier.observes = false);
        }
        carriers
    }

    /// What one can do. He passes on what he is sent from wherever he is; to dial him is another thing.
    fn carrier(&self, carrier: &crate::carriers::Carrier) -> Carrier {
        let terms = self.registrar.answer(&carrier.id).and_then(|answer| answer.relay);
        // Where he was met by punching he lets in nobody else, and who is relayed is somewhere else.
        let (lets_in, shows_us) = match carrier.connection.way {
            Way::Punched | Way::Relayed { .. } => (false, false),
            Way::Proxied => (true, false),
            Way::Lan | Way::Public | Way::Mapped => (true, true),
        };
        let has_address = carrier.address.is_some();
        Carrier {
            id: carrier.id,
            relays: has_address && lets_in && terms.is_some(),
            observes: has_address && shows_us,
            is_sure: carrier.connection.dialled.is_some(),
            is_spent: terms.is_some_and(|terms| terms.bytes_left == Some(0)),
        }
    }

    /// A carrier as a call needs it, if it has an address.
    pub(super) fn helper(peers: &Peers, id: &DeviceId) -> Option<Helper> {
        let carrier = peers.carriers().into_iter().find(|carrier| carrier.id == *id)?;
        let (address, told) = (carrier.address?, carrier.told);
        Some(Helper { id: *id, kind: carrier.kind, link: carrier.link, address, told })
    }

    fn use_hubs(&mut self, now: Instant, unix: u64) {
        let chosen = hubs(&*self.host);
        let wanted = worth_dialling(self.hubs.wanted(now, unix), &chosen);
        if wanted == self.used_hubs {
            return;
        }
        let Some(peers) = self.peers.upgrade() else { return };
        for hub in wanted.iter().filter(|hub| !self.used_hubs.contains(hub)) {
            info!(hub = %hub.id.short(), address = %hub.at, "a hub is used");
        }
        for hub in self.used_hubs.iter().filter(|hub| !wanted.contains(hub)) {
            debug!(hub = %hub.id.short(), address = %hub.at, "a hub is not used any more");
        }
        peers.set_hubs(&wanted, |hub| chosen.contains(hub));
        self.used_hubs = wanted;
    }

    /// The class of the link to a friend, and since when; none without one.
    pub(super) fn link_of(peers: &Peers, friend: &DeviceId) -> Option<(Class, SystemTime, Way)> {
        let connection = peers.state(friend)?.connection?;
        Some((connection.class, connection.since, connection.way))
    }
}

/// Friends and hubs that name hubs have no say in what is dialled on this very computer, unless the hub that the person chose is there
/// as well.
fn worth_dialling(mut wanted: Vec<HubAddress>, chosen: &[HubAddress]) -> Vec<HubAddress> {
    let is_at_loopback = |hub: &HubAddress| {
        hub.at.parse::<std::net::SocketAddr>().is_ok_and(|at| at.ip().to_canonical().is_loopback())
    };
    let beside_us = chosen.iter().any(is_at_loopback);
    wanted.retain(|hub| beside_us || chosen.contains(hub) || records::may_be_dialled(&hub.at));
    wanted
}

fn hubs(host: &dyn ReachHost) -> Vec<HubAddress> {
    host.hubs().into_iter().map(|chosen| chosen.hub).collect()
}

pub(super) fn unix() -> u64 {
    unix_ms() / 1000
}

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_others_name_is_not_on_this_computer() {
        let hub = |at: &str| HubAddress { id: DeviceId::from_bytes([7; 32]), at: at.to_owned() };
        let named =
            ["127.0.0.1:6379", "[::1]:22", "127.1:22", "localhost.:22", "11.0.0.1:443", "hub.example:443"];
        let wanted: Vec<HubAddress> = named.iter().map(|at| hub(at)).collect();
        let used = |chosen: &[HubAddress]| worth_dialling(wanted.clone(), chosen);
        assert_eq!(used(&[]), [hub("11.0.0.1:443"), hub("hub.example:443")]);
        assert_eq!(used(&[hub("127.1:22")]).len(), 3, "the person may choose what he likes");
        assert_eq!(used(&[hub("127.0.0.1:4287")]), wanted, "hubs on this computer may name each other");
    }
}
