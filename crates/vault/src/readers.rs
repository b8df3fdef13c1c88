//! The readers of the vault's own small files and names, for whoever tries them with bytes of all kinds: a disk that was in other
//! hands brings any. Not part of what a vault is for.

use std::time::Duration;

use crate::clock::HoldClock;
use crate::held::HeldName;
use crate::{arrivals, incarnation};

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

/// The record of installations, written again.
#[must_use]
pub fn newest_installation(text: &str) -> Option<String> {
    incarnation::Newest::parse(text).map(incarnation::Newest::to_text)
}
