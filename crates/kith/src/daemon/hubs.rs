//! The hubs that this computer uses, as people are told of them; and what they say of us.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use kith_control::Event;
use kith_control::terminal::safe;
use kith_control::view::{HubMoveView, HubRole, HubState, HubView};
use kith_identity::DeviceId;
use kith_peer::PeerState;
use kith_peer::reach::{self, FriendMemory, HubStanding};
use kith_wire::{HubAddress, Moves};

use super::core::{Core, lock};
use crate::settings::{HostPort, Network};

/// So long a move that needs nothing is still told of.
const TOLD_AFTER_MOVE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Hubs whose word is taken on from where this computer is seen: the primary and the alternate.
const MOST_WITNESSES: usize = 2;

/// From where hubs see this computer. Each has one word for each family of addresses, so that one that lies adds two addresses at most, and takes none
/// away.
#[derive(Debug, Default)]
pub(super) struct SeenByHubs(BTreeMap<(DeviceId, bool), IpAddr>);

impl SeenByHubs {
    /// A hub says from where it sees us; true if that is news.
    pub(super) fn note(&mut self, hub: DeviceId, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if kith_peer::is_internal(ip) || ip.is_unspecified() || ip.is_multicast() {
            return false;
        }
        let key = (hub, ip.is_ipv6());
        let mut hubs: Vec<&DeviceId> = self.0.keys().map(|(hub, _)| hub).collect();
        hubs.dedup();
        if !hubs.contains(&&hub) && hubs.len() >= MOST_WITNESSES {
            return false;
        }
        self.0.insert(key, ip) != Some(ip)
    }

    /// Forgets what others said than these; true if there was any.
    pub(super) fn retain(&mut self, hubs: &[DeviceId]) -> bool {
        let before = self.0.len();
        self.0.retain(|(hub, _), _| hubs.contains(hub));
        self.0.len() != before
    }

    /// Each address once.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.0.values().copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

impl Core {
    /// This is how hubs stand now.
    pub(super) fn take_hubs(&self, hubs: Vec<HubStanding>) {
        let ours: Vec<DeviceId> = hubs.iter().filter(|hub| is_ours(hub)).map(|hub| hub.id).collect();
        let forgotten = lock(&self.seen_by_hubs).retain(&ours);
        *lock(&self.hubs) = hubs;
        self.tell(Event::Status);
        if forgotten {
            self.report_to_all();
        }
    }

    /// A hub says from where it sees us. A friend's hub has no say.
    pub(super) fn note_seen_by_hub(&self, hub: &DeviceId, seen_as: IpAddr) {
        let is_ours = lock(&self.hubs).iter().any(|known| known.id == *hub && is_ours(known));
        if is_ours && lock(&self.seen_by_hubs).note(*hub, seen_as) {
            self.tell(Event::Status);
            self.report_to_all();
        }
    }

    /// The hubs that are used, for the API.
    pub(super) fn hub_views(&self) -> Vec<HubView> {
        let standings = lock(&self.hubs).clone();
        let links: BTreeMap<DeviceId, PeerState> =
            self.peers().map(kith_peer::Peers::hubs).unwrap_or_default().into_iter().collect();
        let loaded = self.loaded();
        let network = &loaded.settings().network;
        let now = Timestamp::now();
        let view = |standing: &HubStanding| {
            let friends = self.friends_of_hub(&standing.id);
            view(standing, links.get(&standing.id), friends, network, now)
        };
        standings.iter().map(view).collect()
    }

    /// The friends whose records name a hub.
    fn friends_of_hub(&self, hub: &DeviceId) -> Vec<String> {
        let memory = self.reach_memory.borrow().clone();
        let names = memory.friends.iter().filter_map(|(friend, known)| {
            let is_his = named_by(known).any(|line| line.id == *hub);
            is_his.then(|| self.roster.get(friend))?.map(|friend| friend.name)
        });
        names.collect()
    }

    /// How people call a carrier: a friend by his name, a hub by its host.
    pub(super) fn carrier_name(&self, id: &DeviceId) -> String {
        if let Some(friend) = self.roster.get(id) {
            return friend.name;
        }
        let used = lock(&self.hubs).iter().find(|hub| hub.id == *id).and_then(|hub| hub.at.first().cloned());
        let chosen = || {
            let loaded = self.loaded();
            let hubs = &loaded.settings().network.hubs;
            hubs.iter().find(|hub| hub.device_id() == *id).map(|hub| hub.address().to_string())
        };
        // A connection outlives the hub's being used.
        let recorded = || {
            let memory = self.reach_memory.borrow();
            let mut lines = memory.friends.values().flat_map(named_by);
            lines.find(|line| line.id == *id).map(|line| line.at)
        };
        used.or_else(chosen).or_else(recorded).map_or_else(|| id.short(), |address| host(&address))
    }
}

/// The hubs of a friend, as he says or as his invite said.
fn named_by(known: &FriendMemory) -> impl Iterator<Item = HubAddress> + '_ {
    let said = known.record.iter().flat_map(|seen| &seen.record.hubs).filter_map(|line| line.parse().ok());
    said.chain(known.hubs.iter().cloned())
}

/// Whether the person chose it, or whom he chose assigned it.
fn is_ours(hub: &HubStanding) -> bool {
    hub.role != reach::HubRole::Borrowed
}

/// `hub.example` of `hub.example:4287`.
fn host(address: &str) -> String {
    let host = address.parse::<HostPort>().map(|address| address.host().to_owned());
    safe(&host.unwrap_or_else(|_| address.to_owned())).into_owned()
}

fn view(
    standing: &HubStanding,
    link: Option<&PeerState>,
    friends: Vec<String>,
    network: &Network,
    now: Timestamp,
) -> HubView {
    let connection = link.and_then(|link| link.connection.as_ref()).filter(|_| standing.is_linked);
    let (state, why) = match (&standing.refusal, standing.is_wanted) {
        (_, false) => (HubState::StandingBy, None),
        (Some(refusal), true) => (HubState::Refused, Some(refusal.clone())),
        (None, true) if standing.is_registered => (HubState::Registered, None),
        (None, true) => (HubState::Connecting, link.and_then(|link| link.last_error.clone())),
    };
    HubView {
        device_id: standing.id,
        name: standing.at.first().map_or_else(|| standing.id.short(), |address| host(address)),
        addresses: standing.at.iter().map(|address| safe(address).into_owned()).collect(),
        role: match standing.role {
            reach::HubRole::Primary => HubRole::Primary,
            reach::HubRole::Alternate => HubRole::Alternate,
            reach::HubRole::Registration => HubRole::Registration,
            reach::HubRole::Borrowed => HubRole::Borrowed,
        },
        friends: if standing.role == reach::HubRole::Borrowed { friends } else { Vec::new() },
        state,
        why: why.map(|why| safe(&why).into_owned()),
        connected_since: connection.and_then(|connection| connection.since.try_into().ok()),
        round_trip_ms: connection
            .and(link)
            .and_then(|link| link.round_trip)
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        moves: standing.moves.as_ref().and_then(|moves| moving(standing, moves, network, now)),
    }
}

/// What is told of a move: nothing when it is over and nothing is left to do.
fn moving(standing: &HubStanding, moves: &Moves, network: &Network, now: Timestamp) -> Option<HubMoveView> {
    let at = Timestamp::from_second(i64::try_from(moves.at).ok()?).ok()?;
    let named = network.hubs.iter().find(|hub| hub.device_id() == standing.id);
    let is_named_there = named
        .is_some_and(|hub| moves.to.iter().any(|to| to.eq_ignore_ascii_case(&hub.address().to_string())));
    let forbidden = moves.to.iter().all(|to| !to.parse::<HostPort>().is_ok_and(|to| network.may_go_to(&to)));
    let next_step = if forbidden {
        let to = moves.to.first()?;
        Some(format!(
            "allow {to} in network.allowed-destinations, and in the firewall here if there is one (`kith ports --firewall`)"
        ))
    } else if named.is_some() && !is_named_there {
        Some("write the new address into network.hubs, and let it through the firewall here if there is one (`kith ports --firewall`)".to_owned())
    } else {
        None
    };
    let done = at <= now;
    let is_news = !done || next_step.is_some() || now.duration_since(at) < TOLD_AFTER_MOVE;
    is_news.then(|| HubMoveView {
        at,
        to: moves.to.iter().map(|to| safe(to).into_owned()).collect(),
        done,
        next_step: next_step.map(|step| safe(&step).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn standing() -> HubStanding {
        HubStanding {
            id: device(1),
            at: vec!["hub.example:4287".into()],
            role: reach::HubRole::Primary,
            is_wanted: true,
            is_linked: false,
            is_registered: false,
            refusal: None,
            moves: None,
        }
    }

    fn network(settings: &str) -> Network {
        toml::from_str(settings).unwrap()
    }

    fn seen(standing: &HubStanding, link: Option<&PeerState>) -> (HubState, Option<String>) {
        let view = view(standing, link, vec!["bert".into()], &Network::default(), Timestamp::UNIX_EPOCH);
        assert_eq!((view.name.as_str(), view.friends.len()), ("hub.example", 0));
        (view.state, view.why)
    }

    #[test]
    fn a_hub_stands_as_what_is_wanted_of_it_and_what_it_says() {
        let away = PeerState { last_error: Some("no answer".into()), ..PeerState::default() };
        assert_eq!(seen(&standing(), Some(&away)), (HubState::Connecting, Some("no answer".into())));
        let registered = HubStanding { is_linked: true, is_registered: true, ..standing() };
        assert_eq!(seen(&registered, None), (HubState::Registered, None));
        // It took it once, and does not take it any more.
        let refusing = HubStanding { refusal: Some("you are barred \u{1b}[2J".into()), ..registered };
        let (state, why) = seen(&refusing, None);
        assert_eq!(state, HubState::Refused);
        assert!(why.unwrap().starts_with("you are barred "));
        let idle = HubStanding { is_wanted: false, role: reach::HubRole::Alternate, ..standing() };
        assert_eq!(seen(&idle, Some(&away)), (HubState::StandingBy, None));
    }

    #[test]
    fn a_move_is_told_with_what_the_settings_need_and_not_for_ever() {
        let (at, day) = (1_780_000_000_u64, 86_400_i64);
        let moves = Moves { at, to: vec!["new.example:443".into()] };
        let told = |settings: &str, days: i64| {
            let now = Timestamp::from_second(at.cast_signed() + days * day).unwrap();
            moving(&standing(), &moves, &network(settings), now)
                .map(|moves| (moves.done, moves.next_step.unwrap_or_default()))
        };
        let id = device(1);
        // One that was assigned: nothing is to be done.
        assert_eq!(told("", -1), Some((false, String::new())));
        assert_eq!(told("", 1), Some((true, String::new())));
        assert_eq!(told("", 8), None);
        let old = format!("hubs = [\"kith://{id}@hub.example:4287\"]");
        let (done, step) = told(&old, 100).unwrap();
        assert!(done && step.contains("network.hubs") && step.contains("kith ports --firewall"), "{step}");
        let new = format!("hubs = [\"kith://{id}@new.example:443\"]");
        assert_eq!(told(&new, -1), Some((false, String::new())));
        assert_eq!(told(&new, 100), None);
        let (_, step) = told("allowed-destinations = [\"hub.example:*\"]", -1).unwrap();
        assert!(step.contains("allow new.example:443 in network.allowed-destinations"), "{step}");
        assert_eq!(told("allowed-destinations = [\"*:443\"]", -1), Some((false, String::new())));
    }

    #[test]
    fn a_hub_that_lies_about_our_address_adds_two_and_takes_none_away() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut seen = SeenByHubs::default();
        assert!(seen.note(device(1), ip("11.0.0.1")));
        assert!(!seen.note(device(1), ip("11.0.0.1")), "no news");
        for byte in 1..=250 {
            assert!(seen.note(device(2), IpAddr::from([12, 0, 0, byte])));
            assert!(seen.note(device(2), ip(&format!("2001:db8::{byte:x}"))));
        }
        assert_eq!(seen.addresses(), [ip("11.0.0.1"), ip("12.0.0.250"), ip("2001:db8::fa")]);
        assert!(!seen.note(device(3), ip("13.0.0.1")), "two are enough");
        for inside in ["192.168.1.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "fe80::1"] {
            assert!(!seen.note(device(1), ip(inside)), "{inside}");
        }
        assert!(seen.retain(&[device(1)]) && !seen.retain(&[device(1)]));
        assert_eq!(seen.addresses(), [ip("11.0.0.1")]);
    }

    #[test]
    fn a_hub_is_called_by_its_host() {
        for (address, called) in [
            ("hub.example:4287", "hub.example"),
            ("11.0.0.1:443", "11.0.0.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
        ] {
            assert_eq!(host(address), called);
        }
    }
}
