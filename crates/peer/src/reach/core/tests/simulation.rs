//! A thousand seeds: routers of all kinds, carriers that come and go, signals that are lost, late, doubled and forged.

use std::collections::BTreeMap;

use kith_wire::DeviceId;

use super::world::{Helper, Link, Nat, Plan, World};
use crate::chance::Chance;

const SEEDS: u64 = 1000;
/// Until then carriers die and clocks step.
const DISTURBED: u64 = 40_000;
/// After that, whoever can connect is connected: one pause of the dialer is 60 s at most, one call 45 s.
const PATIENCE: u64 = 240_000;

fn plan(seed: u64) -> Plan {
    let mut chance = Chance::new(seed ^ 0xabcd);
    let mut nat = || match chance.below(4) {
        0 => Nat::Open,
        1 => Nat::Keeps,
        2 => Nat::Rejects,
        _ => Nat::Symmetric,
    };
    let nats = [nat(), nat()];
    let punches = [!chance.percent(10), !chance.percent(10)];
    let helpers = (0..chance.below(4))
        .map(|n| Helper {
            id: DeviceId::from_bytes([100 + u8::try_from(n).unwrap(); 32]),
            knows: if chance.percent(75) { [true, true] } else { [chance.percent(50), chance.percent(50)] },
            relays: chance.percent(60),
            observes: chance.percent(85),
            delay: [1, 20, 50, 150][usize::try_from(chance.below(4)).unwrap()],
            alive: true,
        })
        .collect();
    Plan { seed, nats, punches, helpers, loss: chance.below(21), bad_rounds: 10 * chance.below(3) }
}

struct Ran {
    log: Vec<String>,
    links: [Option<Link>; 2],
    expected: &'static str,
    refused: BTreeMap<&'static str, u32>,
}

fn run(seed: u64) -> Ran {
    let mut world = World::new(plan(seed));
    let known: Vec<bool> = world.helpers.iter().map(Helper::is_common).collect();
    world.disturb(DISTURBED);
    world.run(DISTURBED + PATIENCE);
    world.check_costs();
    let [one, other] = &world.sides;
    let can_punch = one.nat.meets(other.nat) && one.punches && other.punches;
    let expected = if !known.contains(&true) {
        "nothing"
    } else if can_punch && world.common(|helper| helper.observes) {
        "direct"
    } else if world.common(|helper| helper.relays) {
        "relayed"
    } else {
        "anything"
    };
    let links = [one.link, other.link];
    let mut refused = one.refused.clone();
    for (kind, count) in &other.refused {
        *refused.entry(kind).or_default() += count;
    }
    Ran { log: world.log, links, expected, refused }
}

#[test]
fn of_a_thousand_pairs_all_connect_that_can() {
    let mut outcomes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut refused: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        let Ran { log, links, expected, refused: here } = run(seed);
        let tail = || log[log.len().saturating_sub(120)..].join("\n");
        let [one, other] = links;
        assert_eq!(one.is_some(), other.is_some(), "seed {seed}: only one is linked\n{}", tail());
        let got = match one {
            Some(Link::Direct) => "direct",
            Some(Link::Relayed(_)) => "relayed",
            None => "nothing",
        };
        let is_right = match expected {
            "direct" => got == "direct",
            "relayed" => got != "nothing",
            "nothing" => got == "nothing",
            _ => true,
        };
        assert!(is_right, "seed {seed}: {expected} was expected, and it is {got}\n{}", tail());
        *outcomes.entry((expected, got)).or_default() += 1;
        for (kind, count) in here {
            *refused.entry(kind).or_default() += count;
        }
    }
    // Each of these happened often enough to say something.
    for (expected, got) in [("direct", "direct"), ("relayed", "relayed"), ("nothing", "nothing")] {
        assert!(outcomes.get(&(expected, got)).is_some_and(|count| *count >= 50), "{outcomes:?}");
    }
    for kind in ["sealed", "replayed"] {
        assert!(refused.get(kind).is_some_and(|count| *count >= 50), "{refused:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 0..60 {
        assert_eq!(run(seed).log, run(seed).log, "seed {seed}");
    }
    assert_ne!(run(1).log, run(2).log);
}
