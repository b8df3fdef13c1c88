//! What is left out of a backup, by patterns.

use std::path::Path;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// A pattern, as restic's `--exclude` takes it.
///
/// `*`, `?` and `[..]` match within one component of a path, `**` matches any number of components. A pattern that begins
/// with `/` is compared with the whole path; any other one fits at every depth: `*.tmp`, `target/debug`. What lies in an
/// excluded directory is not looked at. With `!` in front, a pattern takes back what an earlier one left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclude(String);

/// The pattern is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} can't be understood: {reason}")]
pub struct ExcludeError {
    pattern: String,
    reason: String,
}

impl Exclude {
    /// Checks a pattern.
    ///
    /// # Errors
    /// It is empty or malformed.
    pub fn new(pattern: impl Into<String>) -> Result<Self, ExcludeError> {
        let exclude = Self(pattern.into());
        exclude.glob()?;
        Ok(exclude)
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn negated(&self) -> bool {
        self.0.starts_with('!')
    }

    fn glob(&self) -> Result<globset::Glob, ExcludeError> {
        let error =
            |reason: &dyn ToString| ExcludeError { pattern: self.0.clone(), reason: reason.to_string() };
        let pattern = self.0.strip_prefix('!').unwrap_or(&self.0);
        let trimmed = pattern.trim_end_matches('/');
        if trimmed.is_empty() {
            return Err(error(&"it is empty"));
        }
        let anchored = if trimmed.starts_with('/') { trimmed.to_owned() } else { format!("**/{trimmed}") };
        GlobBuilder::new(&anchored).literal_separator(true).build().map_err(|failure| error(failure.kind()))
    }
}

impl std::str::FromStr for Exclude {
    type Err = ExcludeError;

    fn from_str(pattern: &str) -> Result<Self, ExcludeError> {
        Self::new(pattern)
    }
}

/// All patterns of a backup, ready to be applied.
pub(super) struct Excludes {
    set: GlobSet,
    negated: Vec<bool>,
}

impl Excludes {
    pub(super) fn new(excludes: &[Exclude]) -> Result<Self, ExcludeError> {
        let mut builder = GlobSetBuilder::new();
        for exclude in excludes {
            builder.add(exclude.glob()?);
        }
        let set = builder.build().map_err(|error| ExcludeError {
            pattern: error.glob().unwrap_or_default().to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self { set, negated: excludes.iter().map(Exclude::negated).collect() })
    }

    /// Whether a path is left out: the last pattern that fits decides.
    pub(super) fn contains(&self, path: &Path) -> bool {
        if self.negated.is_empty() {
            return false;
        }
        let last = self.set.matches_candidate(&Candidate::new(path)).into_iter().max();
        last.is_some_and(|at| !self.negated[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], path: &str, excluded: bool) {
        let patterns: Vec<Exclude> = patterns.iter().map(|pattern| Exclude::new(*pattern).unwrap()).collect();
        assert_eq!(
            Excludes::new(&patterns).unwrap().contains(Path::new(path)),
            excluded,
            "{patterns:?} {path}"
        );
    }

    #[test]
    fn patterns_fit_as_those_of_restic() {
        check(&[], "/home/a", false);
        check(&["*.tmp"], "/home/a/x.tmp", true);
        check(&["*.tmp"], "/home/a/x.tmp.txt", false);
        check(&["cache"], "/home/a/cache", true);
        check(&["cache"], "/home/a/cached", false);
        check(&["target/debug"], "/src/kith/target/debug", true);
        check(&["target/debug"], "/src/target/x/debug", false);
        check(&["/home/*/x"], "/home/a/x", true);
        check(&["/home/*/x"], "/home/a/b/x", false);
        check(&["/home/**/x"], "/home/a/b/x", true);
        check(&["/home/a/"], "/home/a", true);
        check(&["/home/a"], "/srv/home/a", false);
        check(&["*.jpg", "!keep.jpg"], "/p/keep.jpg", false);
        check(&["*.jpg", "!keep.jpg"], "/p/other.jpg", true);
        check(&["!keep.jpg", "*.jpg"], "/p/keep.jpg", true);
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["", "!", "/", "[a", "a[b"] {
            assert!(Exclude::new(pattern).is_err(), "{pattern:?}");
        }
    }
}
