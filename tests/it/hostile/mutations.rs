//! A hundred thousand seeded mutations of what the friend answers, over the real link.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use e2e::hostile::{Answer, Asked, Deed, Mischief, Mutation, Mutator, Place};
use e2e::{Random, say};

use super::{OBJECTS, Restored, World, says_one_of};

/// What the issue of this test asks for.
const MUTATIONS: u64 = 100_000;
/// Of every kind of object so many answers are damaged at least.
const LEAST_OF_A_KIND: u64 = 100;
/// Commands that may be called for that.
const MOST_CALLS: u64 = 400;
/// In one of so many rounds everything is damaged, and everything is asked.
const OTHER_EVERY: u64 = 4;
/// Damaged places in a mebibyte of a long read. Each counts as a mutation: the blobs in such a read are opened one by one,
/// and there are some five hundred in a mebibyte.
const PLACES: usize = 300;

/// What is asked for, as far as damage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Contents,
    Folder,
    Index,
    Snapshot,
    Config,
    List,
}

impl Kind {
    const OTHERS: [Self; 5] = [Self::Folder, Self::Index, Self::Snapshot, Self::Config, Self::List];

    /// What a message about it names: it, or that which can't be found by it.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Contents => &["pack"],
            Self::Folder => &["folder", "pack"],
            Self::Index => &["index"],
            Self::Snapshot => &["snapshot"],
            Self::Config => &["config"],
            Self::List => &["list of", "index", "snapshot"],
        }
    }
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Contents,
    /// Contents, and everything else now and then.
    Everything,
    Only(Kind),
}

/// How much was damaged.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    answers: u64,
    mutations: u64,
}

/// Damages answers, and counts what it did.
struct Damaging {
    mutator: Mutator,
    aim: Aim,
    folders: Arc<BTreeSet<String>>,
    counts: Mutex<BTreeMap<Kind, Count>>,
    done: Mutex<BTreeSet<(Asked, Vec<Mutation>)>>,
}

impl Damaging {
    fn new(world: &World, seed: u64, aim: Aim) -> Arc<Self> {
        Arc::new(Self {
            mutator: Mutator::new(seed),
            aim,
            folders: world.folders.clone(),
            counts: Mutex::default(),
            done: Mutex::default(),
        })
    }

    fn kind(&self, asked: &Asked) -> Option<Kind> {
        Some(match &asked.place {
            Place::Config => Kind::Config,
            Place::List(_) => Kind::List,
            Place::Object(of, name) if of == "data" && self.folders.contains(name) => Kind::Folder,
            Place::Object(of, _) => match of.as_str() {
                "data" => Kind::Contents,
                "index" => Kind::Index,
                "snapshots" => Kind::Snapshot,
                _ => return None,
            },
            Place::Archive | Place::Other(_) => return None,
        })
    }

    fn damage(&self, asked: &Asked, answer: Answer) -> Answer {
        let Some(kind) = self.kind(asked).filter(|_| !answer.body.is_empty()) else { return answer };
        let length = answer.body.len();
        let (body, done) = if length > 100_000 {
            self.mutator.damage(asked, &answer.body, (length * PLACES) >> 20)
        } else {
            let (body, done) = self.mutator.damage_once(asked, &answer.body);
            (body, vec![done])
        };
        if body != answer.body {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(kind).or_default();
            count.answers += 1;
            count.mutations += done.len() as u64;
            self.done.lock().unwrap().insert((asked.clone(), done));
        }
        answer.with_body(body)
    }

    fn is_meant(&self, asked: &Asked) -> bool {
        let Some(kind) = self.kind(asked).filter(|_| asked.method == "GET") else { return false };
        let mut chance = self.mutator.chance(asked);
        // Another stretch of the numbers than that of the damage.
        let one_in = |chance: &mut Random, n: u64| chance.number().rotate_left(32).is_multiple_of(n);
        match self.aim {
            Aim::Only(only) => kind == only && !one_in(&mut chance, 4),
            // One that is asked for again alone comes whole sometimes: then its file must, too.
            _ if kind == Kind::Contents => {
                asked.range.is_some_and(|(start, end)| end - start > 100_000) || !one_in(&mut chance, 3)
            }
            Aim::Everything => one_in(&mut chance, 8),
            Aim::Contents => false,
        }
    }

    fn counts(&self) -> BTreeMap<Kind, Count> {
        self.counts.lock().unwrap().clone()
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

/// Commands that read everything but contents.
const COMMANDS: [&[&str]; 5] = [
    &["ls", "latest"],
    &["find", "file 1*"],
    &["snapshots"],
    &["check", "bert"],
    &["check", "bert", "--read-data"],
];

/// Calls a command: it says the truth, or that it can't, with the friend and one of these words, and no words for terminals.
#[track_caller]
fn call(world: &World, args: &[&str], truth: &str, words: &[&str], what: &str) {
    let outcome = world.anna.kith(args);
    let control = outcome.stdout.chars().chain(outcome.stderr.chars()).any(|c| c.is_control() && c != '\n');
    assert!(!control, "{what}: {outcome:?}");
    match outcome.code {
        // How long a check took is no part of the truth.
        0 => assert!(args[0] == "check" || outcome.stdout == truth, "{what}: not the truth: {outcome}"),
        1 => says_one_of(&outcome, words, what),
        _ => panic!("{what}: {outcome}"),
    }
}

/// Restores everything: what is missing is named, with the friend and one of these words.
#[track_caller]
fn restored(world: &World, words: &[&str], what: &str) -> Restored {
    let restored = world.restore(what);
    if restored.outcome.code == 1 {
        says_one_of(&restored.outcome, words, what);
        restored.names_all_that_is_missing(world, what);
    }
    restored
}

#[test]
fn a_hundred_thousand_mutations_bring_no_wrong_byte_into_a_restored_file() {
    let seed =
        std::env::var("KITH_MUTATION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_607);
    let _alone = e2e::alone();
    let world = World::with(write_many);
    let truths = COMMANDS.map(|args| world.anna.kith(args).ok().to_owned() + "\n");
    let begin = Instant::now();
    let mut counts: BTreeMap<Kind, Count> = BTreeMap::new();
    let mut add = |damaging: &Damaging| {
        for (kind, count) in damaging.counts() {
            let sum = counts.entry(kind).or_default();
            sum.answers += count.answers;
            sum.mutations += count.mutations;
        }
        counts.clone()
    };
    let (mut count, mut rounds, mut whole, mut lost) = (0, 0, 0, 0);
    while count < MUTATIONS {
        let what = format!("KITH_MUTATION_SEED={seed}, round {rounds}");
        let everything = rounds % OTHER_EVERY == OTHER_EVERY - 1;
        let aim = if everything { Aim::Everything } else { Aim::Contents };
        let damaging = Damaging::new(&world, seed + rounds, aim);
        world.liar.does(Shared(damaging.clone()));
        let words = if everything { &OBJECTS[..] } else { Kind::Contents.words() };
        let restored = restored(&world, words, &what);
        lost += restored.missing.len();
        whole += super::entries(&world.source).len() - restored.missing.len();
        if everything {
            for (args, truth) in COMMANDS.iter().zip(&truths) {
                call(&world, args, truth, &OBJECTS, &what);
            }
        }
        let made: u64 = damaging.counts().values().map(|count| count.mutations).sum();
        assert!(made > 0, "{what}: nothing was damaged");
        add(&damaging);
        count += made;
        rounds += 1;
    }
    // What is read seldom, kind by kind.
    for kind in Kind::OTHERS {
        let damaging = Damaging::new(&world, seed ^ (kind as u64 + 1), Aim::Only(kind));
        world.liar.does(Shared(damaging.clone()));
        let damaged = || damaging.counts().get(&kind).map_or(0, |count| count.answers);
        let mut calls = 0;
        while damaged() < LEAST_OF_A_KIND {
            let what = format!("KITH_MUTATION_SEED={seed}, {kind:?} damaged, call {calls}");
            assert!(calls < MOST_CALLS, "{what}: only {} answers", damaged());
            match usize::try_from(calls % 6).unwrap() {
                5 => drop(restored(&world, kind.words(), &what)),
                command => call(&world, COMMANDS[command], &truths[command], kind.words(), &what),
            }
            calls += 1;
        }
        add(&damaging);
    }
    let counts = add(&Damaging::new(&world, seed, Aim::Contents));
    world.liar.behaves();
    assert_eq!(world.restore("honest again").outcome.code, 0);
    assert!(count >= MUTATIONS);
    assert!(whole > 0 && lost > 0, "{whole} entries came back, {lost} did not: one of both was not tried");
    assert!(counts[&Kind::Contents].answers >= LEAST_OF_A_KIND, "{counts:?}");
    assert!(Kind::OTHERS.iter().all(|kind| counts[kind].answers >= LEAST_OF_A_KIND), "{counts:?}");
    say(&format!(
        "{count} mutations in {rounds} rounds, {:.0} s: {whole} entries came back equal, {lost} were reported and left out; {counts:?}",
        begin.elapsed().as_secs_f64()
    ));
}

#[test]
fn the_same_seed_makes_the_same_mutations() {
    let world = World::new();
    let done = |seed| {
        let damaging = Damaging::new(&world, seed, Aim::Contents);
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
