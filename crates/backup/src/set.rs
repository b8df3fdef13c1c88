//! Backup sets: what is backed up, and to whom.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest name of a set, in characters.
pub const NAME_MAX: usize = 64;
/// Most paths, destinations or exclusions of one set.
pub const LIST_MAX: usize = 1000;

/// Name of a backup set: 1 to 64 printable characters without spaces at the ends.
///
/// A type of its own because names arrive from settings, the command line and recovered state, and end up in terminals,
/// pages and snapshot tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

impl SetName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`SetError::Name`] with what is allowed.
    pub fn new(name: impl Into<String>) -> Result<Self, SetError> {
        let name = name.into();
        let problem = if name.is_empty() {
            "it is empty"
        } else if name.chars().count() > NAME_MAX {
            "it has more than 64 characters"
        } else if name.trim() != name {
            "it begins or ends with a space"
        } else if name.chars().any(is_unprintable) {
            "it contains characters that can't be printed"
        } else {
            return Ok(Self(name));
        };
        Err(SetError::Name { name, problem })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and those that reverse the writing direction or take no room: they disguise names.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SetName {
    type Error = SetError;

    fn try_from(name: String) -> Result<Self, SetError> {
        Self::new(name)
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0
    }
}

/// Named folders with their exclusions and destinations.
///
/// Whoever has one knows: the name is printable, there is at least one path, every path is absolute and normal, none lies
/// inside another one, and no path, destination or exclusion is named twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSet", into = "RawSet")]
pub struct BackupSet {
    name: SetName,
    paths: Vec<PathBuf>,
    destinations: Vec<String>,
    alternates: Vec<String>,
    excludes: Vec<String>,
}

impl BackupSet {
    /// Checks the parts of a set. `destinations` are names or device ids of friends, in the person's order; none means that
    /// the set runs only when a friend is named. `excludes` are glob patterns.
    ///
    /// # Errors
    /// [`SetError`] that names the set and the offending part.
    pub fn new(
        name: impl Into<String>,
        paths: Vec<PathBuf>,
        destinations: Vec<String>,
        excludes: Vec<String>,
    ) -> Result<Self, SetError> {
        let name = SetName::new(name)?;
        check_length(&name, "paths", paths.len())?;
        check_length(&name, "destinations", destinations.len())?;
        check_length(&name, "exclusions", excludes.len())?;
        if paths.is_empty() {
            return Err(SetError::NoPaths { set: name });
        }
        let paths = paths.into_iter().map(|path| normal(&name, path)).collect::<Result<Vec<_>, _>>()?;
        check_overlap(&name, &paths)?;
        check_texts(&name, "destination", &destinations)?;
        check_texts(&name, "exclusion", &excludes)?;
        Ok(Self { name, paths, destinations, alternates: Vec::new(), excludes })
    }

    /// The same set with alternates: friends who take over while one of the destinations is away, the first who is there.
    ///
    /// # Errors
    /// [`SetError`] if one is a destination as well, or is named twice, or there is nobody for whom to take over.
    pub fn with_alternates(self, alternates: Vec<String>) -> Result<Self, SetError> {
        check_length(&self.name, "alternates", alternates.len())?;
        check_texts(&self.name, "alternate", &alternates)?;
        if self.destinations.is_empty() && !alternates.is_empty() {
            return Err(SetError::NothingToTakeOver { set: self.name });
        }
        let both =
            alternates.iter().find(|it| self.destinations.iter().any(|to| to.eq_ignore_ascii_case(it)));
        if let Some(friend) = both {
            return Err(SetError::DestinationAndAlternate { set: self.name, friend: friend.clone() });
        }
        Ok(Self { alternates, ..self })
    }

    /// Its name, unique on one computer.
    pub fn name(&self) -> &SetName {
        &self.name
    }

    /// The folders and files to back up: absolute, normal, without overlaps.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Names or device ids of the friends who get it.
    pub fn destinations(&self) -> &[String] {
        &self.destinations
    }

    /// Names or device ids of the friends who take over while a destination is away.
    pub fn alternates(&self) -> &[String] {
        &self.alternates
    }

    /// Everybody to whom it may go: destinations, then alternates.
    pub fn friends(&self) -> impl Iterator<Item = &String> {
        self.destinations.iter().chain(&self.alternates)
    }

    /// Glob patterns of what to leave out.
    pub fn excludes(&self) -> &[String] {
        &self.excludes
    }
}

/// Checks what holds between sets: names are unique, also when only the case of letters differs.
///
/// # Errors
/// [`SetError::Duplicate`].
pub fn check_sets(sets: &[BackupSet]) -> Result<(), SetError> {
    let mut seen = std::collections::BTreeSet::new();
    match sets.iter().find(|set| !seen.insert(set.name.as_str().to_lowercase())) {
        Some(set) => Err(SetError::Duplicate { set: set.name.clone() }),
        None => Ok(()),
    }
}

/// Why a set is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetError {
    /// The name.
    #[error("the set name {name:?} can't be used: {problem}; allowed are 1 to 64 printable characters")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing to back up.
    #[error("the set \"{set}\" has no paths; name at least one folder or file")]
    NoPaths {
        /// The set.
        set: SetName,
    },
    /// A list beyond its limit.
    #[error("the set \"{set}\" has {count} {what}, more than the {LIST_MAX} allowed")]
    TooMany {
        /// The set.
        set: SetName,
        /// "paths", "destinations", "alternates" or "exclusions".
        what: &'static str,
        /// How many it has.
        count: usize,
    },
    /// Alternates and no destination.
    #[error(
        "the set \"{set}\" has alternates and no destination for which they could take over; name one (`to`)"
    )]
    NothingToTakeOver {
        /// The set.
        set: SetName,
    },
    /// One friend as both.
    #[error(
        "the set \"{set}\" names {friend:?} as a destination and as an alternate; leave out one of the two"
    )]
    DestinationAndAlternate {
        /// The set.
        set: SetName,
        /// The friend.
        friend: String,
    },
    /// A path that isn't absolute.
    #[error(
        "the set \"{set}\" names the path {path:?}, which is not absolute; write it from the root, as in /home/anna"
    )]
    Relative {
        /// The set.
        set: SetName,
        /// The path.
        path: PathBuf,
    },
    /// A path with `..` in it.
    #[error("the set \"{set}\" names the path {path:?} with \"..\" in it; write the path without it")]
    Parent {
        /// The set.
        set: SetName,
        /// The path.
        path: PathBuf,
    },
    /// A path inside another one, or twice.
    #[error("the set \"{set}\" names {inner:?}, which {outer:?} already contains; leave out one of the two")]
    Overlap {
        /// The set.
        set: SetName,
        /// The wider path.
        outer: PathBuf,
        /// The path inside it.
        inner: PathBuf,
    },
    /// An empty or repeated destination or exclusion.
    #[error("the set \"{set}\" has {problem} {what}: {text:?}")]
    Text {
        /// The set.
        set: SetName,
        /// "destination" or "exclusion".
        what: &'static str,
        /// "an empty" or "a repeated".
        problem: &'static str,
        /// The text.
        text: String,
    },
    /// Two sets of the same name.
    #[error("there are two sets named \"{set}\"; every set needs a name of its own")]
    Duplicate {
        /// The name.
        set: SetName,
    },
}

fn check_length(set: &SetName, what: &'static str, count: usize) -> Result<(), SetError> {
    if count > LIST_MAX {
        return Err(SetError::TooMany { set: set.clone(), what, count });
    }
    Ok(())
}

/// Drops `.` and repeated or trailing slashes. `..` is refused: what it means depends on symbolic links.
fn normal(set: &SetName, path: PathBuf) -> Result<PathBuf, SetError> {
    if !path.is_absolute() {
        return Err(SetError::Relative { set: set.clone(), path });
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(SetError::Parent { set: set.clone(), path });
    }
    Ok(path.components().collect())
}

fn check_overlap(set: &SetName, paths: &[PathBuf]) -> Result<(), SetError> {
    // Sorted by components, whatever lies inside a path directly follows it or another path inside it.
    let mut sorted: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
        Some(pair) => Err(SetError::Overlap {
            set: set.clone(),
            outer: pair[0].to_path_buf(),
            inner: pair[1].to_path_buf(),
        }),
        None => Ok(()),
    }
}

fn check_texts(set: &SetName, what: &'static str, texts: &[String]) -> Result<(), SetError> {
    let mut seen = std::collections::BTreeSet::new();
    for text in texts {
        let problem = if text.trim().is_empty() {
            "an empty"
        } else if !seen.insert(text) {
            "a repeated"
        } else {
            continue;
        };
        return Err(SetError::Text { set: set.clone(), what, problem, text: text.clone() });
    }
    Ok(())
}

/// A set as the settings file writes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    // What is absent is empty, so that the set's own sentences say what is missing.
    #[serde(default)]
    name: String,
    #[serde(default)]
    paths: Vec<PathBuf>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alternate: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
}

impl TryFrom<RawSet> for BackupSet {
    type Error = SetError;

    fn try_from(raw: RawSet) -> Result<Self, SetError> {
        Self::new(raw.name, raw.paths, raw.to, raw.exclude)?.with_alternates(raw.alternate)
    }
}

impl From<BackupSet> for RawSet {
    fn from(set: BackupSet) -> Self {
        Self {
            name: set.name.0,
            paths: set.paths,
            to: set.destinations,
            alternate: set.alternates,
            exclude: set.excludes,
        }
    }
}
