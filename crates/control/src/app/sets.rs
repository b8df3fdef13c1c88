//! What is backed up, and to whom.

use maud::{Markup, html};

use super::fragments::Facts;
use super::parts::{self, Tone};
use super::verdict::{Freshness, freshness};
use crate::terminal::safe;
use crate::view::{JobState, SetView};

/// Paths shown of a set; a longer list is folded.
const SHOWN_PATHS: usize = 4;

pub(super) fn section(facts: &Facts) -> Markup {
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
            @for set in &facts.sets { (card(set, facts)) }
        }
    }
}

fn card(set: &SetView, facts: &Facts) -> Markup {
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
                @if !set.exclude.is_empty() {
                    ", without "
                    @for (position, glob) in set.exclude.iter().enumerate() { @if position > 0 { ", " } (parts::code(glob)) }
                }
            }
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
