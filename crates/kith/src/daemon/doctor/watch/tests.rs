use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use kith_doctor::{Code, Part, Verdict, Weight};
use kith_identity::{DeviceId, Identity, IdentitySeed};

use super::plan::{
    APART, Change, FIRST_PAUSE, LONGEST_PAUSE, LONGEST_SETTLE, MOST_NOTICES, Notice, SETTLE, STIRRED_PAUSE,
    Subject, Watching, merged,
};

pub(in crate::daemon::doctor) fn device(seed: u8) -> DeviceId {
    Identity::from_seed(&IdentitySeed::from_bytes([seed; 32])).unwrap().device_id()
}

fn friend(seed: u8) -> Subject {
    Subject::Friend(device(seed))
}

fn verdict(code: Code) -> Verdict {
    Verdict {
        code,
        subject: String::new(),
        part: code.part(),
        weight: code.weight(),
        sentence: code.title().to_owned(),
        next_step: Some(code.step().to_owned()),
        evidence: Vec::new(),
    }
}

/// A watch, and a clock that it never looks at.
struct World {
    watching: Watching,
    begun: Instant,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self { watching: Watching::default(), begun: now, now }
    }

    fn with(broken: &[Subject]) -> Self {
        let mut world = Self::new();
        assert_eq!(world.follow(broken), []);
        world
    }

    fn follow(&mut self, broken: &[Subject]) -> Vec<Change> {
        let broken: BTreeMap<Subject, Timestamp> =
            broken.iter().map(|subject| (*subject, Timestamp::UNIX_EPOCH)).collect();
        self.watching.follow(&broken, self.now)
    }

    /// Waits for the next look and lets it come to this; says when it was, and what changed.
    fn look(&mut self, code: Option<Code>) -> (u64, Vec<String>) {
        self.look_after(code, None)
    }

    /// The same; the newest dial was over so many seconds after the epoch.
    fn look_after(&mut self, code: Option<Code>, dialled: Option<u64>) -> (u64, Vec<String>) {
        let due = self.watching.next_look().unwrap();
        assert_eq!(self.watching.due(due.checked_sub(Duration::from_millis(1)).unwrap()), None);
        self.now = self.now.max(due);
        let subject = self.watching.due(self.now).unwrap();
        let verdict = code.map(verdict);
        let dialled = dialled.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let changes = self.watching.looked(subject, verdict.as_ref(), dialled, self.now);
        ((self.now - self.begun).as_secs(), words(&changes))
    }

    fn notices(&self) -> Vec<Notice> {
        merged(self.watching.notices())
    }

    fn said(&self) -> Vec<Code> {
        self.notices().into_iter().map(|notice| notice.code).collect()
    }
}

fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| match change {
        Change::Began(notice) => format!("+{}", notice.code),
        Change::Ended(notice) => format!("-{}", notice.code),
    };
    changes.iter().map(word).collect()
}

const NOTHING: Vec<String> = Vec::new();

#[test]
fn while_everything_works_there_is_nothing_to_wait_for() {
    let mut world = World::with(&[]);
    assert_eq!(world.watching.next_look(), None);
    world.watching.network_changed(world.now);
    assert_eq!((world.watching.next_look(), world.watching.due(world.now)), (None, None));
}

#[test]
fn a_friend_who_stays_away_is_looked_at_after_a_minute_and_told_of_when_two_looks_agree() {
    let mut world = World::with(&[friend(1)]);
    assert_eq!(world.look(Some(Code::FirewallOut)), (60, NOTHING));
    assert_eq!(world.said(), []);
    assert_eq!(world.look(Some(Code::FirewallOut)), (120, vec!["+firewall-out".to_owned()]));
    let notices = world.notices();
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((notice.subject, notice.asked, notice.weight), (friend(1), Some(device(1)), Weight::Fault));
    assert_eq!((notice.part, notice.since), (Part::FirewallHere, Timestamp::UNIX_EPOCH));
}

#[test]
fn the_pause_doubles_to_an_hour_while_nothing_changes() {
    let mut world = World::with(&[friend(1)]);
    let looks: Vec<u64> = (0..11).map(|_| world.look(Some(Code::Offline)).0).collect();
    let pauses: Vec<u64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [60, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    // Another verdict is made sure of soon.
    assert_eq!(world.look(Some(Code::NotRunning)).1, NOTHING);
    let before = world.now;
    assert_eq!(world.look(Some(Code::NotRunning)).1, ["-offline", "+not-running"]);
    assert_eq!(world.now - before, FIRST_PAUSE);
}

#[test]
fn what_happens_with_a_friend_who_is_away_for_long_has_him_looked_at_but_not_too_often() {
    let mut world = World::with(&[friend(1)]);
    world.watching.stirred(friend(1), world.now);
    world.watching.stirred(friend(2), world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + APART));
    for _ in 0..12 {
        world.look(Some(Code::Offline));
    }
    world.watching.stirred(friend(2), world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + LONGEST_PAUSE));
    world.watching.stirred(friend(1), world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + STIRRED_PAUSE));
    world.look(Some(Code::Offline));
    world.now += Duration::from_secs(1200);
    world.watching.stirred(friend(1), world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + SETTLE));
}

#[test]
fn what_only_one_look_came_to_is_not_said() {
    let mut world = World::with(&[friend(1)]);
    for code in [Code::Offline, Code::NotRunning, Code::Offline, Code::NotRunning] {
        assert_eq!(world.look(Some(code)).1, NOTHING);
    }
    assert_eq!(world.look(Some(Code::NotRunning)).1, ["+not-running"]);
    // What is said stays while looks don't agree.
    for code in [Some(Code::Offline), None, Some(Code::NotRunning), Some(Code::Offline)] {
        assert_eq!(world.look(code).1, NOTHING);
        assert_eq!(world.said(), [Code::NotRunning]);
    }
    assert_eq!(world.look(Some(Code::Offline)).1, ["-not-running", "+offline"]);
}

#[test]
fn a_notice_ends_when_the_friend_is_back_or_nothing_can_be_said_twice() {
    let mut world = World::with(&[friend(1), friend(2)]);
    for _ in 0..4 {
        world.look(Some(Code::NotRunning));
    }
    assert_eq!(world.said(), [Code::NotRunning]);
    assert_eq!(words(&world.follow(&[friend(2)])), ["-not-running"]);
    assert_eq!(words(&world.follow(&[friend(2)])), NOTHING);
    assert_eq!(world.look(None).1, NOTHING);
    assert_eq!(world.look(None).1, ["-not-running"]);
    assert_eq!(world.said(), []);
}

#[test]
fn whoever_comes_and_goes_is_silent() {
    let mut world = World::new();
    for _ in 0..100 {
        assert_eq!(words(&world.follow(&[friend(1)])), NOTHING);
        world.now += APART - Duration::from_secs(1);
        assert_eq!(world.watching.due(world.now), None);
        assert_eq!(words(&world.follow(&[])), NOTHING);
        world.now += Duration::from_secs(1);
    }
}

#[test]
fn a_look_that_ends_when_the_friend_is_back_says_nothing() {
    let mut world = World::with(&[friend(1)]);
    world.look(Some(Code::Offline));
    world.follow(&[]);
    assert_eq!(world.watching.looked(friend(1), Some(&verdict(Code::Offline)), None, world.now), []);
    assert_eq!((world.said(), world.watching.next_look()), (vec![], None));
}

#[test]
fn another_network_makes_looks_due_soon_but_not_too_soon() {
    let mut world = World::with(&[friend(1)]);
    // Not before he is away for long enough.
    world.watching.network_changed(world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + APART));
    for _ in 0..12 {
        world.look(Some(Code::Offline));
    }
    assert_eq!(world.watching.next_look(), Some(world.now + LONGEST_PAUSE));
    world.watching.network_changed(world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + SETTLE));
    world.look(Some(Code::Offline));
    // What is due just then waits, too.
    world.now += FIRST_PAUSE;
    world.watching.network_changed(world.now);
    assert_eq!(world.watching.next_look(), Some(world.now + SETTLE));
}

#[test]
fn a_network_that_changes_all_the_time_does_not_put_looks_off_for_ever() {
    let mut world = World::with(&[friend(1)]);
    world.now += APART;
    let begun = world.now;
    while world.watching.due(world.now).is_none() || world.now == begun {
        world.watching.network_changed(world.now);
        world.now += Duration::from_secs(5);
    }
    assert_eq!(world.now - begun, LONGEST_SETTLE);
}

#[test]
fn what_was_seen_in_another_network_confirms_nothing() {
    let mut world = World::with(&[friend(1)]);
    assert_eq!(world.look(Some(Code::FirewallOut)).1, NOTHING);
    world.watching.network_changed(world.now);
    assert_eq!(world.look(Some(Code::FirewallOut)).1, NOTHING);
    assert_eq!(world.look(Some(Code::FirewallOut)).1, ["+firewall-out"]);
    // What is said stays until two looks in the new network have come to something else.
    world.watching.network_changed(world.now);
    assert_eq!((world.look(None).1, world.said()), (NOTHING, vec![Code::FirewallOut]));
    assert_eq!(world.look(None).1, ["-firewall-out"]);
}

#[test]
fn the_same_dials_confirm_nothing_and_new_ones_are_waited_for() {
    let mut world = World::with(&[friend(1)]);
    let off = Some(Code::Offline);
    assert_eq!(world.look_after(off, Some(50)), (60, NOTHING));
    let looks: Vec<_> = (0..3).map(|_| world.look_after(off, Some(50))).collect();
    assert_eq!(looks, [(120, NOTHING), (135, NOTHING), (165, NOTHING)]);
    assert_eq!(world.look_after(off, Some(161)), (225, vec!["+offline".to_owned()]));
    // A notice stays without news, and another verdict needs dials of its own.
    assert_eq!(world.look_after(off, Some(161)), (285, NOTHING));
    assert_eq!(world.look_after(Some(Code::Unknown), Some(300)).1, NOTHING);
    assert_eq!(world.look_after(Some(Code::Unknown), Some(300)).1, NOTHING);
    assert_eq!(world.look_after(Some(Code::Unknown), Some(400)).1, ["-offline", "+unknown"]);
}

#[test]
fn a_look_that_began_before_the_friend_was_back_for_a_moment_says_nothing() {
    let mut world = World::with(&[friend(1)]);
    world.look(Some(Code::Offline));
    world.look(Some(Code::Offline));
    assert_eq!(words(&world.follow(&[])), ["-offline"]);
    world.follow(&[friend(1)]);
    for _ in 0..2 {
        let late = verdict(Code::Offline);
        assert_eq!(world.watching.looked(friend(1), Some(&late), None, world.now), []);
    }
    assert_eq!(world.watching.next_look(), Some(world.now + APART));
}

#[test]
fn one_is_looked_at_at_a_time_whoever_waits_for_longest_first() {
    let mut world = World::with(&[friend(1)]);
    world.now += Duration::from_secs(10);
    world.follow(&[friend(1), friend(2)]);
    let late = world.now + APART * 2;
    assert_eq!(world.watching.due(late), Some(friend(1)));
    world.watching.looked(friend(1), None, None, late);
    assert_eq!(world.watching.due(late), Some(friend(2)));
    world.watching.looked(friend(2), None, None, late);
    assert_eq!(world.watching.due(late), None);
}

#[test]
fn a_computer_that_is_off_is_a_note_and_everything_else_a_fault() {
    for (code, weight) in [
        (Code::Offline, Some(Weight::Note)),
        (Code::Unknown, Some(Weight::Note)),
        // A router may have said so for a computer that is off.
        (Code::NotRunning, Some(Weight::Note)),
        (Code::FirewallOut, Some(Weight::Fault)),
        (Code::NoInternet, Some(Weight::Fault)),
        (Code::Relayed, None),
        (Code::Works, None),
    ] {
        let mut world = World::with(&[friend(1)]);
        world.look(Some(code));
        world.look(Some(code));
        let said = world.notices().first().map(|notice| notice.weight);
        assert_eq!(said, weight, "{code}");
    }
}

#[test]
fn a_way_in_that_was_lost_is_a_fault_whatever_became_of_it() {
    let noted = Verdict { weight: Weight::Note, ..verdict(Code::CarrierNat) };
    let mut world = World::with(&[Subject::Here]);
    for _ in 0..2 {
        world.now = world.watching.next_look().unwrap();
        world.watching.looked(Subject::Here, Some(&noted), None, world.now);
    }
    let [notice] = &world.notices()[..] else { panic!("one notice") };
    assert_eq!((notice.subject, notice.asked, notice.weight), (Subject::Here, None, Weight::Fault));
    assert_eq!(words(&world.follow(&[])), ["-carrier-nat"]);
}

#[test]
fn nothing_but_this_computer_and_its_router_can_have_lost_the_way_in() {
    for (code, is_said) in [
        (Code::HubUnreachable, false),
        (Code::NoInternet, false),
        (Code::FirewallIn, true),
        (Code::MappingLost, true),
        (Code::PortTaken, true),
    ] {
        let mut world = World::with(&[Subject::Here]);
        world.look(Some(code));
        world.look(Some(code));
        assert_eq!(world.said().contains(&code), is_said, "{code}");
    }
}

#[test]
fn what_is_in_the_way_to_several_friends_is_said_once_of_this_computer() {
    let mut world = World::with(&[friend(1), friend(2)]);
    for _ in 0..4 {
        world.look(Some(Code::NoInternet));
    }
    let notices = world.notices();
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!(notice.subject, Subject::Here);
    assert!(notice.asked.is_some(), "the doctor needs a friend to see it");
    assert_eq!(notice.friends.len(), 2, "{notice:?}");
    assert_eq!(words(&world.follow(&[friend(2)])), ["-no-internet"]);
    assert_eq!(world.notices()[0].subject, friend(2));
}

#[test]
fn what_has_lost_the_way_in_and_keeps_a_friend_away_leads_to_the_doctor_of_that_friend() {
    let mut world = World::with(&[Subject::Here, friend(1)]);
    for _ in 0..4 {
        world.look(Some(Code::FirewallIn));
    }
    let notices = world.notices();
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((notice.subject, notice.asked), (Subject::Here, Some(device(1))));
    assert_eq!(notice.friends, [device(1)]);
}

#[test]
fn faults_come_first_and_the_list_is_bounded() {
    let subjects: Vec<Subject> = (1..=50).map(friend).collect();
    let mut world = World::with(&subjects);
    for round in 0..100 {
        world.now = world.now.max(world.watching.next_look().unwrap());
        let subject = world.watching.due(world.now).unwrap();
        let code = if subject == subjects[40] { Code::NoInternet } else { Code::Offline };
        let named = Verdict { sentence: format!("{subject:?}"), ..verdict(code) };
        let changes = world.watching.looked(subject, Some(&named), None, world.now);
        assert_eq!(changes.len(), usize::from(round >= 50));
    }
    let notices = world.notices();
    assert_eq!((notices.len(), notices[0].code), (MOST_NOTICES, Code::NoInternet));
}

#[test]
fn a_notice_is_told_in_the_newest_words() {
    let mut world = World::with(&[friend(1)]);
    for minutes in 1..4 {
        world.now = world.watching.next_look().unwrap();
        let said = Verdict { sentence: format!("{minutes} minutes ago"), ..verdict(Code::Offline) };
        let changes = world.watching.looked(friend(1), Some(&said), None, world.now);
        assert_eq!(changes.len(), usize::from(minutes == 2));
    }
    assert_eq!(world.notices()[0].sentence, "3 minutes ago");
}
