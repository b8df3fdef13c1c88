//! The line that a joiner gives back when none of the invite's addresses answered: the inviter dials the joiner instead.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use super::codec::{Malformed, Reader, Writer};
use super::line::{self, LineError, LineKind};
use super::{Invite, MAX_ADDRESSES, VERSION, address};
use crate::archive_id::InviteId;
use crate::device_id::DeviceId;

/// Bytes of the authentication code: HMAC-SHA256 cut to half.
const MAC_LENGTH: usize = 16;

/// Who wants to join and where to find that computer, proved by knowing the invite's secret, which it doesn't contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLine {
    invite: InviteId,
    joiner: DeviceId,
    addresses: Vec<String>,
    mac: [u8; MAC_LENGTH],
}

/// A text is not a reply line that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Something else altogether.
    #[error("this is not a reply line: a reply line begins with {}", LineKind::Reply.prefix())]
    NotAReplyLine,
    /// A reply line, but cut off or changed.
    #[error("the reply line is mistyped or cut off: copy the whole line again")]
    Mistyped,
    /// Made by a newer Kith.
    #[error(
        "the reply line was made by a newer Kith (layout {found}, this one knows {VERSION}): install a newer one"
    )]
    UnknownVersion {
        /// The layout it has.
        found: u8,
    },
    /// Intact, but what it says makes no sense.
    #[error("the reply line is intact but makes no sense: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It answers another invite.
    #[error("the reply line answers another invite than this one")]
    OtherInvite,
    /// Whoever made it doesn't know the invite's secret.
    #[error("the reply line was not made by somebody who holds the invite")]
    Forged,
    /// An address that can't be dialled, when making a reply line.
    #[error(transparent)]
    Address(#[from] super::AddressError),
}

impl ReplyLine {
    /// The reply of `joiner`, who may be reached at `addresses` ("host:port", best first; at most [`MAX_ADDRESSES`] are kept).
    ///
    /// # Errors
    /// If one of the addresses is not "host:port".
    pub fn new(invite: &Invite, joiner: DeviceId, addresses: &[String]) -> Result<Self, ReplyError> {
        let addresses = addresses
            .iter()
            .take(MAX_ADDRESSES)
            .map(|text| address::normalise(text))
            .collect::<Result<_, _>>()?;
        let mut reply = Self { invite: invite.id(), joiner, addresses, mac: [0; MAC_LENGTH] };
        let code = reply.code(invite).finalize().into_bytes();
        reply.mac.copy_from_slice(&code[..MAC_LENGTH]);
        Ok(reply)
    }

    /// Reads the line that [`to_text`](Self::to_text) wrote. What it says counts only after [`verify`](Self::verify).
    ///
    /// # Errors
    /// Tells apart what isn't a reply line, what was damaged on the way, and what is too new.
    pub fn parse(text: &str) -> Result<Self, ReplyError> {
        let body = line::decode(LineKind::Reply, text).map_err(|error| match error {
            LineError::OtherText => ReplyError::NotAReplyLine,
            LineError::Damaged => ReplyError::Mistyped,
        })?;
        let (&version, body) = body.split_first().ok_or(ReplyError::Mistyped)?;
        if version != VERSION {
            return Err(ReplyError::UnknownVersion { found: version });
        }
        Self::read(body).map_err(|Malformed(reason)| ReplyError::Malformed { reason })
    }

    /// The line to hand back. It contains no secret, but says where the joiner is.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut body = self.body();
        body.bytes(&self.mac);
        line::encode(LineKind::Reply, &body.finish()).to_string()
    }

    /// Whether this answers `invite` and was made by somebody who holds it.
    ///
    /// # Errors
    /// If not.
    pub fn verify(&self, invite: &Invite) -> Result<(), ReplyError> {
        if self.invite != invite.id() {
            return Err(ReplyError::OtherInvite);
        }
        self.code(invite).verify_truncated_left(&self.mac).map_err(|_| ReplyError::Forged)
    }

    /// The invite that it answers.
    #[must_use]
    pub fn invite_id(&self) -> InviteId {
        self.invite
    }

    /// Who wants to join.
    #[must_use]
    pub fn joiner(&self) -> DeviceId {
        self.joiner
    }

    /// Where the joiner may be reached, "host:port", best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let invite = InviteId::from_bytes(reader.array()?);
        let joiner = DeviceId::from_bytes(reader.array()?);
        let addresses = reader.addresses()?;
        let mac = reader.array()?;
        reader.end()?;
        Ok(Self { invite, joiner, addresses, mac })
    }

    /// Everything but the code.
    fn body(&self) -> Writer {
        let mut body = Writer::new(VERSION);
        body.bytes(self.invite.as_bytes());
        body.bytes(self.joiner.as_bytes());
        body.addresses(&self.addresses);
        body
    }

    fn code(&self, invite: &Invite) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(invite.secret().reply_key().as_slice())
            .expect("HMAC takes keys of any length");
        code.update(&self.body().finish());
        code
    }
}
