//! Tests of rates and the time left, in virtual time.

use super::*;

const MB: u64 = 1_000_000;

/// Feeds a meter once every 200 ms from 0 to `end`, with counts that depend on the time.
fn fed(end: u64, counts: impl Fn(u64) -> Counts) -> Meter {
    let mut meter = Meter::new();
    for now in (0..=end).step_by(200) {
        meter.observe(counts(now), now);
    }
    meter
}

/// 1000 MB and 1000 files in all, 10 MB and 10 files each second.
fn steady(now: u64) -> Counts {
    let done = (now / 100).min(1000);
    Counts {
        files_found: 1000,
        bytes_found: 1000 * MB,
        found_all: true,
        files_done: done,
        bytes_done: done * MB,
        bytes_new: 0,
        bytes_sent: done * MB / 2,
    }
}

#[test]
fn nothing_seen_means_nothing_said() {
    assert_eq!(Meter::new().rates(5), Rates::default());
    let mut meter = Meter::new();
    meter.observe(steady(0), 0);
    assert_eq!(meter.rates(0), Rates::default());
}

#[test]
fn a_steady_job_has_a_steady_rate_and_a_range_that_holds_the_truth() {
    let meter = fed(40_000, steady);
    let rates = meter.rates(40_000);
    assert_eq!(
        (rates.bytes_per_second, rates.files_per_second, rates.sent_per_second),
        (10 * MB, 10, 5 * MB)
    );
    let (least, most) = rates.left.unwrap();
    assert!(least <= Duration::from_secs(60) && most >= Duration::from_secs(60), "{least:?} {most:?}");
    assert!(most <= Duration::from_secs(75));
}

#[test]
fn a_change_of_pace_widens_the_range() {
    // 10 MB/s for 50 s, then 1 MB/s.
    let slowing = |now: u64| {
        let done = if now <= 50_000 { now / 100 } else { 500 + (now - 50_000) / 1000 };
        Counts { files_done: done, bytes_done: done * MB, ..steady(0) }
    };
    let rates = fed(62_000, slowing).rates(62_000);
    assert_eq!(rates.bytes_per_second, MB);
    let (least, most) = rates.left.unwrap();
    assert!(least < Duration::from_secs(100) && most > Duration::from_secs(480), "{least:?} {most:?}");
}

#[test]
fn there_is_no_time_left_while_the_total_is_unknown_or_too_little_was_seen() {
    let scanning = |now: u64| Counts { found_all: false, ..steady(now) };
    let rates = fed(20_000, scanning).rates(20_000);
    assert_eq!((rates.left, rates.bytes_per_second), (None, 10 * MB));
    assert_eq!(fed(2_000, steady).rates(2_000).left, None);
    assert!(fed(4_000, steady).rates(4_000).left.is_some());
}

#[test]
fn standing_still_lowers_the_rate_and_ends_in_no_estimate() {
    let meter = fed(20_000, steady);
    assert!(meter.rates(25_000).bytes_per_second < 6 * MB);
    assert_eq!(meter.rates(31_000).bytes_per_second, 0);
    assert_eq!(meter.rates(90_000).left, None);
}

#[test]
fn a_time_without_a_link_does_not_count() {
    let mut meter = fed(20_000, steady);
    meter.forget_past();
    assert_eq!(meter.rates(500_000), Rates::default());
    for now in (0..=5_000).step_by(200) {
        meter.observe(steady(20_000 + now), 500_000 + now);
    }
    assert_eq!(meter.rates(505_000).bytes_per_second, 10 * MB);
}

#[test]
fn many_small_files_are_measured_by_their_number() {
    let small = |now: u64| Counts {
        files_found: 100_000,
        bytes_found: MB,
        found_all: true,
        files_done: now / 10,
        bytes_done: (now * 100).min(MB),
        ..Counts::default()
    };
    // All bytes are done after 10 s, but only a hundredth of the files: most are empty.
    let (least, _) = fed(20_000, small).rates(20_000).left.unwrap();
    assert!(least > Duration::from_secs(900), "{least:?}");
}

#[test]
fn one_large_file_is_measured_by_its_bytes() {
    let large = |now: u64| Counts { files_found: 1, files_done: 0, ..steady(now) };
    let (least, most) = fed(40_000, large).rates(40_000).left.unwrap();
    assert!(least <= Duration::from_secs(60) && most >= Duration::from_secs(60));
}

#[test]
fn a_finished_job_has_no_time_left() {
    assert_eq!(fed(100_000, steady).rates(100_000).left, Some((Duration::ZERO, Duration::ZERO)));
}

#[test]
fn extreme_counts_and_clocks_break_nothing() {
    let mut meter = Meter::new();
    let all = Counts { bytes_found: u64::MAX, files_found: u64::MAX, found_all: true, ..Counts::default() };
    meter.observe(all, 1_000);
    meter.observe(Counts { bytes_done: u64::MAX, ..all }, 500);
    meter.observe(Counts { bytes_done: 1, files_done: 1, ..all }, 6_000);
    assert_eq!(meter.rates(6_000).left, None, "more than a hundred days");
    meter.observe(all, u64::MAX);
    meter.rates(0);
    meter.rates(u64::MAX);
}

#[test]
fn memory_is_bounded() {
    let meter = fed(3_600_000, steady);
    assert!(meter.samples.len() <= SAMPLES_MAX);
}
