//! What the command line prints: plain text, tables, sizes, times. Names from outside are made harmless.

use std::io::Write;

use jiff::{Timestamp, Unit};
use kith_control::terminal;
use serde::Serialize;

use super::error::CliResult;

/// Prints a line on standard output. A reader who went away ends the program quietly.
pub(super) fn line(text: impl AsRef<str>) {
    write(&mut std::io::stdout().lock(), text.as_ref());
}

/// Prints a line, or several, on standard error. Much of it has words of friends in it: they are made harmless.
pub(super) fn note(text: impl AsRef<str>) {
    let text = text.as_ref().split('\n').map(terminal::safe).collect::<Vec<_>>().join("\n");
    write(&mut std::io::stderr().lock(), &text);
}

fn write(out: &mut dyn Write, text: &str) {
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    if written.is_err() {
        std::process::exit(1);
    }
}

/// Prints a value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> CliResult {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    line(text);
    Ok(())
}

/// A name from outside, harmless for a terminal.
pub(super) fn safe(name: &str) -> String {
    terminal::safe(name).into_owned()
}

/// Bytes for people, in the units that disks are sold in.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else if value < 9.995 {
        format!("{value:.2} {}", UNITS[unit])
    } else if value < 99.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A duration in seconds for people.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A time in the person's own time zone.
pub(super) fn time(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago.
pub(super) fn ago(time: Timestamp) -> String {
    let passed = Timestamp::now().since((Unit::Second, time)).map_or(0, |span| span.get_seconds());
    match u64::try_from(passed) {
        Ok(passed) if passed >= 2 => format!("{} ago", seconds(passed)),
        _ => "just now".to_owned(),
    }
}

/// Prints rows with aligned columns.
pub(super) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut text = String::new();
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let pad = widths[column].saturating_sub(cell.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        line(text.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let shown = [0, 999, 1000, 9_990, 99_949, 999_499, 999_500, 123_456_789, 5_000_000_000_000].map(size);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.00 kB", "9.99 kB", "99.9 kB", "999 kB", "1.00 MB", "123 MB", "5.00 TB"]
        );
    }

    #[test]
    fn durations_name_two_units() {
        assert_eq!([5, 65, 3700, 90_000].map(seconds), ["5 s", "1 min 05 s", "1 h 01 min", "1 d 1 h"]);
    }
}
