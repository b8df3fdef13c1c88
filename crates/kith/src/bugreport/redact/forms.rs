//! What a text without a known name in it looks like.

use std::ops::Range;

use kith_identity::{DeviceId, is_phrase_word};

use super::pseudonym::Kind;
use super::words;
use crate::settings::schema::KEYS;

/// What may stand between words. ASCII alone: anything else is part of something to hide.
pub(super) const PUNCTUATION: &[char] = &[
    '(', ')', '[', ']', '{', '}', '<', '>', ',', ';', ':', '=', '|', '&', '+', '*', '!', '?', '`', '\'', '"',
    '.', '-', '_', '#',
];
/// Punctuation that joins words and stays inside of them.
pub(super) const JOINERS: &[char] = &['\'', '.', '-', '_'];
/// Characters in the first group of a device id.
pub(super) const DEVICE_GROUP: usize = 7;
/// Consecutive words of the list of recovery phrases that are taken for a part of one. A safety sentence has six.
const PHRASE_RUN: usize = 5;
/// A list of so many numbers may be the bytes of a key.
const NUMBER_RUN: usize = 8;
/// Hexadecimal digits that are an id, not a number.
const HEX: usize = 16;
/// Letters and digits that are a key or an id, not a word.
const CODE: usize = 20;
/// Digits of a number; more may be a key.
const DIGITS: usize = 15;
/// Units that stand at numbers without a space.
const UNITS: [&str; 20] = [
    "", "%", "s", "ms", "us", "µs", "ns", "m", "min", "h", "d", "B", "kB", "MB", "GB", "TB", "KiB", "MiB",
    "GiB", "TiB",
];
/// Names with a dot that are ours.
const OWN_NAMES: [&str; 8] = [
    "kith.toml",
    "locked.toml",
    "state.db",
    "kith.log",
    "ports.json",
    "control.sock",
    "daemon.lock",
    "kith.service",
];
/// What has a slash and is no path.
const SLASHED: [&str; 6] = ["kith/1", "kith-join/1", "http/1", "http/1.1", "tcp/ip", "and/or"];

/// Numbers with a unit or without, versions, ranges, dates.
pub(super) fn is_number(text: &str) -> bool {
    let end = text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |at| at + 1);
    let (number, unit) = text.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if !UNITS.contains(&unit) || digits == 0 || digits > DIGITS {
        return false;
    }
    let whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let dots = number.split('.').count();
    let dashes = number.split('-').count();
    (dots <= 3 && number.split('.').all(whole)) || (dashes <= 3 && number.split('-').all(whole))
}

/// A moment as the log and the reports write it.
pub(super) fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.parse::<jiff::Timestamp>().is_ok()
}

/// Keys of the settings and files of the home.
pub(super) fn is_own_name(text: &str) -> bool {
    OWN_NAMES.contains(&text) || (text.contains('.') && KEYS.iter().any(|key| key.name == text))
}

pub(super) fn is_harmless_slashed(text: &str) -> bool {
    let fraction = text.split_once('/').is_some_and(|(one, other)| is_number(one) && is_number(other));
    fraction || SLASHED.iter().any(|known| known.eq_ignore_ascii_case(text))
}

/// A device id, or its first group.
pub(super) fn is_device(text: &str) -> bool {
    let base32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    (text.len() == DEVICE_GROUP && text.bytes().all(base32)) || text.parse::<DeviceId>().is_ok()
}

/// The kind of something that is not a word of ours.
pub(super) fn kind(text: &str) -> Kind {
    if text.len() >= HEX && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Kind::Hex
    } else if text.len() >= CODE
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        Kind::Code
    } else if text.trim_matches('.').contains('.') {
        Kind::Host
    } else {
        Kind::Text
    }
}

/// Where a URL begins.
pub(super) fn url_start(chunk: &str) -> Option<usize> {
    let colon = chunk.find("://")?;
    let scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    Some(colon - chunk[..colon].bytes().rev().take_while(|byte| scheme(*byte)).count())
}

/// Where a path begins: what has a slash in it, or a backslash.
pub(super) fn path_start(chunk: &str) -> Option<usize> {
    if is_harmless_slashed(chunk.trim_matches(PUNCTUATION)) {
        return None;
    }
    let slash = chunk.find(['/', '\\'])?;
    let opens = |c: char| matches!(c, '=' | '(' | '[' | '{' | '<' | '`' | '\'' | ',' | ':');
    Some(chunk[..slash].rfind(opens).map_or(0, |at| at + 1))
}

/// The reason of the system with which a text ends, behind a colon.
pub(super) fn reason(text: &str) -> Option<&str> {
    let (_, reason) = text.rsplit_once(": ")?;
    let bare = reason.split(" (os error ").next().unwrap_or_default();
    let number = reason[bare.len()..].trim_start_matches(" (os error ").trim_end_matches(')');
    let user = bare.strip_prefix("user ").and_then(|rest| rest.strip_suffix(" has no permission"));
    let known = words::reasons().contains(&bare.to_lowercase())
        || user.is_some_and(|user| !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit()));
    (known && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(reason)
}

/// A text without the reason at its end, so that a path has one pseudonym whatever befalls it.
pub(super) fn without_reason(text: &str) -> &str {
    match reason(text) {
        Some(reason) => text[..text.len() - reason.len()].trim_end_matches(": "),
        None => text,
    }
}

/// Words of a recovery phrase or of a safety sentence, and lists of numbers that may be bytes of a key.
pub(super) fn runs(text: &str) -> Vec<(Range<usize>, Kind)> {
    let mut runs = run(
        text,
        PHRASE_RUN,
        |word| is_phrase_word(&word.to_lowercase()),
        |between| {
            between.chars().all(|c| c.is_whitespace() || c.is_ascii_punctuation() || c.is_ascii_digit())
        },
    )
    .map(|range| (range, Kind::Words))
    .chain(
        run(
            text,
            NUMBER_RUN,
            |number| number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit()),
            |between| !between.is_empty() && between.chars().all(|c| c.is_whitespace() || c == ','),
        )
        .map(|range| (range, Kind::Numbers)),
    )
    .collect::<Vec<_>>();
    runs.sort_by_key(|(range, _)| range.start);
    runs
}

/// Ranges of at least `least` consecutive words that are meant, with nothing else between them.
fn run(
    text: &str,
    least: usize,
    meant: impl Fn(&str) -> bool,
    between: impl Fn(&str) -> bool,
) -> impl Iterator<Item = Range<usize>> {
    let mut found = Vec::new();
    let mut open: Option<(Range<usize>, usize)> = None;
    let mut close = |open: &mut Option<(Range<usize>, usize)>| {
        if let Some((range, count)) = open.take()
            && count >= least
        {
            found.push(range);
        }
    };
    for range in words_of(text) {
        if !meant(&text[range.clone()]) {
            // A number between two words, as on a printed sheet, does not part them.
            if !between(&text[range.clone()]) {
                close(&mut open);
            }
            continue;
        }
        match &mut open {
            Some((begun, count)) if between(&text[begun.end..range.start]) => {
                begun.end = range.end;
                *count += 1;
            }
            _ => {
                close(&mut open);
                open = Some((range, 1));
            }
        }
    }
    close(&mut open);
    found.into_iter()
}

fn words_of(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(char::is_alphanumeric)?;
        let end =
            text[start..].find(|c: char| !c.is_alphanumeric()).map_or(text.len(), |length| start + length);
        at = end;
        Some(start..end)
    })
}
