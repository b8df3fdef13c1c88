//! What the demo says in the end.

use std::time::Duration;

use kith_control::view::JobView;

use super::compare::Comparison;
use super::talk::{Talk, count, rate, took};
use crate::cli::output::{safe, size};

/// Differences that are listed.
const MOST_LISTED: usize = 20;

/// The numbers of the steps.
#[derive(Default)]
pub(super) struct Summary {
    /// Both ways at once; so is the second.
    pub(super) first: Option<Vec<JobView>>,
    pub(super) second: Option<Vec<JobView>>,
    pub(super) third: Option<Vec<JobView>>,
    pub(super) recovery: Duration,
    /// Bytes and time.
    pub(super) restore: (u64, Duration),
}

impl Summary {
    pub(super) fn print(
        &self,
        talk: &Talk,
        memory: &[(&str, Option<u64>)],
        comparison: &Comparison,
        total: Duration,
    ) {
        let row = |name: &str, text: String| talk.line(&format!("   {name:<17} {text}"));
        talk.line("");
        talk.line("Summary");
        if let Some(jobs) = &self.first {
            let (done, sent, time) = sums(jobs);
            let rate = rate(done, time);
            row("first backup", format!("{} in {}, {rate}; {} sent", size(done), took(time), size(sent)));
        }
        for (name, jobs) in [("nothing changed", &self.second), ("a few changes", &self.third)] {
            if let Some(jobs) = jobs {
                let (done, sent, time) = sums(jobs);
                row(name, format!("{} in {}; {} sent", size(done), took(time), size(sent)));
            }
        }
        row(
            "recovery",
            format!("{} from 24 words and one address to a linked computer", took(self.recovery)),
        );
        let (bytes, time) = self.restore;
        row("restore", format!("{} in {}, {}", size(bytes), took(time), rate(bytes, time)));
        let memory: Vec<String> =
            memory.iter().filter_map(|(name, peak)| Some(format!("{name} {}", size((*peak)?)))).collect();
        if !memory.is_empty() {
            row("daemons' memory", format!("{}, at most", memory.join(", ")));
        }
        row("whole demo", took(total));
        row(
            "result",
            match comparison.difference_count {
                0 => format!("{}: no difference", count(comparison.entries, "entry", "entries")),
                differences => format!("{}: see above", count(differences, "DIFFERENCE", "DIFFERENCES")),
            },
        );
    }
}

/// Bytes looked at, bytes sent, and the time of jobs that ran at once.
pub(super) fn sums(jobs: &[JobView]) -> (u64, u64, Duration) {
    let done = jobs.iter().map(|job| job.progress.bytes_done).sum();
    let sent = jobs.iter().map(|job| job.progress.bytes_sent).sum();
    (done, sent, jobs.iter().map(job_time).max().unwrap_or(Duration::ZERO))
}

/// From the request to the end.
fn job_time(job: &JobView) -> Duration {
    let ended = job.ended.unwrap_or(job.started);
    Duration::try_from(ended.duration_since(job.started)).unwrap_or(Duration::ZERO)
}

/// What was compared, what is meant to be different, and the differences.
pub(super) fn say_comparison(talk: &Talk, comparison: &Comparison, time: Duration) {
    talk.say(format!(
        "{} with {}, {}, {} and {} of hard links, in {}.",
        count(comparison.entries, "entry", "entries"),
        size(comparison.bytes),
        count(comparison.sparse_files, "sparse file", "sparse files"),
        count(comparison.attributes, "extended attribute", "extended attributes"),
        count(comparison.link_groups, "group", "groups"),
        took(time)
    ));
    if !comparison.withheld.is_empty() {
        talk.say("Not restored, on purpose, unless it is asked for:");
        for (what, number) in &comparison.withheld {
            talk.say(format!("  {what}: {number}"));
        }
    }
    if comparison.skipped > 0 {
        let skipped = count(comparison.skipped, "entry", "entries");
        talk.say(format!("Not compared, because the backup could not read them and said so: {skipped}."));
    }
    if comparison.changed > 0 {
        let changed = count(comparison.changed, "entry", "entries");
        talk.say(format!("Not compared, because they changed while the demo ran: {changed}."));
    }
    if comparison.is_equal() {
        talk.say("No difference.");
        return;
    }
    talk.say(format!("{}:", count(comparison.difference_count, "DIFFERENCE", "DIFFERENCES")));
    for difference in comparison.differences.iter().take(MOST_LISTED) {
        let path = difference.path.to_string_lossy();
        let path = if path.is_empty() { ".".into() } else { safe(&path) };
        talk.say(format!("  {path}: {}", difference.what));
    }
    let listed = comparison.differences.len().min(MOST_LISTED) as u64;
    if comparison.difference_count > listed {
        talk.say(format!("  and {} more", comparison.difference_count - listed));
    }
}
