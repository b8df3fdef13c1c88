//! What is backed up, and to whom.

use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};
use maud::{Markup, html};

use super::fragments::Facts;
use super::parts::{self, Tone};
use super::verdict::{Freshness, freshness};
use crate::terminal::safe;
use crate::view::{JobState, JobView, SetView};

/// Paths shown of a set; a longer list is folded.
const SHOWN_PATHS: usize = 4;

/// Days of the strip that shows how it went.
const STRIP_DAYS: i32 = 30;

pub(super) fn section(facts: &Facts, history: &[JobView]) -> Markup {
    html! {
        section.card aria-labelledby="sets-title" {
            div.card-head {
                h2 #sets-title { "Backup sets" }
                div.buttons { button.small type="button" data-dialog="set" disabled[facts.status.friends.is_empty()] { "Add a set" } }
            }
            @if facts.sets.is_empty() {
                p.empty {
                    @if facts.status.friends.is_empty() { "First find a friend; then choose the folders that go there." }
                    @else { "Nothing is backed up yet. Choose the folders that you would miss." }
                }
            }
            @for set in &facts.sets { (card(set, facts, history)) }
        }
    }
}

fn card(set: &SetView, facts: &Facts, history: &[JobView]) -> Markup {
    let busy =
        facts.status.jobs.iter().any(|job| job.set.as_ref() == Some(&set.name) && !job.state.is_over());
    let name = safe(&set.name);
    html! {
        article.set {
            div.set-head {
                h3 { (parts::name(&set.name)) }
                (last(set, facts))
                div.buttons {
                    button.small type="button" data-action="backup" data-set=(set.name) disabled[busy] aria-label={ "Back up " (name) " now" } { "Back up" }
                    button.small.quiet type="button" data-action="remove-set" data-set=(set.name) data-shown=(name) aria-label={ "Remove " (name) } { "Remove" }
                }
            }
            ul.paths {
                @for path in set.paths.iter().take(SHOWN_PATHS) { li { (parts::code(path)) } }
                @if set.paths.len() > SHOWN_PATHS { li.muted { "and " (set.paths.len() - SHOWN_PATHS) " more" } }
            }
            p.muted {
                "to "
                @for (position, friend) in set.to.iter().enumerate() { @if position > 0 { ", " } (parts::name(friend)) }
                @if !set.alternate.is_empty() {
                    ", or else to "
                    @for (position, friend) in set.alternate.iter().enumerate() { @if position > 0 { ", " } (parts::name(friend)) }
                }
                @if !set.exclude.is_empty() {
                    ", without "
                    @for (position, glob) in set.exclude.iter().enumerate() { @if position > 0 { ", " } (parts::code(glob)) }
                }
            }
            (strip(set, facts, history))
        }
    }
}

/// The last days, the best that was reached on each. Only shown once there is something to show.
fn strip(set: &SetView, facts: &Facts, history: &[JobView]) -> Markup {
    let zone = TimeZone::system();
    let today = facts.now.to_zoned(zone.clone()).date();
    let days: Vec<_> = (0..STRIP_DAYS)
        .rev()
        .filter_map(|back| today.checked_sub(back.days()).ok())
        .map(|day| {
            let of_day = history.iter().filter(|job| {
                job.set.as_ref() == Some(&set.name)
                    && job.ended.is_some_and(|ended| Zoned::new(ended, zone.clone()).date() == day)
            });
            (day, of_day.filter_map(|job| reached(job.state)).min())
        })
        .collect();
    let complete = days.iter().filter(|(_, best)| *best == Some(Reached::Complete)).count();
    html! {
        @if days.iter().any(|(_, best)| best.is_some()) {
            svg.strip viewBox="0 0 300 14" preserveAspectRatio="none" role="img"
                aria-label={ "A complete backup on " (complete) " of the last " (STRIP_DAYS) " days" } {
                @for (position, (day, best)) in days.iter().enumerate() {
                    rect class=[best.map(|best| best.tone().class())] x=(position * 10) width="8" height="14" rx="2" {
                        title { (day) ": " (best.map_or("nothing ran", Reached::word)) }
                    }
                }
            }
        }
    }
}

/// What came of a run, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Complete,
    Omissions,
    Nothing,
}

const fn reached(state: JobState) -> Option<Reached> {
    match state {
        JobState::Complete => Some(Reached::Complete),
        JobState::CompleteWithOmissions => Some(Reached::Omissions),
        JobState::Failed | JobState::Interrupted => Some(Reached::Nothing),
        _ => None,
    }
}

impl Reached {
    const fn tone(self) -> Tone {
        match self {
            Self::Complete => Tone::Good,
            Self::Omissions => Tone::Warn,
            Self::Nothing => Tone::Bad,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Omissions => "complete but for some files",
            Self::Nothing => "failed",
        }
    }
}

fn last(set: &SetView, facts: &Facts) -> Markup {
    let mut jobs =
        facts.status.jobs.iter().filter(|job| job.set.as_ref() == Some(&set.name)).map(|job| job.state);
    let has = |wanted| jobs.clone().any(|state| state == wanted);
    if has(JobState::Running) {
        return parts::state(Tone::Busy, "Running");
    }
    if has(JobState::WaitingForFriend) {
        return parts::state(Tone::Warn, "Waiting for a friend");
    }
    if jobs.any(|state| state == JobState::Queued) {
        return parts::state(Tone::Busy, "Waits for its turn");
    }
    let tone = match freshness(set, facts.now) {
        Freshness::Fresh => Tone::Good,
        Freshness::Old => Tone::Warn,
        Freshness::Overdue | Freshness::Never => Tone::Bad,
    };
    match set.last_backup {
        None => parts::state(tone, "Never backed up"),
        Some(time) => html! {
            span class={ "state " (tone.class()) } { span.dot aria-hidden="true" {} span { "Backed up " (parts::time(time, facts.now)) } }
        },
    }
}
