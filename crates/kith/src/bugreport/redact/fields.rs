//! A line of the log: `TIME LEVEL span{..}: message field=value field="value"`.

use std::borrow::Cow;

use super::pseudonym::Kind;

/// What the value of a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A name as a whole, which is never shown; an address, a device id or a number is recognised as such.
    Name(Kind),
    /// Words, numbers, addresses: shown as far as they are harmless.
    Text,
}

/// A part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// The field; `None` for the message.
    pub(super) field: Option<(&'a str, Field)>,
    /// Its value as it stands there.
    pub(super) value: &'a str,
}

/// Fields whose value is a name.
const NAMES: [(&str, Kind); 16] = [
    ("alternate", Kind::Friend),
    ("by", Kind::Friend),
    ("carrier", Kind::Friend),
    ("friend", Kind::Friend),
    ("from", Kind::Friend),
    ("holder", Kind::Text),
    ("hub", Kind::Friend),
    ("interface", Kind::Text),
    ("name", Kind::Friend),
    ("operation", Kind::Path),
    ("path", Kind::Path),
    ("program", Kind::Text),
    ("set", Kind::Set),
    ("socket", Kind::Path),
    ("told_by", Kind::Friend),
    ("user", Kind::User),
];

/// All other fields of our log. A name that is missing here is taken for a part of the value before it.
const TEXTS: [&str; 89] = [
    "address",
    "addresses",
    "answer",
    "archive",
    "as_of",
    "at",
    "burst",
    "bytes",
    "changes",
    "code",
    "command",
    "computers",
    "copied",
    "damage",
    "damaged",
    "deleted",
    "device",
    "dialled",
    "doubt",
    "ending",
    "error",
    "evicted",
    "failure",
    "failures",
    "family",
    "files",
    "firewall",
    "first",
    "friends",
    "hint",
    "hubs",
    "id",
    "index",
    "job",
    "kind",
    "length",
    "local",
    "location",
    "lost",
    "malformed",
    "method",
    "news",
    "number",
    "object",
    "objects",
    "outcome",
    "own",
    "owner",
    "owners",
    "pack",
    "packs",
    "pause",
    "pinhole",
    "place",
    "port",
    "problem",
    "protocol",
    "rank",
    "reason",
    "refusal",
    "relays",
    "remote",
    "request",
    "resumes",
    "said",
    "seconds",
    "sent",
    "sequence",
    "server",
    "sets",
    "since",
    "skipped",
    "slept",
    "snapshots",
    "state",
    "suspects",
    "target",
    "time",
    "to",
    "token",
    "told",
    "took",
    "tree",
    "uplink",
    "visits",
    "way",
    "who",
    "why",
    "with",
];

/// Values of name fields that Kith sets itself.
const OWN_VALUES: [&str; 1] = ["check"];

pub(super) fn is_own_value(text: &str) -> bool {
    OWN_VALUES.contains(&text)
}

fn field(name: &str) -> Option<Field> {
    if let Some((_, kind)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(Field::Name(*kind));
    }
    TEXTS.contains(&name).then_some(Field::Text)
}

/// Time, level and the rest of a line; `None` when it is not one of ours.
pub(super) fn head(line: &str) -> Option<(&str, &str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    time.parse::<jiff::Timestamp>().ok()?;
    let rest = rest.trim_start();
    let (level, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level).then_some((time, level, rest))
}

/// The message and the fields of a line.
pub(super) fn split(rest: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut current, mut start, mut at) = (None, 0, 0);
    while at < rest.len() {
        // A quote at the begin of a value, and nowhere else: messages may hold single ones.
        if at == start
            && current.is_some()
            && rest[at..].starts_with('"')
            && let Some(length) = quoted_length(&rest[at + 1..])
        {
            at += length + 2;
            continue;
        }
        if let Some((length, found)) = field_at(rest, at) {
            if current.is_some() || start < at {
                parts.push(Part { field: current, value: rest[start..at].trim_end_matches(' ') });
            }
            current = Some(found);
            at += length;
            start = at;
            continue;
        }
        at += rest[at..].chars().next().map_or(1, char::len_utf8);
    }
    parts.push(Part { field: current, value: &rest[start..] });
    parts
}

/// A field that begins here, at the start or behind a space: the length of `name=` and what it is.
fn field_at(text: &str, at: usize) -> Option<(usize, (&str, Field))> {
    if at > 0 && !text[..at].ends_with(' ') {
        return None;
    }
    let rest = &text[at..];
    let length = rest.bytes().take_while(|byte| byte.is_ascii_lowercase() || *byte == b'_').count();
    if !rest[length..].starts_with('=') {
        return None;
    }
    let name = &rest[..length];
    Some((length + 1, (name, field(name)?)))
}

/// Bytes up to the closing quote; `None` if there is none.
pub(super) fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// A value without its quotes.
pub(super) fn unquoted(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    match value.strip_prefix('"').and_then(|inner| Some((inner, quoted_length(inner)?))) {
        Some((inner, length)) if length + 1 == inner.len() => unescaped(&inner[..length]),
        _ => Cow::Borrowed(value),
    }
}

/// A quoted text with its quotes, line breaks and backslashes as they were. Other escapes stay.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n' | 'r' | 't') => out.push(' '),
                Some(quoted @ ('"' | '\\' | '\'')) => out.push(quoted),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}
