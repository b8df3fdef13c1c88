//! The first question: could I recover today, from whom? And when the answer is no: what to do next.

use jiff::Timestamp;
use maud::{Markup, html};

use super::fragments::Facts;
use super::parts::{self, Tone};
use super::{format, notices};
use crate::terminal::safe;
use crate::view::{ArchiveVerdict, FriendView, JobState, SetView, SupersededView};

/// A backup older than this is getting old.
const OLD_SECONDS: i64 = 36 * 3600;

/// A backup older than this is overdue.
const OVERDUE_SECONDS: i64 = 7 * 86_400;

pub(super) fn section(facts: &Facts) -> Markup {
    let begun = !facts.status.friends.is_empty() && !facts.sets.is_empty();
    html! {
        @if begun { (judged(facts)) } @else { (first_steps(facts)) }
        @if let Some(superseded) = &facts.status.superseded { (superseded_notice(superseded, facts.now)) }
        (notices::section(facts))
        @if let Some(failure) = &facts.status.vault.failure {
            div.notice.bad role="alert" {
                p { strong { "The disk that keeps your friends’ files failed." } " It " (safe(failure)) ". Nothing new is stored there; reading goes on." }
                p { "Check the disk, then restart Kith: " code { "kith restart" } }
            }
        }
        @if let Some(until) = facts.status.paused_until {
            div.notice.warn role="status" {
                p { strong { "Backups are paused" } ". They go on " (parts::time(until, facts.now)) "." }
                button.small type="button" data-action="resume" { "Resume now" }
            }
        }
        @for friend in facts.status.friends.iter().filter(|friend| friend.archive.verdict.is_bad()) { (accused(friend)) }
        @if begun && facts.status.recovery_unseen { (words_reminder()) }
    }
}

/// A friend lists less than he should.
fn accused(friend: &FriendView) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p {
                strong { "Look at your backup at " (parts::name(&friend.name)) ". " }
                (parts::sentence(friend.archive.message.as_deref().unwrap_or_default())) " "
                (parts::sentence(friend.archive.hint.as_deref().unwrap_or_default()))
            }
        }
    }
}

/// What the sets say, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Freshness {
    Never,
    Overdue,
    Old,
    Fresh,
}

pub(super) fn freshness(set: &SetView, now: Timestamp) -> Freshness {
    match set.last_backup.map(|time| now.as_second() - time.as_second()) {
        None => Freshness::Never,
        Some(OVERDUE_SECONDS..) => Freshness::Overdue,
        Some(OLD_SECONDS..) => Freshness::Old,
        Some(_) => Freshness::Fresh,
    }
}

fn judged(facts: &Facts) -> Markup {
    let holders: Vec<&FriendView> =
        facts.status.friends.iter().filter(|friend| keeps_something(friend)).collect();
    let running =
        facts.status.jobs.iter().any(|job| matches!(job.state, JobState::Queued | JobState::Running));
    let worst = facts
        .sets
        .iter()
        .map(|set| (freshness(set, facts.now), set))
        .min_by_key(|(fresh, set)| (*fresh, set.last_backup));
    let Some((fresh, set)) = worst else { return html! {} };
    let set_name = safe(&set.name);
    let age = set.last_backup.map(|time| format::relative(time, facts.now)).unwrap_or_default();
    let (tone, headline) = match fresh {
        Freshness::Never if running => {
            (Tone::Busy, format!("“{set_name}” is being backed up for the first time"))
        }
        Freshness::Never => (Tone::Bad, format!("“{set_name}” has never been backed up")),
        Freshness::Overdue => (Tone::Bad, format!("“{set_name}” was last backed up {age}")),
        Freshness::Old => (Tone::Warn, format!("“{set_name}” was last backed up {age}")),
        Freshness::Fresh => (Tone::Good, "Everything is backed up".to_owned()),
    };
    html! {
        section class={ "verdict " (tone.class()) } aria-labelledby="verdict-title" {
            (shield(tone))
            div.verdict-text {
                h1 #verdict-title { bdi { (headline) } }
                p { (recovery_sentence(&holders)) }
            }
            button.primary type="button" data-action="backup" disabled[running] {
                @if running { "Backing up…" } @else { "Back up now" }
            }
        }
    }
}

/// Whether something could be recovered from this friend, as far as is known.
fn keeps_something(friend: &FriendView) -> bool {
    friend.last_backup.is_some() && friend.archive.verdict != ArchiveVerdict::Emptied
}

fn recovery_sentence(holders: &[&FriendView]) -> Markup {
    let names = |wanted: bool| -> Vec<_> {
        holders
            .iter()
            .filter(|friend| friend.connected == wanted)
            .map(|friend| safe(&friend.name).into_owned())
            .collect()
    };
    let (here, away) = (names(true), names(false));
    let listed = |names: &[String]| format::listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    html! {
        @if holders.is_empty() { "Nobody keeps a complete backup yet: nothing could be recovered today." }
        @else if here.is_empty() {
            "You could recover from " bdi { (listed(&away)) } ", once connected again: nobody who keeps your files is connected now."
        }
        @else {
            "You could recover today from " strong { bdi { (listed(&here)) } }
            @if !away.is_empty() { ", and from " bdi { (listed(&away)) } " when connected again" }
            "."
        }
    }
}

fn superseded_notice(superseded: &SupersededView, now: Timestamp) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p {
                strong { "This computer makes no more backups." }
                " It was recovered on another computer " (parts::time(superseded.since, now)) ", and that one makes them now. "
                bdi { (safe(&superseded.told_by)) } " showed the proof. Files can still be restored here."
            }
            p.run { "To have this computer make them again, in a terminal: " code { "kith recover --from HOST:PORT" } ", with the address of a friend and the 24 words. The other one then stops." }
            p.run { "To make this a computer of its own: " code { "kith --home NEW_DIRECTORY daemon" } }
        }
    }
}

fn first_steps(facts: &Facts) -> Markup {
    let friends = !facts.status.friends.is_empty();
    let sets = !facts.sets.is_empty();
    let words = !facts.status.recovery_unseen;
    html! {
        section.welcome aria-labelledby="welcome-title" {
            h1 #welcome-title { "Three steps, and your files are safe with a friend" }
            p.lead { "What you choose is encrypted on this computer and kept on a friend’s disk. Your friend can’t read it. You do the same in return." }
            ol.steps {
                li class=(step_class(friends, true)) {
                    h2 { "Find each other" }
                    p { "Make an invite and send it to a friend, by mail or messenger. Or paste the one you have got." }
                    @if friends { (done_mark()) } @else {
                        div.buttons {
                            button.primary type="button" data-dialog="invite" { "Make an invite" }
                            button type="button" data-dialog="join" { "Paste an invite" }
                        }
                        p.muted { "In an office with a proxy or a strict firewall? First choose " a href="#/options" { "how this computer gets out" } "." }
                    }
                }
                li class=(step_class(sets, friends)) {
                    h2 { "Choose folders" }
                    p { "Documents, photos: whatever you would miss." }
                    @if sets { (done_mark()) } @else {
                        div.buttons { button.primary[friends] type="button" data-dialog="set" disabled[!friends] { "Choose folders" } }
                    }
                }
                li class=(step_class(words, true)) {
                    h2 { "Write down 24 words" }
                    p { "With them and any one friend you get everything back on a blank computer. Without them nobody can." }
                    @if words { (done_mark()) } @else { (words_command()) }
                }
            }
        }
    }
}

fn step_class(done: bool, possible: bool) -> &'static str {
    match (done, possible) {
        (true, _) => "step done",
        (false, true) => "step",
        (false, false) => "step later",
    }
}

fn done_mark() -> Markup {
    html! { p.done-mark { span aria-hidden="true" { "✓ " } "Done" } }
}

fn words_reminder() -> Markup {
    html! {
        div.notice.warn role="status" {
            p {
                strong { "Your 24 recovery words have not been written down yet." }
                " If this computer is lost, they are the only way back to your files."
            }
            (words_command())
        }
    }
}

/// The words never enter the browser.
fn words_command() -> Markup {
    html! { p.run { "In a terminal: " code { "kith recovery show" } " " button.quiet type="button" data-copy="kith recovery show" { "Copy" } } }
}

fn shield(tone: Tone) -> Markup {
    let mark = match tone {
        Tone::Good => "M15 24.5l6 6 12-13",
        Tone::Busy => "M24 14v11l7 5",
        Tone::Warn | Tone::Bad | Tone::Off => "M24 14v13M24 33v1",
    };
    html! {
        svg.shield viewBox="0 0 48 48" aria-hidden="true" focusable="false" {
            path.shape d="M24 3l17 6v13c0 11-7 19-17 23C14 41 7 33 7 22V9z" {}
            path.mark d=(mark) {}
        }
    }
}
