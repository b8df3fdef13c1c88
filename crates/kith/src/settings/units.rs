//! Amounts with units: sizes, days, durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::text::deserialize_from_text;

/// A number of bytes, written with its unit: "100GB" (10^9) or "100GiB" (2^30).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// Units in the order in which `Display` tries them.
const UNITS: [(&str, u64); 9] = [
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl ByteSize {
    /// A size from a number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim());
        let allowed = "write a number and a unit, as in \"100GB\" or \"1.5TiB\" (B, kB, MB, GB, TB; KiB, MiB, GiB, TiB)";
        if unit.is_empty() && !number.is_empty() {
            return Err(format!("the size {text:?} has no unit; {allowed}"));
        }
        let factor =
            UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| format!("{text:?} is not a size; {allowed}"))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        decimal(whole, fraction, factor).map(Self).ok_or_else(|| format!("{text:?} is not a size; {allowed}"))
    }
}

/// `whole.fraction * factor` without rounding through floating point; `None` for no number or one beyond 64 bits.
fn decimal(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    if fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = u128::from(part) * u128::from(factor) / u128::from(scale);
    whole.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides it, so that nothing is rounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (name, factor) = fits.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

deserialize_from_text!(ByteSize);

/// A size that bounds something, where 0 with any unit or none, or nothing at all, stands for no bound: a function for `deserialize_with`.
pub(super) fn byte_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        "" | "0" => Ok(ByteSize(0)),
        text => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Days for which deleted data is held: 0 to 3650.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldDays(u16);

impl HoldDays {
    /// The default, 30 days.
    pub const DEFAULT: Self = Self(30);
    const MAX: u16 = 3650;

    /// Checks a number of days.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn new(days: i64) -> Result<Self, String> {
        match u16::try_from(days) {
            Ok(days) if days <= Self::MAX => Ok(Self(days)),
            _ => Err(format!("{days} days can't be used; allowed are 0 to {} days", Self::MAX)),
        }
    }

    /// The number of days.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for HoldDays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Reads a duration as the command line takes it: "90s", "10m", "12h", "7d", "2w", or a sum as in "1h30m".
///
/// # Errors
/// A sentence that says what is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || {
        format!(
            "{text:?} is not a duration; write it as \"30m\", \"12h\", \"7d\" or \"1h30m\" (s, m, h, d, w)"
        )
    };
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
        let unit = match rest[digits..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            _ => return Err(refuse()),
        };
        seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(refuse)?;
        rest = rest[digits + 1..].trim_start();
    }
    Ok(Duration::from_secs(seconds))
}
