//! The Range header of HTTP (RFC 9110, section 14), as far as one range goes.

use std::ops::Range;

/// What part of a file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, with status 200.
    Whole,
    /// These bytes, with status 206.
    Bytes(Range<u64>),
    /// Nothing: the range lies outside; status 416.
    Unsatisfiable,
}

/// Reads a Range header against a file of `length` bytes. What is no single byte range is ignored, as the RFC
/// allows: the whole file is a correct answer to it.
pub(crate) fn select(header: Option<&str>, length: u64) -> Part {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let bytes = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Part::Whole,
    };
    match bytes {
        // "From the beginning" of an empty file asks for everything there is.
        bytes if length == 0 && bytes.start == 0 => Part::Whole,
        bytes if bytes.start < bytes.end => Part::Bytes(bytes),
        _ => Part::Unsatisfiable,
    }
}

/// A decimal number without sign; one beyond `u64` is as good as infinite.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
