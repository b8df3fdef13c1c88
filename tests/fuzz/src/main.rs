//! Long runs for developers: `cargo run -p fuzz -- TARGET [--seconds N] [--inputs N] [--seed N]`.

use std::error::Error;
use std::io::{Write, stdout};
use std::panic::{set_hook, take_hook};
use std::time::{Duration, Instant};

use fuzz::{Plan, Target, corpus, corpus_directory, crash_name, fuzz, smaller, target, targets};

const USAGE: &str = "usage: fuzz TARGET|all [--seconds N] [--inputs N] [--seed N]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let names: Vec<_> = targets().iter().map(|target| target.name).collect();
    let unknown = || format!("{USAGE}\ntargets: {}", names.join(" "));
    let name = arguments.next().ok_or_else(unknown)?;
    let (mut seconds, mut inputs, mut seed) = (60, u64::MAX, fresh_seed());
    while let Some(option) = arguments.next() {
        let value: u64 = arguments.next().ok_or_else(unknown)?.parse()?;
        match option.as_str() {
            "--seconds" => seconds = value,
            "--inputs" => inputs = value,
            "--seed" => seed = value,
            _ => return Err(unknown().into()),
        }
    }
    let chosen = match name.as_str() {
        "all" => targets().to_vec(),
        name => vec![*target(name).ok_or_else(unknown)?],
    };
    let mut broken = Vec::new();
    for target in chosen {
        if !run(target, seed, inputs, Duration::from_secs(seconds))? {
            broken.push(target.name);
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("broken: {}", broken.join(", ")).into()) }
}

/// Whether the target held.
fn run(target: Target, seed: u64, inputs: u64, time: Duration) -> Result<bool, Box<dyn Error>> {
    let began = Instant::now();
    let plan = Plan { seed, inputs, until: Some(began + time) };
    let result = fuzz(target, corpus(target.name)?, plan);
    let mut out = stdout().lock();
    match result {
        Ok(summary) => {
            let (name, fresh, outcomes) = (target.name, summary.fresh, summary.outcomes);
            let each = began.elapsed().as_nanos() / u128::from(fresh.max(1));
            writeln!(
                out,
                "{name}: {fresh} fresh inputs, {each} ns each, {} of 10,000 taken, {} different, {outcomes} forms of outcomes, \
                 seed {seed}",
                summary.share(),
                summary.different,
            )?;
            Ok(true)
        }
        Err(failure) => {
            writeln!(out, "{failure}")?;
            let small = if failure.panicked {
                // It breaks a thousand times on the way, and once is enough to be told.
                let told = take_hook();
                set_hook(Box::new(|_| {}));
                let small = smaller(target, &failure.input);
                set_hook(told);
                small
            } else {
                failure.input
            };
            let path = corpus_directory(target.name).join(crash_name(&small));
            std::fs::write(&path, small)?;
            writeln!(out, "kept as {}", path.display())?;
            Ok(false)
        }
    }
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
