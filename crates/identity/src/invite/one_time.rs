//! The secret of an invite, and the keys that follow from it.

use std::fmt;

use crate::archive_id::InviteId;
use crate::credential::{CertificateKind, Credential, CredentialError};
use crate::derive::{DialInKey, expand};
use crate::device_id::DeviceId;
use crate::random::random_bytes;
use crate::secret::secret_key;

const INVITE_KEY: &[u8] = b"invite one-time key";
const REPLY_KEY: &[u8] = b"reply one-time key";
const INVITE_ID: &[u8] = b"invite id";
const REPLY_MAC: &[u8] = b"reply line key";

secret_key!(
    /// The one-time secret of an invite: 128 random bits.
    InviteSecret, 16, "invite secret"
);

impl InviteSecret {
    /// A fresh one.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(random_bytes())
    }

    /// The public name of the invite with this secret.
    #[must_use]
    pub fn invite_id(&self) -> InviteId {
        InviteId::from_bytes(*expand(self.as_bytes(), &[INVITE_ID]))
    }

    /// The key that authenticates a reply line.
    pub(super) fn reply_key(&self) -> zeroize::Zeroizing<[u8; 32]> {
        expand(self.as_bytes(), &[REPLY_MAC])
    }
}

/// The key that whoever knows an invite's secret shows when dialling the other. Each direction has its own, so that one side
/// can't be played against the other.
#[derive(Clone)]
pub struct OneTimeKey {
    credential: Credential,
    dial_in: DialInKey,
}

impl OneTimeKey {
    /// What the joiner shows to the inviter.
    ///
    /// # Errors
    /// If the cryptographic library refuses to build the certificate; no secret is known for which it does.
    pub fn for_invite(secret: &InviteSecret) -> Result<Self, CredentialError> {
        Self::new(secret, INVITE_KEY, secret.dial_in_key())
    }

    /// What the inviter shows to the joiner when a reply line made it dial the other way.
    ///
    /// # Errors
    /// As for [`for_invite`](Self::for_invite).
    pub fn for_reply(secret: &InviteSecret) -> Result<Self, CredentialError> {
        Self::new(secret, REPLY_KEY, secret.reply_dial_in_key())
    }

    /// The id that an [`Admission`](crate::tls::Admission) is asked for.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.credential.device_id()
    }

    /// The key by which the other side recognises the call.
    #[must_use]
    pub fn dial_in_key(&self) -> &DialInKey {
        &self.dial_in
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    fn new(secret: &InviteSecret, label: &[u8], dial_in: DialInKey) -> Result<Self, CredentialError> {
        let seed = expand(secret.as_bytes(), &[label]);
        Ok(Self { credential: Credential::from_seed(&seed, CertificateKind::OneTime)?, dial_in })
    }
}

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneTimeKey({})", self.id())
    }
}
