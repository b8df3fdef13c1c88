//! `kill -9` of the program at random moments of its work: backups, restores, uploads, deletions, their undoing, and the
//! janitor. Nothing acknowledged is lost, and whatever was going on is done by doing it again.
//!
//! A schedule follows from its seed, which is printed; `KITH_KILL_SEED` plays one again, `KITH_KILLS` makes it longer.

mod rest;
mod round;
mod schedule;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use e2e::{alone, kith_binary, say};

use self::round::Stand;
use self::schedule::{Round, Victim, Work, schedule};

/// In all.
const KILLS: u64 = 200;
/// Pairs of computers side by side, so that one works while another waits.
const PAIRS: u64 = 4;
/// So many kills between two looks at everything.
const BETWEEN_CHECKS: usize = 25;
/// Of the backups during which the holder is killed, the share in percent for which he may come back too late, and how many may always.
const CAME_LATE: (usize, usize) = (10, 2);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn the_same_seed_makes_the_same_schedule() {
    let one = schedule(7, 0, 100);
    assert_eq!(one, schedule(7, 0, 100));
    assert_ne!(one, schedule(7, 1, 100), "pairs do different things");
    assert_ne!(one, schedule(8, 0, 100));
    for work in Work::ALL {
        assert!(one.iter().any(|round| round.work == work), "{work:?} is never cut off");
    }
}

#[test]
fn killed_at_two_hundred_random_moments_nothing_acknowledged_is_lost() {
    let _alone = alone();
    let program = kith_binary();
    let seed = number("KITH_KILL_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 1_000_000);
    let kills = number("KITH_KILLS").unwrap_or(KILLS);
    say(&format!("KITH_KILL_SEED={seed}, {kills} kills"));
    let begun = Instant::now();
    let done: Vec<(Vec<(Round, bool)>, usize)> = std::thread::scope(|scope| {
        let pairs: Vec<_> = (0..PAIRS)
            .map(|pair| {
                scope.spawn(move || {
                    let rounds = schedule(seed, pair, kills.div_ceil(PAIRS));
                    let mut stand = Stand::new(program, seed.wrapping_mul(PAIRS) + pair);
                    let mut done = Vec::new();
                    for (number, round) in rounds.into_iter().enumerate() {
                        let what = format!("KITH_KILL_SEED={seed}, pair {pair}, kill {number}: {round:?}");
                        let inside = stand.play(&round, &what);
                        stand.assert_nothing_lost(&what);
                        done.push((round, inside));
                        if number % BETWEEN_CHECKS == BETWEEN_CHECKS - 1 {
                            stand.assert_sound(&what);
                        }
                    }
                    stand.assert_sound("at the end");
                    (done, stand.came_late())
                })
            })
            .collect();
        pairs.into_iter().map(|pair| pair.join().unwrap()).collect()
    });
    let came_late: usize = done.iter().map(|(_, came_late)| came_late).sum();
    let done: Vec<_> = done.into_iter().flat_map(|(done, _)| done).collect();
    for work in Work::ALL {
        let of_it: Vec<bool> =
            done.iter().filter(|(round, _)| round.work == work).map(|(_, inside)| *inside).collect();
        let inside = of_it.iter().filter(|inside| **inside).count();
        say(&format!("{work:?}: {inside} of {} kills in the middle of it", of_it.len()));
    }
    let inside = done.iter().filter(|(_, inside)| *inside).count();
    say(&format!("{inside} of {} kills in the middle of something, {:?}", done.len(), begun.elapsed()));
    let waited =
        done.iter().filter(|(round, _)| (round.work, round.victim) == (Work::Backup, Victim::Holder));
    let (percent, always) = CAME_LATE;
    let most = always.max(waited.count() * percent / 100);
    say(&format!("for {came_late} backups the holder came back too late; {most} may be"));
    assert!(came_late <= most, "the holder came back too late for {came_late} backups that had not begun");
    assert!(inside * 3 >= done.len(), "most kills came too late to cut anything off");
}
