//! Small pieces that many sections share.
//!
//! Escaping is maud's; what it can't know is that a name may reorder or forge the text around it. So every name goes through
//! [`name`], which isolates it and shows what would act.

use jiff::Timestamp;
use maud::{Markup, html};

use super::format;
use crate::terminal::safe;

/// A name from a file, a friend or a person.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { (safe(text)) } }
}

/// A path or another text for machines.
pub(super) fn code(text: &str) -> Markup {
    html! { code { bdi { (safe(text)) } } }
}

/// Words of the engine as a sentence: with a capital, and a full stop if they have none. What stands in backquotes is for machines.
pub(super) fn sentence(words: &str) -> Markup {
    let words = safe(words.trim());
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let whole = format!("{first}{}", letters.as_str());
    let ended = whole.is_empty() || whole.ends_with(['.', '!', '?', '…', ':']);
    html! {
        @for (position, part) in whole.split('`').enumerate() {
            @if position % 2 == 1 { code { bdi { (part) } } } @else { bdi { (part) } }
        }
        @if !ended { "." }
    }
}

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Warn,
    Bad,
    Off,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Off => "off",
        }
    }
}

/// A dot and a word: colour alone says nothing to many people.
pub(super) fn state(tone: Tone, word: &str) -> Markup {
    html! { span class={ "state " (tone.class()) } { span.dot aria-hidden="true" {} (word) } }
}

/// A time, relative, with the exact one behind it.
pub(super) fn time(time: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime=(time.to_string()) title=(format::absolute(time)) { (format::relative(time, now)) }
    }
}

/// A bar that shows a share. The colour comes from the class; SVG takes a width as an attribute, so no inline style is needed.
pub(super) fn bar(per_mille: u64, tone: Tone) -> Markup {
    html! {
        svg class={ "bar " (tone.class()) } viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect width=(per_mille) height="10" {}
        }
    }
}

/// Space used, with what it is out of.
pub(super) fn quota(label: &str, used: u64, held: u64, whole: Option<u64>) -> Markup {
    let share = whole.map(|whole| format::per_mille(used, whole));
    let tone = match share {
        Some(950..) => Tone::Bad,
        Some(800..950) => Tone::Warn,
        _ => Tone::Good,
    };
    html! {
        div.quota {
            div.quota-label {
                span { (label) }
                span.figures {
                    (format::bytes(used))
                    @if let Some(whole) = whole { " of " (format::bytes(whole)) }
                    @if held > 0 { span.muted title="Deleted by its owner, kept for a while in case that was a mistake" { " + " (format::bytes(held)) " held" } }
                }
            }
            (bar(share.unwrap_or(0), tone))
        }
    }
}

/// Addresses: inside the network first, then from outside.
pub(super) fn addresses(
    internal: &[String],
    public: &[String],
    configured: &[String],
    used: Option<&str>,
) -> Markup {
    html! {
        (row("Internal", &list(internal, used, "unknown")))
        (row("Public", &list(public, used, "unknown")))
        @if !configured.is_empty() { (row("Added by hand", &list(configured, used, ""))) }
    }
}

fn list(addresses: &[String], used: Option<&str>, none: &str) -> Markup {
    html! {
        @if addresses.is_empty() { span.muted { (none) } }
        @else {
            ul.addresses {
                @for address in addresses {
                    li {
                        (code(address))
                        @if used == Some(address.as_str()) { " " span.tag { "in use" } }
                    }
                }
            }
        }
    }
}

/// A line of a list of facts.
pub(super) fn row(term: &str, value: &Markup) -> Markup {
    html! { div.row { dt { (term) } dd { (value) } } }
}
