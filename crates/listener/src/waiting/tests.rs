use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn prefix(n: u16) -> Prefix {
    let [high, low] = n.to_be_bytes();
    Prefix::V4([10, high, low])
}

/// A room in which `per_prefix` silent connections from each of `prefixes` prefixes wait.
fn room(prefixes: u16, per_prefix: usize) -> (WaitingRoom, Vec<ConnectionId>) {
    let mut room = WaitingRoom::default();
    let mut ids = Vec::new();
    for n in 0..prefixes {
        for _ in 0..per_prefix {
            let (id, evicted) = room.enter(prefix(n));
            assert_eq!(evicted, None);
            ids.push(id);
        }
    }
    (room, ids)
}

#[test]
fn prefixes_are_as_wide_as_what_one_customer_gets() {
    let of = |ip: &str| Prefix::of(ip.parse().unwrap());
    assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
    assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
}

#[test]
fn when_the_room_is_full_the_oldest_silent_one_goes_whoever_comes() {
    let (mut room, ids) = room(64, MAX_WAITING / 64);
    assert_eq!(room.enter(prefix(1000)).1, Some(ids[0]));
    assert_eq!(room.enter(prefix(1001)).1, Some(ids[1]));
}

#[test]
fn a_prefix_that_floods_evicts_its_own() {
    let (mut room, ids) = room(2, MAX_SILENT_PER_PREFIX);
    assert_eq!(room.enter(prefix(1)).1, Some(ids[MAX_SILENT_PER_PREFIX]));
    assert_eq!(room.enter(prefix(0)).1, Some(ids[0]));
    assert_eq!(room.enter(prefix(2)).1, None);
}

#[test]
fn whoever_has_spoken_stays_while_the_silent_go() {
    let (mut room, ids) = room(64, MAX_WAITING / 64);
    room.speak(ids[0]);
    assert_eq!(room.enter(prefix(1000)).1, Some(ids[1]));
    for id in &ids[2..] {
        room.speak(*id);
    }
    let (last_silent, evicted) = room.enter(prefix(1001));
    assert_eq!(evicted.map(|id| id.0), Some(4096), "the only silent one left");
    room.speak(last_silent);
    assert_eq!(room.enter(prefix(1002)).1, Some(ids[0]), "the oldest that has spoken");
}

#[test]
fn whoever_has_spoken_before_he_is_taken_in_is_pushed_out_by_no_neighbour() {
    let (mut room, ids) = room(1, MAX_SILENT_PER_PREFIX);
    let (spoken, evicted) = room.enter_spoken();
    assert_eq!(evicted, None, "he takes nobody's place");
    for id in &ids {
        assert_eq!(room.enter(prefix(0)).1, Some(*id));
    }
    assert!(room.stages.contains_key(&spoken));
    // Where the whole room is full one goes for him too, a silent one before all others.
    let more = MAX_WAITING - MAX_SILENT_PER_PREFIX - 1;
    let filled: Vec<_> = (0..more).map(|_| room.enter_spoken()).collect();
    assert!(filled.iter().all(|(_, evicted)| evicted.is_none()));
    let oldest_silent = room.silent.first().copied();
    assert!(oldest_silent.is_some());
    assert_eq!(room.enter_spoken().1, oldest_silent);
}

#[test]
fn a_handshake_no_longer_counts_as_waiting_and_grows_stale_after_two_seconds() {
    let (mut room, ids) = room(1, 3);
    let now = Instant::now();
    assert_eq!(room.stale_handshake(now), None);
    room.speak(ids[1]);
    room.begin_handshake(ids[1], now);
    room.begin_handshake(ids[0], now + Duration::from_millis(500));
    room.recognise(ids[2]);
    assert!(room.oldest_silent(10).is_empty());
    assert_eq!(room.stale_handshake(now), None);
    assert_eq!(room.stale_handshake(now + STALE_HANDSHAKE), Some(ids[1]));
    room.leave(ids[1]);
    assert_eq!(room.stale_handshake(now + STALE_HANDSHAKE), None);
    assert_eq!(room.stale_handshake(now + STALE_HANDSHAKE + Duration::from_millis(500)), Some(ids[0]));
    room.leave(ids[0]);
    // A stranger's handshake never makes room for those who are known, nor theirs for his.
    assert_eq!(room.stale_handshake(now + 10 * STALE_HANDSHAKE), None);
    room.leave(ids[2]);
    assert!(room.is_empty());
}

#[test]
fn who_is_gone_can_not_come_back() {
    let (mut room, ids) = room(1, 1);
    room.leave(ids[0]);
    room.speak(ids[0]);
    room.begin_handshake(ids[0], Instant::now());
    room.recognise(ids[0]);
    assert!(room.is_empty());
    assert!(room.silent_by_prefix.is_empty());
}

#[derive(Debug, Clone)]
enum Event {
    Enter(u16),
    EnterSpoken,
    Speak(usize),
    Begin(usize, bool),
    Leave(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u16..20).prop_map(Event::Enter),
        1 => Just(Event::EnterSpoken),
        1 => (0_usize..2000).prop_map(Event::Speak),
        1 => (0_usize..2000, any::<bool>()).prop_map(|(n, known)| Event::Begin(n, known)),
        1 => (0_usize..2000).prop_map(Event::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_books_always_agree_and_the_bounds_always_hold(events in proptest::collection::vec(event(), 0..2000)) {
        let now = Instant::now();
        let mut room = WaitingRoom::default();
        for event in events {
            match event {
                Event::Enter(n) => {
                    let (id, evicted) = room.enter(prefix(n));
                    prop_assert!(room.silent.contains(&id));
                    prop_assert!(evicted.is_none_or(|evicted| !room.stages.contains_key(&evicted)));
                }
                Event::EnterSpoken => {
                    room.enter_spoken();
                }
                Event::Speak(n) => room.speak(ConnectionId(n as u64)),
                Event::Begin(n, known) => {
                    let id = ConnectionId(n as u64);
                    if known { room.recognise(id) } else { room.begin_handshake(id, now) }
                }
                Event::Leave(n) => room.leave(ConnectionId(n as u64)),
            }
            let by_prefix: usize = room.silent_by_prefix.values().map(BTreeSet::len).sum();
            prop_assert_eq!(by_prefix, room.silent.len());
            prop_assert!(room.silent_by_prefix.values().all(|ids| (1..=MAX_SILENT_PER_PREFIX).contains(&ids.len())));
            prop_assert_eq!(room.stages.len(), room.silent.len() + room.spoken.len() + room.recognised.len() + room.strangers.len());
        }
    }
}
