//! A friend who answers slowly, or not at all. The promise is a minute; the clock here is the real one, so all wait at the
//! same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::hostile::{Answer, Asked, Deed, Mischief, Pace};
use e2e::{Stalls, say};

use super::{World, each};

/// Without progress, a person waits no longer: neither between two things that come, nor after the last of them.
const LONGEST: Duration = Duration::from_secs(60);

fn stalled(pace: Pace, is_meant: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> impl Mischief {
    each(is_meant, move |_, answer| answer.at(pace))
}

fn silent(is_meant: impl Fn(&Asked) -> bool + Send + Sync) -> impl Mischief {
    move |asked: &Asked| if is_meant(asked) { Deed::Silence } else { Deed::Honest }
}

fn cutting() -> impl Mischief {
    |asked: &Asked| if asked.is_store() { Deed::CutLink } else { Deed::Honest }
}

/// Asks for something that can't be had; requires that it fails in time, and names the friend and these.
fn fails(what: &str, prepare: impl FnOnce(&World), args: &[&str], words: &[&str]) {
    let world = World::new();
    prepare(&world);
    let stalls = Stalls::watch();
    let (outcome, waited) = if args[0] == "restore" {
        let restored = world.restore(what);
        restored.outcome.ended(1);
        restored.names_all_that_is_missing(&world, what);
        (restored.outcome, restored.waited)
    } else {
        let begin = Instant::now();
        let outcome = world.anna.kith(args);
        (outcome, world.liar.longest_without_progress(begin, Instant::now()))
    };
    outcome.ended(1).says(&["bert"]).says(words);
    // What is given up after 55 s may be given up that much later.
    let stalled = stalls.longest();
    say(&format!("{what}: ended after {:?}, and nothing came for {waited:?}", outcome.took));
    assert!(
        waited < LONGEST + stalled,
        "{what}: nothing came for {waited:?}, and the machine stood still for {stalled:?}: {outcome}"
    );
    world.liar.behaves();
    // The link lives, or comes back by itself.
    world.liar.wait_linked(&world.anna, &world.bert);
    if args[0] == "backup" {
        world.anna.kith(args).ok();
    }
    assert_eq!(world.restore(what).outcome.code, 0, "{what}: honest again");
}

/// What the measure is worth: it shows how long nothing came, and small bytes don't shorten it.
#[test]
fn a_pause_in_the_middle_of_a_restore_is_measured() {
    // Longer than the other reads that go on beside it, and shorter than what is taken for a stall.
    const PAUSE: Duration = Duration::from_secs(12);
    const SHOWN: Duration = Duration::from_secs(2);
    let world = World::new();
    let quick = world.restore("honest");
    let is_contents = world.contents();
    // One pack begins slowly, by bytes, and then nothing is held up any more.
    let dripped = AtomicBool::new(false);
    world.liar.does(move |asked: &Asked| {
        if !is_contents(asked) || dripped.swap(true, Ordering::Relaxed) {
            return Deed::Honest;
        }
        Deed::Change(Box::new(|answer| {
            let body = answer.body.slice(..answer.body.len().min(1 + PAUSE.as_secs() as usize * 10));
            Answer { claimed_length: Some(answer.body.len() as u64), ..answer.with_body(body) }
                .at(Pace::Drip(Duration::from_millis(100)))
        }))
    });
    let slow = world.restore("a pause");
    assert!(slow.outcome.took >= PAUSE, "{}", slow.outcome);
    let (quick, waited) = (quick.waited, slow.waited);
    assert!(
        waited > quick + SHOWN && waited <= slow.outcome.took,
        "{waited:?}, and {quick:?} without a pause: {}",
        slow.outcome
    );
}

#[test]
fn nobody_waits_longer_than_a_minute_for_a_friend_who_does_not_move_on() {
    std::thread::scope(|scope| {
        let mut tries = Vec::new();
        let mut attempt = |what: &'static str,
                           prepare: Box<dyn FnOnce(&World) + Send>,
                           args: &'static [&'static str],
                           words: &'static [&'static str]| {
            tries.push((what, scope.spawn(move || fails(what, prepare, args, words))));
        };
        attempt(
            "no answer about contents",
            Box::new(|world| world.liar.does(silent(world.contents()))),
            &["restore"],
            &["pack", "no byte was moved"],
        );
        attempt(
            "contents that stop in the middle",
            Box::new(|world| world.liar.does(stalled(Pace::StallAt(5000), world.contents()))),
            &["restore"],
            &["pack", "no byte was moved"],
        );
        attempt(
            "contents of which nothing comes but the beginning",
            Box::new(|world| world.liar.does(stalled(Pace::StallAt(1), world.contents()))),
            &["restore"],
            &["pack", "no byte was moved"],
        );
        attempt(
            "a byte of contents every two seconds",
            Box::new(|world| world.liar.does(stalled(Pace::Drip(Duration::from_secs(2)), world.contents()))),
            &["restore"],
            &["pack", "no byte was moved"],
        );
        attempt(
            "no list of indexes",
            Box::new(|world| world.liar.does(silent(|asked: &Asked| asked.lists("index")))),
            &["ls", "latest"],
            &["list of the index files", "no byte was moved"],
        );
        attempt(
            "no answer at all, not even to a ping",
            Box::new(|world| world.liar.does(silent(|_: &Asked| true))),
            &["restore"],
            &["bert"],
        );
        attempt(
            "the link cut with every answer",
            Box::new(|world| world.liar.does(cutting())),
            &["restore"],
            &["bert"],
        );
        attempt(
            "a check of packs that don't come",
            Box::new(|world| world.liar.does(silent(world.contents()))),
            &["check", "bert", "--read-data"],
            &["pack", "no byte was moved"],
        );
        attempt(
            "an upload that is never confirmed",
            Box::new(|world| {
                std::fs::write(world.source.join("new"), e2e::Random::new(3).bytes(300_000)).unwrap();
                world.liar.does(silent(|asked: &Asked| asked.stores("data")));
            }),
            &["backup"],
            &["pack", "no byte was moved"],
        );
        for (what, attempt) in tries {
            attempt.join().unwrap_or_else(|_| panic!("{what} failed, see above"));
        }
    });
}
