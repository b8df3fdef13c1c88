//! How two computers become friends: the inviter's [`Invite`], and the [`ReplyLine`] for when only the other way round
//! connects.

mod address;
mod codec;
mod line;
mod one_time;
mod reply;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::address::AddressError;
use self::codec::{Malformed, Reader, Writer};
use self::line::LineError;
pub use self::line::LineKind;
pub use self::one_time::{InviteSecret, OneTimeKey};
pub use self::reply::{ReplyError, ReplyLine};
pub use crate::archive_id::InviteId;
use crate::device_id::DeviceId;
use crate::name::sanitise_name;

/// The most addresses an invite or a reply line carries.
pub const MAX_ADDRESSES: usize = 16;

/// The most hubs an invite carries: those of a computer are a pair.
pub const MOST_INVITE_HUBS: usize = 2;

/// The newest layout of a line without hubs, and of every reply line.
const VERSION: u8 = 1;
/// The layout of an invite that carries hubs. One without them is written as before, so that older Kiths read it.
const VERSION_WITH_HUBS: u8 = 2;

/// Whose computer is invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// Another person's.
    Friend,
    /// Another one of the inviter's own.
    Own,
}

/// A hub by which the inviter is reached where no address leads to him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteHub {
    /// Its device id.
    pub id: DeviceId,
    /// Where it is, `host:port` or `[v6]:port`.
    pub address: String,
}

/// What an inviter offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteTerms {
    /// Who invites.
    pub inviter: DeviceId,
    /// Where the inviter may be reached, `host:port` or `[v6]:port`, best first; at most [`MAX_ADDRESSES`] are kept.
    pub addresses: Vec<String>,
    /// The hubs at which the inviter waits, best first; at most [`MOST_INVITE_HUBS`] are kept.
    pub hubs: Vec<InviteHub>,
    /// When the invite ends, in seconds since 1970.
    pub expires: u64,
    /// How many bytes of the inviter's disk are offered.
    pub quota_bytes: u64,
    /// Whose computer is invited.
    pub ownership: Ownership,
    /// How the inviter calls this computer; made safe by [`sanitise_name`].
    pub name: String,
}

/// A one-line invitation: whoever holds it may become a friend of the inviter, once, until it ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    terms: InviteTerms,
    secret: InviteSecret,
}

/// A text is not an invite that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InviteError {
    /// Something else altogether.
    #[error("this is not an invite: an invite begins with {}", LineKind::Invite.prefix())]
    NotAnInvite,
    /// A reply line, which belongs to the inviter.
    #[error("this is a reply line, not an invite: it belongs on the computer that made the invite")]
    IsAReplyLine,
    /// An invite, but cut off or changed.
    #[error("the invite is mistyped or cut off: copy the whole line again")]
    Mistyped,
    /// Made by a newer Kith.
    #[error(
        "the invite was made by a newer Kith (layout {found}, this one knows {VERSION_WITH_HUBS}): install a newer one"
    )]
    UnknownVersion {
        /// The layout it has.
        found: u8,
    },
    /// Intact, but what it says makes no sense.
    #[error("the invite is intact but makes no sense: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An address that can't be dialled, when making an invite.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Invite {
    /// A new invite with a fresh secret.
    ///
    /// # Errors
    /// If one of the addresses is not "host:port".
    pub fn new(terms: InviteTerms) -> Result<Self, InviteError> {
        Self::with_secret(terms, InviteSecret::generate())
    }

    /// The invite with this secret.
    ///
    /// # Errors
    /// If one of the addresses is not "host:port".
    pub fn with_secret(mut terms: InviteTerms, secret: InviteSecret) -> Result<Self, InviteError> {
        terms.addresses.truncate(MAX_ADDRESSES);
        for address in &mut terms.addresses {
            *address = address::normalise(address)?;
        }
        terms.hubs.truncate(MOST_INVITE_HUBS);
        for hub in &mut terms.hubs {
            hub.address = address::normalise(&hub.address)?;
        }
        terms.name = sanitise_name(&terms.name);
        Ok(Self { terms, secret })
    }

    /// Reads the line that [`to_text`](Self::to_text) wrote. Case and line breaks don't matter.
    ///
    /// # Errors
    /// Tells apart what isn't an invite, what was damaged on the way, and what is too new.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let body = line::decode(LineKind::Invite, text).map_err(|error| match error {
            LineError::OtherText if LineKind::of(text) == Some(LineKind::Reply) => InviteError::IsAReplyLine,
            LineError::OtherText => InviteError::NotAnInvite,
            LineError::Damaged => InviteError::Mistyped,
        })?;
        let (&version, body) = body.split_first().ok_or(InviteError::Mistyped)?;
        if version != VERSION && version != VERSION_WITH_HUBS {
            return Err(InviteError::UnknownVersion { found: version });
        }
        Self::read(body, version).map_err(|Malformed(reason)| InviteError::Malformed { reason })
    }

    /// The line to hand over. It contains the secret: it may be shown to the person and to nobody else.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let has_hubs = !self.terms.hubs.is_empty();
        let mut body = Writer::new(if has_hubs { VERSION_WITH_HUBS } else { VERSION });
        body.bytes(self.terms.inviter.as_bytes());
        body.bytes(self.secret.as_bytes());
        body.u64(self.terms.expires);
        body.u64(self.terms.quota_bytes);
        body.u8(match self.terms.ownership {
            Ownership::Friend => 0,
            Ownership::Own => 1,
        });
        body.text(&self.terms.name);
        body.addresses(&self.terms.addresses);
        if has_hubs {
            body.hubs(&self.terms.hubs);
        }
        line::encode(LineKind::Invite, &body.finish())
    }

    fn read(body: &[u8], version: u8) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let inviter = DeviceId::from_bytes(reader.array()?);
        let secret = InviteSecret::from_bytes(reader.array()?);
        let expires = reader.u64()?;
        let quota_bytes = reader.u64()?;
        let ownership = match reader.u8()? {
            0 => Ownership::Friend,
            1 => Ownership::Own,
            _ => return Err(Malformed("it doesn't say whose computer is invited")),
        };
        let name = sanitise_name(reader.text()?);
        let addresses = reader.addresses()?;
        let hubs = if version == VERSION_WITH_HUBS { reader.hubs()? } else { Vec::new() };
        reader.end()?;
        let terms = InviteTerms { inviter, addresses, hubs, expires, quota_bytes, ownership, name };
        Ok(Self { terms, secret })
    }

    /// What is offered.
    #[must_use]
    pub fn terms(&self) -> &InviteTerms {
        &self.terms
    }

    /// Who invites.
    #[must_use]
    pub fn inviter(&self) -> DeviceId {
        self.terms.inviter
    }

    /// Where the inviter may be reached, "host:port", best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.terms.addresses
    }

    /// The hubs at which the inviter waits, best first.
    #[must_use]
    pub fn hubs(&self) -> &[InviteHub] {
        &self.terms.hubs
    }

    /// The one-time secret.
    #[must_use]
    pub fn secret(&self) -> &InviteSecret {
        &self.secret
    }

    /// A public name for the invite, for lists and the reply line.
    #[must_use]
    pub fn id(&self) -> InviteId {
        self.secret.invite_id()
    }

    /// Whether it has ended at `now` (seconds since 1970).
    #[must_use]
    pub fn expired(&self, now: u64) -> bool {
        now >= self.terms.expires
    }

    /// The key that the joiner shows to the inviter, and that the inviter's [`Admission`](crate::tls::Admission) lets in.
    ///
    /// # Errors
    /// If the cryptographic library refuses to build the certificate.
    pub fn one_time_key(&self) -> Result<OneTimeKey, crate::credential::CredentialError> {
        OneTimeKey::for_invite(&self.secret)
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("id", &self.id()).field("terms", &self.terms).finish_non_exhaustive()
    }
}
