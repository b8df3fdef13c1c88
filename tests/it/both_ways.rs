//! Both directions of a link at once, and questions in between.

use std::time::{Duration, Instant};

use e2e::{Computer, Stalls, alone, assert_same, pair, say, wait_until, write_random};

/// The promise for an interactive question while the link is full.
const ANSWER: Duration = Duration::from_secs(1);
/// No single one takes longer, on a machine that may have stalled.
const SLOWEST: Duration = Duration::from_secs(10);
const SIZE: u64 = 300 << 20;

#[test]
fn questions_are_answered_within_a_second_while_backups_run_both_ways() {
    let _alone = alone();
    let (anna, bert) = (Computer::started("anna"), Computer::started("bert"));
    pair(&anna, &bert);
    let mut sources = Vec::new();
    for (one, other, seed) in [(&anna, "bert", 1), (&bert, "anna", 2)] {
        // Something to ask about.
        let small = one.folder("small");
        std::fs::write(small.join("a letter"), b"dear").unwrap();
        one.kith(&["set", "add", "small", small.to_str().unwrap(), "--to", other]).ok();
        one.kith(&["backup", "small"]).ok();
        // By its id: the snapshot of the running backup becomes the latest one at some moment.
        let snapshot = one.kith(&["snapshots", "--json"]).json()[0]["id"].as_str().unwrap().to_owned();
        let source = one.folder("source");
        write_random(&source, seed, SIZE, 30 << 20);
        one.kith(&["set", "add", "media", source.to_str().unwrap(), "--to", other]).ok();
        sources.push((small, snapshot, source));
    }
    let (mut times, stalls) = (Vec::new(), Stalls::watch());
    std::thread::scope(|scope| {
        let there = scope.spawn(|| anna.kith(&["backup", "media"]));
        let back = scope.spawn(|| bert.kith(&["backup", "media"]));
        wait_until("both to be under way", Duration::from_secs(30), || {
            let running = |one: &Computer, other: &str| {
                one.job(other)["progress"]["bytes_sent"].as_u64() > Some(1 << 20)
            };
            running(&anna, "bert") && running(&bert, "anna")
        });
        while !there.is_finished() && !back.is_finished() {
            for (one, (small, snapshot, _)) in [&anna, &bert].into_iter().zip(&sources) {
                let folder = small.to_str().unwrap();
                for call in [&["ls", snapshot, folder][..], &["status", "--json"], &["friends"]] {
                    let start = Instant::now();
                    let answer = one.kith(call);
                    let took = start.elapsed();
                    assert_eq!(answer.code, 0, "{answer}");
                    times.push(took);
                }
            }
        }
        there.join().unwrap().ok();
        back.join().unwrap().ok();
    });
    times.sort();
    let (asked, stalled) = (times.len(), stalls.longest());
    assert!(asked >= 12, "only {asked} questions were asked: the backups were too short for this test");
    // A link that holds up questions holds up most of them, a stall of the machine one or two.
    let (most, slowest) = (times[(asked * 9).div_ceil(10) - 1], times[asked - 1]);
    say(&format!(
        "{asked} questions during both backups, nine of ten answered within {most:?}, the slowest after {slowest:?}"
    ));
    assert!(most < ANSWER, "nine of ten took up to {most:?}: {times:?}");
    assert!(slowest < SLOWEST + stalled, "{times:?}, and the machine stood still for {stalled:?}");
    for (one, (_, _, source)) in [&anna, &bert].into_iter().zip(&sources) {
        let target = one.folder("restored");
        one.kith(&["restore", "latest", "--set", "media", "--target", target.to_str().unwrap()]).ok();
        assert_same(source, &target.join(source.strip_prefix("/").unwrap()));
    }
}
