use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_KNOWN, MAX_KNOWN_WAITING, STALE_KNOWN};

const MILLISECOND: Duration = Duration::from_millis(1);

fn network(n: u16) -> Source {
    let [high, low] = n.to_be_bytes();
    Source::Network(Prefix::V4([10, high, low]))
}

fn familiar(n: u8) -> Source {
    Source::Familiar(Address::V4([11, 0, 0, n]))
}

const fn id(n: u64) -> ConnectionId {
    ConnectionId(n)
}

/// Numbers callers, and takes note of who goes.
struct Play {
    places: Places,
    now: Instant,
    last: u64,
    closed: Vec<ConnectionId>,
}

impl Play {
    fn new() -> Self {
        Self { places: Places::default(), now: Instant::now(), last: 0, closed: Vec::new() }
    }

    fn note(&mut self, orders: Vec<Order>) -> Vec<ConnectionId> {
        let mut begun = Vec::new();
        for order in orders {
            match order {
                Order::Begin(id) => begun.push(id),
                Order::Close(id) => self.closed.push(id),
            }
        }
        begun
    }

    /// One more caller; whether he gets a place at once.
    fn call(&mut self, source: Source) -> bool {
        self.last += 1;
        let (id, now) = (id(self.last), self.now);
        let orders = self.places.ask(id, source, now);
        self.note(orders).contains(&id)
    }

    /// Time passes; those who get a place meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<ConnectionId> {
        let end = self.now + time;
        let mut begun = Vec::new();
        while let Some(at) = self.places.poll_timeout(self.now).filter(|at| *at <= end) {
            self.now = at;
            let orders = self.places.handle_timeout(at);
            begun.extend(self.note(orders));
        }
        self.now = end;
        begun
    }

    fn leave(&mut self, n: u64) -> Vec<ConnectionId> {
        let orders = self.places.leave(id(n), self.now);
        self.note(orders)
    }
}

const OPEN: usize = MAX_KNOWN - KEPT_FOR_FAMILIAR;

#[test]
fn while_there_are_places_nobody_waits_and_nobody_goes() {
    let mut play = Play::new();
    assert!((0..MAX_KNOWN / 2).all(|_| play.call(network(1)) && play.call(familiar(1))));
    assert!(!play.call(network(1)) && !play.call(familiar(1)));
    assert!(play.closed.is_empty());
    // The odd ones are of the network.
    assert_eq!(play.leave(2), [id(66)]);
    assert_eq!(play.leave(1), [id(65)]);
}

#[test]
fn whoever_calls_without_end_from_one_network_keeps_no_other_out() {
    let mut play = Play::new();
    for _ in 0..1000 {
        play.call(network(1));
    }
    let closed = play.closed.len();
    assert!(play.call(network(2)), "at once, at the cost of the one who is there for longest");
    assert_eq!(play.closed[closed..], [id(1)]);
    for n in 3..20 {
        assert!(play.call(network(n)));
    }
    // And nobody of the crowd takes it from him, however long he needs.
    let friend = id(1001);
    for _ in 0..10_000 {
        play.call(network(1));
        play.pass(MILLISECOND);
    }
    assert!(!play.closed.contains(&friend));
}

#[test]
fn whoever_calls_from_everywhere_keeps_nobody_out_who_was_here_lately() {
    let mut play = Play::new();
    for n in 0..1000 {
        play.call(network(n));
    }
    let closed = play.closed.len();
    for n in 0..u8::try_from(KEPT_FOR_FAMILIAR).unwrap() {
        assert!(play.call(familiar(n)));
    }
    assert_eq!(play.closed.len(), closed, "nobody goes for them");
    // Nor does one of those addresses keep out the others.
    let mut play = Play::new();
    for _ in 0..1000 {
        play.call(familiar(1));
    }
    assert!(play.call(familiar(2)) && play.call(network(1)));
}

#[test]
fn who_has_as_few_as_everybody_waits_until_a_handshake_takes_long() {
    let mut play = Play::new();
    for n in 0..OPEN {
        assert!(play.call(network(u16::try_from(n).unwrap())));
        play.pass(MILLISECOND);
    }
    assert!(!play.call(network(1000)));
    let waiting = id(play.last);
    // The first began as many milliseconds ago as there are others.
    let left = STALE_KNOWN - MILLISECOND * u32::try_from(OPEN).unwrap();
    assert_eq!(play.pass(left - MILLISECOND), []);
    assert_eq!(play.pass(MILLISECOND), [waiting]);
    assert_eq!(play.closed, [id(1)]);
    // Whoever is done is not missed.
    assert_eq!(play.leave(1), []);
}

#[test]
fn a_slow_handshake_makes_no_room_for_a_source_that_has_more() {
    let mut play = Play::new();
    assert!(play.call(network(1)));
    play.pass(2 * STALE_KNOWN);
    for _ in 0..2 * OPEN {
        play.call(network(2));
    }
    assert!(play.closed.is_empty());
    assert_eq!(play.places.poll_timeout(play.now), Some(play.now + STALE_KNOWN));
    play.pass(2 * STALE_KNOWN);
    assert!(!play.closed.is_empty() && !play.closed.contains(&id(1)));
}

#[test]
fn a_free_place_goes_to_the_source_that_has_fewest_and_there_to_the_newest() {
    let mut play = Play::new();
    // 24 each.
    (0..OPEN / 2).for_each(|_| assert!(play.call(network(1)) && play.call(network(2))));
    let (of_one, of_two) = (id(play.last + 1), id(play.last + 2));
    assert!(!play.call(network(1)) && !play.call(network(2)) && !play.call(network(2)));
    // One of the first goes: the second would have more.
    assert_eq!(play.leave(1), [of_one]);
    assert_eq!(play.leave(2), [id(of_two.0 + 1)], "the one who came last");
    assert_eq!(play.leave(4), [of_two]);
}

#[test]
fn of_too_many_who_wait_one_of_the_crowd_is_turned_away() {
    let mut play = Play::new();
    for n in 0..OPEN {
        assert!(play.call(network(u16::try_from(n).unwrap())));
    }
    assert!(!play.call(network(1000)));
    let alone = id(play.last);
    (0..MAX_KNOWN_WAITING - 1).for_each(|_| assert!(!play.call(network(1))));
    assert!(play.closed.is_empty());
    assert!(!play.call(network(1)));
    assert_eq!(play.closed, [id(alone.0 + 1)], "the oldest of them, and not who came before");
    assert!(!play.call(network(1001)));
    assert_eq!(play.closed.len(), 2);
    assert!(!play.closed.contains(&alone));
}

/// How many of a hundred calls come through a flood of 500 calls a second that lead to nothing. A handshake takes
/// 100 ms.
fn share(friend: Source, mut flood: impl FnMut(u64) -> Source) -> usize {
    let mut play = Play::new();
    let mut through = 0;
    let mut calls = 0;
    // Who waits, and since when the handshake lasts.
    let mut calling: Option<(ConnectionId, Option<Instant>)> = None;
    for tick in 0..20_000_u64 {
        let mut begun = play.pass(MILLISECOND);
        if tick % 2 == 0 && play.call(flood(tick / 2)) {
            begun.push(id(play.last));
        }
        if tick % 199 == 3 && calls < 100 {
            calls += 1;
            let at_once = play.call(friend);
            calling = Some((id(play.last), at_once.then_some(play.now)));
        }
        if let Some((id, since)) = &mut calling {
            if begun.contains(id) {
                *since = Some(play.now);
            }
            if play.closed.contains(id) {
                calling = None;
            } else if since.is_some_and(|since| since + 100 * MILLISECOND <= play.now) {
                through += 1;
                let id = id.0;
                calling = None;
                play.leave(id);
            }
        }
    }
    through * 100 / calls
}

#[test]
fn a_friend_comes_through_at_every_call_unless_those_who_flood_share_his_address() {
    let one = |_| network(1);
    let some = |n: u64| network(u16::try_from(n % 10).unwrap());
    let many = |n: u64| network(u16::try_from(n % 60_000).unwrap());
    // From one network, or some, all are kept out but their own.
    assert_eq!(share(network(100), one), 100);
    assert_eq!(share(network(100), some), 100);
    // From everywhere, or from his own network, a friend who was here lately comes through.
    assert_eq!(share(familiar(1), many), 100);
    assert_eq!(share(familiar(1), one), 100);
    // Others, and he whose very address they have, have some luck now and then, and call again.
    for share in [
        share(network(100), |n| network(u16::try_from(n % 60_000).unwrap())),
        share(familiar(1), |_| familiar(1)),
    ] {
        assert!((15..60).contains(&share), "{share} of 100");
    }
}

#[derive(Debug, Clone)]
enum Event {
    Ask(u16),
    AskFamiliar(u8),
    Leave(u64),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u16..30).prop_map(Event::Ask),
        2 => (0_u8..5).prop_map(Event::AskFamiliar),
        3 => (0_u64..600).prop_map(Event::Leave),
        1 => (0_u64..300).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_bounds_hold_and_no_place_is_left_empty(events in proptest::collection::vec(event(), 0..600)) {
        let mut play = Play::new();
        for event in events {
            match event {
                Event::Ask(n) => drop(play.call(network(n))),
                Event::AskFamiliar(n) => drop(play.call(familiar(n))),
                Event::Leave(n) => drop(play.leave(n)),
                Event::Pass(time) => drop(play.pass(Duration::from_millis(time))),
            }
            let places = &play.places;
            let others = places.held.values().filter(|(source, _)| !source.is_familiar()).count();
            prop_assert!(places.held.len() <= MAX_KNOWN && others <= OPEN);
            prop_assert!(places.waiting.sources.len() <= MAX_KNOWN_WAITING);
            prop_assert!(places.waiting.sources.keys().all(|id| !places.held.contains_key(id)));
            prop_assert!(play.closed.iter().all(|id| !places.waiting.sources.contains_key(id) && !places.held.contains_key(id)));
            for source in places.waiting.sources.values() {
                prop_assert!(places.held.len() == MAX_KNOWN || (!source.is_familiar() && others == OPEN));
            }
            // Nobody waits for a source that has two more than his own.
            let held = counted(places.held.values().map(|(source, _)| *source));
            let most = held.iter().filter(|(source, _)| !source.is_familiar()).map(|(_, count)| *count).max();
            for source in places.waiting.sources.values() {
                let mine = held.get(source).copied().unwrap_or_default();
                prop_assert!(most.unwrap_or_default() <= mine + 1 || source.is_familiar());
            }
        }
    }
}

#[tokio::test]
async fn at_a_hub_thousands_wait_and_all_are_served_the_newest_first() {
    let now = Instant::now();
    let mut places =
        Places::new(KnownPlaces { at_once: 2 + KEPT_FOR_FAMILIAR, waiting: 3000, ..KnownPlaces::default() });
    let mut begun = Vec::new();
    let mut note = |orders: Vec<Order>| {
        for order in orders {
            match order {
                Order::Begin(id) => begun.push(id),
                Order::Close(id) => panic!("{id:?} is turned away"),
            }
        }
        begun.clone()
    };
    // One from each of three thousand networks, as when a hub was away.
    for n in 0..3000_u16 {
        note(places.ask(id(n.into()), network(n), now));
    }
    for served in 0..3000 {
        let next = note(Vec::new())[served];
        note(places.leave(next, now));
    }
    let begun = note(Vec::new());
    assert_eq!(begun.len(), 3000);
    assert_eq!(begun[..4], [id(0), id(1), id(2999), id(2998)]);
    assert_eq!((places.held.len(), places.waiting.sources.len(), places.waiting.by_source.len()), (0, 0, 0));
}
