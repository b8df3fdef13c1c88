//! Who is at the hub: pure bookkeeping of its connections.
//!
//! A connection comes in by the porch and has a little time to say hello; then it has a seat, one for each computer. Where all seats are
//! taken, whoever comes from a network with fewer computers takes the place of one from the network that has most: no single network can
//! keep the others out. Who was not let in is a guest: guests have a few seats of those that nobody else needs, and take places from each
//! other alone.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use kith_hub::Network;
use kith_identity::DeviceId;
use tokio::time::Instant;

/// Connections that have not said hello. One more, and the one that has been there for longest goes.
pub(super) const MOST_ON_PORCH: usize = 4096;
/// The same of one computer.
const MOST_ON_PORCH_OF_ONE: usize = 4;
/// Longest time from the handshake to hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Longest stay of a computer that may neither register nor is known at another hub, so that it can show its token.
const ADMISSION_WITHIN: Duration = Duration::from_secs(30);

/// Numbers connections in the order in which they came.
pub(super) type Number = u64;

/// How many of all seats guests may have: one of so many...
const GUESTS: usize = 8;
/// ...within these bounds.
const LEAST_GUESTS: usize = 16;
const MOST_GUESTS: usize = 1024;
/// The other hubs are asked about one guest no more often than this. Longer than their answer may take: nothing is asked twice at once.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(5);

/// From where somebody comes: a network, and within one of IPv6 the part that a single customer may have, /64.
type Home = (Network, [u8; 2]);

fn home(ip: IpAddr) -> Home {
    let part = match ip.to_canonical() {
        IpAddr::V4(_) => [0; 2],
        IpAddr::V6(ip) => {
            let [_, _, _, _, _, _, g, h, ..] = ip.octets();
            [g, h]
        }
    };
    (Network::of(ip), part)
}

/// How many seats each network has, and each part of it.
#[derive(Debug, Default)]
struct Crowds {
    networks: HashMap<Network, usize>,
    homes: HashMap<Home, usize>,
    count: usize,
}

impl Crowds {
    fn add(&mut self, home: Home) {
        *self.networks.entry(home.0).or_default() += 1;
        *self.homes.entry(home).or_default() += 1;
        self.count += 1;
    }

    fn remove(&mut self, home: &Home) {
        less(&mut self.networks, &home.0);
        less(&mut self.homes, home);
        self.count -= 1;
    }

    /// From where one has to go for somebody from `mine`: of the network that has most, if it has at least two more than his; else of the
    /// part of his own network that has most, by the same rule.
    fn crowded(&self, mine: &Home) -> Option<Home> {
        let (network, count) = self.networks.iter().max_by_key(|(network, count)| (**count, **network))?;
        let own = self.networks.get(&mine.0).copied().unwrap_or_default();
        if *count > own + 1 {
            return self.biggest_in(network).map(|(home, _)| home);
        }
        let own = self.homes.get(mine).copied().unwrap_or_default();
        self.biggest_in(&mine.0).filter(|(_, count)| *count > own + 1).map(|(home, _)| home)
    }

    /// The biggest part of the biggest network.
    fn biggest(&self) -> Option<Home> {
        let (network, _) = self.networks.iter().max_by_key(|(network, count)| (**count, **network))?;
        self.biggest_in(network).map(|(home, _)| home)
    }

    fn biggest_in(&self, network: &Network) -> Option<(Home, usize)> {
        let homes = self.homes.iter().filter(|((other, _), _)| other == network);
        homes.max_by_key(|(home, count)| (**count, **home)).map(|(home, count)| (*home, *count))
    }
}

fn less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

/// A connection that has said hello.
#[derive(Debug)]
pub(super) struct Seat<L> {
    pub(super) number: Number,
    pub(super) link: L,
    home: Home,
    since: Instant,
    /// Whether all that the hub does is done for it. Else it may do no more than show its token, or use the relay as a guest.
    pub(super) admitted: bool,
    vouched: Vouched,
}

/// What is known of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouched {
    No,
    /// Other hubs were asked at this time, and have not said yes.
    Asked(Instant),
    /// One of them knows him, or somebody here for whom all is done awaits him.
    Yes,
}

/// What is to be done for a guest who wants to use the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// The other hubs are to be asked, and what they say is to be told.
    Ask,
    /// He may use it.
    Known,
    /// Nobody knows him; or there is no such seat.
    Unknown,
}

impl<L> Seat<L> {
    /// From which network it came.
    pub(super) const fn network(&self) -> Network {
        self.home.0
    }
}

#[derive(Debug)]
struct Porch<L> {
    who: DeviceId,
    link: L,
    since: Instant,
}

/// All connections. `L` is a handle to one.
#[derive(Debug)]
pub(super) struct Seats<L> {
    most: usize,
    next: Number,
    porch: BTreeMap<Number, Porch<L>>,
    seats: HashMap<DeviceId, Seat<L>>,
    /// Where those come from who were let in.
    computers: Crowds,
    /// Where the others come from.
    guests: Crowds,
}

/// What became of a hello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seated<L> {
    /// It has its seat; these connections are to be closed for it.
    Taken(Vec<(DeviceId, L)>),
    /// All seats are taken.
    Full,
    /// It is not on the porch (any more).
    Gone,
}

impl<L: Clone> Seats<L> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            next: 0,
            porch: BTreeMap::new(),
            seats: HashMap::new(),
            computers: Crowds::default(),
            guests: Crowds::default(),
        }
    }

    /// Another bound. Whoever has a seat keeps it.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// The number for a connection that comes in now.
    pub(super) fn number(&mut self) -> Number {
        self.next += 1;
        self.next
    }

    /// A connection comes in; returns those that must go for it.
    pub(super) fn enter(&mut self, number: Number, who: DeviceId, link: L, now: Instant) -> Vec<L> {
        self.porch.insert(number, Porch { who, link, since: now });
        let mut gone = Vec::new();
        if self.porch.values().filter(|porch| porch.who == who).count() > MOST_ON_PORCH_OF_ONE
            && let Some(oldest) =
                self.porch.iter().find(|(_, porch)| porch.who == who).map(|(number, _)| *number)
        {
            gone.extend(self.porch.remove(&oldest).map(|porch| porch.link));
        }
        if self.porch.len() > MOST_ON_PORCH {
            gone.extend(self.porch.pop_first().map(|(_, porch)| porch.link));
        }
        gone
    }

    /// A connection says hello.
    pub(super) fn sit(&mut self, number: Number, from: IpAddr, admitted: bool, now: Instant) -> Seated<L> {
        let Some(Porch { who, link, .. }) = self.porch.remove(&number) else { return Seated::Gone };
        let home = home(from);
        let mut gone = Vec::new();
        if let Some(older) = self.leave_seat(&who) {
            gone.push((who, older.link));
        } else if !self.has_room(admitted) {
            match self.crowded_out(&home, admitted) {
                Some(other) => gone.extend(self.leave_seat(&other).map(|seat| (other, seat.link))),
                None => return Seated::Full,
            }
        }
        self.crowds(admitted).add(home);
        self.seats.insert(who, Seat { number, link, home, since: now, admitted, vouched: Vouched::No });
        Seated::Taken(gone)
    }

    fn crowds(&mut self, admitted: bool) -> &mut Crowds {
        if admitted { &mut self.computers } else { &mut self.guests }
    }

    fn has_room(&self, admitted: bool) -> bool {
        let most_guests = (self.most / GUESTS).clamp(LEAST_GUESTS, MOST_GUESTS);
        self.seats.len() < self.most && (admitted || self.guests.count < most_guests)
    }

    /// Who makes room for somebody from there: a guest first, and for a guest nobody else; the one who came last from where most are.
    fn crowded_out(&self, mine: &Home, admitted: bool) -> Option<DeviceId> {
        let (from, of_guests) = match self.guests.biggest() {
            Some(biggest) if admitted => (biggest, true),
            None if admitted => (self.computers.crowded(mine)?, false),
            _ => (self.guests.crowded(mine)?, true),
        };
        let there = self.seats.iter().filter(|(_, seat)| seat.home == from && seat.admitted != of_guests);
        there.max_by_key(|(_, seat)| seat.number).map(|(who, _)| *who)
    }

    /// A connection is over. True if the computer has no seat any more.
    pub(super) fn leave(&mut self, number: Number, who: &DeviceId) -> bool {
        self.porch.remove(&number);
        let was_its = self.seats.get(who).is_some_and(|seat| seat.number == number);
        was_its && self.leave_seat(who).is_some()
    }

    fn leave_seat(&mut self, who: &DeviceId) -> Option<Seat<L>> {
        let seat = self.seats.remove(who)?;
        self.crowds(seat.admitted).remove(&seat.home);
        Some(seat)
    }

    /// From now on all is done for this computer.
    pub(super) fn admit(&mut self, who: &DeviceId) {
        self.set_admitted(who, true);
    }

    /// From now on nothing is done for this computer; it goes in the end.
    pub(super) fn bar(&mut self, who: &DeviceId) {
        self.set_admitted(who, false);
    }

    fn set_admitted(&mut self, who: &DeviceId, admitted: bool) {
        let Some(seat) = self.seats.get_mut(who).filter(|seat| seat.admitted != admitted) else { return };
        seat.admitted = admitted;
        let home = seat.home;
        self.crowds(!admitted).remove(&home);
        self.crowds(admitted).add(home);
    }

    /// Whether the relay may be used by a guest.
    pub(super) fn guest(&mut self, number: Number, who: &DeviceId, now: Instant) -> Guest {
        let Some(seat) = self.seats.get_mut(who).filter(|seat| seat.number == number) else {
            return Guest::Unknown;
        };
        match seat.vouched {
            Vouched::Yes => Guest::Known,
            Vouched::Asked(at) if now < at + BETWEEN_QUESTIONS => Guest::Unknown,
            Vouched::Asked(_) | Vouched::No => {
                seat.vouched = Vouched::Asked(now);
                Guest::Ask
            }
        }
    }

    /// Another hub knows this guest, or somebody here awaits him; false if he has gone.
    pub(super) fn vouch(&mut self, number: Number, who: &DeviceId) -> bool {
        let seat = self.seats.get_mut(who).filter(|seat| seat.number == number);
        seat.map(|seat| seat.vouched = Vouched::Yes).is_some()
    }

    /// The seat of a connection; none if the computer has another one by now.
    pub(super) fn seat(&self, number: Number, who: &DeviceId) -> Option<&Seat<L>> {
        self.seats.get(who).filter(|seat| seat.number == number)
    }

    /// The link of a computer for which all is done.
    pub(super) fn link(&self, who: &DeviceId) -> Option<&L> {
        self.seats.get(who).filter(|seat| seat.admitted).map(|seat| &seat.link)
    }

    /// Those for whom all is done.
    pub(super) fn admitted(&self) -> impl Iterator<Item = (&DeviceId, &L)> {
        self.seats.iter().filter(|(_, seat)| seat.admitted).map(|(who, seat)| (who, &seat.link))
    }

    /// Connections whose time is over.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<L> {
        let mut overdue = Vec::new();
        while let Some(oldest) = self.porch.first_entry() {
            if oldest.get().since + HELLO_WITHIN > now {
                break;
            }
            overdue.push(oldest.remove().link);
        }
        let guests =
            self.seats.values().filter(|seat| !seat.admitted && seat.since + ADMISSION_WITHIN <= now);
        overdue.extend(guests.map(|seat| seat.link.clone()));
        overdue
    }

    /// Everybody.
    pub(super) fn all(&self) -> impl Iterator<Item = &L> {
        self.porch.values().map(|porch| &porch.link).chain(self.seats.values().map(|seat| &seat.link))
    }

    /// How many have a seat, and how many are on the porch.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.seats.len(), self.porch.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn ip(network: u8, host: u8) -> IpAddr {
        [203, 0, network, host].into()
    }

    fn comes(
        seats: &mut Seats<Number>,
        computer: u8,
        from: IpAddr,
        now: Instant,
    ) -> (Number, Seated<Number>) {
        knocks(seats, who(computer), from, true, now)
    }

    fn knocks(
        seats: &mut Seats<Number>,
        who: DeviceId,
        from: IpAddr,
        admitted: bool,
        now: Instant,
    ) -> (Number, Seated<Number>) {
        let number = seats.number();
        assert_eq!(seats.enter(number, who, number, now), Vec::<Number>::new());
        (number, seats.sit(number, from, admitted, now))
    }

    /// One of many ids of a stranger.
    fn stranger(n: u32) -> DeviceId {
        let mut id = [200; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    /// An address in a /64 of his, of which he has 65,536 in his /48.
    fn of_stranger(n: u32) -> IpAddr {
        let [_, _, g, h] = n.to_be_bytes();
        [0x2001, 0xdb8, 5, u16::from_be_bytes([g, h]), 0, 0, 0, 1].into()
    }

    #[tokio::test]
    async fn who_was_not_let_in_takes_no_place_from_who_was() {
        let (mut seats, now) = (Seats::new(64), Instant::now());
        let house = |n: u8| ip(n / 2, n);
        for n in 0..60 {
            assert_eq!(comes(&mut seats, n, house(n), now).1, Seated::Taken(Vec::new()));
        }
        let everybody_is_there =
            |seats: &Seats<Number>| (0..60).all(|n| seats.link(&who(n)).is_some()) && seats.count().0 <= 64;
        // A stranger with a /48 and as many ids as he likes, again and again.
        for n in 0..10_000 {
            let (_, seated) = knocks(&mut seats, stranger(n), of_stranger(n), false, now);
            if let Seated::Taken(gone) = seated {
                assert!(gone.iter().all(|(other, _)| *other != who(0)));
            }
            assert!(everybody_is_there(&seats), "at the hello {n}");
        }
        assert_eq!(seats.guests.count, 4, "guests have what nobody else needs");
        // Who is let in needs their places, and gets them.
        for n in 60..64 {
            assert!(matches!(comes(&mut seats, n, house(n), now).1, Seated::Taken(gone) if gone.len() == 1));
        }
        assert_eq!((seats.guests.count, seats.count()), (0, (64, 0)));
        assert_eq!(knocks(&mut seats, stranger(1), of_stranger(1), false, now).1, Seated::Full);
        assert_eq!(knocks(&mut seats, stranger(1), ip(77, 1), false, now).1, Seated::Full);
    }

    #[tokio::test]
    async fn guests_have_few_seats_and_who_floods_takes_them_from_himself() {
        let (mut seats, now) = (Seats::new(1000), Instant::now());
        let (guest, _) = knocks(&mut seats, who(1), ip(1, 1), false, now);
        for n in 0..2000 {
            knocks(&mut seats, stranger(n), of_stranger(n), false, now);
        }
        assert_eq!(seats.count(), (125, 0));
        assert!(seats.seat(guest, &who(1)).is_some(), "who came before the flood stays");
        let (late, seated) = knocks(&mut seats, who(2), ip(2, 1), false, now);
        assert!(matches!(seated, Seated::Taken(gone) if gone.len() == 1), "who comes after it finds a place");
        assert!(seats.seat(late, &who(2)).is_some());
        // He shows his token.
        seats.admit(&who(2));
        assert_eq!((seats.guests.count, seats.computers.count), (124, 1));
        seats.bar(&who(2));
        seats.bar(&who(2));
        assert_eq!((seats.guests.count, seats.computers.count, seats.link(&who(2))), (125, 0, None));
    }

    #[tokio::test]
    async fn an_ipv6_prefix_is_one_network_and_its_parts_are_fair_to_each_other() {
        let (mut seats, now) = (Seats::new(8), Instant::now());
        comes(&mut seats, 1, ip(1, 1), now);
        for n in 0..100 {
            knocks(&mut seats, stranger(n), of_stranger(n), true, now);
        }
        assert!(seats.link(&who(1)).is_some());
        assert!(matches!(comes(&mut seats, 2, ip(2, 1), now).1, Seated::Taken(gone) if gone.len() == 1));
        // One of its parts has most; somebody in another one finds a place.
        let (mut seats, part) = (Seats::new(4), of_stranger(7));
        for n in 0..4 {
            comes(&mut seats, n, part, now);
        }
        assert!(
            matches!(comes(&mut seats, 9, of_stranger(8), now).1, Seated::Taken(gone) if gone == [(who(3), 4)])
        );
        assert_eq!(comes(&mut seats, 10, part, now).1, Seated::Full);
    }

    #[tokio::test]
    async fn other_hubs_are_asked_about_a_guest_once_in_a_while() {
        let (mut seats, now) = (Seats::new(10), Instant::now());
        let (number, _) = knocks(&mut seats, who(1), ip(1, 1), false, now);
        let asked = |seats: &mut Seats<Number>, at| {
            (0..100).filter(|_| seats.guest(number, &who(1), at) == Guest::Ask).count()
        };
        assert_eq!(asked(&mut seats, now), 1);
        assert_eq!(asked(&mut seats, now + BETWEEN_QUESTIONS - Duration::from_millis(1)), 0);
        assert_eq!(asked(&mut seats, now + BETWEEN_QUESTIONS), 1);
        assert!(!seats.vouch(number + 1, &who(1)), "not for another connection");
        assert_eq!(seats.guest(number + 1, &who(1), now), Guest::Unknown);
        assert!(seats.vouch(number, &who(1)));
        assert_eq!(seats.guest(number, &who(1), now), Guest::Known);
    }

    #[tokio::test]
    async fn a_computer_has_one_seat_and_the_newer_connection_gets_it() {
        let (mut seats, now) = (Seats::new(10), Instant::now());
        let (first, seated) = comes(&mut seats, 1, ip(1, 1), now);
        assert_eq!(seated, Seated::Taken(Vec::new()));
        let (second, seated) = comes(&mut seats, 1, ip(2, 1), now);
        assert_eq!(seated, Seated::Taken(vec![(who(1), first)]));
        assert_eq!((seats.link(&who(1)), seats.count()), (Some(&second), (1, 0)));
        assert!(!seats.leave(first, &who(1)), "the older one ends, and the computer stays");
        assert_eq!(seats.link(&who(1)), Some(&second));
        assert!(seats.leave(second, &who(1)));
        assert_eq!((seats.count(), seats.computers.count, seats.computers.homes.len()), ((0, 0), 0, 0));
    }

    #[tokio::test]
    async fn who_says_no_hello_is_no_computer_of_the_hub_and_goes_in_the_end() {
        let (mut seats, now) = (Seats::new(10), Instant::now());
        let (number, _) = comes(&mut seats, 1, ip(1, 1), now);
        let silent = seats.number();
        assert_eq!(seats.enter(silent, who(1), silent, now), Vec::<Number>::new());
        assert_eq!(seats.link(&who(1)), Some(&number), "a connection that only asks replaces nobody");
        assert_eq!(seats.overdue(now + HELLO_WITHIN - Duration::from_millis(1)), Vec::<Number>::new());
        assert_eq!(seats.overdue(now + HELLO_WITHIN), [silent]);
        assert_eq!(seats.sit(silent, ip(1, 1), true, now), Seated::Gone);
        assert_eq!(seats.count(), (1, 0));
    }

    #[tokio::test]
    async fn the_porch_is_bounded_in_all_and_for_each_and_the_oldest_goes() {
        let (mut seats, now) = (Seats::new(10), Instant::now());
        let mut gone = Vec::new();
        for _ in 0..10 {
            let number = seats.number();
            gone.extend(seats.enter(number, who(1), number, now));
        }
        assert_eq!((gone, seats.count()), ((1..=6).collect(), (0, MOST_ON_PORCH_OF_ONE)));
        for n in 0..2 * MOST_ON_PORCH {
            let mut id = [2; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let number = seats.number();
            seats.enter(number, DeviceId::from_bytes(id), number, now);
        }
        assert_eq!(seats.count(), (0, MOST_ON_PORCH));
    }

    #[tokio::test]
    async fn a_network_that_floods_takes_places_from_itself_alone() {
        let (mut seats, now) = (Seats::new(8), Instant::now());
        comes(&mut seats, 1, ip(1, 1), now);
        comes(&mut seats, 2, ip(2, 1), now);
        let mut last = 0;
        for n in 10..100 {
            let (number, seated) = comes(&mut seats, n, ip(9, n), now);
            match seated {
                Seated::Taken(gone) => {
                    assert!(gone.is_empty());
                    last = number;
                }
                refused => assert_eq!(refused, Seated::Full),
            }
        }
        assert_eq!(seats.count(), (8, 0));
        let (_, seated) = comes(&mut seats, 3, ip(3, 1), now);
        assert_eq!(seated, Seated::Taken(vec![(who(15), last)]), "who came last from there makes room");
        assert!([1, 2, 3].iter().all(|computer| seats.link(&who(*computer)).is_some()));
        for n in 4..=6 {
            assert!(matches!(comes(&mut seats, n, ip(n, 1), now).1, Seated::Taken(gone) if gone.len() == 1));
        }
        // Two are left of the flood, and nobody has fewer by two.
        assert_eq!(comes(&mut seats, 7, ip(1, 2), now).1, Seated::Full);
        assert_eq!(seats.count(), (8, 0));
    }

    #[tokio::test]
    async fn who_was_not_let_in_is_handed_nothing_and_does_not_stay() {
        let (mut seats, now) = (Seats::new(10), Instant::now());
        let number = seats.number();
        seats.enter(number, who(1), number, now);
        assert_eq!(seats.sit(number, ip(1, 1), false, now), Seated::Taken(Vec::new()));
        assert_eq!((seats.link(&who(1)), seats.admitted().count()), (None, 0));
        assert!(seats.vouch(number, &who(1)) && !seats.vouch(number + 1, &who(1)));
        assert_eq!(seats.link(&who(1)), None, "to be awaited is not to be let in");
        assert_eq!(seats.overdue(now + ADMISSION_WITHIN), [number]);
        seats.admit(&who(1));
        assert_eq!(seats.link(&who(1)), Some(&number));
        assert_eq!(seats.overdue(now + ADMISSION_WITHIN), Vec::<Number>::new());
    }
}
