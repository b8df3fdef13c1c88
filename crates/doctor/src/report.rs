//! The report code: what one computer says of itself, as one line that people send each other when nothing else connects the two.
//!
//! `kith-report:` and base64url (RFC 4648, 5) of: 4 bytes of a checksum, then zstd of JSON. It holds addresses, the router's model and
//! firewall rules, no names of people and no keys. Who pastes it believes whoever sent it: it only changes what is said.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::facts::Side;

/// What it begins with.
const MARK: &str = "kith-report:";
/// Longest line that is read.
const MOST_TEXT: usize = 16 * 1024;
/// Most bytes of what is inside.
const MOST_BYTES: usize = 64 * 1024;
const CHECK: usize = 4;
const LEVEL: i32 = 19;

/// A line that is no report code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Something else.
    #[error("this is no report code: one begins with {MARK}")]
    Other,
    /// Not all of it, or changed.
    #[error("the report code is mistyped or cut off: copy the whole line again")]
    Damaged,
    /// Far too long.
    #[error("the report code is too long")]
    TooLong,
    /// Of a program that says other things.
    #[error("the report code was made by another version of Kith: use the same on both computers")]
    Version,
}

/// The line.
///
/// # Errors
/// If there is more to say than a line holds.
pub fn encode(side: &Side) -> Result<String, ReportError> {
    let json = serde_json::to_vec(side).map_err(|_| ReportError::Version)?;
    let packed = zstd::bulk::compress(&json, LEVEL).map_err(|_| ReportError::TooLong)?;
    let mut bytes = check(&packed).to_vec();
    bytes.extend(packed);
    let line = format!("{MARK}{}", BASE64URL_NOPAD.encode(&bytes));
    if line.len() > MOST_TEXT || json.len() > MOST_BYTES { Err(ReportError::TooLong) } else { Ok(line) }
}

/// What the line says. White space within it, as mail programs put there, is left out.
///
/// # Errors
/// See [`ReportError`].
pub fn decode(text: &str) -> Result<Side, ReportError> {
    if text.len() > 2 * MOST_TEXT {
        return Err(ReportError::TooLong);
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let coded = text.strip_prefix(MARK).ok_or(ReportError::Other)?;
    let bytes = BASE64URL_NOPAD.decode(coded.as_bytes()).map_err(|_| ReportError::Damaged)?;
    let (sum, packed) = bytes.split_at_checked(CHECK).ok_or(ReportError::Damaged)?;
    if sum != check(packed) {
        return Err(ReportError::Damaged);
    }
    let json = zstd::bulk::decompress(packed, MOST_BYTES).map_err(|_| ReportError::Damaged)?;
    let side: Side = serde_json::from_slice(&json).map_err(|_| ReportError::Version)?;
    Ok(side.tamed())
}

fn check(packed: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::digest(packed);
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side() -> Side {
        Side {
            time: 1_800_000_000,
            version: "0.1.0".into(),
            public: vec!["11.0.0.1:4242".into()],
            ..Side::default()
        }
    }

    #[test]
    fn what_is_said_is_read_again_also_with_line_breaks_in_it() {
        let line = encode(&side()).unwrap();
        assert!(line.len() < 1200 && !line.contains(char::is_whitespace), "{line}");
        assert_eq!(decode(&line), Ok(side()));
        let (one, two) = line.split_at(40);
        assert_eq!(decode(&format!("  {one}\r\n{two}\n")), Ok(side()));
    }

    #[test]
    fn every_changed_or_missing_character_is_noticed() {
        let line = encode(&side()).unwrap();
        for at in MARK.len()..line.len() {
            assert_eq!(decode(&line[..at]).err(), Some(ReportError::Damaged), "cut at {at}");
            let mut changed = line.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last character may hold bits that belong to no byte.
            assert_ne!(decode(std::str::from_utf8(&changed).unwrap()), Ok(side()), "at {at}");
        }
        assert_eq!(decode("kith://join/x"), Err(ReportError::Other));
        assert_eq!(decode(""), Err(ReportError::Other));
        assert_eq!(decode(&"x".repeat(100_000)), Err(ReportError::TooLong));
    }
}
