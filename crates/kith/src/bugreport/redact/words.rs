//! The words of Kith's own sentences, and of the system's reasons.

use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Words of our messages. A word that is missing here is hidden; a test names those of the log that are.
const OURS: &str = include_str!("words.txt");
/// The system's errors have numbers below this on Linux and macOS.
const LAST_ERROR: i32 = 140;
/// No word with its joined parts is longer; a key might be.
const LONGEST: usize = 48;
/// Numbers inside of words, as in `sha256`, are shorter.
const DIGITS: usize = 5;

/// The system's reasons, in small letters, without the number.
pub(super) fn reasons() -> &'static BTreeSet<String> {
    static REASONS: OnceLock<BTreeSet<String>> = OnceLock::new();
    REASONS.get_or_init(|| {
        let system = (1..LAST_ERROR).map(|number| {
            let text = std::io::Error::from_raw_os_error(number).to_string().to_lowercase();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        });
        let ours = [
            "it does not exist",
            "the file system is mounted read-only",
            "the disk is full",
            "the disk quota of this user is used up",
            "a part of the path is a file, not a directory",
            "it is a directory, not a file",
            "it is not valid utf-8 text",
            "it is a symbolic link",
            "refused",
            "timed out",
        ];
        system.chain(ours.map(str::to_owned)).collect()
    })
}

fn all() -> &'static BTreeSet<String> {
    static WORDS: OnceLock<BTreeSet<String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let mut words: BTreeSet<String> = OURS.split_whitespace().map(str::to_owned).collect();
        for reason in reasons() {
            words.extend(
                reason
                    .split(|c: char| !c.is_ascii_alphabetic())
                    .filter(|word| word.len() > 1)
                    .map(str::to_owned),
            );
        }
        words
    })
}

/// Whether a word, or words joined as in `nat-pmp`, `can't`, `external_ip` and `NoRouter`, are ours.
pub(super) fn are_ours(text: &str) -> bool {
    text.len() <= LONGEST && text.is_ascii() && text.split(['-', '_', '\'']).all(is_ours)
}

/// One word, with numbers in it or without.
fn is_ours(word: &str) -> bool {
    if word.is_empty() || all().contains(&word.to_ascii_lowercase()) {
        return true;
    }
    // A single letter beside a digit is no word, but a piece of an id.
    runs(word, |before, here, _| before.is_ascii_digit() != here.is_ascii_digit()).all(|run| {
        if run.bytes().all(|byte| byte.is_ascii_digit()) {
            return run.len() <= DIGITS;
        }
        let is_word = |word: &str| word.len() > 1 && all().contains(&word.to_ascii_lowercase());
        let begins = |before: u8, here: u8, next: Option<u8>| {
            let after = next.is_some_and(|next| next.is_ascii_lowercase());
            here.is_ascii_uppercase() && (!before.is_ascii_uppercase() || after)
        };
        is_word(run) || runs(run, begins).all(is_word)
    })
}

/// Cuts a text before every character of which that is said: it is given the one before, the character, and the next one.
fn runs(text: &str, begins: impl Fn(u8, u8, Option<u8>) -> bool) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == bytes.len() {
            return None;
        }
        let inside = start + 1..bytes.len();
        let end = inside.into_iter().find(|at| begins(bytes[at - 1], bytes[*at], bytes.get(at + 1).copied()));
        let end = end.unwrap_or(bytes.len());
        let run = &text[start..end];
        start = end;
        Some(run)
    })
}
