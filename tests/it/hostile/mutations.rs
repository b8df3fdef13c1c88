//! A hundred thousand seeded mutations of what the friend answers, over the real link.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use e2e::hostile::{Answer, Asked, Deed, Mischief, Mutation, Mutator};
use e2e::{Random, say};

use super::World;

/// What the issue of this test asks for.
const MUTATIONS: u64 = 100_000;
/// In one of so many rounds everything is damaged, and everything is asked.
const OTHER_EVERY: u64 = 4;
/// Damaged places in a mebibyte of a long read.
const PLACES: usize = 300;

/// Damages answers, and counts what it did.
struct Damaging {
    mutator: Mutator,
    /// Whether indexes, snapshots, folders and the config are damaged too, now and then.
    everything: bool,
    folders: Arc<BTreeSet<String>>,
    count: AtomicU64,
    done: Mutex<BTreeSet<(Asked, Vec<Mutation>)>>,
}

impl Damaging {
    fn new(world: &World, seed: u64, everything: bool) -> Arc<Self> {
        Arc::new(Self {
            mutator: Mutator::new(seed),
            everything,
            folders: world.folders.clone(),
            count: AtomicU64::new(0),
            done: Mutex::default(),
        })
    }

    fn damage(&self, asked: &Asked, answer: Answer) -> Answer {
        if answer.body.is_empty() {
            return answer;
        }
        let length = answer.body.len();
        let (body, done) = if length > 100_000 {
            self.mutator.damage(asked, &answer.body, (length * PLACES) >> 20)
        } else {
            let (body, done) = self.mutator.damage_once(asked, &answer.body);
            (body, vec![done])
        };
        if body != answer.body {
            self.count.fetch_add(done.len() as u64, Ordering::Relaxed);
            self.done.lock().unwrap().insert((asked.clone(), done));
        }
        answer.with_body(body)
    }

    fn is_meant(&self, asked: &Asked) -> bool {
        if asked.method != "GET" || !asked.is_store() {
            return false;
        }
        let mut chance = self.mutator.chance(asked);
        // Another stretch of the numbers than that of the damage.
        let one_in = |chance: &mut Random, n: u64| chance.number().rotate_left(32).is_multiple_of(n);
        if asked.reads("data") && !self.folders.contains(asked.name()) {
            // One that is asked for again alone comes whole sometimes: then its file must, too.
            asked.range.is_some_and(|(start, end)| end - start > 100_000) || !one_in(&mut chance, 3)
        } else {
            self.everything && one_in(&mut chance, 8)
        }
    }
}

struct Shared(Arc<Damaging>);

impl Mischief for Shared {
    fn deed(&self, asked: &Asked) -> Deed {
        if !self.0.is_meant(asked) {
            return Deed::Honest;
        }
        let (damaging, asked) = (self.0.clone(), asked.clone());
        Deed::Change(Box::new(move |answer| damaging.damage(&asked, answer)))
    }
}

/// Many files of few bytes that don't compress: each is a blob of its own.
fn write_many(source: &Path) {
    let mut chance = Random::new(11);
    for folder in 0..30 {
        let folder = source.join(format!("folder {folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..300 {
            let length = 500 + usize::try_from(chance.below(3000)).unwrap();
            std::fs::write(folder.join(format!("file {file}")), chance.bytes(length)).unwrap();
        }
    }
}

#[test]
fn a_hundred_thousand_mutations_bring_no_wrong_byte_into_a_restored_file() {
    let seed =
        std::env::var("KITH_MUTATION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_607);
    let _alone = e2e::alone();
    let world = World::with(write_many);
    let begin = Instant::now();
    let (mut count, mut rounds, mut whole, mut lost) = (0, 0, 0, 0);
    while count < MUTATIONS {
        let what = format!("KITH_MUTATION_SEED={seed}, round {rounds}");
        let everything = rounds % OTHER_EVERY == OTHER_EVERY - 1;
        let damaging = Damaging::new(&world, seed + rounds, everything);
        world.liar.does(Shared(damaging.clone()));
        let restored = world.restore(&what);
        lost += restored.missing.len();
        whole += super::entries(&world.source).len() - restored.missing.len();
        if everything {
            // Whatever they say, they end, and say it without words for terminals.
            for args in [
                &["ls", "latest"][..],
                &["find", "file 1*"],
                &["snapshots"],
                &["check", "bert"],
                &["check", "bert", "--read-data"],
            ] {
                let outcome = world.anna.kith(args);
                assert!(outcome.code == 0 || outcome.code == 1, "{what}: {outcome}");
                let control =
                    outcome.stdout.chars().chain(outcome.stderr.chars()).any(|c| c.is_control() && c != '\n');
                assert!(!control, "{what}: {outcome:?}");
            }
        }
        let made = damaging.count.load(Ordering::Relaxed);
        assert!(made > 0, "{what}: nothing was damaged");
        count += made;
        rounds += 1;
    }
    world.liar.behaves();
    assert_eq!(world.restore("honest again").outcome.code, 0);
    assert!(count >= MUTATIONS);
    assert!(whole > 0 && lost > 0, "{whole} entries came back, {lost} did not: one of both was not tried");
    say(&format!(
        "{count} mutations in {rounds} rounds, {:.0} s: {whole} entries came back equal, {lost} were reported and left out",
        begin.elapsed().as_secs_f64()
    ));
}

#[test]
fn the_same_seed_makes_the_same_mutations() {
    let world = World::new();
    let done = |seed| {
        let damaging = Damaging::new(&world, seed, false);
        world.liar.does(Shared(damaging.clone()));
        let restored = world.restore("");
        let done = std::mem::take(&mut *damaging.done.lock().unwrap());
        (done, restored.missing)
    };
    let (first, again, other) = (done(1), done(1), done(2));
    assert!(!first.0.is_empty());
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}
