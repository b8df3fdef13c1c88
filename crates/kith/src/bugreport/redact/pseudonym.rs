//! The words that stand for what is hidden.

use std::collections::BTreeMap;

/// More than so many different texts of one report share the last pseudonym of their kind.
const MOST: usize = 100_000;

/// Of what kind something hidden is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Name of a friend.
    Friend,
    /// Name of a backup set.
    Set,
    /// A device id.
    Device,
    /// A path, or a name of a file.
    Path,
    /// A glob of what is not backed up.
    Pattern,
    /// Name of a host.
    Host,
    /// An IP address.
    Address,
    /// A user of the system.
    User,
    /// A URL, an invite.
    Url,
    /// An e-mail address.
    Mail,
    /// 16 hexadecimal digits or more.
    Hex,
    /// 20 letters and digits or more.
    Code,
    /// Words of a recovery phrase or of a safety sentence.
    Words,
    /// A list of numbers.
    Numbers,
    /// Anything else that is not a word of ours.
    Text,
}

impl Kind {
    /// The word before the number.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Friend => "friend",
            Self::Set => "set",
            Self::Device => "device",
            Self::Path => "path",
            Self::Pattern => "pattern",
            Self::Host => "host",
            Self::Address => "address",
            Self::User => "user",
            Self::Url => "url",
            Self::Mail => "mail",
            Self::Hex => "hex",
            Self::Code => "code",
            Self::Words => "words",
            Self::Numbers => "numbers",
            Self::Text => "text",
        }
    }
}

/// Which pseudonyms were given.
#[derive(Debug, Default)]
pub(super) struct Pseudonyms {
    numbers: BTreeMap<(Kind, String), usize>,
    counts: BTreeMap<Kind, usize>,
}

impl Pseudonyms {
    /// The pseudonym of a text: always the same one.
    pub(super) fn of(&mut self, kind: Kind, text: &str) -> String {
        let number = match self.numbers.get(&(kind, text.to_owned())) {
            Some(number) => *number,
            None => {
                let count = self.counts.entry(kind).or_insert(0);
                if self.numbers.len() < MOST {
                    *count += 1;
                    self.numbers.insert((kind, text.to_owned()), *count);
                }
                *count
            }
        };
        format!("{}-{number}", kind.as_str())
    }

    pub(super) fn given(&self) -> Vec<(Kind, usize)> {
        self.counts.iter().map(|(kind, count)| (*kind, *count)).collect()
    }
}
