//! Tokens: how the person who runs a hub lets computers in that he chose.
//!
//! A token is made and judged with a key that follows from the hub's own secrets, so that a hub keeps no list of those it gave out, and a
//! token can be made beside a hub that runs. Which of them were used, and by whom, is kept by whoever asks [`HubTokenKey::accepts`].

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::derive::{DialInSecret, expand};
use crate::random::random_bytes;
use crate::secret::secret_key;

const LABEL: &[u8] = b"hub token key";
const NUMBER: usize = 10;
const MINUTES: usize = 4;
const CODE: usize = 16;
const LENGTH: usize = NUMBER + MINUTES + CODE;

secret_key!(
    /// What a hub makes its tokens with, and judges them by.
    HubTokenKey, 32, "hub token key"
);

/// Lets one computer in at one hub, for good. Whoever has it first may use it.
#[derive(Clone, Copy)]
pub struct HubToken {
    number: [u8; NUMBER],
    /// The end of it in minutes since 1970, which 32 bits count for 8,000 years.
    ends: [u8; MINUTES],
    code: [u8; CODE],
}

impl DialInSecret {
    /// The key of this hub's tokens.
    #[must_use]
    pub fn hub_token_key(&self) -> HubTokenKey {
        HubTokenKey::from_bytes(*expand(self.as_bytes(), &[LABEL]))
    }
}

impl HubTokenKey {
    /// A fresh token that can be used before this time, in Unix seconds; a part of a minute counts as a whole one.
    #[must_use]
    pub fn token(&self, ends: u64) -> HubToken {
        let (number, minutes) = (random_bytes(), u32::try_from(ends.div_ceil(60)).unwrap_or(u32::MAX));
        let ends = minutes.to_be_bytes();
        HubToken { number, ends, code: self.code(&number, &ends) }
    }

    /// Whether the token was made with this key. Its time, and whether it was used, are not looked at.
    #[must_use]
    pub fn accepts(&self, token: &HubToken) -> bool {
        self.code(&token.number, &token.ends).ct_eq(&token.code).into()
    }

    fn code(&self, number: &[u8; NUMBER], ends: &[u8; MINUTES]) -> [u8; CODE] {
        let mut code =
            Hmac::<Sha256>::new_from_slice(self.as_bytes()).expect("HMAC takes keys of any length");
        code.update(number);
        code.update(ends);
        let whole: [u8; 32] = code.finalize().into_bytes().into();
        *whole.first_chunk().expect("SHA-256 gives 32 bytes")
    }
}

impl HubToken {
    /// Which one it is, to note that it was used: 20 hexadecimal digits. It opens nothing.
    #[must_use]
    pub fn number(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.number)
    }

    /// From when on it is worth nothing, in Unix seconds.
    #[must_use]
    pub fn ends(&self) -> u64 {
        u64::from(u32::from_be_bytes(self.ends)) * 60
    }

    /// The token as text, for whom it is meant: 48 letters and digits.
    #[must_use]
    pub fn reveal(&self) -> String {
        let bytes = [self.number.as_slice(), &self.ends, &self.code].concat();
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }
}

/// A text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token of a hub has 48 letters and digits, and this text is something else")]
pub struct ParseHubTokenError;

impl FromStr for HubToken {
    type Err = ParseHubTokenError;

    fn from_str(text: &str) -> Result<Self, ParseHubTokenError> {
        let bytes =
            BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| ParseHubTokenError)?;
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| ParseHubTokenError)?;
        let (number, rest) = bytes.split_first_chunk().ok_or(ParseHubTokenError)?;
        let (ends, rest) = rest.split_first_chunk().ok_or(ParseHubTokenError)?;
        let code = rest.first_chunk().ok_or(ParseHubTokenError)?;
        Ok(Self { number: *number, ends: *ends, code: *code })
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubToken({})", self.number())
    }
}

impl PartialEq for HubToken {
    fn eq(&self, other: &Self) -> bool {
        let whole = |token: &Self| [token.number.as_slice(), &token.ends, &token.code].concat();
        whole(self).ct_eq(&whole(other)).into()
    }
}

impl Eq for HubToken {}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(byte: u8) -> HubTokenKey {
        DialInSecret::from_bytes([byte; 32]).hub_token_key()
    }

    #[test]
    fn a_token_is_accepted_by_the_hub_that_made_it_and_by_no_other() {
        let token = key(1).token(NOW);
        assert!(key(1).accepts(&token) && !key(2).accepts(&token));
        assert_eq!(token.ends(), NOW);
        assert_eq!(key(1).token(NOW + 1).ends(), NOW + 60);
        assert_ne!(token, key(1).token(NOW));
        assert_ne!(token.number(), key(1).token(NOW).number());
    }

    #[test]
    fn a_token_survives_its_text_and_every_character_of_it_counts() {
        let token = key(1).token(NOW);
        let text = token.reveal();
        assert_eq!((text.len(), text.parse()), (48, Ok(token)));
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(token));
        for at in 0..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let changed = [&text[..at], other, &text[at + 1..]].concat();
            assert!(!changed.parse::<HubToken>().is_ok_and(|token| key(1).accepts(&token)), "{at}");
        }
        for wrong in ["", "a", &text[1..], &format!("{text}a"), &text.replace(&text[..1], "!")] {
            assert_eq!(wrong.parse::<HubToken>(), Err(ParseHubTokenError), "{wrong}");
        }
    }

    #[test]
    fn printing_for_debugging_never_shows_what_opens() {
        let token = key(1).token(NOW);
        assert_eq!(format!("{token:?}"), format!("HubToken({})", token.number()));
    }

    // The value was computed by another program. If this test fails, no token that was given out is worth anything any more.
    #[test]
    fn the_key_of_tokens_and_their_form_never_change() {
        let key = key(5);
        assert_eq!(
            data_encoding::HEXLOWER.encode(key.as_bytes()),
            "ab151fe7e1070a412e166ed27038dc6f731c185469fdae17df2cf2412d1bfc8f"
        );
        let (number, ends) =
            (std::array::from_fn(|i| u8::try_from(i).unwrap()), 30_000_000_u32.to_be_bytes());
        let token = HubToken { number, ends, code: key.code(&number, &ends) };
        assert_eq!(token.reveal(), "aaaqeayeaudaocajahe4haamnbqdqq7hb3sxbb2hkwg27ycs");
    }
}
