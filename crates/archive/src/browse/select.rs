//! Which snapshot a person means.

use crate::id::SnapshotId;
use crate::repository::Snapshot;

/// A shorter beginning of an id names nothing.
const SHORTEST_PREFIX: usize = 8;

/// Why an argument names no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// There are no snapshots at all.
    #[error("the archive has no snapshots yet")]
    Empty,
    /// It is neither `latest` nor the beginning of an id.
    #[error("{0:?} is not a snapshot: give \"latest\" or the first 8 or more digits of its id")]
    NotAnId(String),
    /// Fewer than 8 digits.
    #[error("{0:?} is too short: give at least 8 digits of the snapshot's id")]
    TooShort(String),
    /// No snapshot begins so.
    #[error("no snapshot has an id that begins with {0:?}")]
    NotFound(String),
    /// Several begin so.
    #[error("{prefix:?} is the beginning of {} snapshots, give more digits: {}", matches.len(), list(matches))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The snapshots that it may mean.
        matches: Vec<SnapshotId>,
    },
}

fn list(ids: &[SnapshotId]) -> String {
    let mut text: Vec<String> = ids.iter().take(4).map(ToString::to_string).collect();
    if ids.len() > text.len() {
        text.push("...".to_owned());
    }
    text.join(", ")
}

/// The snapshot that `spec` names: `latest` is the newest of `list`, everything else the beginning of an id with 8
/// digits or more.
///
/// # Errors
/// None or several are meant.
pub fn resolve_snapshot<'a>(list: &'a [Snapshot], spec: &str) -> Result<&'a Snapshot, SelectError> {
    if list.is_empty() {
        return Err(SelectError::Empty);
    }
    if spec == "latest" {
        let newest = list.iter().max_by(|a, b| a.time.cmp(&b.time).then_with(|| a.id.cmp(&b.id)));
        return newest.ok_or(SelectError::Empty);
    }
    if spec.is_empty() || spec.len() > 64 || !spec.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(SelectError::NotAnId(spec.to_owned()));
    }
    if spec.len() < SHORTEST_PREFIX {
        return Err(SelectError::TooShort(spec.to_owned()));
    }
    let prefix = spec.to_ascii_lowercase();
    let mut matches = list.iter().filter(|snapshot| snapshot.id.to_string().starts_with(&prefix));
    match (matches.next(), matches.next()) {
        (None, _) => Err(SelectError::NotFound(spec.to_owned())),
        (Some(only), None) => Ok(only),
        (Some(first), Some(second)) => {
            let matches = [first, second].into_iter().chain(matches).map(|snapshot| snapshot.id).collect();
            Err(SelectError::Ambiguous { prefix: spec.to_owned(), matches })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: &str, seconds: i64) -> Snapshot {
        let json = format!(
            r#"{{"time":"{}","tree":"{}","paths":[]}}"#,
            jiff::Timestamp::from_second(seconds).unwrap(),
            "0".repeat(64)
        );
        let mut snapshot: Snapshot = serde_json::from_str(&json).unwrap();
        snapshot.id = format!("{id:0<64}").parse().unwrap();
        snapshot
    }

    fn check(spec: &str, expected: Result<i64, SelectError>) {
        let list = [snapshot("abcdef0011", 1), snapshot("abcdef0022", 3), snapshot("0123456789", 2)];
        assert_eq!(resolve_snapshot(&list, spec).map(|snapshot| snapshot.time.as_second()), expected);
    }

    #[test]
    fn latest_is_the_newest_one() {
        check("latest", Ok(3));
    }

    #[test]
    fn a_unique_beginning_names_a_snapshot_in_either_case() {
        check("01234567", Ok(2));
        check("ABCDEF0011", Ok(1));
        check(&format!("{:0<64}", "abcdef0022"), Ok(3));
    }

    #[test]
    fn what_names_no_snapshot_is_told_apart() {
        check("0123456", Err(SelectError::TooShort("0123456".into())));
        check("ffffffff", Err(SelectError::NotFound("ffffffff".into())));
        check("newest", Err(SelectError::NotAnId("newest".into())));
        check("", Err(SelectError::NotAnId(String::new())));
        check(&"0".repeat(65), Err(SelectError::NotAnId("0".repeat(65))));
        let Err(error) =
            resolve_snapshot(&[snapshot("abcdef0011", 1), snapshot("abcdef0022", 3)], "abcdef00").map(drop)
        else {
            panic!("it was accepted")
        };
        assert!(error.to_string().contains("2 snapshots, give more digits: abcdef0011000"), "{error}");
        assert_eq!(resolve_snapshot(&[], "latest").err(), Some(SelectError::Empty));
    }
}
