//! Every kind of site connects with the others by the way that is expected of it.
//!
//! How often two routers that keep ports are punched is counted in `lab::punching`, and with daemons by `matrix --punch 20`: these take no
//! more than 12 calls of a friend in a minute.

use e2e::matrix::{Options, covering, promised, run};
use e2e::{alone, need, need_lab, say};

#[test]
fn every_kind_of_site_connects_by_the_expected_way() {
    if !need_lab() || !["python3", "microsocks", "tinyproxy"].into_iter().all(need) {
        return;
    }
    let _alone = alone();
    let report = run(&Options::of(covering()), &mut |text| say(text));
    say(&report.to_string());
    let surprises: Vec<_> = report.surprises().collect();
    assert!(surprises.is_empty(), "not as expected: {surprises:#?}");
    let lucky: Vec<_> = report.lucky().collect();
    assert!(lucky.len() <= 1, "ports that nobody can know are met too often to be chance: {lucky:#?}");
    let never = report.never_settled();
    assert!(never.is_empty(), "no link came by these ways in time, and so there is no median: {never:?}");
    for (way, (median, count)) in report.medians() {
        if let Some(promised) = promised(way) {
            assert!(median <= promised, "the median of {count} links that were {way} is {median:?}");
        }
    }
}
