use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
/// A Sunday.
const START: i64 = 1_800_000_000;
const ROUTER: Event = Event::Cause { code: Code::MappingLost, part: Part::RouterThere };
const OFF: Event = Event::Cause { code: Code::Offline, part: Part::Friend };

/// A timeline that is told every minute that all is as it was.
struct Watched {
    line: Timeline,
    /// By the steady clock.
    now: i64,
    /// By how much the date is ahead of that.
    date: i64,
}

impl Watched {
    fn started() -> Self {
        let mut watched = Self { line: Timeline::default(), now: 1000, date: START };
        watched.note(Event::Started);
        watched
    }

    fn linked() -> Self {
        let mut watched = Self::started();
        watched.note(Event::Linked);
        watched
    }

    fn moment(&self) -> Moment {
        Moment { unix: self.date + self.now, steady: self.now.unsigned_abs() }
    }

    fn note(&mut self, event: Event) -> &mut Self {
        self.line.note(self.moment(), event);
        self
    }

    fn lasts(&mut self, seconds: i64) -> &mut Self {
        let end = self.now + seconds;
        while self.now < end {
            self.now = end.min(self.now + 60);
            self.note(Event::StillSo);
        }
        self
    }

    fn away(&mut self, seconds: i64, cause: Event) -> &mut Self {
        self.note(Event::Lost).lasts(10).note(cause).lasts(seconds - 10).note(Event::Linked)
    }

    fn sums(&self) -> Reachability {
        self.line.summary(self.moment())
    }

    #[track_caller]
    fn says(&self, expected: &str) -> &Self {
        assert_eq!(self.sums().sentence().unwrap_or_default(), expected, "{:#?}", self.line);
        self
    }
}

#[test]
fn a_week_comes_down_to_a_share_and_what_was_in_the_way() {
    let mut week = Watched::linked();
    week.lasts(3 * DAY).away(20 * 60, ROUTER);
    // It sleeps for six hours, which is noticed a little later, and is linked again a little after it wakes.
    week.lasts(DAY).note(Event::Lost).lasts(6 * HOUR);
    let woke = week.date + week.now;
    week.lasts(8).note(Event::Linked);
    let slept = Event::SleptThere { from: woke - 6 * HOUR - 30, to: woke };
    week.note(slept).lasts(2 * DAY).away(100 * 60, OFF).lasts(DAY);
    week.says("reachable 98.7 % this week; 6 h asleep, 100 min off, 20 min router");
    let sums = week.sums();
    assert_eq!(
        sums.asleep_seconds,
        (6 * HOUR + 8).unsigned_abs(),
        "what the friend says after that is of no gap"
    );
    let router = Cause { code: Code::MappingLost, part: Part::RouterThere, seconds: 1200 };
    assert_eq!(sums.causes[1], router);
    assert_eq!(sums.watched_seconds() + sums.asleep_seconds, (sums.until - sums.since).unsigned_abs());
}

#[test]
fn the_time_of_which_it_speaks_is_that_of_which_something_is_known() {
    let mut watched = Watched::started();
    assert_eq!(watched.sums().sentence(), None);
    watched.note(Event::Linked).lasts(50).says("reachable 100 % in the last 50 s");
    watched.lasts(20 * 60).says("reachable 100 % in the last 21 min");
    watched.lasts(5 * HOUR).away(60, OFF).says("reachable 99.6 % in the last 5 h; 1 min off");
    watched.lasts(30 * HOUR).says("reachable 99.9 % since yesterday; 1 min off");
    watched.lasts(40 * HOUR).says("reachable 99.9 % in the last 3 days; 1 min off");
    watched.lasts(4 * DAY).says("reachable 99.9 % this week; 1 min off");
    watched.lasts(2 * DAY).says("reachable 100 % this week");
    assert_eq!(watched.sums().until - watched.sums().since, WINDOW);
}

#[test]
fn a_reason_that_says_something_counts_from_the_beginning_and_another_one_from_then_on() {
    let unknown = Event::Cause { code: Code::Unknown, part: Part::Internet };
    let mut watched = Watched::linked();
    watched.lasts(HOUR).note(Event::Lost).lasts(600).note(unknown).lasts(600);
    watched.says("reachable 75 % in the last 80 min; 20 min unknown");
    watched.note(OFF).lasts(600).note(unknown).lasts(600).note(ROUTER).lasts(1200).note(Event::Linked);
    watched.note(ROUTER).lasts(HOUR).says("reachable 66.6 % in the last 3 h; 40 min off, 20 min router");
    watched.note(Event::Cause { code: Code::Works, part: Part::ThisComputer });
    assert!(watched.line.is_linked(), "who is linked is in nobody's way");
}

#[test]
fn a_reason_that_nobody_confirms_is_none_since_it_was_confirmed_last() {
    let mut watched = Watched::linked();
    watched.lasts(HOUR).note(Event::Lost).note(OFF);
    for _look in 0..5 {
        watched.lasts(HOUR).note(OFF);
    }
    watched.lasts(2 * HOUR).says("reachable 12.5 % in the last 8 h; 7 h off");
    watched.lasts(70 * HOUR).note(ROUTER).note(Event::Linked);
    let unknown = Cause { code: Code::Unknown, part: Part::Internet, seconds: 70 * 3600 };
    let off = Cause { code: Code::Offline, part: Part::Friend, seconds: 5 * 3600 };
    let router = Cause { code: Code::MappingLost, part: Part::RouterThere, seconds: 2 * 3600 };
    assert_eq!(watched.sums().causes, [unknown, off, router], "nor is a new one from long ago");
    // Neither a sleep of this computer nor a time in which nobody watched keeps it.
    for slept in [Event::SleptHere { seconds: 8 * 3600 }, Event::StillSo] {
        let mut watched = Watched::linked();
        watched.lasts(HOUR).away(HOUR, OFF).note(Event::Lost).lasts(60).note(OFF).lasts(HOUR);
        watched.now += 8 * HOUR;
        watched.note(slept).lasts(HOUR);
        let off = watched.sums().causes.into_iter().find(|cause| cause.code == Code::Offline);
        assert!(off.is_some_and(|off| off.seconds < 3700), "{slept:?}: {:#?}", watched.line);
    }
}

#[test]
fn a_computer_is_waking_for_a_minute_whoever_says_so() {
    let waking = |part| Event::Cause { code: Code::JustWoken, part };
    for part in [Part::ThisComputer, Part::Friend] {
        let mut watched = Watched::linked();
        watched.lasts(HOUR).note(Event::Lost).note(waking(part)).lasts(HOUR).note(waking(part));
        assert_eq!(watched.line.now_is(), Some(State::UNEXPLAINED));
        watched.note(OFF).note(waking(part));
        assert!(watched.sums().causes.iter().all(|cause| cause.code == Code::Offline), "{:#?}", watched.line);
        let stored = State::Apart { code: Code::JustWoken, part };
        watched.line.replace_last(stored);
        watched.lasts(60);
        assert_eq!(watched.line.now_is(), Some(State::UNEXPLAINED));
    }
    let mut watched = Watched::linked();
    watched.lasts(HOUR).now += HOUR;
    watched.note(Event::SleptHere { seconds: 3600 }).note(Event::Lost).lasts(59);
    assert_eq!(watched.line.now_is(), Some(State::WAKING));
    watched.lasts(1);
    assert_eq!(watched.line.now_is(), Some(State::UNEXPLAINED));
}

#[test]
fn what_nobody_could_see_counts_for_nothing() {
    let mut watched = Watched::linked();
    watched.lasts(10 * HOUR);
    // Kith was killed; nothing was written down for the last three minutes.
    watched.now += 2 * HOUR;
    watched.line = serde_json::from_str(&serde_json::to_string(&watched.line).unwrap()).unwrap();
    watched.note(Event::Started).lasts(3).note(Event::Linked).lasts(HOUR);
    // Nobody said for an hour that all is as it was: the program stood still.
    watched.now += HOUR;
    watched.note(Event::StillSo).lasts(HOUR);
    let sums = watched.sums();
    assert_eq!((sums.linked_seconds, sums.apart_seconds), (12 * 3600, 3));
    assert_eq!((sums.unwatched_seconds, sums.asleep_here_seconds), (3 * 3600, 0));
    watched.says("reachable 99.9 % in the last 15 h; 3 s unknown");
    watched.now += 2 * DAY;
    watched.note(Event::Started).note(Event::Linked);
    watched.says("reachable 99.9 % in the last 3 days; 3 s unknown (of 12 h that were watched)");
}

#[test]
fn the_sleep_of_this_computer_is_nobodys_fault_whoever_notices_it_first() {
    let slept = Event::SleptHere { seconds: 8 * 3600 };
    for early in [None, Some(Event::StillSo), Some(Event::Lost)] {
        let mut watched = Watched::linked();
        watched.lasts(4 * HOUR);
        watched.now += 8 * HOUR;
        early.into_iter().for_each(|early| _ = watched.note(early));
        watched.note(slept).lasts(3).note(Event::Lost).lasts(6).note(Event::Linked).lasts(HOUR);
        let sums = watched.sums();
        assert_eq!(sums.asleep_here_seconds, 8 * 3600, "{early:?}");
        assert_eq!(sums.unwatched_seconds, 0, "{early:?}");
        assert!((6..10).contains(&sums.apart_seconds), "{early:?}: {sums:?}");
        assert_eq!(sums.causes[0].code, Code::JustWoken, "{early:?}");
    }
    // Who does not come back for long is not waking up.
    let mut watched = Watched::linked();
    watched.lasts(HOUR);
    watched.now += HOUR;
    watched.note(slept).note(Event::Lost).lasts(HOUR).note(Event::Linked);
    assert_eq!(watched.sums().causes, [Cause { code: Code::Unknown, part: Part::Internet, seconds: 3600 }]);
}

#[test]
fn a_friend_who_lies_about_his_sleep_recolours_gaps_and_nothing_else() {
    let mut watched = Watched::linked();
    watched.lasts(HOUR).away(HOUR, OFF).lasts(HOUR);
    watched.away(HOUR, Event::Cause { code: Code::RouterSilent, part: Part::RouterHere }).lasts(HOUR);
    for (from, to) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, i64::MAX), (-5, -3)] {
        watched.note(Event::SleptThere { from, to });
    }
    let sums = watched.sums();
    assert_eq!((sums.linked_seconds, sums.asleep_seconds, sums.apart_seconds), (3 * 3600, 3600, 3600));
    assert_eq!(sums.causes[0].part, Part::RouterHere, "what was broken here was broken all the same");
    let before = watched.line.clone();
    assert!(!watched.line.note(watched.moment(), Event::SleptThere { from: 0, to: i64::MAX }), "nothing new");
    assert_eq!(watched.line, before);
}

#[test]
fn a_clock_that_is_set_moves_what_was_noted_along() {
    for set in [-40 * DAY, -HOUR, -90, 90, 10 * HOUR, 400 * DAY] {
        let mut watched = Watched::linked();
        watched.lasts(DAY).away(HOUR, OFF).lasts(HOUR);
        watched.date += set;
        watched.note(Event::StillSo).lasts(HOUR).away(HOUR, ROUTER).lasts(HOUR);
        let sums = watched.sums();
        assert_eq!((sums.linked_seconds, sums.apart_seconds), (27 * 3600, 2 * 3600), "{set}");
        assert_eq!((sums.unwatched_seconds, sums.since), (0, START + set + 1000), "{set}");
    }
    // Set back while Kith did not run, and right again afterwards.
    let mut watched = Watched::linked();
    watched.lasts(DAY);
    watched.line = serde_json::from_str(&serde_json::to_string(&watched.line).unwrap()).unwrap();
    watched.date -= 300 * DAY;
    watched.note(Event::Started).note(Event::Linked).lasts(HOUR);
    watched.date += 300 * DAY;
    watched.note(Event::StillSo).lasts(HOUR).says("reachable 100 % since yesterday");
}

#[test]
fn a_clock_that_is_right_only_after_the_start_moves_this_run_alone() {
    for (wrong, set_again) in [(0, 8 * HOUR), (-300 * DAY, 300 * DAY + 8 * HOUR), (-8 * HOUR, 16 * HOUR)] {
        let mut watched = Watched::linked();
        watched.lasts(2 * DAY).away(HOUR, OFF).lasts(HOUR);
        let ended = watched.date + watched.now;
        watched.line = serde_json::from_str(&serde_json::to_string(&watched.line).unwrap()).unwrap();
        // It was off for eight hours, and its date is that of the end, or an older one.
        watched.date += wrong;
        watched.note(Event::Started).lasts(30).note(Event::Linked).lasts(600).note(Event::Lost).lasts(30);
        watched.date += set_again;
        watched.note(Event::StillSo).note(Event::Linked).lasts(HOUR);
        let sums = watched.sums();
        assert_eq!(
            (sums.since, sums.unwatched_seconds),
            (START + 1000, 8 * 3600),
            "{wrong}: {:#?}",
            watched.line
        );
        assert_eq!((sums.linked_seconds, sums.apart_seconds), (50 * 3600 + 600, 3660), "{wrong}");
        assert_eq!(watched.line.was(ended - 1), Some(State::Linked));
        assert_eq!(watched.line.was(ended + 1), Some(State::Unwatched));
        // Set back before the end of the earlier run, that makes room.
        watched.date -= 10 * HOUR;
        watched.note(Event::StillSo);
        let after = watched.sums();
        assert_eq!((after.linked_seconds, after.apart_seconds), (sums.linked_seconds, 3660), "{wrong}");
        assert_eq!((after.since, after.unwatched_seconds), (sums.since - 2 * HOUR, 0), "{wrong}");
        watched.date += 10 * HOUR;
        watched.note(Event::StillSo);
        assert_eq!(watched.sums(), sums, "{wrong}");
    }
}

#[test]
fn a_computer_that_slept_at_this_hour_on_most_days_has_a_habit() {
    let mut watched = Watched::linked();
    assert_eq!(watched.line.habit(watched.moment()), None);
    for _night in 0..3 {
        watched.lasts(16 * HOUR).note(Event::Lost).lasts(8 * HOUR).note(Event::Linked);
        let to = watched.date + watched.now;
        watched.note(Event::SleptThere { from: to - 8 * HOUR, to });
    }
    watched.lasts(12 * HOUR);
    assert_eq!(watched.line.habit(watched.moment()), Some(Habit { asleep: 0, of: 3 }));
    watched.lasts(8 * HOUR);
    assert_eq!(watched.line.habit(watched.moment()), Some(Habit { asleep: 3, of: 3 }));
}

#[test]
fn what_was_stored_and_makes_no_sense_is_not_believed() {
    let read = |text: &str| serde_json::from_str::<Timeline>(text).unwrap();
    for nonsense in [
        r#"{}"#,
        r#"{"until": 5, "marks": []}"#,
        r#"{"until": 5, "marks": [{"at": 9, "is": "linked"}]}"#,
        r#"{"until": 9, "marks": [{"at": 5, "is": "linked"}, {"at": 5, "is": "asleep"}]}"#,
        r#"{"until": 9223372036854775807, "marks": [{"at": -9223372036854775808, "is": "linked"}]}"#,
    ] {
        assert_eq!(read(nonsense), Timeline::default(), "{nonsense}");
    }
    let later = r#"{"until": 9, "marks": [{"at": 5, "is": {"apart": {"code": "eaten", "part": "internet"}}}],
        "sums": [{"from": 1, "to": 9223372036854775807, "of": []}]}"#;
    assert_eq!(read(later).now_is(), Some(State::UNEXPLAINED));
}

/// What can happen, and how long it then stays so.
fn happening() -> impl Strategy<Value = (Event, i64)> {
    let event = prop_oneof![
        3 => Just(Event::Linked),
        3 => Just(Event::Lost),
        1 => Just(Event::StillSo),
        1 => Just(Event::Started),
        1 => Just(ROUTER),
        1 => Just(OFF),
        1 => (0_u64..40_000).prop_map(|seconds| Event::SleptHere { seconds }),
        1 => (-90_000_i64..90_000, 0_i64..40_000)
            .prop_map(|(ago, long)| Event::SleptThere { from: START - ago, to: START - ago + long }),
    ];
    (event, prop_oneof![4 => 0_i64..200, 1 => 200_i64..20_000])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_second_counts_once_and_what_is_kept_is_bounded(happens in prop::collection::vec(happening(), 0..1500)) {
        let mut watched = Watched::started();
        for (event, lasts) in happens {
            watched.note(event);
            watched.now += lasts;
        }
        let sums = watched.sums();
        let all = sums.watched_seconds() + sums.asleep_seconds + sums.asleep_here_seconds + sums.unwatched_seconds;
        prop_assert_eq!(all, (sums.until - sums.since).unsigned_abs());
        prop_assert!(sums.until - sums.since <= WINDOW);
        let stored = serde_json::to_string(&watched.line).unwrap();
        prop_assert!(stored.len() < 40_000, "{} bytes", stored.len());
        let again: Timeline = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&again.summary(watched.moment()), &sums);
        prop_assert!(sums.percent().is_none_or(|percent| (0.0..=100.0).contains(&percent)));
    }

    #[test]
    fn links_that_come_and_go_add_up_whatever_the_clock_does(
        spans in prop::collection::vec((1_i64..300, 1_i64..300, -3..4_i64), 1..900)
    ) {
        let mut watched = Watched::started();
        let (mut linked, mut apart) = (0, 0);
        for (with, without, set) in spans {
            watched.note(Event::Linked).now += with;
            watched.note(Event::Lost).now += without;
            (linked, apart) = (linked + with, apart + without);
            // Every now and then it is set by days.
            watched.date += if set.abs() == 3 { set * DAY } else { 0 };
        }
        watched.note(Event::Linked);
        let sums = watched.sums();
        prop_assert_eq!((sums.linked_seconds, sums.apart_seconds), (linked.unsigned_abs(), apart.unsigned_abs()));
        prop_assert_eq!(sums.unwatched_seconds, 0);
    }
}
