//! The text form that invites and reply lines share: a prefix, then base32 of the body and four check bytes.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Four bytes: a damaged line passes once in four thousand million times.
const CHECK_LENGTH: usize = 4;
/// The longest text that is looked at. The longest real line has about 7,000 characters, with sixteen host names of full
/// length.
const MAX_TEXT: usize = 16 * 1024;

/// Which kind of line a text is, for a command that takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// An [`Invite`](crate::Invite).
    Invite,
    /// A [`ReplyLine`](crate::ReplyLine).
    Reply,
}

impl LineKind {
    /// What such a line begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Invite => "kith://join/",
            Self::Reply => "kith://reply/",
        }
    }

    /// What this text begins like; `None` if it is neither.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let compact = compact(text)?;
        [Self::Invite, Self::Reply].into_iter().find(|kind| strip_prefix(*kind, &compact).is_some())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineError {
    /// Without the prefix.
    OtherText,
    /// With the prefix, but not as it was written.
    Damaged,
}

pub(super) fn encode(kind: LineKind, body: &[u8]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(body.len() + CHECK_LENGTH));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&check_bytes(kind, body));
    let data = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
    let mut text = Zeroizing::new(String::with_capacity(kind.prefix().len() + data.len()));
    text.push_str(kind.prefix());
    text.extend(data.chars().map(|c| c.to_ascii_lowercase()));
    text
}

/// The body, checked. Its first byte is the version, and the check comes before it is looked at, so that a typo is never taken
/// for a newer version.
pub(super) fn decode(kind: LineKind, text: &str) -> Result<Zeroizing<Vec<u8>>, LineError> {
    let compact = compact(text).ok_or(LineError::OtherText)?;
    let data = strip_prefix(kind, &compact).ok_or(LineError::OtherText)?;
    let data = Zeroizing::new(data.to_ascii_uppercase());
    let mut body = Zeroizing::new(BASE32_NOPAD.decode(data.as_bytes()).map_err(|_| LineError::Damaged)?);
    let length = body.len().checked_sub(CHECK_LENGTH).ok_or(LineError::Damaged)?;
    if body[length..] != check_bytes(kind, &body[..length]) {
        return Err(LineError::Damaged);
    }
    body.truncate(length);
    Ok(body)
}

/// The text without what mail programs and chats put around and into it.
fn compact(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let kept = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '<' | '>' | '"' | '\'' | '`'));
    Some(Zeroizing::new(kept.collect()))
}

fn strip_prefix(kind: LineKind, compact: &str) -> Option<&str> {
    let prefix = kind.prefix();
    let head = compact.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &compact[prefix.len()..])
}

fn check_bytes(kind: LineKind, body: &[u8]) -> [u8; CHECK_LENGTH] {
    let digest = Sha256::new().chain_update(kind.prefix()).chain_update(body).finalize();
    let mut check = [0; CHECK_LENGTH];
    check.copy_from_slice(&digest[..CHECK_LENGTH]);
    check
}
