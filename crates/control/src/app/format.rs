//! Numbers and times as a person reads them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1.2 GB`: decimal units, as disks are sold.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut scale) = (0, 1_u64);
    // A unit as soon as the next one would still show a whole number, rounding included.
    while unit + 1 < UNITS.len() && count >= scale.saturating_mul(1000) - scale / 2 {
        unit += 1;
        scale = scale.saturating_mul(1000);
    }
    if unit == 0 {
        return format!("{count}\u{a0}B");
    }
    let rounded = |per_unit: u64| {
        (u128::from(count) * u128::from(per_unit) + u128::from(scale) / 2) / u128::from(scale)
    };
    // Three digits say enough.
    let tenths = rounded(10);
    if tenths >= 1000 {
        format!("{}\u{a0}{}", rounded(1), UNITS[unit])
    } else {
        format!("{}.{}\u{a0}{}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// `12 345`, with narrow spaces that don't break.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `2 files`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", count(number), if number == 1 { one } else { many })
}

/// `3 min`, `2 h 5 min`, `4 days`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}\u{a0}s"),
        60..600 if !seconds.is_multiple_of(60) => {
            format!("{}\u{a0}min {}\u{a0}s", seconds / 60, seconds % 60)
        }
        60..3600 => format!("{}\u{a0}min", seconds / 60),
        3600..172_800 => match seconds % 3600 / 60 {
            0 => format!("{}\u{a0}h", seconds / 3600),
            minutes => format!("{}\u{a0}h {minutes}\u{a0}min", seconds / 3600),
        },
        _ => format!("{}\u{a0}days", seconds / 86_400),
    }
}

/// What is left, honestly: a range, in one unit.
pub(super) fn time_left(least: Option<u64>, most: Option<u64>) -> Option<String> {
    let (least, most) = match (least, most) {
        (Some(least), Some(most)) => (least.min(most), least.max(most)),
        (Some(one), None) | (None, Some(one)) => (one, one),
        (None, None) => return None,
    };
    let (unit, name) = match most {
        0..90 => (1, "s"),
        90..5400 => (60, "min"),
        5400..172_800 => (3600, "h"),
        _ => (86_400, "days"),
    };
    let (low, high) = (least / unit, most.div_ceil(unit));
    Some(match (low, high) {
        (_, 0 | 1) if unit == 1 => "almost done".to_owned(),
        (low, high) if low == high => format!("about {high}\u{a0}{name} left"),
        (0, high) => format!("up to {high}\u{a0}{name} left"),
        (low, high) => format!("{low}–{high}\u{a0}{name} left"),
    })
}

/// From one time to a later one; nothing if the clock was set back meanwhile.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(to.as_second() - from.as_second()).unwrap_or(0))
}

/// `5 minutes ago`, `in 2 hours`.
pub(super) fn relative(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - time.as_second();
    let distance = seconds.unsigned_abs();
    let (number, unit) = match distance {
        0..45 if seconds >= 0 => return "just now".to_owned(),
        0..90 => (1, "minute"),
        90..3570 => ((distance + 30) / 60, "minute"),
        3570..84_600 => ((distance + 1800) / 3600, "hour"),
        84_600..5_184_000 => ((distance + 43_200) / 86_400, "day"),
        _ => (distance / 2_592_000, "month"),
    };
    let plural = if number == 1 { "" } else { "s" };
    if seconds >= 0 { format!("{number} {unit}{plural} ago") } else { format!("in {number} {unit}{plural}") }
}

/// `2026-11-21 07:30`, in the computer's own time zone: the app runs in a browser on the same computer.
pub(super) fn absolute(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Per mille of a whole, never more than 1000, and 1000 only when it is all.
pub(super) fn per_mille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    u64::try_from(u128::from(part.min(whole)) * 1000 / u128::from(whole)).unwrap_or(1000)
}

/// `Anna`, `Anna and Ben`, `Anna, Ben and 3 more`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        [one, other, third] => format!("{one}, {other} and {third}"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_show_three_digits_and_never_a_thousand_of_a_unit() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_949, "1.0 MB"),
            (123_456_789, "123 MB"),
            (999_999_999, "1.0 GB"),
            (100_000_000_000, "100 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(count).replace('\u{a0}', " "), shown);
        }
    }

    #[test]
    fn what_is_left_is_a_range_in_one_unit() {
        let shown = |least, most| time_left(least, most).map(|text| text.replace('\u{a0}', " "));
        assert_eq!(shown(None, None), None);
        assert_eq!(shown(Some(0), Some(1)).unwrap(), "almost done");
        assert_eq!(shown(Some(20), Some(40)).unwrap(), "20–40 s left");
        assert_eq!(shown(Some(240), Some(330)).unwrap(), "4–6 min left");
        assert_eq!(shown(Some(30), Some(120)).unwrap(), "up to 2 min left");
        assert_eq!(shown(Some(7200), Some(7200)).unwrap(), "about 2 h left");
        assert_eq!(shown(Some(10), None).unwrap(), "about 10 s left");
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        let now = Timestamp::from_second(10_000_000).unwrap();
        let at = |ago: i64| relative(Timestamp::from_second(10_000_000 - ago).unwrap(), now);
        assert_eq!(at(3), "just now");
        assert_eq!(at(61), "1 minute ago");
        assert_eq!(at(725), "12 minutes ago");
        assert_eq!(at(3580), "1 hour ago");
        assert_eq!(at(86_400), "1 day ago");
        assert_eq!(at(86_400 * 9), "9 days ago");
        assert_eq!(at(-7200), "in 2 hours");
        assert_eq!(at(-7_200_000), "in 2 months");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(per_mille(999_999, 1_000_000), 999);
        assert_eq!(per_mille(5, 5), 1000);
        assert_eq!(per_mille(9, 5), 1000);
        assert_eq!(per_mille(0, 0), 0);
        assert_eq!(per_mille(u64::MAX / 2, u64::MAX), 499);
    }

    #[test]
    fn numbers_and_lists_read_well() {
        assert_eq!(count(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(counted(1, "file", "files"), "1\u{a0}file");
        assert_eq!(duration(Duration::from_secs(7500)).replace('\u{a0}', " "), "2 h 5 min");
        assert_eq!(duration(Duration::from_secs(95)).replace('\u{a0}', " "), "1 min 35 s");
        assert_eq!(listed(&["Anna"]), "Anna");
        assert_eq!(listed(&["Anna", "Ben"]), "Anna and Ben");
        assert_eq!(listed(&["A", "B", "C", "D"]), "A, B and 2 more");
    }
}
