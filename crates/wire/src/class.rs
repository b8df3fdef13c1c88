//! How good a way between two computers is.

/// The class of a connection; the less, the better. Both ends judge by it which of two connections is kept, so both go by the
/// word of the one who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Inside one network.
    Lan,
    /// From one to the other, through the Internet; by a proxy of one of them, too.
    Direct,
    /// A third computer passes on what the two say.
    Relayed,
}

impl Class {
    /// The word in a hello.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }

    /// The class of this word; none if no version known here has it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Lan, Self::Direct, Self::Relayed].into_iter().find(|class| class.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_read_as_it_is_written_and_the_better_one_is_less() {
        let classes = [Class::Lan, Class::Direct, Class::Relayed];
        assert!(classes.is_sorted());
        for class in classes {
            assert_eq!(Class::from_word(class.as_str()), Some(class));
        }
        assert_eq!(Class::from_word("teleported"), None);
    }
}
