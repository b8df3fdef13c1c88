//! What runs now, live.

use maud::{Markup, html};

use super::format;
use super::fragments::Facts;
use super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{JobKind, JobState, JobView};

pub(super) fn section(facts: &Facts) -> Markup {
    let running: Vec<_> = facts.status.jobs.iter().filter(|job| !job.state.is_over()).collect();
    html! {
        @if !running.is_empty() {
            section.card aria-labelledby="jobs-title" {
                h2 #jobs-title { "Running now" }
                @for job in running { (card(job)) }
            }
        }
    }
}

fn card(job: &JobView) -> Markup {
    let progress = &job.progress;
    let share = format::per_mille(progress.bytes_done, progress.bytes_total);
    let waiting = job.state == JobState::WaitingForFriend;
    let tone = if waiting { Tone::Warn } else { Tone::Busy };
    // Without final totals a share would jump back and forth.
    let known = progress.totals_final && progress.bytes_total > 0;
    // What moves without a share is the bar of a job that works; one that waits stands still.
    let seeking = !known && job.state == JobState::Running;
    html! {
        article.job #{ "job-" (job.id) } {
            div.job-head {
                h3 { (title(job)) }
                span.percent { @if known { (share / 10) " %" } }
                button.small type="button" data-action="cancel" data-job=(job.id) aria-label={ "Cancel " (plain_title(job)) } { "Cancel" }
            }
            div role="progressbar" aria-label=(plain_title(job)) aria-valuemin="0" aria-valuemax="100"
                aria-valuenow=[known.then_some(share / 10)] class=[seeking.then_some("unknown")] {
                (parts::bar(if seeking { 0 } else { share }, tone))
            }
            p.job-phase role="status" { (phase(job)) }
            p.job-figures {
                span { (format::bytes(progress.bytes_done)) " of " @if !known { "at least " } (format::bytes(progress.bytes_total)) }
                span { (format::count(progress.files_done)) " of " @if !known { "at least " } (format::counted(progress.files_total, "file", "files")) }
                @if progress.bytes_per_second > 0 && job.state == JobState::Running {
                    span { (format::bytes(progress.bytes_per_second)) "/s" }
                }
                @if job.state == JobState::Running
                    && let Some(left) = format::time_left(progress.seconds_left_least, progress.seconds_left_most) { span { (left) } }
                @if job.kind == JobKind::Backup && progress.bytes_sent > 0 { span { (format::bytes(progress.bytes_sent)) " sent" } }
                @if progress.bytes_saved > 0 { span { (format::bytes(progress.bytes_saved)) " were there already" } }
                @if progress.errors > 0 { span.warn-text { (format::counted(progress.errors, "file", "files")) " could not be read" } }
            }
            // There as long as the job runs, so that nothing moves when it becomes empty.
            @if job.state == JobState::Running { p.job-current title=[progress.current.as_deref().map(safe)] {
                @if let Some(current) = &progress.current { (parts::code(current)) } @else { "\u{a0}" }
            } }
        }
    }
}

/// What a job is about, for eyes.
pub(super) fn title(job: &JobView) -> Markup {
    html! {
        @match (&job.set, job.kind) {
            (Some(set), JobKind::Backup) => { (parts::name(set)) " " span.arrow aria-label="to" { "→" } " " (parts::name(&job.friend)) }
            (None, JobKind::Backup) => { "Backup to " (parts::name(&job.friend)) }
            (_, JobKind::Check) => { "Check of our backup at " (parts::name(&job.friend)) }
        }
    }
}

/// The same as plain text, for labels.
fn plain_title(job: &JobView) -> String {
    let friend = safe(&job.friend);
    match (&job.set, job.kind) {
        (Some(set), JobKind::Backup) => format!("backup of {} to {friend}", safe(set)),
        (None, JobKind::Backup) => format!("backup to {friend}"),
        (_, JobKind::Check) => format!("check at {friend}"),
    }
}

fn phase(job: &JobView) -> Markup {
    let friend = parts::name(&job.friend);
    html! {
        @match job.state {
            JobState::Queued => "Waits for its turn",
            JobState::WaitingForFriend => { "Waiting for " (friend) ": goes on by itself as soon as the connection is back" }
            _ => {
                @match job.progress.phase.as_str() {
                    "connecting" => { "Connecting to " (friend) }
                    "loading" => { "Looking at what " (friend) " has already" }
                    "scanning" => "Looking for what has changed",
                    "storing" => { "Encrypting and sending to " (friend) }
                    "finishing" => { "Making sure that everything is safely on the disk of " (friend) }
                    "checking" => { "Checking what " (friend) " keeps" }
                    "done" => "Done",
                    other => (safe(other)),
                }
            }
        }
    }
}
