//! Everybody we back up with.

use maud::{Markup, html};

use super::fragments::Facts;
use super::parts::{self, Tone};
use super::{format, notices};
use crate::terminal::safe;
use crate::view::{ConditionView, FriendView};

pub(super) fn section(facts: &Facts) -> Markup {
    let friends = &facts.status.friends;
    html! {
        section.card aria-labelledby="friends-title" {
            div.card-head {
                h2 #friends-title { "Friends" }
                div.buttons {
                    button.small type="button" data-dialog="invite" { "Invite" }
                    button.small type="button" data-dialog="join" { "Join" }
                }
            }
            @if friends.is_empty() {
                p.empty { "Nobody yet. Invite a friend, or another computer of your own." }
            }
            @for friend in friends { (card(friend, facts)) }
        }
    }
}

fn card(friend: &FriendView, facts: &Facts) -> Markup {
    let id = friend.device_id.to_string();
    let busy = facts.status.jobs.iter().any(|job| job.friend_id == friend.device_id && !job.state.is_over());
    let wanted = facts.sets.iter().any(|set| set.to.contains(&friend.name));
    html! {
        article.friend #{ "friend-" (id) } {
            div.friend-head {
                h3 {
                    (parts::name(&friend.name))
                    @if friend.own { " " span.tag { "my own" } }
                }
                (link_state(friend))
                div.buttons {
                    @if wanted {
                        button.small type="button" data-action="backup" data-friend=(id) disabled[busy]
                            aria-label={ "Back up to " (safe(&friend.name)) " now" } { "Back up" }
                    }
                    a.button.small.quiet href={ "#/doctor/" (id) } aria-label={ "Doctor: how is the way to " (safe(&friend.name)) "?" } { "Doctor" }
                    button.small.quiet type="button" data-dialog="friend" data-friend=(id)
                        aria-label={ "Change " (safe(&friend.name)) } { "Change" }
                }
            }
            p.friend-link { (link_sentence(friend, facts)) }
            @if let Some(notice) = notices::of(facts, friend) {
                (notices::in_card(notice))
                p.find-out { a href={ "#/doctor/" (id) } { "Look closer" } }
            } @else if !friend.connected && let Some(error) = &friend.last_error {
                p.trouble { (safe(error)) }
                p.find-out { a href={ "#/doctor/" (id) } { "Find out why, and what to do" } }
            }
            @if let Some(better) = &friend.better { p.better { strong { "Better: " } (parts::sentence(better)) } }
            @if friend.damaged_there > 0 {
                p.trouble { (friend.damaged_there) " pieces of my files are damaged there. The next backup repairs what it can." }
            }
            @if friend.damaged_here > 0 {
                p.trouble { (friend.damaged_here) " pieces of theirs are damaged on this computer’s disk. Is the disk all right?" }
            }
            @if let Some(recovered) = friend.recovered {
                p.muted { (parts::name(&friend.name)) " was recovered on another computer " (parts::time(recovered, facts.now)) "." }
            }
            @if let Some(trouble) = &friend.trouble {
                p.trouble { "Stores nothing at present: " (safe(trouble)) }
            }
            div.quotas {
                (parts::quota("My files there", friend.stored_there_bytes.unwrap_or(0), 0, friend.offered_bytes))
                (parts::quota("Theirs here", friend.stored_here_bytes, friend.held_here_bytes, friend.quota_bytes))
            }
            dl.facts {
                (parts::addresses(&friend.internal, &friend.public, &friend.configured, friend.address.as_deref()))
                (parts::row("Last backup", &html! {
                    @match friend.last_backup {
                        Some(time) => (parts::time(time, facts.now)),
                        None => span.muted { "none yet" },
                    }
                }))
            }
            @if let Some(reachability) = &friend.reachability {
                dl.facts { (parts::row("History", &html! { (safe(&capital(&reachability.sentence))) })) }
            }
            @if let Some(condition) = &friend.condition {
                dl.facts { (parts::row("Their backups", &their_backups(condition, facts))) }
            }
            @if !friend.attempts.is_empty() || friend.last_change.is_some() { (path_details(friend, facts)) }
            details #{ "more-" (id) } {
                summary { "Is it really " (parts::name(&friend.name)) "?" }
                @if let Some(words) = &friend.safety_words {
                    p { "Read these six words to each other, by telephone. Both computers show the same ones:" }
                    p.words { (safe(words)) }
                }
                p.muted { "Device id " (parts::code(&id)) @if let Some(version) = &friend.version { ", Kith " (safe(version)) } }
            }
        }
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// How the way came about, and what was tried in vain.
fn path_details(friend: &FriendView, facts: &Facts) -> Markup {
    html! {
        details #{ "way-" (friend.device_id) } {
            summary { "The way, and what was tried" }
            @if let Some(change) = &friend.last_change {
                p { "Last change " (parts::time(change.at, facts.now)) ": " bdi { (safe(&change.reason)) } }
            }
            ul.attempts {
                @for attempt in friend.attempts.iter().rev() {
                    li { (parts::code(&attempt.address)) " " (parts::time(attempt.at, facts.now)) ": " bdi { (safe(&attempt.error)) } }
                }
            }
        }
    }
}

/// What a friend tells of his own backups, to whomever they go.
fn their_backups(condition: &ConditionView, facts: &Facts) -> Markup {
    html! {
        @match condition.last_backup {
            Some(last) => {
                (parts::time(last.time, facts.now))
                @if !last.complete { span.muted { ", with files left out" } }
            },
            None => span.muted { "none yet" },
        }
        @if let Some(work) = condition.at_work() { ", " (work) }
        @if let Some(until) = condition.paused_until { span.muted { ", paused until " (format::absolute(until)) } }
        @if let Some(free) = condition.free_bytes { span.muted { "; " (format::bytes(free)) " free there" } }
    }
}

fn link_state(friend: &FriendView) -> Markup {
    match (friend.connected, friend.paused) {
        (true, false) => parts::state(Tone::Good, "Connected"),
        (true, true) => parts::state(Tone::Warn, "Connected, storing paused"),
        (false, true) => parts::state(Tone::Off, "Not connected, storing paused"),
        (false, false) => parts::state(Tone::Off, "Not connected"),
    }
}

fn link_sentence(friend: &FriendView, facts: &Facts) -> Markup {
    html! {
        @if friend.connected {
            bdi { (capital(&safe(&friend.path_words().unwrap_or_else(|| "connected".to_owned())))) }
            @if friend.path.as_deref() != Some("relayed") && let Some(address) = &friend.address { ", at " (parts::code(address)) }
            @if let Some(time) = friend.round_trip_words() { ", " (time) }
            @if let Some(minutes) = friend.path_since.or(friend.connected_since).map(|since| format::between(since, facts.now).as_secs() / 60) && minutes > 0 {
                ", for " (format::duration(std::time::Duration::from_secs(minutes * 60)))
            }
        } @else {
            @match friend.last_seen {
                Some(time) => { "Last connected " (parts::time(time, facts.now)) }
                None => "Has never been connected",
            }
        }
    }
}
