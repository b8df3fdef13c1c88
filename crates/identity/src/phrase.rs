//! The one secret that a person writes down: 24 words after BIP39.

use bip39::{Language, Mnemonic};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::name::sanitise_name;
use crate::random::random_bytes;

/// How many words a recovery phrase has.
pub const WORDS_IN_A_PHRASE: usize = 24;

/// The recovery phrase: 24 English words that stand for 256 random bits.
///
/// It can't be printed by accident: no `Debug`, `Display` or `Serialize`.
#[derive(Clone)]
pub struct RecoveryPhrase(Zeroizing<[u8; 32]>);

/// Typed words are not a recovery phrase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PhraseError {
    /// Not 24 words.
    #[error("a recovery phrase has 24 words, this one has {found}")]
    WordCount {
        /// How many there are.
        found: usize,
    },
    /// A word that isn't in the list, counted from 1.
    #[error("word {number} of the recovery phrase, {word:?}, is not in the list of words{}", hint(.suggestion))]
    UnknownWord {
        /// Which word, counted from 1.
        number: usize,
        /// The word as typed, made safe to print.
        word: String,
        /// The one word of the list that it was probably meant to be.
        suggestion: Option<&'static str>,
    },
    /// All words are in the list, but they don't belong together.
    #[error("the words don't fit together: one of the 24 is wrong, or two have changed places")]
    Checksum,
}

/// Whether a word, in small letters, is one of the 2,048 of which recovery phrases and safety sentences are made.
#[must_use]
pub fn is_phrase_word(word: &str) -> bool {
    Language::English.find_word(word).is_some()
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map(|word| format!(" (perhaps {word:?}?)")).unwrap_or_default()
}

impl RecoveryPhrase {
    /// A new random phrase.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// The phrase for these 256 bits.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self(Zeroizing::new(entropy))
    }

    /// Reads 24 words. Case, line breaks, commas and the numbers of a printed sheet ("7. word") don't matter.
    ///
    /// # Errors
    /// Says which word is wrong, as far as can be known.
    pub fn parse(text: &str) -> Result<Self, PhraseError> {
        let lower = Zeroizing::new(text.to_lowercase());
        let words: Vec<&str> = lower
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '.' | ')' | ':'))
            .filter(|word| !word.is_empty() && !word.bytes().all(|byte| byte.is_ascii_digit()))
            .collect();
        if words.len() != WORDS_IN_A_PHRASE {
            return Err(PhraseError::WordCount { found: words.len() });
        }
        for (index, word) in words.iter().enumerate() {
            if Language::English.find_word(word).is_none() {
                return Err(PhraseError::UnknownWord {
                    number: index + 1,
                    word: sanitise_name(word),
                    suggestion: nearest_word(word),
                });
            }
        }
        let joined = Zeroizing::new(words.join(" "));
        let mnemonic =
            Mnemonic::parse_in_normalized(Language::English, &joined).map_err(|_| PhraseError::Checksum)?;
        let (mut bytes, _) = mnemonic.to_entropy_array();
        let mut entropy = Zeroizing::new([0; 32]);
        entropy.copy_from_slice(&bytes[..32]);
        bytes.zeroize();
        Ok(Self(entropy))
    }

    /// The 24 words. They go to the person, never into a log.
    #[must_use]
    pub fn words(&self) -> [&'static str; WORDS_IN_A_PHRASE] {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, self.0.as_slice())
            .expect("BIP39 has a phrase for any 256 bits");
        let mut words = [""; WORDS_IN_A_PHRASE];
        for (slot, word) in words.iter_mut().zip(mnemonic.words()) {
            *slot = word;
        }
        words
    }

    /// The 256 bits that the words stand for, for the file of mode 0600 that keeps the phrase.
    #[must_use]
    pub fn to_entropy(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    pub(crate) fn entropy(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for RecoveryPhrase {
    fn eq(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()))
    }
}

impl Eq for RecoveryPhrase {}

/// The only word of the list with the same first four letters (they identify a word), or at one edit's distance.
fn nearest_word(typed: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    let head: String = typed.chars().take(4).collect();
    if head.chars().count() == 4
        && let Some(word) = list.iter().find(|word| word.starts_with(&head))
    {
        return Some(word);
    }
    let mut near = list.iter().filter(|word| one_edit_apart(word.as_bytes(), typed.as_bytes()));
    match (near.next(), near.next()) {
        (Some(word), None) => Some(word),
        _ => None,
    }
}

/// Whether one letter inserted, removed or replaced turns one word into the other.
fn one_edit_apart(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same_head = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let same_tail =
        short[same_head..].iter().rev().zip(long.iter().rev()).take_while(|(x, y)| x == y).count();
    same_head + same_tail + 1 >= long.len()
}

#[cfg(test)]
mod tests;
