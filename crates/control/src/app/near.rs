//! Computers in the same network whose people look for each other, and the meetings with them.

use jiff::Timestamp;
use maud::{Markup, html};

use super::format;
use super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{MeetingState, MeetingView, NearComputerView, NearView};

pub(super) fn section(near: &NearView, now: Timestamp) -> Markup {
    html! {
        section.card aria-labelledby="near-title" {
            div.card-head {
                h2 #near-title { "Computers near you" }
                @if near.open_until.is_some() {
                    button.small type="button" data-action="close-near" { "Stop looking" }
                } @else if near.unavailable.is_none() {
                    button.small type="button" data-action="open-near" { "Look for computers" }
                }
            }
            @for meeting in &near.meetings { (self::meeting(meeting)) }
            @match (near.open_until, &near.unavailable) {
                (Some(until), _) => (list(near, until, now)),
                (None, Some(reason)) => p.empty { (parts::sentence(reason)) },
                (None, None) => p.empty {
                    "Is your friend in the same network? Then you need no invite: both of you press “Look for computers”. "
                    "For ten minutes this computer then shows its name and its device id to everybody in this network, and at no other time."
                },
            }
        }
    }
}

fn list(near: &NearView, until: Timestamp, now: Timestamp) -> Markup {
    let minutes = format::between(now, until).as_secs().div_ceil(60).max(1);
    let left = format::duration(std::time::Duration::from_secs(minutes * 60));
    html! {
        p.muted {
            "This computer shows itself in this network, for " (left) " more. "
            "The other one must look for computers too."
        }
        @if near.computers.is_empty() {
            p.empty role="status" { "Nobody is seen yet." }
        } @else {
            ul.near-list { @for computer in &near.computers { (entry(computer, near)) } }
        }
    }
}

fn entry(computer: &NearComputerView, near: &NearView) -> Markup {
    let id = computer.device_id.to_string();
    let busy =
        near.meetings.iter().any(|meeting| meeting.device_id == computer.device_id && is_open(meeting));
    html! {
        li #{ "near-" (id) } {
            h3 { (parts::name(&computer.name)) }
            @if let Some(address) = computer.addresses.first() { span.where { "at " (parts::code(address)) } }
            @match &computer.friend {
                Some(name) => span.tag { "a friend already, " (parts::name(name)) },
                None => button.small.primary type="button" data-action="meet" data-device=(id) disabled[busy]
                    aria-label={ "Become friends with " (safe(&computer.name)) } { "Become friends" },
            }
        }
    }
}

const fn is_open(meeting: &MeetingView) -> bool {
    matches!(meeting.state, MeetingState::Connecting | MeetingState::Comparing)
}

fn meeting(meeting: &MeetingView) -> Markup {
    let tone = match meeting.state {
        MeetingState::Connecting | MeetingState::Comparing => Tone::Busy,
        MeetingState::Friends => Tone::Good,
        MeetingState::Ended => Tone::Off,
    };
    html! {
        div class={ "meeting " (tone.class()) } #{ "meeting-" (meeting.id) } role="status" {
            h3 {
                @if is_open(meeting) && !meeting.asked_here {
                    (parts::name(&meeting.name)) " wants to become friends"
                } @else if is_open(meeting) {
                    "Becoming friends with " (parts::name(&meeting.name))
                } @else {
                    (parts::name(&meeting.name))
                }
            }
            @match meeting.state {
                MeetingState::Connecting => p { "Asking the other computer…" },
                MeetingState::Comparing => (comparing(meeting)),
                MeetingState::Friends | MeetingState::Ended => p { (parts::sentence(meeting.outcome.as_deref().unwrap_or("it is over"))) },
            }
            @if meeting.state == MeetingState::Connecting { div.buttons { (stop(meeting, "Stop")) } }
        }
    }
}

fn comparing(meeting: &MeetingView) -> Markup {
    html! {
        @if let Some(words) = &meeting.safety_words {
            p { "Look at both screens. Do they show the same six words?" }
            p.words { (safe(words)) }
        }
        @if meeting.confirmed_here {
            p {
                (parts::state(Tone::Busy, "You agreed"))
                " Now it is up to the person at the other computer."
            }
            div.buttons { (stop(meeting, "Stop")) }
        } @else {
            @if meeting.confirmed_there { p { (parts::state(Tone::Good, "The other person agreed")) } }
            form data-form="meeting" data-meeting=(meeting.id) {
                label.check {
                    input type="checkbox" name="own";
                    span { "Both are my own computers " small.muted { "(say so on both)" } }
                }
                div.buttons {
                    (stop(meeting, "They differ, or I don’t want this"))
                    button.primary type="submit" { "They are the same" }
                }
            }
        }
    }
}

fn stop(meeting: &MeetingView, word: &str) -> Markup {
    html! { button type="button" data-action="refuse-meeting" data-meeting=(meeting.id) { (word) } }
}
