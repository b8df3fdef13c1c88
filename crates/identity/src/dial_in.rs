//! Tags: how a dialer shows, in the first bytes of a dial, that it was told how to call this computer.
//!
//! A tag is a random nonce and a code over it with a [`DialInKey`], and travels as the server name of the ClientHello, in the
//! clear. The listener recognises it before any asymmetric computation ([`DialInRing`]). Whoever watches sees 32 bytes like
//! any others: without the key, tags of two friends, and tags that were made up, can't be told apart. A tag proves nothing
//! but that: who calls is proved in the handshake.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::{DnsName, ServerName};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::derive::{DialInKey, StateKey, expand};
use crate::device_id::DeviceId;
use crate::invite::InviteSecret;
use crate::random::random_bytes;
use crate::tls;

/// No name of the public tree ends like this (RFC 6761, section 6.4), so that no other program means it; and it says nothing.
const SUFFIX: &str = ".invalid";

const NONCE_LENGTH: usize = 16;
/// HMAC-SHA256 cut to half: 128 bits, which nobody guesses at a door that answers some thousand times a second.
const CODE_LENGTH: usize = 16;

const RECOVERY: &[u8] = b"recovery dial-in key";
const OLDER_RECOVERY: &[u8] = b"older recovery dial-in key";
const INVITE: &[u8] = b"invite dial-in key";
const REPLY: &[u8] = b"reply dial-in key";
const HUB: &[u8] = b"hub dial-in key";

/// What a dialer puts into the server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialInTag {
    nonce: [u8; NONCE_LENGTH],
    code: [u8; CODE_LENGTH],
}

impl DialInTag {
    /// A tag that nobody recognises, for a call to somebody of whom no key is known: to whoever watches it is like any other.
    #[must_use]
    pub fn made_up() -> Self {
        Self { nonce: random_bytes(), code: random_bytes() }
    }

    /// The part of the tag that is used once.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; NONCE_LENGTH] {
        &self.nonce
    }

    /// The name that carries it: base32 in lower case, without padding, in one label.
    #[must_use]
    pub fn to_text(&self) -> String {
        let bytes = [self.nonce, self.code].concat();
        let mut name = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        name.push_str(SUFFIX);
        name
    }

    /// The same for rustls.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'static> {
        let name = DnsName::try_from(self.to_text()).expect("52 letters and digits are a label");
        ServerName::DnsName(name)
    }

    /// The bytes of one ClientHello that carries the tag, and nothing by which its sender could be known: for those who say nothing
    /// else in TLS, as at a relay.
    ///
    /// # Errors
    /// If rustls makes none.
    pub fn client_hello(&self) -> Result<Vec<u8>, rustls::Error> {
        tls::client_hello_for(self.server_name())
    }

    /// The tag in a server name, if it has the form of one; case doesn't matter.
    #[must_use]
    pub fn from_server_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let label = name.strip_suffix(SUFFIX)?.to_ascii_uppercase();
        // Fails also where the bits that are left over in the last character aren't zero: one tag has one name.
        let bytes: [u8; NONCE_LENGTH + CODE_LENGTH] =
            BASE32_NOPAD.decode(label.as_bytes()).ok()?.try_into().ok()?;
        let (nonce, code) = bytes.split_first_chunk()?;
        Some(Self { nonce: *nonce, code: *code.first_chunk()? })
    }
}

impl DialInKey {
    /// A fresh tag by this key. Each one is worth something once.
    #[must_use]
    pub fn tag(&self) -> DialInTag {
        let nonce = random_bytes();
        DialInTag { nonce, code: code(&prepared(self), &nonce) }
    }

    /// The recovery key of a computer whose friends were never told one, as up to release 0.1. Taken of its dial-in key number 0, which
    /// is all that those have and the 24 words give: both ends come to it without a word. It is another key than that, so that what is
    /// said to call that computer is worth nothing at its friends.
    #[must_use]
    pub fn recovery_of_older(&self) -> Self {
        Self::from_bytes(*expand(self.as_bytes(), &[OLDER_RECOVERY]))
    }

    /// The key by which a hub is called. No secret: it follows from the hub's device id, so that whoever knows the hub's address may
    /// call, and whoever only tries ports meets what every stranger meets.
    #[must_use]
    pub fn of_hub(hub: &DeviceId) -> Self {
        Self::from_bytes(*expand(hub.as_bytes(), &[HUB]))
    }

    /// The key as text, to be told to a friend or kept; wiped when dropped.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(HEXLOWER.encode(self.as_bytes()))
    }

    /// The key that [`to_hex`](Self::to_hex) wrote; `None` if it is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(HEXLOWER.decode(text.as_bytes()).ok()?);
        Self::from_slice(&bytes).ok()
    }
}

impl StateKey {
    /// The key by which this computer, when it has lost everything but its 24 words, is recognised by its friends, who are told
    /// it at pairing.
    #[must_use]
    pub fn recovery_dial_in_key(&self) -> DialInKey {
        DialInKey::from_bytes(*expand(self.as_bytes(), &[RECOVERY]))
    }
}

impl InviteSecret {
    /// The key by which the inviter recognises the joiner.
    #[must_use]
    pub fn dial_in_key(&self) -> DialInKey {
        DialInKey::from_bytes(*expand(self.as_bytes(), &[INVITE]))
    }

    /// The key by which a joiner who gave out a reply line recognises the inviter.
    #[must_use]
    pub fn reply_dial_in_key(&self) -> DialInKey {
        DialInKey::from_bytes(*expand(self.as_bytes(), &[REPLY]))
    }
}

/// The keys by which a listener recognises callers, ready for use.
#[derive(Clone, Default)]
pub struct DialInRing(Vec<Hmac<Sha256>>);

impl DialInRing {
    /// The ring of these keys.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a DialInKey>) -> Self {
        Self(keys.into_iter().map(prepared).collect())
    }

    /// Whether the tag was made with one of the keys. Which one, and how much of a wrong code was right, doesn't show in the time
    /// that it takes.
    #[must_use]
    pub fn recognises(&self, tag: &DialInTag) -> bool {
        let matches = self.0.iter().map(|key| code(key, &tag.nonce).ct_eq(&tag.code));
        matches.fold(Choice::from(0), |any, this| any | this).into()
    }

    /// How many keys are on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// HMAC with the key taken in already, which is half of the work.
fn prepared(key: &DialInKey) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length")
}

fn code(key: &Hmac<Sha256>, nonce: &[u8; NONCE_LENGTH]) -> [u8; CODE_LENGTH] {
    let mut code = key.clone();
    code.update(nonce);
    let whole: [u8; 32] = code.finalize().into_bytes().into();
    *whole.first_chunk().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests;
