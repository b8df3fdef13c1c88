use std::collections::BTreeSet;
use std::net::IpAddr;

use kith_identity::{DeviceId, PairKey};
use kith_network::Address;

use super::*;
use crate::announcement::About;

const HOUR: u64 = 3600;
/// Five minutes after a full hour.
const UNIX: u64 = 500_000 * HOUR + 300;

/// A computer of the test, with a clock that begins at [`UNIX`].
struct Computer {
    engine: Engine,
    start: Instant,
    address: IpAddr,
    wanted: Wanted,
}

const LAN: PlaceId = PlaceId { index: 2, v6: false };

fn id(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

fn friend(n: u8, pair: u8) -> Friend {
    Friend { id: id(n), pair: PairKey::from_bytes([pair; 32]) }
}

fn about(n: u8) -> About {
    About { name: format!("pc {n}"), device_id: id(n), token: [n; 16] }
}

/// Numbers that differ, and are the same every time.
fn draw(seed: u8) -> Box<dyn FnMut() -> [u8; 8] + Send> {
    let mut state = u64::from(seed) + 1;
    Box::new(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    })
}

fn place(ip: IpAddr) -> Place {
    Place { id: LAN, addresses: vec![Address { ip, prefix: 24, temporary: false }] }
}

impl Computer {
    fn new(n: u8, friends: Vec<Friend>) -> Self {
        let (start, address) = (Instant::now(), IpAddr::from([192, 168, 1, n]));
        let mut engine = Engine::new(draw(n), start);
        engine.set_places(vec![place(address)], Now { instant: start, unix: UNIX });
        let bind = vec![IpAddr::from([0, 0, 0, 0])];
        let wanted = Wanted { us: id(n), port: Some(4242), bind, friends, about: None };
        let mut computer = Self { engine, start, address, wanted };
        computer.apply(0.0);
        computer
    }

    fn now(&self, seconds: f64) -> Now {
        let since = Duration::from_secs_f64(seconds);
        Now { instant: self.start + since, unix: UNIX + since.as_secs() }
    }

    fn apply(&mut self, at: f64) {
        let now = self.now(at);
        self.engine.set_wanted(Some(self.wanted.clone()), now);
    }

    /// All that is sent from one moment to another, with the seconds.
    fn sent(&mut self, from: f64, to: f64) -> Vec<(f64, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(at) = self.engine.poll_timeout() {
            let at = at.saturating_duration_since(self.start).as_secs_f64().max(from);
            if at > to {
                break;
            }
            let now = self.now(at);
            for command in self.engine.handle_timeout(now) {
                match command {
                    Command::Send { packet, .. } => sent.push((at, packet)),
                    Command::Tell(found) => panic!("{found:?}"),
                }
            }
        }
        sent
    }

    /// The announcements among what is sent.
    fn announced(&mut self, from: f64, to: f64) -> Vec<(f64, Announcement)> {
        let sent = self.sent(from, to).into_iter();
        let read = sent.filter_map(|(at, packet)| match announcement::read(&packet)? {
            Packet::Told { there, .. } => Some((at, there)),
            Packet::Question { .. } => None,
        });
        read.flat_map(|(at, there)| there.into_iter().map(move |one| (at, one))).collect()
    }

    fn hears(&mut self, from: &Self, packet: &[u8], at: f64) -> Vec<Found> {
        let now = self.now(at);
        let commands = self.engine.handle_packet(LAN, (from.address, 5353).into(), packet, now);
        let told = commands.into_iter().map(|command| match command {
            Command::Tell(found) => found,
            Command::Send { .. } => panic!("sent at once"),
        });
        told.collect()
    }
}

/// Anna (1) and Bert (2) know the same; Carl (3) knows neither.
fn three() -> [Computer; 3] {
    [
        Computer::new(1, vec![friend(2, 77)]),
        Computer::new(2, vec![friend(1, 77), friend(9, 78)]),
        Computer::new(3, vec![friend(2, 79)]),
    ]
}

#[test]
fn whoever_hears_several_announcements_of_an_hour_does_not_learn_the_number_of_friends() {
    let mut anna = Computer::new(1, vec![friend(2, 77), friend(3, 78), friend(4, 79)]);
    let tags = |anna: &mut Computer, at: f64| {
        let announced = anna.announced(at, at);
        announced.into_iter().flat_map(|(_, one)| one.tags).collect::<BTreeSet<LanTag>>()
    };
    let first = tags(&mut anna, 0.0);
    assert_eq!(first.len(), TAGS_ROUNDED_TO);
    // Another network, another port, a person who looks for computers nearby, and all switched off and on again.
    let now = anna.now(100.0);
    anna.engine.set_places(vec![place(anna.address)], now);
    assert_eq!(tags(&mut anna, 100.0), first);
    anna.wanted.port = Some(5252);
    anna.apply(200.0);
    assert_eq!(tags(&mut anna, 200.0), first);
    anna.wanted.about = Some(about(1));
    anna.apply(300.0);
    assert_eq!(tags(&mut anna, 300.0), first);
    let now = anna.now(400.0);
    anna.engine.set_wanted(None, now);
    anna.apply(401.0);
    assert_eq!(tags(&mut anna, 401.0), first);
    // One friend more takes the place of one tag that is nobody's.
    anna.wanted.friends.push(friend(5, 80));
    anna.apply(500.0);
    let more = tags(&mut anna, 500.0);
    assert_eq!((more.len(), more.intersection(&first).count()), (TAGS_ROUNDED_TO, TAGS_ROUNDED_TO - 1));
    anna.sent(500.0, 3500.0);
    anna.apply(3700.0);
    let now = anna.now(3700.0);
    anna.engine.set_places(vec![place(anna.address)], now);
    let next_hour = tags(&mut anna, 3700.0);
    assert!(next_hour.is_disjoint(&more), "another hour, other tags");
}

#[test]
fn friends_in_one_network_learn_each_others_addresses_at_once_and_strangers_nothing() {
    let [mut anna, mut bert, mut carl] = three();
    let sent = anna.sent(0.0, 0.0);
    assert_eq!(sent.len(), 2, "an announcement and a question");
    for (_, packet) in &sent {
        assert!(carl.hears(&anna, packet, 0.1).is_empty());
        assert!(anna.engine.names.iter().all(|_| !packet.windows(32).any(|part| part == id(1).as_bytes())));
    }
    let found: Vec<Found> = sent.iter().flat_map(|(_, packet)| bert.hears(&anna, packet, 0.1)).collect();
    let at = SocketAddr::from(([192, 168, 1, 1], 4242));
    assert_eq!(found, [Found::Friend { id: id(1), addresses: vec![at] }]);
    // What is heard of oneself is nothing new.
    let own: Vec<_> = anna.sent(0.0, 30.0);
    for (_, packet) in own {
        let now = anna.now(31.0);
        assert_eq!(anna.engine.handle_packet(LAN, (anna.address, 5353).into(), &packet, now), []);
    }
}

#[test]
fn it_is_said_three_times_and_asked_four_times_and_then_there_is_rest_until_the_next_hour() {
    let [mut anna, ..] = three();
    let first: Vec<(u64, bool)> = anna
        .sent(0.0, 3000.0)
        .into_iter()
        .map(|(at, packet)| (at as u64, matches!(announcement::read(&packet), Some(Packet::Question { .. }))))
        .collect();
    let mut expected = vec![(0, false), (0, true), (1, false), (1, true), (3, false), (3, true), (7, true)];
    expected.sort_unstable();
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn tags_change_with_the_hour_at_a_random_moment_of_its_first_minute() {
    let mut moments = BTreeSet::new();
    for n in 1..=20 {
        let mut anna = Computer::new(n, vec![friend(40, 77)]);
        let before = anna.announced(0.0, 3000.0).remove(0).1;
        let after = anna.announced(3000.0, 3600.0);
        let (at, change) = &after[0];
        assert!((3300.0..=3361.0).contains(at), "{at}");
        moments.insert(*at as u64);
        assert_eq!(change.tags.len(), before.tags.len());
        assert!(change.tags.iter().all(|tag| !before.tags.contains(tag)));
    }
    assert!(moments.len() > 5, "{moments:?}");
}

#[test]
fn a_clock_that_is_set_is_followed_within_eleven_minutes() {
    let mut anna = Computer::new(1, vec![friend(2, 77)]);
    let mut bert = Computer::new(2, vec![friend(1, 77)]);
    anna.sent(0.0, 20.0);
    // From here on Anna's clock is a day ahead.
    let mut announced = None;
    while announced.is_none() {
        let at = anna.engine.poll_timeout().unwrap();
        assert!(at - anna.start < Duration::from_secs(20 + 660));
        let commands = anna.engine.handle_timeout(Now { instant: at, unix: UNIX + 24 * HOUR });
        announced = commands.into_iter().find_map(|command| match command {
            Command::Send { packet, .. } => Some(packet),
            Command::Tell(_) => None,
        });
    }
    let packet = announced.unwrap();
    assert!(bert.hears(&anna, &packet, 700.0).is_empty(), "a day is too much");
    bert.engine.finder.refresh(&[friend(1, 77)], UNIX + 23 * HOUR);
    assert_eq!(bert.hears(&anna, &packet, 700.0).len(), 1);
}

#[test]
fn questions_are_answered_once_a_second_however_many_there_are() {
    let [mut anna, bert, _] = three();
    anna.sent(0.0, 100.0);
    let question = announcement::question();
    let mut answers = Vec::new();
    for round in 0..500 {
        let at = 200.0 + f64::from(round) * 0.01;
        anna.hears(&bert, &question, at);
        answers.extend(anna.announced(at, at + 0.009).into_iter().map(|(at, _)| at));
    }
    assert!((4..=6).contains(&answers.len()), "{answers:?}");
    assert!(answers.windows(2).all(|pair| pair[1] - pair[0] >= 0.999), "{answers:?}");
}

#[test]
fn who_knows_already_gets_no_answer() {
    let [mut anna, bert, _] = three();
    anna.sent(0.0, 100.0);
    let known = anna.engine.names.clone();
    anna.engine.note_question(LAN, &known, anna.now(200.0).instant);
    assert!(anna.engine.answers.is_empty());
    anna.hears(&bert, &announcement::question(), 200.0);
    assert_eq!(anna.engine.answers.len(), 1);
}

#[test]
fn an_answer_comes_between_20_and_120_milliseconds_after_the_question() {
    let [mut anna, bert, _] = three();
    anna.sent(0.0, 100.0);
    for round in 0..50 {
        let asked = 1000.0 + f64::from(round) * 10.0;
        anna.hears(&bert, &announcement::question(), asked);
        let answers = anna.announced(asked, asked + 9.0);
        assert_eq!(answers.len(), 1);
        let delay = answers[0].0 - asked;
        assert!((0.0199..=0.1201).contains(&delay), "{delay}");
    }
}

#[test]
fn without_friends_or_when_it_is_off_nothing_is_sent_at_all() {
    let mut alone = Computer::new(1, Vec::new());
    assert_eq!(alone.sent(0.0, 100_000.0), []);
    assert!(alone.engine.active().is_empty());
    let [mut anna, bert, _] = three();
    assert_eq!(anna.engine.active().len(), 1);
    let now = anna.now(0.5);
    anna.engine.set_wanted(None, now);
    assert!(anna.engine.active().is_empty());
    assert_eq!(anna.engine.poll_timeout(), None);
    anna.engine.look(now.instant);
    assert!(anna.hears(&bert, &announcement::question(), 0.6).is_empty());
    assert_eq!(anna.engine.handle_timeout(anna.now(10.0)), []);
    // And on again.
    anna.apply(20.0);
    assert_eq!(anna.announced(20.0, 20.0).len(), 1);
}

#[test]
fn who_does_not_listen_there_looks_for_others_and_announces_nothing() {
    let [mut anna, ..] = three();
    anna.wanted.bind = vec![IpAddr::from([10, 0, 0, 1])];
    anna.apply(10.0);
    assert_eq!(anna.announced(10.0, 30.0), []);
    let mut silent = Computer::new(1, vec![friend(2, 77)]);
    silent.wanted.port = None;
    silent.apply(0.0);
    let sent = silent.sent(0.0, 30.0);
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(_, packet)| *packet == announcement::question()));
}

#[test]
fn another_port_or_network_is_announced_at_once_and_another_network_by_another_name() {
    let [mut anna, mut bert, _] = three();
    let first = anna.announced(0.0, 100.0).remove(0).1;
    anna.wanted.port = Some(4300);
    anna.apply(200.0);
    let (at, second) = anna.announced(200.0, 300.0).remove(0);
    assert_eq!((at as u64, second.port, &second.instance), (200, 4300, &first.instance));
    // The same again is no news.
    anna.apply(310.0);
    assert_eq!(anna.announced(310.0, 350.0), []);
    anna.address = IpAddr::from([192, 168, 1, 99]);
    let now = anna.now(400.0);
    anna.engine.set_places(vec![place(anna.address)], now);
    let sent = anna.sent(400.0, 400.0);
    let found: Vec<_> = sent.iter().flat_map(|(_, packet)| bert.hears(&anna, packet, 400.0)).collect();
    let at = SocketAddr::from(([192, 168, 1, 99], 4300));
    assert_eq!(found, [Found::Friend { id: id(1), addresses: vec![at] }]);
    assert!(anna.engine.names[0] != first.instance);
}

#[test]
fn what_everybody_may_know_is_said_while_it_is_open_and_taken_back_at_the_end() {
    let [mut anna, mut bert, mut carl] = three();
    for computer in [&mut anna, &mut bert, &mut carl] {
        computer.sent(0.0, 100.0);
    }
    anna.wanted.about = Some(about(1));
    anna.apply(200.0);
    carl.wanted.about = Some(about(3));
    carl.apply(200.0);
    let sent = anna.sent(200.0, 230.0);
    let open: Vec<_> =
        sent.iter().filter(|(_, packet)| packet.windows(4).any(|part| part == b"pc 1")).collect();
    assert!(open.len() >= 6, "again and again: {}", open.len());
    // It says nothing to friends: the packet with the name has no tags, the one with the tags no name.
    for (_, packet) in &sent {
        if let Some(Packet::Told { there, .. }) = announcement::read(packet) {
            assert!(there.iter().all(|one| one.about.is_none() || one.tags.is_empty()));
        }
    }
    let packet = &open[0].1;
    assert_eq!(bert.hears(&anna, packet, 201.0), [], "Bert's person looks for nobody");
    let [Found::Neighbour(neighbour)] = &carl.hears(&anna, packet, 201.0)[..] else { panic!() };
    assert_eq!(
        (&neighbour.about, neighbour.addresses.as_slice()),
        (&about(1), &[(anna.address, 4242).into()][..])
    );
    // Closed again.
    anna.wanted.about = None;
    anna.apply(300.0);
    let sent = anna.sent(300.0, 400.0);
    assert!(sent.iter().all(|(_, packet)| !packet.windows(4).any(|part| part == b"pc 1")));
    let gone: Vec<_> = sent.iter().flat_map(|(_, packet)| carl.hears(&anna, packet, 300.0)).collect();
    assert_eq!(gone, [Found::Gone(neighbour.instance.clone())]);
}

#[test]
fn who_has_no_friends_takes_back_what_everybody_knew_and_is_silent_then() {
    let mut carl = Computer::new(3, Vec::new());
    carl.wanted.about = Some(about(3));
    carl.apply(1.0);
    let name = carl.announced(1.0, 20.0).remove(0).1.instance;
    carl.wanted.about = None;
    carl.apply(30.0);
    let now = carl.now(30.0);
    let said = carl.engine.handle_timeout(now);
    assert_eq!(said, [Command::Send { to: LAN, packet: announcement::goodbye(&name) }]);
    assert!(carl.engine.active().is_empty());
    assert_eq!(carl.sent(30.0, 10_000.0), []);
    // Where nothing may be said, this is not said either.
    carl.wanted.about = Some(about(3));
    carl.apply(40.0);
    carl.sent(40.0, 50.0);
    let now = carl.now(60.0);
    carl.engine.set_wanted(None, now);
    assert_eq!(carl.engine.handle_timeout(now), []);
}

#[test]
fn the_number_of_tags_says_little_of_the_number_of_friends_and_too_many_friends_take_turns() {
    for count in [1usize, 7, 8] {
        let friends = (0..count).map(|n| friend(100 + n as u8, n as u8)).collect();
        let mut anna = Computer::new(1, friends);
        assert_eq!(anna.announced(0.0, 0.0)[0].1.tags.len(), 8, "{count} friends");
    }
    let many: Vec<Friend> = (0..2000u32)
        .map(|n| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Friend { id: DeviceId::from_bytes(bytes), pair: PairKey::from_bytes(bytes) }
        })
        .collect();
    let mut anna = Computer::new(1, many.clone());
    let mut met = BTreeSet::new();
    for hour in 0..3u64 {
        let at = f64::from(u32::try_from(hour * HOUR).unwrap());
        let packets = anna.announced(at, at + 200.0);
        let tags: BTreeSet<LanTag> = packets.into_iter().flat_map(|(_, one)| one.tags).collect();
        assert!(tags.len() <= MOST_PACKETS * MOST_TAGS, "{}", tags.len());
        let unix = UNIX + hour * HOUR;
        met.extend(
            many.iter().filter(|friend| tags.contains(&LanTag::of(&friend.pair, &id(1), unix))).map(|f| f.id),
        );
        anna.sent(at + 200.0, at + 3200.0);
    }
    assert_eq!(met.len(), many.len(), "all have had their turn");
}

#[test]
fn a_flood_of_announcements_of_strangers_is_bounded_and_keeps_nothing() {
    let [mut anna, bert, _] = three();
    anna.wanted.about = Some(about(1));
    anna.apply(0.0);
    let (mut told, mut n) = (0, 0u32);
    for second in 0..10 {
        for _ in 0..5000 {
            n += 1;
            let mut device = [0; 32];
            device[..4].copy_from_slice(&n.to_be_bytes());
            let about = About { device_id: DeviceId::from_bytes(device), ..about(1) };
            let instance = Instance::new(u64::from(n).to_be_bytes());
            let addresses = vec![bert.address];
            let tags = vec![LanTag(u64::from(n).to_be_bytes())];
            let packet = Announcement { instance, port: 1, addresses, tags, about: Some(about) }.to_packet();
            told += anna.hears(&bert, &packet, f64::from(second)).len();
        }
    }
    assert!(told <= 320, "{told}");
    assert!(anna.engine.answers.is_empty());
    // From elsewhere nothing is heard.
    let far = Computer { address: IpAddr::from([192, 168, 7, 7]), ..bert };
    assert!(anna.hears(&far, &announcement::question(), 20.0).is_empty());
    assert!(anna.engine.answers.is_empty());
}

#[test]
fn a_search_that_the_program_asks_for_is_begun_every_ten_seconds_at_most() {
    let [mut anna, ..] = three();
    anna.sent(0.0, 100.0);
    let mut questions = 0;
    for step in 0..400 {
        let at = 200.0 + f64::from(step) * 0.1;
        let now = anna.now(at);
        anna.engine.look(now.instant);
        questions += anna.sent(at, at).len();
    }
    assert_eq!(questions, 16, "four searches of four questions");
}
