//! `kith backup` and `kith check`: start, show progress, wait.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kith_control::view::{JobKind, JobState, JobView};
use kith_control::{BackupRequest, CheckRequest, Client, Event};
use tokio::time::Instant;

use super::error::{CliResult, Code};
use super::output::{line, note, safe, seconds, size};

/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// A job that is not heard of is asked for.
const ASK_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn backup(client: &Client, set: Option<String>, to: Option<String>) -> CliResult {
    let events = client.events().await?;
    let jobs = client.start_backup(&BackupRequest { set, friend: to }).await?;
    finish(client, events, jobs).await
}

pub(super) async fn check(client: &Client, friend: String, read_data: bool) -> CliResult {
    let events = client.events().await?;
    let job = client.start_check(&CheckRequest { friend, read_data }).await?;
    finish(client, events, vec![job]).await
}

/// Follows jobs to their end.
async fn finish(client: &Client, mut events: kith_control::EventStream, jobs: Vec<JobView>) -> CliResult {
    let mut jobs: BTreeMap<u64, JobView> = jobs.into_iter().map(|job| (job.id, job)).collect();
    let mut screen = Screen::new(jobs.values());
    let mut ask = tokio::time::interval(ASK_EVERY);
    let mut listening = true;
    while jobs.values().any(|job| !job.state.is_over()) {
        tokio::select! {
            event = events.next(), if listening => match event {
                Some(Ok(Event::Job { job })) if jobs.contains_key(&job.id) => {
                    screen.show(&job);
                    jobs.insert(job.id, *job);
                }
                Some(Ok(_)) => {}
                // The daemon restarts, or we were too slow: asking goes on.
                Some(Err(_)) | None => listening = false,
            },
            _ = ask.tick() => {
                for id in jobs.keys().copied().collect::<Vec<_>>() {
                    let job = client.job(id).await?;
                    screen.show(&job);
                    jobs.insert(id, job);
                }
            }
        }
    }
    screen.end();
    let mut worst: Option<Code> = None;
    for job in jobs.values() {
        match summary(job) {
            Some(Code::Omissions) => worst = worst.or(Some(Code::Omissions)),
            Some(code) => worst = Some(code),
            None => {}
        }
    }
    worst.map_or(Ok(()), |code| Err(super::CliError::said(code)))
}

/// Says what came of a job; an exit code unless all is well.
fn summary(job: &JobView) -> Option<Code> {
    let title = title(job);
    let took = job.ended.map_or(0.0, |ended| (ended.as_duration() - job.started.as_duration()).as_secs_f64());
    let done = &job.progress;
    for finding in &job.findings {
        note(format!("note: {}", safe(finding)));
    }
    match job.state {
        JobState::Complete if job.kind == JobKind::Check => {
            line(format!("{title}: no fault found, in {took:.1} s"));
            None
        }
        JobState::Complete | JobState::CompleteWithOmissions => {
            line(format!(
                "{title}: snapshot {} with {} files, {}; {} sent in {took:.1} s",
                job.snapshot.as_deref().unwrap_or("?"),
                done.files_done,
                size(done.bytes_done),
                size(done.bytes_sent),
            ));
            if let Some(error) = &job.error {
                note(format!("error: {}", safe(error)));
            }
            if job.state == JobState::Complete {
                return job.error.is_some().then_some(Code::Omissions);
            }
            note(format!("{} files are NOT in this snapshot:", job.skipped_count));
            for skipped in &job.skipped {
                note(format!("  {}: {}", safe(&skipped.path), safe(&skipped.reason)));
            }
            let listed = job.skipped.len() as u64;
            if job.skipped_count > listed {
                note(format!("  and {} more", job.skipped_count - listed));
            }
            Some(Code::Omissions)
        }
        _ => {
            let how = match job.state {
                JobState::Cancelled => "cancelled",
                JobState::Interrupted => "interrupted: the daemon ended; the next run goes on from here",
                _ => job.error.as_deref().unwrap_or("failed"),
            };
            note(format!("error: {title}: {how}"));
            Some(Code::Failed)
        }
    }
}

fn title(job: &JobView) -> String {
    match &job.set {
        Some(set) => format!("{} to {}", safe(set), safe(&job.friend)),
        None => format!("check of the archive at {}", safe(&job.friend)),
    }
}

/// Progress for people: bars on a terminal, plain lines otherwise.
enum Screen {
    Bars { all: MultiProgress, bars: BTreeMap<u64, ProgressBar> },
    Lines { last: BTreeMap<u64, (Instant, JobState)> },
}

impl Screen {
    fn new<'a>(jobs: impl Iterator<Item = &'a JobView>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: jobs.map(|job| (job.id, (Instant::now(), job.state))).collect() };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{prefix}  {bar:24} {msg}")
            .unwrap_or_else(|_fixed| ProgressStyle::default_bar());
        let bars = jobs.map(|job| {
            let bar = all.add(ProgressBar::new(1));
            bar.set_style(style.clone());
            bar.set_prefix(title(job));
            (job.id, bar)
        });
        let bars = bars.collect();
        Self::Bars { all, bars }
    }

    fn show(&mut self, job: &JobView) {
        match self {
            Self::Bars { bars, .. } => {
                if let Some(bar) = bars.get(&job.id) {
                    bar.set_length(job.progress.bytes_total.max(1));
                    bar.set_position(job.progress.bytes_done);
                    bar.set_message(text(job));
                }
            }
            Self::Lines { last } => {
                let Some((at, state)) = last.get_mut(&job.id) else { return };
                // That a job begins is no news; that it waits for a friend, or no longer, is.
                let waits = |state| state == JobState::WaitingForFriend;
                let news = waits(*state) != waits(job.state);
                if !job.state.is_over() && (news || at.elapsed() >= LINE_EVERY) {
                    *at = Instant::now();
                    *state = job.state;
                    note(format!("{}: {}", title(job), text(job)));
                }
            }
        }
    }

    fn end(self) {
        if let Self::Bars { all, bars } = self {
            for bar in bars.values() {
                bar.finish_and_clear();
            }
            // A terminal that went away is no fault of the backup.
            drop(all.clear());
        }
    }
}

fn text(job: &JobView) -> String {
    let progress = &job.progress;
    match job.state {
        JobState::Queued => return "waits for its turn".to_owned(),
        JobState::WaitingForFriend => return "waits for the friend, and goes on when he is back".to_owned(),
        _ => {}
    }
    let total = if progress.totals_final {
        size(progress.bytes_total)
    } else {
        format!("{}+", size(progress.bytes_total))
    };
    let mut text = format!(
        "{}: {} of {total}, {} files, {} sent",
        progress.phase,
        size(progress.bytes_done),
        progress.files_done,
        size(progress.bytes_sent)
    );
    if progress.bytes_per_second > 0 {
        text.push_str(&format!(", {}/s", size(progress.bytes_per_second)));
    }
    if let (Some(least), Some(most)) = (progress.seconds_left_least, progress.seconds_left_most) {
        text.push_str(&format!(", {} to {} left", seconds(least), seconds(most)));
    }
    if progress.errors > 0 {
        text.push_str(&format!(", {} could not be read", progress.errors));
    }
    text
}
