use std::time::Duration;

use super::*;

/// A leg, by a number.
type Leg = u8;

fn who(byte: u8) -> DeviceId {
    DeviceId::from_bytes([byte; 32])
}

fn session(byte: u8) -> PairTag {
    PairTag::from_bytes([byte; 16])
}

fn rules() -> RelayRules {
    RelayRules { most_sessions: 10, most_user_sessions: 3, ..RelayRules::of_friend() }
}

fn ask(sessions: &mut Sessions<Leg>, user: u8, id: u8, now: Instant) -> Result<DialInTag, SessionRefusal> {
    let name = DialInTag::made_up();
    sessions.ask((who(user), None), session(id), name, &rules(), now).map(|_| name)
}

/// The legs that are joined, if they are.
fn arrive(
    sessions: &mut Sessions<Leg>,
    name: &DialInTag,
    leg: Leg,
    now: Instant,
) -> Option<Vec<(DeviceId, Leg)>> {
    match sessions.arrive(name, leg, now) {
        Arrived::Both(_, legs) => Some(legs.to_vec()),
        Arrived::Waits => None,
        Arrived::Unknown(_) => panic!("the leg {leg} is not awaited"),
    }
}

fn is_unknown(sessions: &mut Sessions<Leg>, name: &DialInTag, now: Instant) -> bool {
    !sessions.awaits(name, now) && matches!(sessions.arrive(name, 99, now), Arrived::Unknown(99))
}

fn assert_empty(sessions: &Sessions<Leg>) {
    assert_eq!(
        (sessions.all.len(), sessions.names.len(), sessions.of.len(), sessions.crowds.len()),
        (0, 0, 0, 0)
    );
}

#[test]
fn two_who_name_the_same_session_are_joined_when_both_legs_are_there() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let one = ask(&mut sessions, 1, 7, now).unwrap();
    let other = ask(&mut sessions, 2, 7, now).unwrap();
    assert!(sessions.awaits(&one, now) && sessions.awaits(&other, now));
    assert_eq!(arrive(&mut sessions, &other, 20, now), None);
    assert_eq!(arrive(&mut sessions, &one, 10, now), Some(vec![(who(1), 10), (who(2), 20)]));
    assert_eq!((sessions.count(), sessions.count_of(&who(1)), sessions.names.len()), (1, 1, 0));
    // Joined, it has no end but its own.
    assert_eq!(sessions.poll_timeout(), None);
    sessions.handle_timeout(now + Duration::from_secs(3600));
    sessions.end(&session(7));
    sessions.end(&session(7));
    assert_empty(&sessions);
}

#[test]
fn a_leg_that_comes_before_the_other_has_asked_waits_for_it() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let one = ask(&mut sessions, 1, 7, now).unwrap();
    assert_eq!(arrive(&mut sessions, &one, 10, now), None);
    let other = ask(&mut sessions, 2, 7, now + LEG_LIFE / 2).unwrap();
    assert!(arrive(&mut sessions, &other, 20, now + LEG_LIFE).is_some());
}

#[test]
fn a_name_is_worth_something_once_and_not_for_long() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let one = ask(&mut sessions, 1, 7, now).unwrap();
    assert_eq!(arrive(&mut sessions, &one, 10, now), None);
    assert!(is_unknown(&mut sessions, &one, now), "used twice");
    let other = ask(&mut sessions, 2, 7, now).unwrap();
    assert!(is_unknown(&mut sessions, &other, now + LEG_LIFE), "late");
    assert!(is_unknown(&mut sessions, &DialInTag::made_up(), now), "guessed");
    assert_eq!(sessions.poll_timeout(), Some(now + LEG_LIFE));
    sessions.handle_timeout(now + LEG_LIFE);
    assert_empty(&sessions);
}

#[test]
fn who_asks_again_gets_another_name_and_is_not_the_other_one() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let first = ask(&mut sessions, 1, 7, now).unwrap();
    let second = ask(&mut sessions, 1, 7, now).unwrap();
    assert!(is_unknown(&mut sessions, &first, now));
    assert_eq!(arrive(&mut sessions, &second, 10, now), None, "nobody is joined with himself");
    // His leg is gone with the name by which it came.
    let third = ask(&mut sessions, 1, 7, now).unwrap();
    let other = ask(&mut sessions, 2, 7, now).unwrap();
    assert_eq!(arrive(&mut sessions, &other, 20, now), None);
    assert_eq!(arrive(&mut sessions, &third, 11, now), Some(vec![(who(1), 11), (who(2), 20)]));
    assert_eq!(sessions.count_of(&who(1)), 1);
}

#[test]
fn a_third_finds_no_place_in_a_session_agreed_or_joined() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let one = ask(&mut sessions, 1, 7, now).unwrap();
    let other = ask(&mut sessions, 2, 7, now).unwrap();
    assert_eq!(ask(&mut sessions, 3, 7, now), Err(SessionRefusal::Taken));
    arrive(&mut sessions, &one, 10, now);
    arrive(&mut sessions, &other, 20, now).unwrap();
    for user in 1..=3 {
        assert_eq!(ask(&mut sessions, user, 7, now), Err(SessionRefusal::Taken));
    }
    assert_eq!(sessions.count_of(&who(3)), 0);
}

#[test]
fn sessions_are_bounded_for_each_and_for_all() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    for id in 0..3 {
        ask(&mut sessions, 1, id, now).unwrap();
    }
    assert_eq!(ask(&mut sessions, 1, 3, now), Err(SessionRefusal::FullForOne));
    // Nor as the second one of a session.
    ask(&mut sessions, 2, 3, now).unwrap();
    assert_eq!(ask(&mut sessions, 1, 3, now), Err(SessionRefusal::FullForOne));
    for id in 4..10 {
        ask(&mut sessions, id, id, now).unwrap();
    }
    assert_eq!(ask(&mut sessions, 100, 10, now), Err(SessionRefusal::Full));
    ask(&mut sessions, 100, 9, now).unwrap();
    // What was agreed and led to nothing gives its places back.
    let later = now + LEG_LIFE;
    ask(&mut sessions, 1, 20, later).unwrap();
    assert_eq!((sessions.count(), sessions.count_of(&who(1))), (1, 1));
}

#[test]
fn who_is_forgotten_takes_his_sessions_with_him_and_no_others() {
    let (mut sessions, now) = (Sessions::default(), Instant::now());
    let mut joined = |one: u8, other: u8, id: u8| {
        let names = [one, other].map(|user| ask(&mut sessions, user, id, now).unwrap());
        names.map(|name| arrive(&mut sessions, &name, 1, now))
    };
    joined(1, 2, 1);
    joined(2, 3, 2);
    let name = ask(&mut sessions, 1, 3, now).unwrap();
    assert_eq!(sessions.forget(&who(1)), [session(1)]);
    assert!(is_unknown(&mut sessions, &name, now));
    assert_eq!((sessions.count(), sessions.count_of(&who(2))), (1, 1));
    assert_eq!(sessions.forget_all(), [session(2)]);
    assert_empty(&sessions);
}

#[test]
fn where_all_places_are_taken_a_network_that_has_most_gives_one_and_no_other() {
    let (mut sessions, now) = (Sessions::<Leg>::default(), Instant::now());
    let network = |n| Some(Network::V4([203, 0, n]));
    let mut ask = |user: u8, from: u8, id: u8| {
        let name = DialInTag::made_up();
        let asked = sessions.ask((who(user), network(from)), session(id), name, &rules(), now);
        (asked, name)
    };
    // One whose friend is elsewhere, and many ids of one network.
    let (one, other) = (ask(1, 1, 1), ask(2, 2, 1));
    for id in 10..18 {
        assert_eq!(ask(id, 9, id).0, Ok(None));
        assert_eq!(ask(id + 100, 9, id).0, Ok(None));
    }
    assert_eq!(ask(50, 9, 50).0, Ok(None));
    assert_eq!(ask(51, 9, 51).0, Err(SessionRefusal::Full), "they take no places but their own");
    assert_eq!(ask(3, 3, 3).0, Ok(Some(session(50))), "the newest of theirs makes room");
    assert_eq!(ask(4, 1, 4).0, Ok(Some(session(17))));
    for (asked, name) in [one, other] {
        assert_eq!(asked, Ok(None));
        assert!(sessions.awaits(&name, now));
    }
    // Whom nobody counts by networks, as friends, is refused as ever.
    let asked = sessions.ask((who(5), None), session(5), DialInTag::made_up(), &rules(), now);
    assert_eq!(asked, Err(SessionRefusal::Full));
    sessions.forget_all();
    assert_empty(&sessions);
}

#[test]
fn who_has_most_sessions_in_his_network_gives_first() {
    let (mut sessions, now) = (Sessions::<Leg>::default(), Instant::now());
    let mut ask = |user: u8, from: u8, id: u8| {
        let from = Some(Network::V4([203, 0, from]));
        sessions.ask((who(user), from), session(id), DialInTag::made_up(), &rules(), now)
    };
    for (user, id) in [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (4, 7), (5, 8), (6, 9), (7, 10)] {
        assert_eq!(ask(user, 9, id), Ok(None));
    }
    assert_eq!(ask(20, 1, 20), Ok(Some(session(3))));
    assert_eq!(ask(21, 2, 21), Ok(Some(session(5))), "two have two, and this is the newest");
}
