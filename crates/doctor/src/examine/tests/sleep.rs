//! Computers that sleep, and that have just woken.

use super::*;
use crate::facts::Habit;

/// The same, and the computer woke so many seconds ago after eight hours.
fn woken(side: Side, ago: i64) -> Side {
    Side { woken: Some(NOW - ago), slept: Some(8 * 3600), ..side }
}

fn with_habit(mut facts: Facts, asleep: u32, of: u32) -> Facts {
    facts.friend = facts.friend.map(|friend| Pair { habit: Some(Habit { asleep, of }), ..friend });
    facts
}

#[test]
fn for_a_minute_after_it_woke_nothing_is_blamed_that_comes_up_by_itself() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here = woken(facts.here, 20);
    facts.here.hubs = vec![Hub { at: "11.0.0.9:443".into(), works: false, error: None }];
    let verdict = check(&facts, Code::JustWoken, Part::ThisComputer).verdict;
    assert_eq!(verdict.sentence, "this computer woke up 20 seconds ago after 8 hours and connects again");
    assert!(verdict.evidence.iter().any(|line| line.contains("11.0.0.2:4242: no response")), "{verdict:#?}");
    let way = diagnose(&facts).way;
    let unseen = way[1..].iter().all(|station| station.state == Condition::Unknown);
    assert!(unseen && way[0].state == Condition::Note, "what was not seen is not fine: {way:#?}");
    facts.here.network = Network::default();
    check(&facts, Code::JustWoken, Part::ThisComputer);
    facts.here = woken(facts.here, 60);
    check(&facts, Code::NoNetwork, Part::ThisComputer);
}

#[test]
fn what_does_not_come_up_by_itself_is_blamed_also_right_after_it_woke() {
    let mut facts = apart(TestResult::NoResponse);
    facts.here = woken(facts.here, 5);
    facts.here.listener = Listener {
        port: 4242,
        state: ListenerState::Error,
        taken_by: Some("nginx".into()),
        ..Listener::default()
    };
    check(&facts, Code::PortTaken, Part::ThisComputer);
    let mut facts = apart(TestResult::RefusedUs);
    facts.here = woken(facts.here, 5);
    check(&facts, Code::IdentityChanged, Part::Friend);
    let mut facts = healthy();
    facts.here = woken(facts.here, 5);
    check(&facts, Code::Works, Part::ThisComputer);
}

#[test]
fn the_friends_computer_has_just_woken_if_it_said_so_a_moment_ago() {
    let mut facts = apart(TestResult::NoResponse);
    let there = |ago| There { side: woken(home("11.0.0.2:4242"), ago), source: Source::Code };
    facts.there = Some(there(30));
    let verdict = check(&facts, Code::JustWoken, Part::Friend).verdict;
    assert!(verdict.sentence.starts_with("bert's computer woke up 30 seconds ago"), "{}", verdict.sentence);
    for old in
        [there(61), there(-1), There { side: Side { time: NOW - 3600, ..there(30).side }, ..there(30) }]
    {
        facts.there = Some(old);
        assert_ne!(diagnose(&facts).verdict.code, Code::JustWoken);
    }
}

/// Silent, while another friend is connected.
fn silent() -> Facts {
    let mut silent = apart(TestResult::NoResponse);
    silent.here.others_linked = 1;
    silent
}

fn with_pair(mut facts: Facts, change: impl FnOnce(&mut Pair)) -> Facts {
    change(facts.friend.as_mut().unwrap());
    facts
}

#[test]
fn just_woken_is_said_before_anything_about_room_for_backups() {
    let mut facts = apart(TestResult::NoResponse);
    let keeps = Keeps { accepts: true, offered: Some(1 << 40), stored: 1 << 40, ..Keeps::default() };
    let side = Side { keeps: Some(keeps), ..woken(home("11.0.0.2:4242"), 30) };
    facts.there = Some(There { side, source: Source::Code });
    let verdict = check(&facts, Code::JustWoken, Part::Friend).verdict;
    assert!(verdict.evidence.iter().any(|line| line.contains("is used up")), "{verdict:#?}");
}

#[test]
fn who_is_silent_when_it_always_sleeps_is_probably_asleep() {
    let verdict = check(&with_habit(silent(), 4, 5), Code::Asleep, Part::Friend).verdict;
    assert!(verdict.next_step.is_some() && verdict.weight == Weight::Note, "{verdict:#?}");
    let way = diagnose(&with_habit(silent(), 4, 5)).way;
    let states: Vec<Condition> = way.iter().map(|station| station.state).collect();
    assert_eq!(states.last(), Some(&Condition::Note));
    assert!(verdict.evidence.contains(&"it slept at this time on 4 of 5 days".to_owned()), "{verdict:#?}");
    for (asleep, of) in [(1, 1), (2, 4), (0, 6)] {
        assert_ne!(diagnose(&with_habit(silent(), asleep, of)).verdict.code, Code::Asleep);
    }
    // Whoever refuses, was heard of by others, called that way, or says what is wrong, is awake.
    check(&with_habit(apart(TestResult::Refused), 4, 5), Code::NotRunning, Part::Friend);
    let seen = with_pair(with_habit(silent(), 4, 5), |pair| pair.alive = Some(NOW - 60));
    let answered = with_pair(with_habit(silent(), 4, 5), |pair| pair.answered = Some(NOW - 5));
    for awake in [seen, answered] {
        let verdict = diagnose(&awake).verdict;
        assert!(verdict.code != Code::Asleep && verdict.weight == Weight::Fault, "{verdict:#?}");
    }
    let mut blocked = with_habit(silent(), 4, 5);
    blocked.here.firewall.outbound = Access::Dropped;
    check(&blocked, Code::FirewallOut, Part::FirewallHere);
}

#[test]
fn a_habit_hides_neither_a_computer_that_is_gone_nor_a_line_that_is_down() {
    let habit = "it slept at this time on 4 of 5 days".to_owned();
    let is_fault = |facts: &Facts| {
        let verdict = check(facts, Code::Offline, Part::Friend).verdict;
        assert!(verdict.weight == Weight::Fault && verdict.evidence.contains(&habit), "{verdict:#?}");
    };
    let gone = with_pair(with_habit(silent(), 4, 5), |pair| pair.last_seen = Some(NOW - 21 * 3600));
    is_fault(&gone);
    check(&with_pair(gone.clone(), |pair| pair.alive = Some(NOW - 9 * 3600)), Code::Asleep, Part::Friend);
    let heard = with_pair(gone.clone(), |pair| pair.answered = Some(NOW - 9 * 3600));
    check(&heard, Code::Asleep, Part::Friend);
    is_fault(&with_pair(gone, |pair| pair.last_seen = None));
    // Nothing else outside answers either.
    let mut alone = with_habit(apart(TestResult::NoResponse), 4, 5);
    is_fault(&alone);
    alone.here.hubs = vec![Hub { at: "11.0.0.9:443".into(), works: true, error: None }];
    check(&alone, Code::Asleep, Part::Friend);
    alone.here.hubs[0].works = false;
    assert_ne!(diagnose(&alone).verdict.code, Code::Asleep);
}
