//! Times as the command line takes them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::settings::parse_duration;

/// Reads a time in the past: RFC 3339, a date (its begin) or date and time in the local time zone, or a duration ago.
///
/// # Errors
/// A sentence that says what is allowed.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    parse_at(text, Timestamp::now(), &TimeZone::system())
}

/// The same at a given time in a given zone.
pub(super) fn parse_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let refuse = || {
        format!(
            "{text:?} is not a time; write it as 2026-11-20T14:30:00Z, as 2026-11-20 (its begin), or as 3d or 12h ago"
        )
    };
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // The parser of dates reads over a time behind them.
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    // A text with an offset or a Z was read above, or makes no sense.
    if let Ok(local) = local.map(|local| local.to_zoned(zone.clone())) {
        return local.map(|local| local.timestamp()).map_err(|_| refuse());
    }
    let ago = parse_duration(text).map_err(|_| refuse())?;
    SignedDuration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_a_date_or_a_while_ago() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, expected) in [
            ("2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
            ("2026-11-20T14:30:00+05:00", "2026-11-20T09:30:00Z"),
            ("2026-11-20", "2026-11-19T22:00:00Z"),
            ("2026-11-20 14:30", "2026-11-20T12:30:00Z"),
            ("3d", "2026-11-18T12:00:00Z"),
            ("1h30m", "2026-11-21T10:30:00Z"),
        ] {
            assert_eq!(parse_at(text, now, &zone), Ok(expected.parse().unwrap()), "{text}");
        }
        for bad in ["", "yesterday", "3", "2026-13-01", "20 11 2026", "99999999w"] {
            let refused = parse_at(bad, now, &zone).unwrap_err();
            assert!(refused.contains("is not a time") && refused.contains("3d"), "{bad}: {refused}");
        }
    }
}
