//! Times of files: wider than what calendars print, so a type of their own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// A point in time with nanoseconds, counted from 1970 in UTC.
///
/// File systems hold times beyond the years 0 to 9999 that RFC 3339 can print. Those are printed with the nearest of
/// these years, as restic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct FileTime {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub seconds: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a time as in RFC 3339")]
pub struct TimeError;

const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z and 10000-01-01T00:00:00Z.
const YEAR_0: i64 = -62_167_219_200;
const YEAR_10000: i64 = 253_402_300_800;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn date_of(days: i64) -> (i64, u8, u8) {
    // The year is counted from March, so that the leap day is the last one; an era has 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

/// The inverse of [`date_of`]. Days beyond a month's end run into the next month.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl FileTime {
    /// The time with a year that RFC 3339 can print, other parts unchanged (29 February may become 1 March).
    fn printable(self) -> Self {
        let target = match self.seconds {
            ..YEAR_0 => 0,
            YEAR_10000.. => 9999,
            _ => return self,
        };
        let (days, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        let (_, month, day) = date_of(days);
        Self { seconds: days_of(target, month.into(), day.into()) * DAY + second, ..self }
    }

    /// Appends the time as Go's JSON encoder prints it in UTC: `2006-01-02T15:04:05.999999999Z`, without trailing zeros.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let time = self.printable();
        let (days, second) = (time.seconds.div_euclid(DAY), time.seconds.rem_euclid(DAY));
        let (year, month, day) = date_of(days);
        let century = u8::try_from(year.rem_euclid(10_000) / 100).unwrap_or(0);
        out.extend_from_slice(&[b'0' + century / 10, b'0' + century % 10]);
        let mut two = |number: i64, after: u8| {
            let number = u8::try_from(number).unwrap_or(0);
            out.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10, after]);
        };
        two(year.rem_euclid(100), b'-');
        two(month.into(), b'-');
        two(day.into(), b'T');
        two(second / 3600, b':');
        two(second / 60 % 60, b':');
        two(second % 60, b'.');
        if time.nanoseconds == 0 {
            out.pop();
        } else {
            let mut digits = [b'0'; 9];
            let mut rest = time.nanoseconds;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
            let length = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
            out.extend_from_slice(&digits[..length]);
        }
        out.push(b'Z');
    }
}

impl fmt::Display for FileTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(32);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Any RFC 3339 time, with any offset.
impl FromStr for FileTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse(text.as_bytes()).ok_or(TimeError)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn parse(text: &[u8]) -> Option<FileTime> {
    let (date, rest) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, separator)| date[at] != separator) {
        return None;
    }
    let field = |range: std::ops::Range<usize>, allowed: std::ops::RangeInclusive<i64>| {
        number(&date[range]).filter(|number| allowed.contains(number))
    };
    let days = days_of(field(0..4, 0..=9999)?, field(5..7, 1..=12)?, field(8..10, 1..=31)?);
    let time = field(11..13, 0..=23)? * 3600 + field(14..16, 0..=59)? * 60 + field(17..19, 0..=60)?;
    let mut rest = rest;
    let mut nanoseconds = 0;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = fraction.iter().take_while(|digit| digit.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let digits = &fraction[..length.min(9)];
        let scale = 10u32.pow(9 - u32::try_from(digits.len()).ok()?);
        nanoseconds = u32::try_from(number(digits)?).ok()? * scale;
        rest = &fraction[length..];
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let offset = number(&[*h1, *h2])? * 3600 + number(&[*m1, *m2])? * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    Some(FileTime { seconds: days * DAY + time - offset, nanoseconds })
}

impl<'de> Deserialize<'de> for FileTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
