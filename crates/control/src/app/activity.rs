//! What ran before.

use jiff::Timestamp;
use maud::{Markup, html};

use super::format;
use super::jobs::title;
use super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{JobKind, JobState, JobView};

/// Runs shown.
const SHOWN: usize = 15;

/// Skipped files shown of a run.
const SHOWN_SKIPPED: usize = 50;

pub(super) fn section(jobs: &[JobView], now: Timestamp) -> Markup {
    let ended: Vec<_> = jobs.iter().filter(|job| job.state.is_over()).take(SHOWN).collect();
    html! {
        section.card aria-labelledby="activity-title" {
            h2 #activity-title { "Last runs" }
            @if ended.is_empty() { p.empty { "Nothing has run yet." } }
            ol.runs { @for job in ended { (run(job, now)) } }
        }
    }
}

fn run(job: &JobView, now: Timestamp) -> Markup {
    let (tone, word) = outcome(job);
    let progress = &job.progress;
    html! {
        li.run-entry #{ "run-" (job.id) } {
            div.run-head {
                span.run-title { (title(job)) }
                @if let Some(ended) = job.ended { span.muted { (parts::time(ended, now)) } }
            }
            p.run-line {
                (parts::state(tone, word))
                @if let Some(ended) = job.ended { span { (format::duration(format::between(job.started, ended))) } }
                @if job.kind == JobKind::Backup && progress.files_done > 0 {
                    span { (format::counted(progress.files_done, "file", "files")) }
                    span { (format::bytes(progress.bytes_sent)) " sent" }
                }
            }
            @if let Some(error) = &job.error { p.trouble { (safe(error)) } }
            @if job.skipped_count > 0 {
                details #{ "skipped-" (job.id) } {
                    summary { (format::counted(job.skipped_count, "file", "files")) " left out" }
                    ul.skipped {
                        @for file in job.skipped.iter().take(SHOWN_SKIPPED) { li { (parts::code(&file.path)) ": " (safe(&file.reason)) } }
                        @let shown = job.skipped.len().min(SHOWN_SKIPPED) as u64;
                        @if job.skipped_count > shown { li.muted { "and " (format::count(job.skipped_count - shown)) " more" } }
                    }
                }
            }
            @if !job.findings.is_empty() {
                ul.skipped { @for finding in &job.findings { li { (safe(finding)) } } }
            }
        }
    }
}

fn outcome(job: &JobView) -> (Tone, &'static str) {
    match (job.state, job.kind) {
        (JobState::Complete, JobKind::Backup) => (Tone::Good, "Complete"),
        (JobState::Complete, JobKind::Check) => (Tone::Good, "Nothing wrong"),
        (JobState::CompleteWithOmissions, _) => (Tone::Warn, "Complete but for some files"),
        (JobState::Failed, JobKind::Backup) => (Tone::Bad, "Failed"),
        (JobState::Failed, JobKind::Check) => (Tone::Bad, "Something is wrong"),
        (JobState::Cancelled, _) => (Tone::Off, "Cancelled"),
        (JobState::Interrupted, _) => (Tone::Warn, "Interrupted"),
        (JobState::Queued | JobState::Running | JobState::WaitingForFriend, _) => (Tone::Busy, "Running"),
    }
}
