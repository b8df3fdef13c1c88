//! How parts are called, and what is said where nothing is wrong.

use crate::code::{Code, Part, Weight};
use crate::diagnosis::Verdict;
use crate::facts::{Facts, Pair, Side, Test, TestResult};

/// Whose end of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// This computer's.
    Here,
    /// That of the friend with this name.
    There(&'a str),
}

impl Whose<'_> {
    /// The part of the way, given what it is at this end.
    pub(super) const fn part(self, part: Part) -> Part {
        match self {
            Self::Here => part,
            Self::There(_) => part.mirrored(),
        }
    }

    /// `this computer`, `bert's computer`.
    pub(super) fn computer(self) -> String {
        match self {
            Self::Here => "this computer".to_owned(),
            Self::There(name) => format!("{}s computer", genitive(name)),
        }
    }

    /// `the router here`, `the router at bert's`; with what it calls itself.
    pub(super) fn router(self, side: &Side) -> String {
        let place = match self {
            Self::Here => "the router here".to_owned(),
            Self::There(name) => format!("the router at {}s", genitive(name)),
        };
        match &side.mapping.router {
            Some(model) => format!("{place} ({model})"),
            None => place,
        }
    }

    /// Before what is to be done: nothing, or `on bert's computer: `.
    pub(super) fn on(self) -> String {
        match self {
            Self::Here => String::new(),
            Self::There(name) => format!("on {}s computer: ", genitive(name)),
        }
    }
}

/// `bert'`, before an s; also of names that end in one.
fn genitive(name: &str) -> String {
    format!("{name}'")
}

/// A friend's name as a word of a shell, within backquotes of our own: he may have chosen it himself.
pub(super) fn argument(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain) {
        return name.to_owned();
    }
    if name.is_empty() || name.chars().any(|c| c.is_control() || matches!(c, '\'' | '`' | '\\')) {
        return "FRIEND".to_owned();
    }
    format!("'{name}'")
}

/// What is meant by a part.
pub(super) fn subject(part: Part, pair: Option<&Pair>) -> String {
    let name = pair.map_or("the friend", |pair| pair.name.as_str());
    match part {
        Part::ThisComputer => "this computer".to_owned(),
        Part::FirewallHere => "the firewall of this computer".to_owned(),
        Part::RouterHere => "the router here".to_owned(),
        Part::Internet => "the way between".to_owned(),
        Part::RouterThere => format!("the router at {}s", genitive(name)),
        Part::FirewallThere => format!("the firewall of {}s computer", genitive(name)),
        Part::Friend => format!("{}s computer", genitive(name)),
    }
}

/// A port test in one line: `11.0.0.2:4242: no response (after 4.0 s)`.
pub(super) fn test(test: &Test) -> String {
    let what = match test.result {
        TestResult::Friend => "the friend's Kith answers",
        TestResult::OtherDevice => "another Kith answers",
        TestResult::Myself => "this very computer answers",
        TestResult::NotKith => "something answers that is no Kith",
        TestResult::Intercepted => "something in between answers",
        TestResult::BlackHole => "short packets get through, long ones don't",
        TestResult::Silent => "a connection stands, and nothing comes",
        TestResult::Refused => "refused",
        TestResult::NoResponse => "no response",
        TestResult::Unreachable => "unreachable",
        TestResult::ForbiddenHere => "this computer's own firewall says no",
        TestResult::NotAllowed => "the settings don't allow it",
        TestResult::ProxyDown => "the proxy does not answer",
        TestResult::ProxyRefuses => "the proxy says no",
        TestResult::NameNotFound => "the name was not found",
        TestResult::RefusedUs => "it answers, and does not know this computer",
        TestResult::OtherVersion => "it answers, and the two programs have no version in common",
        TestResult::Elsewhere => "not tried: it is in another network",
    };
    let detail = test.detail.as_deref().filter(|detail| !detail.is_empty() && *detail != what);
    match detail {
        Some(detail) => format!("{}: {what} ({detail})", test.address),
        None => format!("{}: {what}", test.address),
    }
}

/// Nothing is wrong.
pub(super) fn all_is_well(facts: &Facts) -> Verdict {
    let (sentence, evidence) = match facts.friend.as_ref() {
        None => ("nothing is wrong on this computer".to_owned(), Vec::new()),
        Some(pair) => {
            let path = pair.link.as_ref().map(|link| match link.path.as_str() {
                "lan" => "directly, inside the network".to_owned(),
                "public" => "directly, over the Internet".to_owned(),
                "mapped" => "directly, through a router that lets calls in".to_owned(),
                "punched" => "directly, through both routers".to_owned(),
                "proxied" => "through the proxy".to_owned(),
                other => other.to_owned(),
            });
            let how = path.map(|path| format!("{} is connected {path}", pair.name));
            (
                format!("everything works between this computer and {}s", genitive(&pair.name)),
                how.into_iter().collect(),
            )
        }
    };
    Verdict {
        code: Code::Works,
        subject: facts.friend.as_ref().map_or_else(|| "this computer".to_owned(), |pair| pair.name.clone()),
        part: Part::ThisComputer,
        weight: Weight::Fine,
        sentence,
        next_step: None,
        evidence,
    }
}

/// `3 minutes`, `2 hours`, `a day`: how far something is, roughly.
pub(super) fn span(seconds: u64) -> String {
    let many = |n: u64, one: &str, more: &str| if n == 1 { one.to_owned() } else { format!("{n} {more}") };
    match seconds {
        0..120 => many(seconds, "a second", "seconds"),
        120..7200 => many(seconds / 60, "a minute", "minutes"),
        7200..172_800 => many((seconds + 1800) / 3600, "an hour", "hours"),
        _ => many((seconds + 43_200) / 86_400, "a day", "days"),
    }
}
