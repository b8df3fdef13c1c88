//! Strings that are known to be names.

use std::collections::BTreeMap;

/// Names beyond so many are hidden by their form alone.
const MOST: usize = 50_000;

/// The names, found wherever they stand as a whole, in capitals or not.
#[derive(Debug, Default)]
pub(super) struct Known {
    exact: BTreeMap<String, String>,
    /// By the first character, the longest first.
    by_first: BTreeMap<char, Vec<(Vec<char>, String)>>,
}

impl Known {
    /// Adds a name in every spelling in which it may stand in a log.
    pub(super) fn insert(&mut self, text: &str, pseudonym: &str) {
        let debug = format!("{text:?}");
        let escaped = &debug[1..debug.len() - 1];
        let safe = kith_control::terminal::safe(text);
        for spelling in [text, escaped, &safe] {
            if self.exact.len() >= MOST || self.exact.contains_key(spelling) {
                continue;
            }
            let folded: Vec<char> = spelling.chars().map(fold).collect();
            let Some(first) = folded.first() else { continue };
            let bucket = self.by_first.entry(*first).or_default();
            let at = bucket.partition_point(|(other, _)| other.len() > folded.len());
            bucket.insert(at, (folded, pseudonym.to_owned()));
            self.exact.insert(spelling.to_owned(), pseudonym.to_owned());
        }
    }

    /// The pseudonym of a name.
    pub(super) fn exact(&self, text: &str) -> Option<&str> {
        self.exact.get(text).map(String::as_str)
    }

    /// The longest name with which a text begins: its length there in bytes, and its pseudonym. Not in the middle of a word.
    pub(super) fn at(&self, before: Option<char>, text: &str) -> Option<(usize, &str)> {
        let first = text.chars().next()?;
        if joined(before, Some(first)) {
            return None;
        }
        self.by_first.get(&fold(first))?.iter().find_map(|(name, pseudonym)| {
            let mut length = 0;
            let mut last = None;
            let mut characters = text.chars();
            for wanted in name {
                let found = characters.next().filter(|found| fold(*found) == *wanted)?;
                length += found.len_utf8();
                last = Some(found);
            }
            (!joined(last, characters.next())).then_some((length, pseudonym.as_str()))
        })
    }
}

/// Whether two characters belong to one word.
fn joined(one: Option<char>, other: Option<char>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.is_alphanumeric() && other.is_alphanumeric())
}

/// Capitals and small letters are the same; one character stays one.
fn fold(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}
