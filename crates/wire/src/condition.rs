//! How a computer is: what its friends see of it, whether or not one stores for the other.

use serde::{Deserialize, Serialize};

use crate::hello::WireError;

/// The last moment that has a date of four digits, Unix seconds.
const LAST_MOMENT: i64 = 253_402_300_799;

/// How a computer is, as it tells its friends. A computer that tells none is of a release that knew none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Whether nobody can call it: it only makes calls.
    pub outbound_only: bool,
    /// What is free on the disk on which it keeps friends' backups; null: not known.
    pub free_bytes: Option<u64>,
    /// Until when its own backups are paused, Unix seconds.
    pub paused_until: Option<i64>,
    /// The last of its backups that made a snapshot, to whomever.
    pub last_backup: Option<LastBackup>,
    /// What its backups do at the moment.
    pub work: Work,
    /// How far they are, 0 to 100; null: not known, or nothing runs.
    pub percent: Option<u8>,
    /// When it slept last; null: not since its Kith was started.
    pub slept: Option<Slept>,
}

/// See [`Condition::slept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slept {
    /// When it fell asleep, Unix seconds.
    pub from: i64,
    /// When it woke.
    pub to: i64,
}

/// See [`Condition::last_backup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// When it ended, Unix seconds.
    pub time: i64,
    /// Whether nothing was left out.
    pub complete: bool,
}

/// See [`Condition::work`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// No backup is under way.
    Idle,
    /// At least one runs.
    Running,
    /// One is under way, but waits: for its turn, for the end of a pause, or for a friend who is away.
    Waiting,
    /// Something that this program has no word for.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Condition {
    /// Refuses what no honest sender says.
    ///
    /// # Errors
    /// Names the first field that makes no sense.
    pub fn check(&self) -> Result<(), WireError> {
        let moment = |seconds: i64| (0..=LAST_MOMENT).contains(&seconds);
        let nonsense = |field| Err(WireError::Nonsense { field });
        if !self.paused_until.is_none_or(moment) {
            return nonsense("time of the end of its pause");
        }
        if !self.last_backup.is_none_or(|backup| moment(backup.time)) {
            return nonsense("time of its last backup");
        }
        if self.percent.is_some_and(|percent| percent > 100) {
            return nonsense("progress");
        }
        if !self.slept.is_none_or(|slept| moment(slept.from) && moment(slept.to) && slept.from <= slept.to) {
            return nonsense("time of its sleep");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;

    fn check(condition: &str, expected: Result<(), &'static str>) {
        let report: Report = serde_json::from_str(&format!(
            r#"{{"name": "anna", "internal": [], "public": [], "public_port": null, "offered_bytes": null, "stored_bytes": 0,
                "state_sequence": null, "condition": {condition}}}"#
        ))
        .unwrap();
        let expected = expected.map_err(|field| WireError::Nonsense { field });
        assert_eq!(report.check(), expected, "{condition}");
    }

    #[test]
    fn a_condition_that_makes_no_sense_is_refused() {
        check(r#"{"percent": 100, "work": "running", "last_backup": {"time": 1, "complete": true}}"#, Ok(()));
        check(r#"{"percent": 101}"#, Err("progress"));
        check(r#"{"slept": {"from": 5, "to": 5}}"#, Ok(()));
        for slept in [(6, 5), (-1, 5), (5, 253_402_300_800_i64)] {
            let (from, to) = slept;
            check(&format!(r#"{{"slept": {{"from": {from}, "to": {to}}}}}"#), Err("time of its sleep"));
        }
        check(r#"{"paused_until": -1}"#, Err("time of the end of its pause"));
        let far = r#"{"last_backup": {"time": 253402300800, "complete": true}}"#;
        check(far, Err("time of its last backup"));
    }

    #[test]
    fn older_and_newer_releases_are_understood() {
        check("null", Ok(()));
        check("{}", Ok(()));
        check(r#"{"work": "dancing", "mood": "good"}"#, Ok(()));
        let newer: Condition = serde_json::from_str(r#"{"work": "dancing"}"#).unwrap();
        assert_eq!(newer.work, Work::Unknown);
    }
}
