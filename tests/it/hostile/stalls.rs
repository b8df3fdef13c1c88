//! A friend who answers slowly, or not at all. The promise is a minute; the clock here is the real one, so all wait at the
//! same time.

use std::time::Duration;

use e2e::hostile::{Asked, Deed, Mischief, Pace};

use super::{World, each};

/// Without progress, a person waits no longer.
const LONGEST: Duration = Duration::from_secs(60);
/// With files that come whole between those that don't, a person waits no longer.
const LONGEST_IN_PARTS: Duration = Duration::from_secs(140);

fn stalled(pace: Pace, is_meant: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> impl Mischief {
    each(is_meant, move |_, answer| answer.at(pace))
}

fn silent(is_meant: impl Fn(&Asked) -> bool + Send + Sync) -> impl Mischief {
    move |asked: &Asked| if is_meant(asked) { Deed::Silence } else { Deed::Honest }
}

fn cutting() -> impl Mischief {
    |asked: &Asked| if asked.is_store() { Deed::CutLink } else { Deed::Honest }
}

/// Asks for something that can't be had; requires that it fails in time and says these.
fn fails(what: &str, prepare: impl FnOnce(&World), args: &[&str], words: &[&str]) {
    let world = World::new();
    prepare(&world);
    if args[0] == "restore" {
        let restored = world.restore(what);
        assert_eq!(restored.outcome.code, 1, "{what}: {}", restored.outcome);
        restored.outcome.says(words);
        let longest = if what.contains("in the middle") { LONGEST_IN_PARTS } else { LONGEST };
        assert!(restored.outcome.took < longest, "{what}: {}", restored.outcome);
    } else {
        let outcome = world.anna.kith(args);
        outcome.ended(1).says(&["bert"]).says(words);
        assert!(outcome.took < LONGEST, "{what}: {outcome}");
    }
    world.liar.behaves();
    // The link lives, or comes back by itself.
    world.liar.wait_linked(&world.anna, &world.bert);
    if args[0] == "backup" {
        world.anna.kith(args).ok();
    }
    assert_eq!(world.restore(what).outcome.code, 0, "{what}: honest again");
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
