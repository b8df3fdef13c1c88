//! Six words that two people compare, to be sure that nobody sits between them.

use std::fmt;

use bip39::Language;
use sha2::{Digest, Sha256};

use crate::device_id::DeviceId;

/// Words in a sentence. 6 times 11 bits = 66: an attacker would have to try 2^66 keys to find one that gives the same
/// sentence, while fewer words could be ground out beforehand.
const WORDS: usize = 6;

/// Six words that are the same at both computers if, and only if, each really talks to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafetySentence([&'static str; WORDS]);

impl SafetySentence {
    /// The words in their order.
    #[must_use]
    pub fn words(&self) -> &[&'static str; WORDS] {
        &self.0
    }
}

impl fmt::Display for SafetySentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// The sentence for two computers, whichever of them asks. `transcript` is what both know of this pairing: the id of the
/// invite, or bytes exported from the TLS connection.
#[must_use]
pub fn safety_sentence(a: &DeviceId, b: &DeviceId, transcript: &[u8]) -> SafetySentence {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let digest = Sha256::new()
        .chain_update(b"kith/v1 safety sentence\0")
        .chain_update(first.as_bytes())
        .chain_update(second.as_bytes())
        .chain_update(transcript)
        .finalize();
    let list = Language::English.word_list();
    let mut words = [""; WORDS];
    for (number, word) in words.iter_mut().enumerate() {
        let index = (0..11).fold(0, |index, bit| {
            let at = number * 11 + bit;
            index << 1 | usize::from(digest[at / 8] >> (7 - at % 8) & 1)
        });
        *word = list[index];
    }
    SafetySentence(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    #[test]
    fn both_sides_see_the_same_six_words() {
        let sentence = safety_sentence(&id(1), &id(2), b"pairing");
        assert_eq!(sentence, safety_sentence(&id(2), &id(1), b"pairing"));
        assert_eq!(sentence.to_string().split(' ').count(), 6);
    }

    #[test]
    fn another_computer_or_another_pairing_gives_other_words() {
        let sentence = safety_sentence(&id(1), &id(2), b"pairing");
        assert_ne!(sentence, safety_sentence(&id(1), &id(3), b"pairing"));
        assert_ne!(sentence, safety_sentence(&id(1), &id(2), b"pairing again"));
    }

    #[test]
    fn the_sentence_of_the_committed_vector_never_changes() {
        // Computed by another program: SHA-256 of the label, 32 times 0x01, 32 times 0x02 and "kith", cut into
        // pieces of 11 bits.
        assert_eq!(safety_sentence(&id(1), &id(2), b"kith").to_string(), "rival man clerk toward junk clean");
    }
}
