use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn prefix(n: u16) -> Prefix {
    let [high, low] = n.to_be_bytes();
    Prefix::V4([10, high, low])
}

/// How many of the hundred possible draws turn a stranger away.
fn percent(busy: usize) -> usize {
    (0..100).filter(|draw| drops_early(busy, *draw)).count()
}

#[test]
fn nobody_is_dropped_while_there_are_few_and_everybody_when_all_places_are_taken() {
    assert_eq!(percent(0), 0);
    assert_eq!(percent(DROP_BEGINS_AT - 1), 0);
    assert_eq!(percent(DROP_BEGINS_AT), DROP_PERCENT);
    assert_eq!(percent(DROP_ALL_FROM), 100);
    assert_eq!(percent(usize::MAX), 100);
    let middle = percent(DROP_BEGINS_AT.midpoint(DROP_ALL_FROM));
    assert_eq!(middle, DROP_PERCENT.midpoint(100));
    let all: Vec<usize> = (0..=DROP_ALL_FROM).map(percent).collect();
    assert!(all.is_sorted(), "{all:?}");
}

/// How many offences in a row are tolerated at one moment.
fn burst(penalties: &mut Penalties, prefix: Prefix, now: Instant) -> usize {
    (0..10_000).take_while(|_| penalties.offend(prefix, now)).count()
}

const BURST: u32 = 32;

#[test]
fn a_burst_is_tolerated_and_then_no_more_from_there_while_others_are_served() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    assert_eq!(burst(&mut penalties, prefix(1), now), BURST as usize);
    assert!(!penalties.offend(prefix(1), now));
    assert!(penalties.offend(prefix(2), now));
}

#[test]
fn offences_are_forgotten_one_by_one_and_in_the_end_all() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    for _ in 0..BURST {
        assert!(penalties.offend(prefix(1), now));
    }
    // One more would be too many; a while later there is room for one, and not for two.
    let later = now + OFFENCE;
    assert!(penalties.offend(prefix(1), later));
    assert!(!penalties.offend(prefix(1), later));
    let much_later = later + TOLERATED + UNFORGIVEN;
    assert_eq!(burst(&mut penalties, prefix(1), much_later), BURST as usize);
    penalties.offend(prefix(2), much_later + TOLERATED + UNFORGIVEN);
    assert_eq!(penalties.forgotten_at.len(), 1, "nothing of the first is left");
}

#[test]
fn whoever_floods_for_an_hour_is_served_again_soon_after_he_stops() {
    let start = Instant::now();
    let mut penalties = Penalties::default();
    let mut served = 0;
    for tenths in 0..36_000 {
        served += u64::from(penalties.offend(prefix(1), start + Duration::from_millis(100 * tenths)));
    }
    assert_eq!(served, u64::from(BURST), "who doesn't stop isn't served");
    let end = start + Duration::from_secs(3600);
    assert!(!penalties.offend(prefix(1), end + UNFORGIVEN / 2));
    assert!(penalties.offend(prefix(1), end + UNFORGIVEN / 2 + UNFORGIVEN + 2 * OFFENCE));
}

#[test]
fn the_table_is_bounded_and_the_worst_offenders_stay_in_it() {
    let now = Instant::now();
    let mut penalties = Penalties::default();
    burst(&mut penalties, prefix(0), now);
    for n in 1..=u16::try_from(MAX_PENALISED).unwrap() + 100 {
        assert!(penalties.offend(prefix(n), now));
    }
    assert_eq!(penalties.forgotten_at.len(), MAX_PENALISED);
    assert_eq!(penalties.by_time.len(), MAX_PENALISED);
    assert!(!penalties.offend(prefix(0), now));
}

proptest! {
    #[test]
    fn both_books_always_agree(offences in proptest::collection::vec((0_u16..50, 0_u64..20_000), 0..500)) {
        let mut now = Instant::now();
        let mut penalties = Penalties::default();
        for (n, pause) in offences {
            now += Duration::from_millis(pause);
            penalties.offend(prefix(n), now);
            prop_assert_eq!(penalties.forgotten_at.len(), penalties.by_time.len());
            for (at, prefix) in &penalties.by_time {
                prop_assert_eq!(penalties.forgotten_at.get(prefix), Some(at));
                prop_assert!(*at > now && *at <= now + TOLERATED + UNFORGIVEN);
            }
        }
    }
}
