//! What the daemon is told in small messages and headers, and what a person types.

use std::sync::OnceLock;

use data_encoding::BASE64_NOPAD;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use kith::cli::readers::time as read_time;
use kith::daemon::readers;
use kith::settings::parse_duration;
use kith_listener::gate::{Verdict, judge};
use kith_listener::readers::{FirstBytes, first_bytes};
use kith_wire::{DialInKeys, paths};

use super::friends::message;
use super::signed;
use crate::outcome::{NOTHING, Outcome, judged, refused, taken};

const ARCHIVE: &str = "000102030405060708090a0b0c0d0e0f";

/// Most objects that one answer may name.
const MOST_NAMED: usize = 300;

/// The keys by which a friend wants to be called.
pub(super) fn dial_in_keys(bytes: &[u8]) -> Outcome {
    let Some(keys) = message::<DialInKeys>(bytes) else { return NOTHING };
    for key in [&keys.key, &keys.recovery] {
        assert!(key.to_hex().len() == 64, "a key of another length");
    }
    assert!(!format!("{keys:?}").contains(keys.key.to_hex().as_str()), "a key is shown");
    taken(&bytes.len())
}

/// What a friend says is damaged.
pub(super) fn damaged(bytes: &[u8]) -> Outcome {
    let named = match readers::damaged(bytes, ARCHIVE) {
        Ok(named) => named,
        Err(error) => return refused(&error.replace('"', "'")),
    };
    assert!(named.len() <= MOST_NAMED, "{} objects", named.len());
    for object in &named {
        let (kind, name) = object.split_once('/').unwrap_or_default();
        let is_digest = name.len() == 64 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        assert!((kind == "data" || kind == "index") && is_digest, "{object:?} is replaced");
    }
    taken(&named)
}

/// What the state object says of archives: a document, or the entries of one.
pub(super) fn archives(bytes: &[u8]) -> Outcome {
    let document = match bytes {
        [b'{', ..] => bytes.to_vec(),
        [how, entries @ ..] => document_of(*how, entries).into_bytes(),
        [] => return NOTHING,
    };
    match readers::archives(&document, signed::key()) {
        Ok(archives) => {
            for (_, kept, gone) in &archives {
                assert!(
                    40 * kept + 33 * gone <= document.len(),
                    "{kept} and {gone} in {} bytes",
                    document.len()
                );
            }
            judged(archives.iter().any(|(head, kept, gone)| *head || kept + gone > 0), &archives)
        }
        Err(sentence) => {
            assert!(!sentence.starts_with("what was written"), "{sentence}");
            refused(&sentence.replace('"', "'"))
        }
    }
}

/// A state document with an archive of these snapshots.
fn document_of(how: u8, entries: &[u8]) -> String {
    let (kept, gone) = if how & 1 == 0 { (entries, &b""[..]) } else { entries.split_at(entries.len() / 2) };
    let (kept, gone) = (BASE64_NOPAD.encode(kept), BASE64_NOPAD.encode(gone));
    let set = if how & 2 == 0 { "null" } else { "\"photos\"" };
    format!(
        r#"{{"version":1,"sequence":7,"time":"2026-01-02T03:04:05Z","incarnation":1,"name":"study","friends":[],"settings":null,"archives":[{{"archive":"{ARCHIVE}","head":null,"whole":true,"snapshots":[{{"set":{set},"by_kith":true,"entries":"{kept}"}}],"gone":"{gone}"}}]}}"#
    )
}

/// The header with the number of a state object, once for each line.
pub(super) fn state_sequence(bytes: &[u8]) -> Outcome {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return NOTHING };
        headers.append(paths::STATE_SEQUENCE_HEADER, value);
    }
    let sequence = paths::state_sequence(&headers);
    if let Some(sequence) = sequence {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(
            text.trim_start_matches('0'),
            sequence.to_string().trim_start_matches('0'),
            "another number"
        );
    }
    judged(sequence.is_some(), &(headers.len(), sequence))
}

/// A time, or a while, as the command line takes it.
pub(super) fn time(bytes: &[u8]) -> Outcome {
    static NOW: OnceLock<(Timestamp, TimeZone)> = OnceLock::new();
    let (now, zone) = NOW.get_or_init(|| {
        let now = "2026-11-21T12:00:00Z".parse().expect("it is a time");
        (now, TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("it is a zone"))
    });
    let Ok(text) = std::str::from_utf8(bytes) else { return NOTHING };
    let (time, duration) = (read_time(text, *now, zone), parse_duration(text));
    // No part of a date and time is left out.
    let local = text.trim().parse::<DateTime>().ok().filter(|_| text.trim().parse::<Timestamp>().is_err());
    if let (Some(local), Ok(time)) = (local, &time) {
        assert_eq!(local.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).ok(), Some(*time), "{text:?}");
    }
    match &time {
        Ok(time) => {
            assert_eq!(read_time(&time.to_string(), *now, zone).as_ref(), Ok(time), "written and read again");
        }
        Err(sentence) => {
            assert!(
                sentence.contains("is not a time") && sentence.len() <= 8 * text.len() + 200,
                "{sentence}"
            );
        }
    }
    if let Ok(duration) = &duration {
        assert!(time.is_err() || *time.as_ref().unwrap_or(now) <= *now, "{duration:?} ago lies ahead");
    }
    judged(time.is_ok(), &(time.is_ok(), duration))
}

/// What comes first on a connection.
pub(super) fn first(bytes: &[u8]) -> Outcome {
    let seen = first_bytes(bytes);
    if let FirstBytes::Unknown { tls } = seen {
        // More makes it certain, and no later than with a whole record.
        let more = [bytes, &[b'x'; 16 * 1024 + 5]].concat();
        let later = first_bytes(&more);
        assert!(!matches!(later, FirstBytes::Unknown { .. }), "{later:?}");
        assert!(tls || later != FirstBytes::Handshake, "{later:?}");
    }
    // Nothing opens that would not be let as far as the gate.
    if matches!(judge(bytes), Verdict::Tagged(_) | Verdict::DialBack(_)) {
        assert_eq!(seen, FirstBytes::Handshake, "the gate is open for it");
    }
    judged(seen == FirstBytes::Handshake, &seen)
}
