//! What can be wrong with settings. Every message names the place, the key, the fault and what is allowed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Origin;
use crate::home::HomeError;
use crate::home::error::reason;

/// Why settings can't be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file is there but can't be read.
    #[error("the settings file {} can't be read: {}", path.display(), reason(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any settings.
    #[error("the settings file {} has more than {limit} bytes; it can't be a settings file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// Not TOML.
    #[error("{origin}: this is not valid TOML: {problem}")]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What the parser said.
        problem: String,
    },
    /// A key nobody knows.
    #[error("{}there is no setting {key}{}; all keys: kith settings get", origin.prefix(), meant(proposal.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The known one that was probably meant.
        proposal: Option<String>,
    },
    /// A value that is not allowed for its key.
    #[error("{}{key}: {problem}", origin.prefix())]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The full name of the key.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Each value is right alone, but not together.
    #[error("{}{key}: {problem}", origin.prefix())]
    Conflict {
        /// Where the key stands that should change.
        origin: Origin,
        /// Its full name.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A key that only the administrator may change.
    #[error("{key} is locked by the administrator of this computer ({origin}); it can be changed only there")]
    Locked {
        /// The key.
        key: String,
        /// The locked file and line.
        origin: Origin,
    },
    /// An environment variable that is no text.
    #[error("environment variable {name}: its value is not valid UTF-8 text")]
    NotText {
        /// The variable.
        name: String,
    },
    /// Somebody else is changing the file.
    #[error("the settings file {} is being changed by another process; try again in a moment", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The new file can't be written. The old one stands.
    #[error("the settings file {} can't be written: {}; nothing was changed", path.display(), reason(source))]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The superuser was about to write through somebody's link.
    #[error("the settings file {} is a symbolic link of user {owner}, which the superuser does not follow; run this as that user",
        path.display())]
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// Who made it.
        owner: u32,
    },
    /// A set of that name exists.
    #[error(
        "there is already a set named {name:?}; remove it first with `kith set remove`, or choose another name"
    )]
    SetExists {
        /// The name.
        name: String,
    },
    /// No such set.
    #[error("there is no set named {name:?}{}", known(names))]
    NoSuchSet {
        /// The name asked for.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// The set is there, but not in the file that can be edited.
    #[error("the set {name:?} comes from {origin}; it can be changed only there")]
    SetElsewhere {
        /// The set.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The sets can't be added to in the file that can be edited.
    #[error("the sets come from {origin}; {name:?} can be added only there")]
    SetsElsewhere {
        /// The new set.
        name: String,
        /// Where the others stand.
        origin: Origin,
    },
    /// A path that TOML can't hold.
    #[error(
        "the path {path:?} is not valid UTF-8, which a settings file must be; back up the folder above it instead"
    )]
    PathNotText {
        /// The path.
        path: PathBuf,
    },
    /// The home itself.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn meant(text: Option<&str>) -> String {
    text.map(|text| format!("; did you mean {text}?")).unwrap_or_default()
}

fn known(names: &[String]) -> String {
    match names {
        [] => "; there are no sets yet".to_owned(),
        names => format!("; there are: {}", names.join(", ")),
    }
}
