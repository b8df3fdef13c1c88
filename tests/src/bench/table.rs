//! The results as tables.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::corpus::Corpus;
use super::friends::Idle;
use super::restic::Restic;
use super::{Options, Round, Way, Work, minutes};

/// What must be reached: how many times as fast as restic.
const WANTED: [(&str, Way, Work, f64); 10] = [
    ("media", Way::Local, Work::Initial, 1.7),
    ("docs", Way::Local, Work::Initial, 2.5),
    ("media", Way::Network, Work::Initial, 1.1),
    ("docs", Way::Network, Work::Initial, 2.0),
    ("docs", Way::Local, Work::NoChange, 3.0),
    ("docs", Way::Network, Work::NoChange, 3.0),
    ("media", Way::Local, Work::Restore, 1.3),
    ("docs", Way::Local, Work::Restore, 1.3),
    ("media", Way::Network, Work::Restore, 1.3),
    ("docs", Way::Network, Work::Restore, 1.3),
];
const LARGEST_PEAK: u64 = 150_000_000;
const LARGEST_IDLE: u64 = 25_000_000;
const LARGEST_REPOSITORY: f64 = 1.03;

/// Everything that was measured.
pub(super) struct Results {
    head: String,
    pairs: usize,
    corpora: Vec<String>,
    rounds: Vec<(&'static str, Way, Round, Round)>,
    stages: Vec<(&'static str, Vec<(String, f64)>)>,
    idle: Option<(Idle, Duration)>,
}

impl Results {
    pub(super) fn new(restic: &Restic, kith: &Path, options: &Options) -> Result<Self, String> {
        let version = Command::new(kith).arg("--version").output().map_err(|error| error.to_string())?;
        let mut programs = vec![String::from_utf8_lossy(&version.stdout).trim().to_owned()];
        programs.push(restic.version.clone());
        programs.extend(restic.rclone_version.clone());
        let head = format!(
            "{} on {} cores, {}. Medians of {} alternated pairs.",
            programs.join("; "),
            std::thread::available_parallelism().map_or(0, usize::from),
            processor(),
            options.pairs
        );
        Ok(Self {
            head,
            pairs: options.pairs,
            corpora: Vec::new(),
            rounds: Vec::new(),
            stages: Vec::new(),
            idle: None,
        })
    }

    pub(super) fn corpus(&mut self, corpus: &Corpus) {
        self.corpora.push(format!("`{}`: {}.", corpus.name, corpus.describe()));
    }

    pub(super) fn add(&mut self, corpus: &Corpus, way: Way, theirs: Round, ours: Round) {
        self.rounds.push((corpus.name, way, theirs, ours));
    }

    pub(super) fn stages(&mut self, corpus: &Corpus, stages: Vec<(String, f64)>) {
        self.stages.push((corpus.name, stages));
    }

    pub(super) fn idle(&mut self, idle: Idle, patience: Duration) {
        self.idle = Some((idle, patience));
    }

    /// Everything as Markdown.
    pub(super) fn markdown(&self, took: Duration) -> String {
        let mut text = format!("{} The run took {}.\n\n", self.head, minutes(took));
        for corpus in &self.corpora {
            text.push_str(&format!("{corpus}\n"));
        }
        text.push_str(
            "\n| corpus, way | work | restic s | Kith s | times as fast | wanted | restic core-s | Kith core-s | peak MB restic | Kith |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (corpus, way) in self.ways() {
            for (number, work) in [Work::Initial, Work::NoChange, Work::Restore].into_iter().enumerate() {
                self.row(&mut text, corpus, way, work, number);
            }
        }
        text.push_str("\n| corpus, way | restic MB | Kith MB | ratio | wanted |\n|---|---|---|---|---|\n");
        for (corpus, way) in self.ways() {
            let (theirs, ours) = self.medians(corpus, way, |round| round.repository_bytes as f64 / 1e6);
            let ratio = ours / theirs;
            let mark = judged(ratio <= LARGEST_REPOSITORY);
            text.push_str(&format!("| {corpus}, {way} | {theirs:.1} | {ours:.1} | {ratio:.3} | <= {LARGEST_REPOSITORY} {mark} |\n"));
        }
        text.push_str(&self.idle.map(|(idle, patience)| idle_line(idle, patience)).unwrap_or_default());
        self.budget(&mut text);
        text
    }

    fn ways(&self) -> Vec<(&'static str, Way)> {
        let mut ways: Vec<_> = self.rounds.iter().map(|(corpus, way, ..)| (*corpus, *way)).collect();
        ways.dedup();
        ways.sort_by_key(|(corpus, way)| (*way, std::cmp::Reverse(*corpus)));
        ways.dedup();
        ways
    }

    fn row(&self, text: &mut String, corpus: &str, way: Way, work: Work, number: usize) {
        let run = |round: &Round| round.runs[number].1;
        let (theirs, ours) = self.medians(corpus, way, |round| run(round).seconds);
        let (their_cores, our_cores) = self.medians(corpus, way, |round| run(round).processor_seconds);
        let ratio =
            median(self.of(corpus, way).map(|(theirs, ours)| run(theirs).seconds / run(ours).seconds));
        let runs = self.of(corpus, way).map(|(theirs, ours)| (run(theirs).peak_bytes, run(ours).peak_bytes));
        let (their_peak, our_peak) =
            runs.fold((0, 0), |most, peaks| (most.0.max(peaks.0), most.1.max(peaks.1)));
        let wanted = WANTED.iter().find(|wanted| (wanted.0, wanted.1, wanted.2) == (corpus, way, work));
        let wanted =
            wanted.map_or_else(String::new, |(.., least)| format!(">= {least} {}", judged(ratio >= *least)));
        text.push_str(&format!("| {corpus}, {way} | {work} | {theirs:.2} | {ours:.2} | {ratio:.2} | {wanted} | {their_cores:.2} | {our_cores:.2} | {:.0} | {:.0} {} |\n",
            their_peak as f64 / 1e6,
            our_peak as f64 / 1e6,
            judged(our_peak <= LARGEST_PEAK),));
    }

    fn of(&self, corpus: &str, way: Way) -> impl Iterator<Item = (&Round, &Round)> {
        let chosen = self.rounds.iter().filter(move |(name, other, ..)| (*name, *other) == (corpus, way));
        chosen.map(|(.., theirs, ours)| (theirs, ours))
    }

    fn medians(&self, corpus: &str, way: Way, value: impl Fn(&Round) -> f64) -> (f64, f64) {
        (
            median(self.of(corpus, way).map(|(theirs, _)| value(theirs))),
            median(self.of(corpus, way).map(|(_, ours)| value(ours))),
        )
    }

    /// Where the processor time of a first backup goes.
    fn budget(&self, text: &mut String) {
        for (corpus, stages) in &self.stages {
            text.push_str(&format!("\nCore-seconds of a first local backup of `{corpus}`, each stage alone on one thread:\n\n| stage | core-s |\n|---|---|\n"));
            for (stage, seconds) in stages {
                text.push_str(&format!("| {stage} | {seconds:.2} |\n"));
            }
            let sum: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
            let (_, whole) = self.medians(corpus, Way::Local, |round| round.runs[0].1.processor_seconds);
            text.push_str(&format!(
                "| sum | {sum:.2} |\n| the whole backup, {} runs | {whole:.2} |\n",
                self.pairs
            ));
        }
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Initial => "first backup",
            Self::NoChange => "no change",
            Self::Restore => "restore",
        })
    }
}

fn idle_line(idle: Idle, patience: Duration) -> String {
    format!(
        "\nOf two linked daemons that had nothing to do for {} s the larger one has {:.1} MB in memory (wanted: <= {} {}), {:.1} of them its own, \
         the others mapped from files.\n",
        patience.as_secs(),
        idle.resident_bytes as f64 / 1e6,
        LARGEST_IDLE / 1_000_000,
        judged(idle.resident_bytes <= LARGEST_IDLE),
        idle.own_bytes as f64 / 1e6,
    )
}

fn judged(reached: bool) -> &'static str {
    if reached { "✓" } else { "**missed**" }
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    name.trim_start_matches([':', ' ', '\t']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_daemon_that_is_too_large_is_marked() {
        let of = |resident_bytes| {
            idle_line(Idle { resident_bytes, own_bytes: 3_000_000 }, Duration::from_secs(60))
        };
        let small = of(LARGEST_IDLE);
        assert!(
            small.contains("for 60 s the larger one has 25.0 MB in memory (wanted: <= 25 ✓), 3.0 of"),
            "{small}"
        );
        assert!(of(LARGEST_IDLE + 1).contains("**missed**"));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let check = |values: &[f64], expected: f64| assert_eq!(median(values.iter().copied()), expected);
        check(&[3.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }
}
