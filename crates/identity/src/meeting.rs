//! How two computers that find each other in a local network make sure, by their people, that nobody sits between them.
//!
//! Whoever sits between them could try numbers of his own until both see the same words. So each of the two draws a number, and the one who
//! asks is bound to his, by a [`Commitment`], before he hears the other's: then nobody can choose his after he knows the rest.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::device_id::DeviceId;
use crate::random::random_bytes;
use crate::safety::{SafetySentence, safety_sentence};

/// What one of the two draws for one meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeetingNumber([u8; Self::LENGTH]);

/// What binds the one who asks to a number that he has not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

impl MeetingNumber {
    /// How many bytes it has.
    pub const LENGTH: usize = 16;

    /// A fresh one.
    #[must_use]
    pub fn draw() -> Self {
        Self(random_bytes())
    }

    /// The one made of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// As text, for the wire.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The number that [`to_hex`](Self::to_hex) wrote; `None` if it is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// What binds `asker` to this number.
    #[must_use]
    pub fn commitment(&self, asker: &DeviceId) -> Commitment {
        let digest = Sha256::new()
            .chain_update(b"kith/v1 meeting number\0")
            .chain_update(asker.as_bytes())
            .chain_update(self.0)
            .finalize();
        Commitment(digest.into())
    }
}

impl Commitment {
    /// As text, for the wire.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// What [`to_hex`](Self::to_hex) wrote; `None` if it is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Whether this is the number that `asker` bound himself to.
    #[must_use]
    pub fn binds(&self, asker: &DeviceId, number: &MeetingNumber) -> bool {
        number.commitment(asker) == *self
    }
}

/// The words that both people see: of the one who asks and the one who is asked, the token that the latter announced, and both numbers.
#[must_use]
pub fn meeting_sentence(
    asker: (&DeviceId, &MeetingNumber),
    asked: (&DeviceId, &MeetingNumber),
    token: &[u8; 16],
) -> SafetySentence {
    let transcript = [token.as_slice(), &asker.1.0, &asked.1.0].concat();
    safety_sentence(asker.0, asked.0, &transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn number(byte: u8) -> MeetingNumber {
        MeetingNumber::from_bytes([byte; 16])
    }

    #[test]
    fn a_commitment_binds_one_computer_to_one_number() {
        let commitment = number(7).commitment(&id(1));
        assert!(commitment.binds(&id(1), &number(7)));
        assert!(!commitment.binds(&id(1), &number(8)) && !commitment.binds(&id(2), &number(7)));
        assert_eq!(Commitment::from_hex(&commitment.to_hex()), Some(commitment));
        assert_eq!(MeetingNumber::from_hex(&number(9).to_hex()), Some(number(9)));
        assert_eq!(MeetingNumber::from_hex("beef"), None);
        assert!(MeetingNumber::draw() != MeetingNumber::draw());
    }

    #[test]
    fn the_words_depend_on_everything_that_is_told() {
        let words = |asker, asked, token, first, second| {
            meeting_sentence((&id(asker), &number(first)), (&id(asked), &number(second)), &[token; 16])
        };
        let sentence = words(1, 2, 3, 4, 5);
        assert_eq!(sentence, words(1, 2, 3, 4, 5));
        for other in [
            words(9, 2, 3, 4, 5),
            words(1, 9, 3, 4, 5),
            words(1, 2, 9, 4, 5),
            words(1, 2, 3, 9, 5),
            words(1, 2, 3, 4, 9),
        ] {
            assert!(other != sentence);
        }
    }
}
