//! The readers of what a person types, for whoever tries them with texts of all kinds. Not part of what the program is for.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time in the past, as `--as-of` takes it.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn time(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    super::time::parse_at(text, now, zone)
}
