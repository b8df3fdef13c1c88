//! What two friends alone know: by it they leave word for each other with others, who learn neither who they are nor what is said.
//!
//! Each of the two gives the other a [`ReachKey`]; both together make their [`PairKey`]. From it come tags that change with time, under
//! which a third computer finds what is meant for one of them, and the key that seals it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::archive_id::ParseHexIdError;
use crate::derive::{DialInSecret, expand};
use crate::device_id::DeviceId;
use crate::invite::InviteSecret;
use crate::seal;
use crate::secret::secret_key;

/// Seconds for which a tag of a record or a post stands.
pub const DAY: u64 = 24 * 60 * 60;
/// Seconds for which a tag in a local network stands.
pub const HOUR: u64 = 60 * 60;

/// What is sealed is as long as a multiple of this, so that its length says little.
const PADDING: usize = 256;
/// The length of the text, before the text.
const LENGTH: usize = 4;

const REACH: &[u8] = b"reach key";
const PAIR: &[u8] = b"pair key";
const INVITE_PAIR: &[u8] = b"invite pair key";
const SEAL: &[u8] = b"pair seal";
const TAG: &[u8] = b"pair tag";

secret_key!(
    /// One half of what a pair knows: given to a friend by the other.
    ReachKey, 32, "reach key"
);
secret_key!(
    /// What two friends know and nobody else.
    PairKey, 32, "pair key"
);

impl DialInSecret {
    /// The half that this computer gives to a friend: always the same for the same friend.
    #[must_use]
    pub fn reach_key(&self, friend: &DeviceId) -> ReachKey {
        ReachKey::from_bytes(*expand(self.as_bytes(), &[REACH, friend.as_bytes()]))
    }
}

impl ReachKey {
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

/// What a tag is for. Tags of different uses have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagUse {
    /// The record with the addresses of a computer; changes with every [`DAY`].
    Record,
    /// Messages to a computer; changes with every [`DAY`].
    Post,
    /// Its announcement in the local network; changes with every [`HOUR`].
    Lan,
}

impl TagUse {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Record => b"record",
            Self::Post => b"post",
            Self::Lan => b"lan",
        }
    }

    /// For how many seconds a tag stands.
    #[must_use]
    pub const fn period(self) -> u64 {
        match self {
            Self::Record | Self::Post => DAY,
            Self::Lan => HOUR,
        }
    }
}

impl PairKey {
    /// The key of two friends. Both come to the same: `ours` is what we gave, `theirs` what we were given.
    #[must_use]
    pub fn of_friends(us: (&DeviceId, &ReachKey), them: (&DeviceId, &ReachKey)) -> Self {
        let (first, second) = if us.0 <= them.0 { (us, them) } else { (them, us) };
        let material = Zeroizing::new([first.1.as_bytes().as_slice(), second.1.as_bytes()].concat());
        Self::from_bytes(*expand(&material, &[PAIR, first.0.as_bytes(), second.0.as_bytes()]))
    }

    /// The key of an inviter and whoever holds the invite, for as long as it is open.
    #[must_use]
    pub fn of_invite(secret: &InviteSecret) -> Self {
        Self::from_bytes(*expand(secret.as_bytes(), &[INVITE_PAIR]))
    }

    /// The tag under which `owner`, one of the two, leaves or awaits what the use says, at a time in Unix seconds.
    #[must_use]
    pub fn tag(&self, tag_use: TagUse, owner: &DeviceId, unix: u64) -> PairTag {
        let key: Zeroizing<[u8; 32]> = expand(self.as_bytes(), &[TAG, tag_use.label()]);
        let mut code = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
        code.update(owner.as_bytes());
        code.update(&(unix / tag_use.period()).to_be_bytes());
        let whole: [u8; 32] = code.finalize().into_bytes().into();
        PairTag(*whole.first_chunk().expect("SHA-256 gives 32 bytes"))
    }

    /// That tag, the one before and the one after: clocks differ.
    #[must_use]
    pub fn tags(&self, tag_use: TagUse, owner: &DeviceId, unix: u64) -> [PairTag; 3] {
        let period = tag_use.period();
        [unix, unix.saturating_sub(period), unix.saturating_add(period)]
            .map(|at| self.tag(tag_use, owner, at))
    }

    /// Seals what `from` says to the other of the two; its length is hidden up to the next multiple of 256 bytes.
    #[must_use]
    pub fn seal(&self, tag_use: TagUse, from: &DeviceId, text: &[u8]) -> Sealed {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let mut padded = Zeroizing::new([length.to_be_bytes().as_slice(), text].concat());
        let whole = padded.len().next_multiple_of(PADDING);
        padded.resize(whole, 0);
        Sealed(seal::seal(&self.sealing(), &bound(tag_use, from), &padded))
    }

    /// What `from` sealed for this use; `None` if it was somebody else, for another use, or changed.
    #[must_use]
    pub fn open(&self, tag_use: TagUse, from: &DeviceId, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let mut padded = seal::open(&self.sealing(), &bound(tag_use, from), &sealed.0)?;
        let (length, text) = padded.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if length > text.len() {
            return None;
        }
        padded.drain(..LENGTH);
        padded.truncate(length);
        Some(padded)
    }

    fn sealing(&self) -> Zeroizing<[u8; 32]> {
        expand(self.as_bytes(), &[SEAL])
    }
}

fn bound(tag_use: TagUse, from: &DeviceId) -> Vec<u8> {
    [from.as_bytes().as_slice(), tag_use.label()].concat()
}

/// Where something lies for somebody. To all but the pair it is 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairTag([u8; 16]);

impl PairTag {
    /// The tag with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PairTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PairTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairTag({self})")
    }
}

impl FromStr for PairTag {
    type Err = ParseHexIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseHexIdError { what: "a tag" };
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| error)?;
        bytes.try_into().map(Self).map_err(|_| error)
    }
}

impl Serialize for PairTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PairTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What one of a pair sealed for the other. In JSON: base64.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Bytes that came from somewhere.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::BASE64.decode(text.as_bytes()).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn secret(byte: u8) -> DialInSecret {
        DialInSecret::from_bytes([byte; 32])
    }

    fn pair() -> PairKey {
        let (ours, theirs) = (secret(1).reach_key(&device(2)), secret(2).reach_key(&device(1)));
        PairKey::of_friends((&device(1), &ours), (&device(2), &theirs))
    }

    #[test]
    fn both_come_to_the_same_key_and_nobody_else_does() {
        let (ours, theirs) = (secret(1).reach_key(&device(2)), secret(2).reach_key(&device(1)));
        let seen_by_them = PairKey::of_friends((&device(2), &theirs), (&device(1), &ours));
        assert!(pair().as_bytes() == seen_by_them.as_bytes());
        let other = secret(1).reach_key(&device(3));
        let wrong = PairKey::of_friends((&device(1), &other), (&device(2), &theirs));
        assert!(pair().as_bytes() != wrong.as_bytes());
        // A friend who is given one half learns nothing of the halves of others.
        assert!(ours.as_bytes() != other.as_bytes());
    }

    #[test]
    fn tags_differ_by_owner_use_and_day_and_overlap_by_a_day() {
        let pair = pair();
        let at = 20_000 * DAY + 5;
        let tag = pair.tag(TagUse::Record, &device(1), at);
        assert_eq!(tag, pair.tag(TagUse::Record, &device(1), at + DAY - 6));
        let others = [
            pair.tag(TagUse::Record, &device(1), at + DAY),
            pair.tag(TagUse::Record, &device(2), at),
            pair.tag(TagUse::Post, &device(1), at),
            pair.tag(TagUse::Lan, &device(1), at),
        ];
        assert!(others.iter().all(|other| *other != tag), "{others:?}");
        for skew in [at - DAY, at, at + DAY] {
            assert!(pair.tags(TagUse::Record, &device(1), skew).contains(&tag));
        }
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }

    #[test]
    fn what_one_says_only_the_other_reads_and_only_as_what_it_is() {
        let pair = pair();
        let sealed = pair.seal(TagUse::Post, &device(1), b"come");
        assert_eq!(pair.open(TagUse::Post, &device(1), &sealed).unwrap().as_slice(), b"come");
        assert!(pair.open(TagUse::Post, &device(2), &sealed).is_none(), "said by the other");
        assert!(pair.open(TagUse::Record, &device(1), &sealed).is_none(), "for another use");
        assert!(PairKey::from_bytes([9; 32]).open(TagUse::Post, &device(1), &sealed).is_none());
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(pair.open(TagUse::Post, &device(1), &Sealed::from_bytes(bytes)).is_none(), "byte {at}");
        }
        for length in 0..40 {
            let cut = Sealed::from_bytes(sealed.as_bytes()[..length].to_vec());
            assert!(pair.open(TagUse::Post, &device(1), &cut).is_none());
        }
    }

    #[test]
    fn lengths_are_hidden_up_to_the_next_256_bytes() {
        let length = |n: usize| pair().seal(TagUse::Record, &device(1), &vec![b'x'; n]).as_bytes().len();
        assert_eq!(length(0), length(252));
        assert_eq!(length(253), length(0) + 256);
    }
}
