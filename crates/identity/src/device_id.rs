//! The name that friends pin: a hash of the computer's public key, written so that a typo shows.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Characters that carry the 256 bits: 52 times 5 bits, the last four of them zero.
const DATA_CHARACTERS: usize = 52;
/// Data characters that one check character guards.
const BLOCK: usize = 13;
/// Characters between two dashes.
const GROUP: usize = 7;
/// Groups in the text form: (52 data + 4 check characters) / 7.
const GROUPS: usize = 8;
const TEXT_CHARACTERS: usize = GROUPS * GROUP;

/// A computer's name: SHA-256 of the SubjectPublicKeyInfo (DER) of its Ed25519 key.
///
/// Shown as 8 groups of 7 characters of base32. Every pair of groups ends in a check character, so that any
/// single wrong character, any two swapped characters and any swapped pairs of groups are noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 32]);

impl DeviceId {
    /// The id of the computer with this SubjectPublicKeyInfo (DER).
    #[must_use]
    pub fn from_spki(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first group, for lists and logs where the whole id is too long. Not unique by any promise.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(GROUP).collect()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = BASE32_NOPAD.encode(&self.0);
        let mut text = String::with_capacity(TEXT_CHARACTERS + GROUPS - 1);
        let mut written = 0;
        for (index, block) in data.as_bytes().chunks(BLOCK).enumerate() {
            let check = character(check_value(index, block));
            for byte in block.iter().copied().chain([check]) {
                if written > 0 && written % GROUP == 0 {
                    text.push('-');
                }
                text.push(char::from(byte));
                written += 1;
            }
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.short())
    }
}

/// A text is not a device id. Groups are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseDeviceIdError {
    /// A character that no device id contains.
    #[error("group {group} of the device id contains {character:?}, which no device id contains")]
    Character {
        /// The group it stands in.
        group: usize,
        /// The character itself.
        character: char,
    },
    /// The groups are there, but one of them is too short or too long.
    #[error("group {group} of the device id has {found} characters instead of 7")]
    GroupLength {
        /// Which group.
        group: usize,
        /// How many characters it has.
        found: usize,
    },
    /// Too few or too many characters in all.
    #[error("a device id has 56 letters and digits in 8 groups of 7, this text has {found}")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A check character doesn't fit.
    #[error("there is a typing error in group {first} or {second} of the device id")]
    Typo {
        /// The first group of the guarded pair.
        first: usize,
        /// The second one.
        second: usize,
    },
}

impl FromStr for DeviceId {
    type Err = ParseDeviceIdError;

    /// Reads the text form; case, spaces and missing dashes don't matter, and 0, 1 and 8 are taken for the letters
    /// they look like, since base32 has none of these digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_separator = |c: char| c == '-' || c == '_' || c.is_whitespace();
        let groups: Vec<&str> = text.split(is_separator).filter(|group| !group.is_empty()).collect();
        let found: usize = groups.iter().map(|group| group.chars().count()).sum();
        if groups.len() == GROUPS
            && let Some(at) = groups.iter().position(|group| group.chars().count() != GROUP)
        {
            return Err(ParseDeviceIdError::GroupLength { group: at + 1, found: groups[at].chars().count() });
        }
        if found != TEXT_CHARACTERS {
            return Err(ParseDeviceIdError::Length { found });
        }

        let mut text = Vec::with_capacity(TEXT_CHARACTERS);
        for (at, typed) in groups.iter().flat_map(|group| group.chars()).enumerate() {
            let byte = normalise(typed)
                .ok_or(ParseDeviceIdError::Character { group: at / GROUP + 1, character: typed })?;
            text.push(byte);
        }

        let mut data = Vec::with_capacity(DATA_CHARACTERS);
        for (index, guarded) in text.chunks(BLOCK + 1).enumerate() {
            let (block, check) = guarded.split_at(BLOCK);
            if check != [character(check_value(index, block))] {
                return Err(typo_in_block(index));
            }
            data.extend_from_slice(block);
        }
        // Fails only if the four spare bits of the last character are set.
        let bytes = BASE32_NOPAD.decode(&data).map_err(|_| typo_in_block(GROUPS / 2 - 1))?;
        bytes.try_into().map(Self).map_err(|_| ParseDeviceIdError::Length { found })
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn typo_in_block(index: usize) -> ParseDeviceIdError {
    ParseDeviceIdError::Typo { first: 2 * index + 1, second: 2 * index + 2 }
}

/// The base32 character that was meant.
fn normalise(typed: char) -> Option<u8> {
    match typed.to_ascii_uppercase() {
        '0' => Some(b'O'),
        '1' => Some(b'I'),
        '8' => Some(b'B'),
        c @ ('A'..='Z' | '2'..='7') => u8::try_from(c).ok(),
        _ => None,
    }
}

/// The value of the check character: the one that makes the block, read as a polynomial over GF(32), vanish at
/// a primitive element. All 15 weights differ and none is zero, hence what the check notices for certain. The number of
/// the block is the leading coefficient, so that blocks can't change places either.
fn check_value(index: usize, block: &[u8]) -> u8 {
    let number = u8::try_from(index + 1).expect("a device id has four blocks");
    let sum = block.iter().fold(number, |sum, &byte| times_alpha(sum) ^ value(byte));
    times_alpha(sum)
}

/// Multiplies by the root of x^5 + x^2 + 1, which generates all of GF(32).
fn times_alpha(element: u8) -> u8 {
    let doubled = element << 1;
    if doubled & 0x20 == 0 { doubled } else { doubled ^ 0x25 }
}

fn value(character: u8) -> u8 {
    match character {
        b'A'..=b'Z' => character - b'A',
        _ => character - b'2' + 26,
    }
}

fn character(value: u8) -> u8 {
    match value {
        0..=25 => b'A' + value,
        _ => b'2' + value - 26,
    }
}

#[cfg(test)]
mod tests;
