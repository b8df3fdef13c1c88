//! Hold time and the janitor, in virtual time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kith_vault::{Erased, HoldClock, MAX_STEP, SweepReport};

use crate::simulated::TestClock;
use crate::support::{Fixture, HOLD, bytes_of, files, pack_path};

const BEGIN: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const YEAR: u64 = 365 * 24 * HOUR;

fn wall(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

#[test]
fn a_year_on_the_wall_clock_is_no_time_at_all() {
    let mut clock = HoldClock::resume(minutes(100));
    assert_eq!(clock.observe(minutes(5), wall(BEGIN)), minutes(100), "the first look is only a beginning");
    assert_eq!(clock.observe(minutes(6), wall(BEGIN + MINUTE)), minutes(101));
    assert_eq!(clock.observe(minutes(7), wall(BEGIN + YEAR)), minutes(102), "set forward a year");
    assert_eq!(clock.observe(minutes(8), wall(BEGIN - YEAR)), minutes(103), "and back two");
    assert_eq!(clock.observe(minutes(8), wall(BEGIN)), minutes(103));
}

#[test]
fn a_day_of_looks_is_a_day_and_never_more() {
    let mut clock = HoldClock::resume(Duration::ZERO);
    for minute in 0..=24 * 60 {
        clock.observe(minutes(1000 + minute), wall(BEGIN + minute * MINUTE * 17));
    }
    assert_eq!(clock.reading(), minutes(24 * 60));
}

#[test]
fn what_was_not_observed_has_not_passed() {
    let mut clock = HoldClock::resume(Duration::ZERO);
    clock.observe(minutes(1), wall(BEGIN));
    // Asleep: the monotonic clock stood still, the wall clock went on.
    assert_eq!(clock.observe(minutes(1), wall(BEGIN + 8 * HOUR)), Duration::ZERO);
    // A virtual machine that was moved: the monotonic clock leapt.
    assert_eq!(clock.observe(minutes(60 * 24 * 365), wall(BEGIN + 8 * HOUR)), MAX_STEP);
    // One that goes backwards counts only from where it was.
    assert_eq!(clock.observe(minutes(2), wall(BEGIN)), MAX_STEP);
    assert_eq!(clock.observe(minutes(3), wall(BEGIN)), MAX_STEP);
}

#[test]
fn a_crash_loses_what_was_not_saved_and_a_restart_nothing_else() {
    let mut clock = HoldClock::resume(minutes(10));
    clock.observe(minutes(0), wall(BEGIN));
    clock.observe(minutes(3), wall(BEGIN));
    assert_eq!((clock.reading(), clock.unsaved()), (minutes(13), minutes(3)));
    // What crashed goes on from what was saved, with another monotonic clock.
    let mut again = HoldClock::resume(minutes(10));
    assert_eq!(again.observe(minutes(50_000), wall(BEGIN)), minutes(10));
    // A deletion with a later stamp shows that it had been later.
    again.raise(minutes(12));
    again.raise(minutes(11));
    assert_eq!(again.reading(), minutes(12));
}

impl Fixture {
    /// Time passes for an open vault, a janitor's round at a time.
    async fn pass(&self, clock: &TestClock, milliseconds: u64) -> SweepReport {
        let mut last = SweepReport::default();
        for _ in 0..milliseconds / MINUTE {
            clock.pass(MINUTE);
            last = self.vault().sweep().await.unwrap();
        }
        last
    }

    fn held_files(&self) -> usize {
        files(&self.root().join("ALICE/held")).len()
    }

    async fn store_and_delete(&self, seed: u64) {
        let bytes = bytes_of(seed, 1000);
        self.post(&pack_path(&bytes), &bytes).await.expect_ok();
        self.delete(&pack_path(&bytes)).await.expect_ok();
    }
}

#[tokio::test]
async fn what_is_deleted_is_held_for_the_window_and_then_erased() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.pass(&clock, 7 * MINUTE).await;
    f.store_and_delete(1).await;
    assert_eq!(f.usage(), (0, 4096));
    let report = f.pass(&clock, 30 * MINUTE).await;
    assert_eq!(report.next_due, Some(minutes(30)));
    f.store_and_delete(2).await;
    f.pass(&clock, 29 * MINUTE).await;
    assert_eq!(f.usage(), (0, 8192));
    let report = f.pass(&clock, MINUTE).await;
    let archive = "a".parse().unwrap();
    assert_eq!(report.erased, [Erased { owner: f.owner.clone(), archive, objects: 1, bytes: 4096 }]);
    assert_eq!((report.next_due, report.more, report.stamped), (Some(minutes(30)), false, 0));
    assert_eq!((f.usage(), f.held_files()), ((0, 4096), 1));
    f.pass(&clock, 30 * MINUTE).await;
    assert_eq!((f.usage(), f.held_files()), ((0, 0), 0));
    assert_eq!(f.vault().sweep().await.unwrap(), SweepReport::default());
}

#[tokio::test]
async fn no_clock_restart_or_sleep_shortens_the_window() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store_and_delete(1).await;
    f.pass(&clock, 10 * MINUTE).await;
    // The time of day is set forward a year, and back.
    clock.set_wall(BEGIN + YEAR);
    assert_eq!(f.vault().sweep().await.unwrap().erased, []);
    clock.set_wall(BEGIN - YEAR);
    assert_eq!(f.vault().sweep().await.unwrap().erased, []);
    // Off for a year, with a clean end: ten minutes have passed, as before.
    f.stop();
    clock.pass(YEAR);
    f.start(&clock).await;
    assert_eq!(f.vault().sweep().await.unwrap().next_due, Some(minutes(50)));
    // Many short runs add up.
    for _ in 0..4 {
        f.pass(&clock, 10 * MINUTE).await;
        f.stop();
        clock.pass(YEAR);
        f.start(&clock).await;
    }
    assert_eq!(f.held_files(), 1);
    f.pass(&clock, 9 * MINUTE).await;
    assert_eq!(f.held_files(), 1);
    f.pass(&clock, MINUTE).await;
    assert_eq!(f.held_files(), 0);
}

#[tokio::test]
async fn a_lost_or_damaged_clock_holds_longer_and_never_shorter() {
    for damage in ["", "nonsense", "hold 99999999999999999999999\nwall 0\n", "hold 7"] {
        let clock = TestClock::at(BEGIN);
        let mut f = Fixture::by(&clock).await;
        f.store_and_delete(1).await;
        f.pass(&clock, 10 * MINUTE).await;
        f.store_and_delete(2).await;
        f.pass(&clock, 40 * MINUTE).await;
        f.stop();
        let file = f.root().join(".kith-vault.clock");
        let saved = std::fs::read_to_string(&file).unwrap();
        assert!(saved.starts_with("hold 3000000\nwall "), "{saved}");
        std::fs::write(&file, damage).unwrap();
        f.start(&clock).await;
        // The second deletion shows that ten minutes had passed since the first.
        assert_eq!(f.vault().sweep().await.unwrap().next_due, Some(minutes(50)), "{damage}");
    }
}

#[tokio::test]
async fn the_holder_may_shorten_and_lengthen_the_window() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.store_and_delete(1).await;
    f.pass(&clock, 10 * MINUTE).await;
    f.vault().set_hold(2 * HOLD);
    f.pass(&clock, 60 * MINUTE).await;
    assert_eq!(f.held_files(), 1);
    f.vault().set_hold(minutes(70));
    assert_eq!(f.vault().sweep().await.unwrap().erased.len(), 1);
    f.store_and_delete(2).await;
    f.vault().set_hold(Duration::ZERO);
    assert_eq!(f.vault().sweep().await.unwrap().erased.len(), 1);
    assert_eq!(f.held_files(), 0);
}

#[tokio::test]
async fn deleting_again_begins_a_new_window() {
    let clock = TestClock::at(BEGIN);
    let f = Fixture::by(&clock).await;
    f.store_and_delete(1).await;
    f.pass(&clock, 50 * MINUTE).await;
    let at = BEGIN.to_string();
    f.call("POST", "/a/?undelete", &[("kith-as-of", &at)], b"").await.expect_ok();
    f.delete(&pack_path(&bytes_of(1, 1000))).await.expect_ok();
    f.pass(&clock, 59 * MINUTE).await;
    assert_eq!(f.held_files(), 1);
    f.pass(&clock, MINUTE).await;
    assert_eq!(f.held_files(), 0);
}

#[tokio::test]
async fn a_round_of_the_janitor_has_a_bound_and_the_next_goes_on() {
    let clock = TestClock::at(BEGIN);
    let mut f = Fixture::by(&clock).await;
    f.store_and_delete(1).await;
    let held = f.root().join("ALICE/held/a/index");
    std::fs::create_dir_all(&held).unwrap();
    for number in 0..10_500_u64 {
        std::fs::write(held.join(format!("{number:064x}.1.0.0")), b"").unwrap();
    }
    f.stop();
    f.start(&clock).await;
    assert_eq!(f.usage(), (0, 10_501 * 4096));
    let report = f.pass(&clock, 60 * MINUTE).await;
    assert_eq!((report.more, report.erased[0].objects), (true, 10_000));
    let report = f.pass(&clock, MINUTE).await;
    assert_eq!((report.more, report.erased[0].objects), (false, 501));
    assert_eq!((f.usage(), f.held_files()), ((0, 0), 0));
}
