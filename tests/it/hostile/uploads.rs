//! A friend who says that he stored something.

use bytes::Bytes;
use e2e::Random;
use e2e::hostile::{Answer, Asked, Deed, Mutator, Pace};
use http::StatusCode;

use super::{World, entries, objects};

fn acknowledged() -> Answer {
    Answer::new(StatusCode::OK, "")
}

/// Writes something new of about a megabyte, in a few files.
fn add_files(world: &World, seed: u64) {
    let mut chance = Random::new(seed);
    for number in 0..6 {
        let length = 20_000 + usize::try_from(chance.below(300_000)).unwrap();
        let content = chance.bytes(length);
        std::fs::write(world.source.join(format!("new {seed} {number}")), content).unwrap();
    }
}

#[test]
fn packs_that_were_acknowledged_and_dropped_are_found_by_a_check_and_stored_by_the_next_backup() {
    let world = World::new();
    add_files(&world, 1);
    let before = objects(&world.archive(), "data");
    world.liar.does(
        |asked: &Asked| if asked.stores("data") { Deed::Instead(acknowledged()) } else { Deed::Honest },
    );
    // Nobody can know better than what was acknowledged.
    world.anna.kith(&["backup"]).ok();
    assert_eq!(objects(&world.archive(), "data"), before, "something was stored after all");
    world.liar.behaves();
    world.anna.kith(&["check", "bert"]).ended(1).says(&["bert", "pack", "missing", "back up again"]);
    let id = |world: &World| {
        let snapshots = world.anna.kith(&["snapshots", "--json"]).json();
        snapshots.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
    };
    let lost = id(&world);
    world.restore("dropped packs");
    world.anna.kith(&["backup"]).ok();
    assert_ne!(id(&world), lost);
    assert_eq!(world.restore("mended").outcome.code, 0);
    // What changed since is lost with the snapshot that had it; nothing else is.
    let check = world.anna.kith(&["check", "bert", "--read-data"]);
    for line in check.stderr.lines().filter(|line| line.contains("snapshot")) {
        assert!(line.contains(&lost[..8]), "another snapshot than {lost} is damaged: {check}");
    }
}

#[test]
fn indexes_that_were_acknowledged_and_dropped_cost_nothing_that_is_stored() {
    let world = World::new();
    add_files(&world, 2);
    world.liar.does(
        |asked: &Asked| if asked.stores("index") { Deed::Instead(acknowledged()) } else { Deed::Honest },
    );
    world.anna.kith(&["backup"]).ok();
    world.liar.behaves();
    world.anna.kith(&["check", "bert"]).ended(1).says(&["bert"]);
    let before = objects(&world.archive(), "data").len();
    world.anna.kith(&["backup"]).ok();
    world.anna.kith(&["check", "bert", "--read-data"]).ok();
    let after = objects(&world.archive(), "data").len();
    assert!(after <= before + 1, "{before} packs before, {after} after: what was there was sent again");
    assert_eq!(world.restore("mended").outcome.code, 0);
}

#[test]
fn packs_that_rot_after_they_were_stored_are_named_and_never_restored_wrong() {
    let world = World::new();
    let contents = world.contents();
    let mut chance = Random::new(4);
    let packs = objects(&world.archive(), "data");
    let asked = |name: &str| Asked {
        method: "GET".into(),
        place: e2e::hostile::Place::Object("data".into(), name.into()),
        range: None,
        times: 0,
    };
    for name in packs.iter().filter(|name| contents(&asked(name))) {
        let path = world.archive().join("data").join(&name[..2]).join(name);
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let damaged = Mutator::new(chance.number()).damage(&asked(name), &bytes, 3).0;
        std::fs::write(&path, damaged).unwrap();
    }
    world.anna.kith(&["check", "bert"]).ok();
    world.anna.kith(&["check", "bert", "--read-data"]).ended(1).says(&["bert", "pack", "damaged"]);
    let restored = world.restore("rotten packs");
    assert!(!restored.missing.is_empty());
    restored.names_all_that_is_missing(&world, "rotten packs");
}

/// What is done to an upload: nothing, or something that a backup must not take for success.
fn upload_mischief(seed: u64) -> impl Fn(&Asked) -> Deed + Send + Sync {
    let mutator = Mutator::new(seed);
    move |asked: &Asked| {
        if asked.method != "POST" || !asked.is_store() {
            return Deed::Honest;
        }
        let mut chance = mutator.chance(asked);
        let refusal = |code: u16| Answer::new(StatusCode::from_u16(code).unwrap(), "no");
        match chance.below(40) {
            0 => Deed::Instead(refusal(500)),
            1 => Deed::Instead(refusal(507)),
            2 => Deed::Instead(refusal(301)),
            3 => Deed::Instead(refusal(404)),
            4 => Deed::Instead(refusal(503)),
            5 => Deed::CutLink,
            6 => Deed::Instead(Answer { raw: Some(Bytes::from_static(b"HTTP/1.1 2")), ..refusal(500) }),
            7 => Deed::Instead(Answer {
                raw: Some(Bytes::from_static(b"yes, stored\r\n\r\n")),
                ..refusal(500)
            }),
            // Stored, and the answer is lost.
            8 => Deed::Change(Box::new(|answer| Answer { raw: Some(Bytes::new()), ..answer })),
            9 => Deed::Change(Box::new(|answer| answer.with_body("x").at(Pace::CutLinkAt(0)))),
            _ => Deed::Honest,
        }
    }
}

#[test]
fn a_backup_succeeds_only_if_everything_in_it_was_acknowledged() {
    const ROUNDS: u64 = 12;
    let world = World::new();
    let mut number = 100;
    let mut succeeds = |what: &str, mischief: Box<dyn Fn(&Asked) -> Deed + Send + Sync>| {
        add_files(&world, number);
        number += 1;
        world.liar.does(mischief);
        let snapshots = objects(&world.archive(), "snapshots").len();
        let backup = world.anna.kith(&["backup"]);
        world.liar.behaves();
        world.liar.wait_linked(&world.anna, &world.bert);
        let what = format!("{what}: {backup}");
        match backup.code {
            0 => {
                world.anna.kith(&["check", "bert", "--read-data"]).ok();
                assert_eq!(world.restore(&what).outcome.code, 0, "{what}");
            }
            _ => {
                backup.ended(1).says(&["bert"]);
                let now = objects(&world.archive(), "snapshots").len();
                assert!(now <= snapshots + 1, "{what}: {snapshots} snapshots before, {now} after");
            }
        }
        backup.code == 0
    };
    for seed in 0..ROUNDS {
        succeeds(&format!("seed {seed}"), Box::new(upload_mischief(seed)));
    }
    // Names of packs are drawn anew by each run, and what is done to them with them: one of each is tried for certain.
    assert!(succeeds("honest", Box::new(|_: &Asked| Deed::Honest)));
    let refused = |asked: &Asked| {
        if asked.stores("snapshots") {
            Deed::Instead(Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "no"))
        } else {
            Deed::Honest
        }
    };
    assert!(!succeeds("a snapshot that is refused", Box::new(refused)));
    world.anna.kith(&["backup"]).ok();
    world.anna.kith(&["check", "bert", "--read-data"]).ok();
    assert_eq!(world.restore("at the end").outcome.code, 0);
    assert!(!entries(&world.source).is_empty());
}
