//! The benchmark: Kith and stock restic on the same work, one after the other, each as processes of its own.
//!
//! ```text
//! cargo run --release -p e2e --bin bench
//! ```
//!
//! Everything happens on a tmpfs, so that no disk is measured, with the settings that are shipped: files synced, every blob
//! verified. The two programs take turns; what is compared are medians of ratios within a pair, and medians of times. What was
//! written is checked by stock restic, what was restored is compared byte for byte.

mod corpus;
mod engine;
mod friends;
mod measure;
mod options;
mod restic;
mod scratch;
mod stages;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

pub use measure::{MEASURE, measure_for_parent};
pub use options::{Options, USAGE};

use crate::{release_binary, say};
use corpus::Corpus;
use engine::Engine;
use measure::Measured;
use restic::Restic;
use scratch::Scratch;
use table::Results;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// The first backup.
    Initial,
    /// A second backup, when nothing has changed.
    NoChange,
    /// Restoring everything into an empty directory.
    Restore,
}

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// To a directory of the same computer.
    Local,
    /// Kith: through two daemons; restic: to a REST server.
    Network,
}

/// One program's three runs over one corpus, and how large its repository is.
struct Round {
    runs: [(Work, Measured); 3],
    repository_bytes: u64,
}

/// Runs the benchmark, printing what happens, and gives back its result as Markdown.
///
/// # Errors
/// A program or memory is missing, or something went wrong on the way, as when a restored file differs.
pub fn run(options: &Options) -> Result<String, String> {
    let begin = Instant::now();
    let restic = Restic::find(options.network)?;
    let kith = release_binary();
    let engine = Engine::build()?;
    let scratch = Scratch::make(options)?;
    let corpora = corpus::make(&scratch, options)?;
    let mut results = Results::new(&restic, kith, options)?;
    for corpus in &corpora {
        say(&format!("{}: {}", corpus.name, corpus.describe()));
        results.corpus(corpus);
        for pair in 0..options.pairs {
            let first = pair == 0;
            if options.local {
                let theirs = restic.local(&scratch, corpus, first)?;
                let ours = engine.run(&scratch, corpus, &restic, first)?;
                note(&mut results, corpus, Way::Local, theirs, ours);
            }
            if options.network {
                let theirs = restic.network(&scratch, corpus)?;
                let ours = friends::run(&scratch, corpus, kith, &restic, first)?;
                note(&mut results, corpus, Way::Network, theirs, ours);
            }
        }
        if options.local {
            results.stages(corpus, stages::of(&engine, &scratch, corpus)?);
        }
    }
    if options.network {
        results.idle(friends::idle(kith, options.idle), options.idle);
    }
    Ok(results.markdown(begin.elapsed()))
}

fn note(results: &mut Results, corpus: &Corpus, way: Way, theirs: Round, ours: Round) {
    let times = |round: &Round| {
        let times = round.runs.iter().map(|(_, run)| format!("{:6.2} s", run.seconds));
        times.collect::<Vec<_>>().join("  ")
    };
    say(&format!("  {way:<8} restic {}   kith {}", times(&theirs), times(&ours)));
    results.add(corpus, way, theirs, ours);
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Local => "local",
            Self::Network => "network",
        })
    }
}

/// Puts the result into a document, in the place that it marks, or into a file of its own.
///
/// # Errors
/// The file can't be written.
pub fn write(path: &Path, result: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text = between(&text, result).unwrap_or_else(|| result.to_owned());
    std::fs::write(path, text).map_err(|error| format!("{} can't be written: {error}", path.display()))
}

const BEGIN: &str = "<!-- tables of the benchmark -->\n";
const END: &str = "<!-- end of the tables -->";

fn between(text: &str, result: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{result}{END}{after}"))
}

/// A duration as the tables show it.
fn minutes(duration: Duration) -> String {
    format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_result_takes_the_place_of_the_old_one() {
        let document = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}new\n{END}\nafter\n");
        assert_eq!(between(&document, "new\n"), Some(expected));
        assert_eq!(between("no place", "new"), None);
    }
}
