//! The doctor's page: one cause and one thing to do, then the way as a picture, and only below it what it follows from.

mod explain;
mod way;

use jiff::Timestamp;
use kith_doctor::diagnosis::{Check, Direction, Outcome, Passage};
use kith_doctor::{Code, Diagnosis, Part, Weight};
use maud::{Markup, html};

pub(super) use explain::section as explain;

use super::format;
use super::network;
use super::parts::{self, Tone};
use crate::backend::Failure;
use crate::terminal::safe;
use crate::view::{FriendView, StatusView};

/// Whom to look at: everybody, and this computer alone.
pub(super) fn chooser(friends: &[FriendView]) -> Markup {
    html! {
        nav.patients aria-label="Whom to look at" {
            a.patient href="#/doctor" data-patient="" { "This computer" }
            @for friend in friends {
                a.patient href={ "#/doctor/" (friend.device_id) } data-patient=(friend.device_id) {
                    span.dot.state.good[friend.connected].off[!friend.connected] aria-hidden="true" {}
                    (parts::name(&friend.name))
                    @if !friend.connected { span.visually-hidden { ", not connected" } }
                }
            }
        }
        @if friends.is_empty() {
            p.muted { "There are no friends yet whose computers could be looked at." }
        }
    }
}

/// What it comes to.
pub(super) fn section(
    diagnosis: &Diagnosis,
    status: &StatusView,
    friend: Option<&FriendView>,
    now: Timestamp,
) -> Markup {
    html! {
        (verdict(diagnosis))
        (next_step(diagnosis, status))
        @if let Some(name) = &diagnosis.friend { (directions(diagnosis, name)) }
        (way::section(diagnosis))
        @if let Some(reachability) = friend.and_then(|friend| friend.reachability.as_ref()) {
            p.muted.history { (parts::sentence(&reachability.sentence)) }
        }
        (evidence(diagnosis))
        @if let Some(friend) = friend { (codes(diagnosis, friend)) }
        p.muted.looked {
            "Looked at " time datetime=(now.to_string()) { (format::absolute(now)) } ". "
            @match (&diagnosis.friend, diagnosis.told_by.as_deref()) {
                (None, _) => "This computer alone was looked at.",
                (Some(name), None) => { (parts::name(name)) "’s computer could not be asked for its half." },
                (Some(name), Some("code")) => { (parts::name(name)) "’s half is from the report code." },
                (Some(name), Some(_)) => { (parts::name(name)) "’s computer told its half." },
            }
        }
    }
}

/// It could not be looked at all.
pub(super) fn failed(failure: &Failure) -> Markup {
    html! {
        section.verdict.off aria-labelledby="diagnosis-title" {
            (network::mark(Tone::Off))
            div.verdict-text {
                h2.headline #diagnosis-title { "It could not be looked at" }
                p { (parts::sentence(&failure.message)) @if let Some(hint) = &failure.hint { " " (parts::sentence(hint)) } }
            }
        }
    }
}

fn verdict(diagnosis: &Diagnosis) -> Markup {
    let verdict = &diagnosis.verdict;
    let (tone, word) = match verdict.weight {
        Weight::Fine => (Tone::Good, "Everything works"),
        // They are not connected, and will be.
        Weight::Note if matches!(verdict.code, Code::Asleep | Code::JustWoken) => {
            (Tone::Off, "Nothing is broken")
        }
        Weight::Note => (Tone::Warn, "It works"),
        Weight::Fault => (Tone::Bad, "Something is broken"),
    };
    html! {
        section class={ "verdict diagnosed " (tone.class()) } aria-labelledby="diagnosis-title" {
            (network::mark(tone))
            div.verdict-text {
                p.weight { (word) }
                h2.headline #diagnosis-title { (parts::sentence(&verdict.sentence)) }
                details #diagnosis-meaning {
                    summary { "What does that mean?" }
                    p { (verdict.code.meaning()) }
                    p.muted { "Its code is " code { (verdict.code) } ", as in “kith explain " (verdict.code) "”." }
                }
            }
        }
    }
}

fn next_step(diagnosis: &Diagnosis, status: &StatusView) -> Markup {
    let Some(step) = &diagnosis.verdict.next_step else {
        return html! { p.nothing-to-do { "Nothing has to be done." } };
    };
    let at_router = diagnosis.verdict.part == Part::RouterHere;
    html! {
        div.next-step role="status" {
            p { strong { "What to do: " } (parts::sentence(step)) }
            @for command in commands(step) {
                p.run { code { bdi { (safe(command)) } } " " button.quiet type="button" data-copy=(safe(command)) { "Copy" } }
            }
            @if at_router && let Some(link) = network::router_page(&status.gateways) {
                p { (link) }
            }
        }
    }
}

/// What stands in backquotes and has more than one word is to be typed in a terminal.
fn commands(step: &str) -> impl Iterator<Item = &str> {
    step.split('`').skip(1).step_by(2).map(str::trim).filter(|part| part.contains(' '))
}

fn directions(diagnosis: &Diagnosis, friend: &str) -> Markup {
    html! {
        section.directions aria-label="Both directions" {
            (direction(&html! { "From here to " (parts::name(friend)) }, &diagnosis.outward))
            (direction(&html! { "From " (parts::name(friend)) " to here" }, &diagnosis.inward))
        }
    }
}

fn direction(title: &Markup, direction: &Direction) -> Markup {
    let (tone, words) = match direction.state {
        Passage::Open => (Tone::Good, "Gets through"),
        Passage::Closed => (Tone::Bad, "Does not get through"),
        Passage::Unknown => (Tone::Off, "Not known"),
    };
    html! {
        div.card.direction {
            h3 { (title) }
            (parts::state(tone, words))
            @if !direction.detail.is_empty() { p.muted { (parts::sentence(&direction.detail)) } }
        }
    }
}

fn evidence(diagnosis: &Diagnosis) -> Markup {
    html! {
        section.card aria-labelledby="evidence-title" {
            h2 #evidence-title { "Why" }
            @if diagnosis.verdict.evidence.is_empty() { p.muted { "Nothing that was seen speaks against it." } }
            ul.evidence { @for line in &diagnosis.verdict.evidence { li { (parts::sentence(line)) } } }
            @if !diagnosis.checks.is_empty() {
                details #checks {
                    summary { "What was looked at: " (format::counted(count(diagnosis), "check", "checks")) }
                    ul.checks { @for check in &diagnosis.checks { (self::check(check, diagnosis.friend.as_deref())) } }
                }
            }
        }
    }
}

fn count(diagnosis: &Diagnosis) -> u64 {
    u64::try_from(diagnosis.checks.len()).unwrap_or(u64::MAX)
}

fn check(check: &Check, friend: Option<&str>) -> Markup {
    let (tone, word) = match check.outcome {
        Outcome::Ok => (Tone::Good, "OK"),
        Outcome::Failed => (Tone::Bad, "Failed"),
        Outcome::Skipped => (Tone::Off, "Skipped"),
        Outcome::Unknown => (Tone::Off, "Not known"),
    };
    let detail = if check.detail.is_empty() { check.code.title() } else { &check.detail };
    html! {
        li.check-line {
            (parts::state(tone, word))
            span.check-words {
                strong { (part(check.part, friend)) } ": " (parts::sentence(detail)) " "
                button.quiet type="button" data-dialog="explain" data-code=(check.code) aria-label={ "What " (check.code) " means" } { (check.code) }
            }
        }
    }
}

/// Whose part of the way it is.
fn part(part: Part, friend: Option<&str>) -> Markup {
    let theirs = |what: &str| {
        html! { @match friend { Some(friend) => { (parts::name(friend)) "’s " (what) }, None => { (what) " there" } } }
    };
    match part {
        Part::ThisComputer => html! { "This computer" },
        Part::FirewallHere => html! { "Firewall here" },
        Part::RouterHere => html! { "Router here" },
        Part::Internet => html! { "Internet" },
        Part::RouterThere => theirs("router"),
        Part::FirewallThere => theirs("firewall"),
        Part::Friend => theirs("computer"),
    }
}

/// What two people do whose computers can't talk: one line goes by mail or telephone. Folded where nobody needs it.
fn codes(diagnosis: &Diagnosis, friend: &FriendView) -> Markup {
    let name = html! { (parts::name(&friend.name)) };
    let needed = diagnosis.told_by.as_deref() != Some("link") && diagnosis.verdict.weight == Weight::Fault;
    html! {
        section.card.codes aria-labelledby="codes-title" {
            @if needed {
                h2 #codes-title { "Look at both ends" }
                p.muted { (name) "’s computer can’t be asked from here. With a line that it makes, both ends can be looked at all the same: there, on the page Doctor, or with " code { "kith doctor --code" } "." }
                (codes_form(friend))
            } @else {
                details #codes {
                    summary #codes-title { "Report codes, for when a computer can’t be asked" }
                    p.muted { "One line says how a computer is. It is made on the page Doctor of that computer, or with " code { "kith doctor --code" } ", and goes by mail or messenger." }
                    (codes_form(friend))
                }
            }
        }
    }
}

fn codes_form(friend: &FriendView) -> Markup {
    html! {
        form data-form="examine" data-friend=(friend.device_id) {
            label.field {
                span { "The report code that your friend sent" }
                textarea name="with" rows="3" required maxlength="65536" spellcheck="false" dir="ltr" autocomplete="off" {}
            }
            div.buttons {
                button.primary type="submit" { "Look with this code" }
                button type="button" data-action="report-code" data-friend=(friend.device_id) { "Make a code for your friend" }
            }
        }
    }
}
