//! The readers of the vault's own small files and names, for whoever tries them with bytes of all kinds: a disk that was in other
//! hands brings any. Not part of what a vault is for.

use std::time::Duration;

use crate::arrivals;
use crate::clock::HoldClock;
use crate::damage::Damages;
use crate::held::HeldName;
use crate::incarnation::Installations;
use crate::open::parse_format;
use crate::scrub::Saved;

/// The name of a held file, written again, and when it was deleted; `None` if it is none.
#[must_use]
pub fn held_name(name: &str) -> Option<(String, u64)> {
    let held = HeldName::parse(name)?;
    Some((held.to_text(), held.deleted))
}

/// A line of a record of arrivals: the directory of the object, its hash, and when it arrived.
#[must_use]
pub fn arrival(line: &[u8]) -> Option<(&'static str, [u8; 32], u64)> {
    let ((kind, digest), arrived) = arrivals::parse(line)?;
    Some((kind.as_str(), digest, arrived))
}

/// The reading in the file of the hold clock.
#[must_use]
pub fn hold_clock(text: &str) -> Option<Duration> {
    HoldClock::parse(text)
}

/// The record of installations, written again; or the version of one that a later Kith wrote.
#[must_use]
pub fn installations(text: &str) -> Option<Result<String, u32>> {
    match Installations::parse(text)? {
        Installations::Unknown => None,
        Installations::Newest(newest) => Some(Ok(newest.to_text())),
        Installations::Newer { found } => Some(Err(found)),
    }
}

/// The record of damaged objects, written again.
#[must_use]
pub fn damages(text: &str) -> Option<String> {
    Damages::parse(text).map(|damages| damages.to_text())
}

/// The record of the scrub, written again.
#[must_use]
pub fn scrub(text: &str) -> Option<String> {
    Saved::parse(text).map(|saved| saved.to_text())
}

/// The version that a vault's format file names.
#[must_use]
pub fn format(text: &str) -> Option<u32> {
    parse_format(text)
}
