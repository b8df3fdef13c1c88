//! Checked names. Everything that becomes part of a path passes through here first.

use std::fmt;

use thiserror::Error;

/// Why a name was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not an owner's name.
    #[error(
        "an owner's name has 1 to 80 of the characters A-Z, 2-7, 0-9 and '-', and begins with a letter or digit"
    )]
    Owner,
    /// Not an archive's name.
    #[error(
        "an archive's name has 1 to 64 of the characters a-z, 0-9, '.', '_' and '-' and does not begin with '.'"
    )]
    Archive,
    /// A name the vault uses itself.
    #[error("this name is reserved: the vault itself uses it")]
    Reserved,
    /// Not an installation's id.
    #[error("an installation's id has 32 hexadecimal digits")]
    Installation,
    /// Not an object's name.
    #[error("an object's name has 64 lower-case hexadecimal digits")]
    Object,
}

/// Whose archives these are: the name of the owner's directory in the vault (a friend's device id).
///
/// A type of its own because it becomes a path component: no value of it can leave the vault's directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// Checks `name`: 1 to 80 of A-Z, 0-9 and '-', beginning with a letter or a digit.
    ///
    /// # Errors
    /// [`NameError`] if it has another form or is a name that the vault itself uses.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let character = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'-';
        if !(1..=80).contains(&name.len()) || !name.bytes().all(character) || name.starts_with('-') {
            return Err(NameError::Owner);
        }
        // On a file system that ignores case this would be the directory of unfinished uploads.
        if name.eq_ignore_ascii_case(crate::layout::TEMPORARY) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One archive of an owner: the name of its directory.
///
/// Kith's own archives are named by 32 lower-case hexadecimal digits, those of stock tools by what their user likes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveName(String);

impl ArchiveName {
    /// Checks `name`: 1 to 64 of a-z, 0-9, '.', '_' and '-', not beginning with '.'.
    ///
    /// # Errors
    /// [`NameError`] if it has another form or is a name that the vault itself uses.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let character =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(character) || name.starts_with('.') {
            return Err(NameError::Archive);
        }
        if [crate::layout::STATE, crate::layout::HELD, crate::layout::TEMPORARY].contains(&name) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an object: SHA-256 of its bytes in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName(String);

impl ObjectName {
    pub(crate) fn parse(name: &str) -> Result<Self, NameError> {
        if name.len() != 64 || !name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError::Object);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name that belongs to these bytes' SHA-256.
    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The 32 bytes that the name writes out.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let digit = |c: u8| if c.is_ascii_digit() { c - b'0' } else { c.wrapping_sub(b'a').wrapping_add(10) };
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(self.0.as_bytes().chunks_exact(2)) {
            *byte = pair.iter().fold(0, |value, &c| (value << 4) | digit(c));
        }
        digest
    }
}

macro_rules! text_forms {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }
    )*};
}
text_forms!(Owner, ArchiveName, ObjectName);

/// The kinds of named objects of a restic repository; each has a directory of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectType {
    Data,
    Index,
    Snapshots,
    Locks,
    Keys,
}

impl ObjectType {
    /// The types an owner fills, thus those that are counted.
    pub(crate) const STORED: [Self; 4] = [Self::Data, Self::Index, Self::Snapshots, Self::Locks];

    /// The types that are held after a deletion, each before those that refer to it.
    pub(crate) const HELD: [Self; 3] = [Self::Data, Self::Index, Self::Snapshots];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Data, Self::Index, Self::Snapshots, Self::Locks, Self::Keys]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Snapshots => "snapshots",
            Self::Locks => "locks",
            Self::Keys => "keys",
        }
    }
}

/// One file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Config,
    Named(ObjectType, ObjectName),
}

impl Object {
    /// The most bytes an object of this kind may have: several times what any known tool writes.
    pub(crate) fn max_bytes(&self) -> u64 {
        match self {
            Self::Config | Self::Named(ObjectType::Locks | ObjectType::Keys, _) => 64 << 10,
            Self::Named(ObjectType::Data, _) => 256 << 20,
            Self::Named(ObjectType::Index, _) => 64 << 20,
            Self::Named(ObjectType::Snapshots, _) => 16 << 20,
        }
    }

    /// Refers to other objects, and thus must not become durable before they are.
    pub(crate) fn refers_to_others(&self) -> bool {
        matches!(self, Self::Named(ObjectType::Index | ObjectType::Snapshots, _))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Named(kind, name) => write!(f, "{}/{name}", kind.as_str()),
        }
    }
}
