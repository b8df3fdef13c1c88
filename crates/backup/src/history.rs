//! The history of runs: what was backed up to whom, when, and what came of it.
//!
//! Two tables in the daemon's database, made and upgraded by [`History::open`]; their version is kept in a row of its own,
//! because other parts of Kith keep tables in the same file. The last [`RUNS_KEPT`] runs are kept.

#[cfg(test)]
mod tests;

use std::fmt;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Runs kept; older ones are forgotten.
pub const RUNS_KEPT: u32 = 1000;
/// Skipped files kept for each run; their number is kept in full.
pub const SKIPPED_KEPT: usize = 100;
/// Longest path, reason or error kept, in characters.
const TEXT_KEPT: usize = 4096;

/// Version of the tables.
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE backup_runs (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        set_name      TEXT NOT NULL,
        friend        TEXT NOT NULL,
        started       INTEGER NOT NULL,
        ended         INTEGER,
        outcome       TEXT NOT NULL,
        snapshot      TEXT,
        files         INTEGER NOT NULL DEFAULT 0,
        bytes         INTEGER NOT NULL DEFAULT 0,
        new_bytes     INTEGER NOT NULL DEFAULT 0,
        skipped_total INTEGER NOT NULL DEFAULT 0,
        error         TEXT
    ) STRICT;
    CREATE INDEX backup_runs_by_destination ON backup_runs (set_name, friend, id);
    CREATE TABLE backup_skipped (
        run    INTEGER NOT NULL REFERENCES backup_runs (id),
        number INTEGER NOT NULL,
        path   TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str =
    "id, set_name, friend, started, ended, outcome, snapshot, files, bytes, new_bytes, skipped_total, error";

/// Number of a run, unique on one computer and never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is still going on.
    Running,
    /// Everything is in a snapshot that is durable at the friend.
    Complete,
    /// There is a snapshot, but some files could not be read.
    CompleteWithOmissions,
    /// There is no snapshot.
    Failed,
    /// The person stopped it.
    Cancelled,
    /// The daemon ended in the middle of it.
    Interrupted,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Running,
        Self::Complete,
        Self::CompleteWithOmissions,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// The word that stands for it in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::CompleteWithOmissions => "complete-with-omissions",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// True when a snapshot was made.
    pub fn made_snapshot(self) -> bool {
        matches!(self, Self::Complete | Self::CompleteWithOmissions)
    }
}

impl ToSql for Outcome {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}

/// A file that is not in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// How a run ended: everything but its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// What came of it; not [`Outcome::Running`].
    pub outcome: Outcome,
    /// Id of the snapshot, 64 hex digits.
    pub snapshot: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that the friend did not have before.
    pub new_bytes: u64,
    /// How many files were left out.
    pub skipped_total: u64,
    /// The first of them; no more than [`SKIPPED_KEPT`] are kept.
    pub skipped: Vec<Skipped>,
    /// The sentence that explains a failure.
    pub error: Option<String>,
}

impl Ending {
    /// An ending without a snapshot.
    pub fn without_snapshot(outcome: Outcome, error: Option<String>) -> Self {
        Self {
            outcome,
            snapshot: None,
            files: 0,
            bytes: 0,
            new_bytes: 0,
            skipped_total: 0,
            skipped: Vec::new(),
            error,
        }
    }
}

/// One run, without the list of what it skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Name of the set.
    pub set: String,
    /// Device id of the friend.
    pub friend: String,
    /// Unix time in milliseconds at which it began.
    pub started_ms: i64,
    /// Unix time in milliseconds at which it ended; `None` while it runs. For an interrupted run: when that was noticed.
    pub ended_ms: Option<i64>,
    /// What came of it.
    pub outcome: Outcome,
    /// Id of the snapshot, 64 hex digits.
    pub snapshot: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that the friend did not have before.
    pub new_bytes: u64,
    /// How many files were left out.
    pub skipped_total: u64,
    /// The sentence that explains a failure.
    pub error: Option<String>,
}

/// Why the history can't be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A newer Kith wrote it.
    #[error(
        "the history of runs has version {found}, and this Kith understands {VERSION} at most; install the newer Kith again"
    )]
    Newer {
        /// The version found.
        found: i64,
    },
    /// There is no such run, or it has ended already.
    #[error("run {run} can't be ended: it is not running")]
    NotRunning {
        /// The run.
        run: RunId,
    },
    /// A run can't end by still running.
    #[error("run {run} can't end with the outcome \"running\"")]
    NoEnding {
        /// The run.
        run: RunId,
    },
    /// The database failed.
    #[error("can't {action} the history of runs")]
    Database {
        /// What was being done.
        action: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// For `map_err`: what was being done to the history.
fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> HistoryError {
    move |source| HistoryError::Database { action, source }
}

/// The history inside an open database. Times are Unix times in milliseconds, said by the caller.
#[derive(Debug)]
pub struct History<'c> {
    connection: &'c Connection,
}

impl<'c> History<'c> {
    /// The history of a database on which [`migrate`] has run since it was opened.
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }

    /// For the daemon's start: makes or upgrades the tables, and marks as interrupted what a killed daemon left running.
    ///
    /// # Errors
    /// [`HistoryError::Newer`], [`HistoryError::Database`].
    pub fn open(connection: &'c Connection, now_ms: i64) -> Result<Self, HistoryError> {
        migrate(connection)?;
        let history = Self { connection };
        history.interrupt_running(now_ms)?;
        Ok(history)
    }

    fn interrupt_running(&self, now_ms: i64) -> Result<(), HistoryError> {
        let sql = "UPDATE backup_runs SET outcome = ?1, ended = max(?2, started) WHERE outcome = ?3";
        let values = params![Outcome::Interrupted, now_ms, Outcome::Running];
        self.connection.execute(sql, values).map_err(failed("repair"))?;
        Ok(())
    }

    /// Notes that a run began, and forgets the oldest beyond [`RUNS_KEPT`].
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub fn begin(&self, set: &str, friend: &str, now_ms: i64) -> Result<RunId, HistoryError> {
        let write = |transaction: &Transaction<'_>| {
            let sql = "INSERT INTO backup_runs (set_name, friend, started, outcome) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![set, friend, now_ms, Outcome::Running])?;
            let id = transaction.last_insert_rowid();
            let oldest = id - i64::from(RUNS_KEPT);
            transaction.execute("DELETE FROM backup_skipped WHERE run <= ?1", [oldest])?;
            transaction.execute("DELETE FROM backup_runs WHERE id <= ?1", [oldest])?;
            Ok(RunId(id))
        };
        in_transaction(self.connection, write).map_err(failed("add a run to"))
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// [`HistoryError::NotRunning`] for an unknown or ended run, [`HistoryError::Database`].
    pub fn end(&self, run: RunId, ending: &Ending, now_ms: i64) -> Result<(), HistoryError> {
        if ending.outcome == Outcome::Running {
            return Err(HistoryError::NoEnding { run });
        }
        let write = |transaction: &Transaction<'_>| {
            let sql = "UPDATE backup_runs SET ended = max(:ended, started), outcome = :outcome, snapshot = :snapshot,
                files = :files, bytes = :bytes, new_bytes = :new_bytes, skipped_total = :skipped_total, error = :error
                WHERE id = :id AND outcome = :running";
            let values = named_params! {
                ":id": run.0,
                ":running": Outcome::Running,
                ":ended": now_ms,
                ":outcome": ending.outcome,
                ":snapshot": ending.snapshot,
                ":files": signed(ending.files),
                ":bytes": signed(ending.bytes),
                ":new_bytes": signed(ending.new_bytes),
                ":skipped_total": signed(ending.skipped_total),
                ":error": ending.error.as_deref().map(shortened),
            };
            if transaction.execute(sql, values)? == 0 {
                return Ok(false);
            }
            let sql = "INSERT INTO backup_skipped (run, number, path, reason) VALUES (?1, ?2, ?3, ?4)";
            let mut statement = transaction.prepare(sql)?;
            for (number, skipped) in (0_i64..).zip(ending.skipped.iter().take(SKIPPED_KEPT)) {
                statement.execute(params![
                    run.0,
                    number,
                    shortened(&skipped.path),
                    shortened(&skipped.reason)
                ])?;
            }
            Ok(true)
        };
        match in_transaction(self.connection, write).map_err(failed("end a run in"))? {
            true => Ok(()),
            false => Err(HistoryError::NotRunning { run }),
        }
    }

    /// The last runs, newest first.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub fn recent(&self, limit: u32) -> Result<Vec<Run>, HistoryError> {
        let sql = format!("SELECT {COLUMNS} FROM backup_runs ORDER BY id DESC LIMIT ?1");
        let read = || self.connection.prepare_cached(&sql)?.query_map([limit], run_from)?.collect();
        let runs: rusqlite::Result<_> = read();
        runs.map_err(failed("read"))
    }

    /// One run.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub fn run(&self, run: RunId) -> Result<Option<Run>, HistoryError> {
        let sql = format!("SELECT {COLUMNS} FROM backup_runs WHERE id = ?1");
        self.connection.query_row(&sql, [run.0], run_from).optional().map_err(failed("read"))
    }

    /// The last run of a set to a friend that made a snapshot, complete or with omissions.
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub fn last_snapshot(&self, set: &str, friend: &str) -> Result<Option<Run>, HistoryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM backup_runs
             WHERE set_name = ?1 AND friend = ?2 AND outcome IN (?3, ?4) ORDER BY id DESC LIMIT 1"
        );
        let values = params![set, friend, Outcome::Complete, Outcome::CompleteWithOmissions];
        self.connection.query_row(&sql, values, run_from).optional().map_err(failed("read"))
    }

    /// What a run left out, in the order in which it was met; at most [`SKIPPED_KEPT`].
    ///
    /// # Errors
    /// [`HistoryError::Database`].
    pub fn skipped(&self, run: RunId) -> Result<Vec<Skipped>, HistoryError> {
        let sql = "SELECT path, reason FROM backup_skipped WHERE run = ?1 ORDER BY number";
        let skipped = |row: &Row<'_>| Ok(Skipped { path: row.get(0)?, reason: row.get(1)? });
        let read = || self.connection.prepare_cached(sql)?.query_map([run.0], skipped)?.collect();
        let list: rusqlite::Result<_> = read();
        list.map_err(failed("read"))
    }
}

/// Makes or upgrades the tables of the history in a database. An unknown newer version is refused untouched.
///
/// # Errors
/// [`HistoryError::Newer`], [`HistoryError::Database`].
pub fn migrate(connection: &Connection) -> Result<(), HistoryError> {
    let found = in_transaction(connection, |transaction| {
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS backup_version (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL) STRICT",
        )?;
        let found: Option<i64> =
            transaction.query_row("SELECT version FROM backup_version", [], |row| row.get(0)).optional()?;
        if found.is_none() {
            transaction.execute_batch(SCHEMA)?;
            transaction.execute("INSERT INTO backup_version (one, version) VALUES (1, ?1)", [VERSION])?;
        }
        Ok(found.unwrap_or(VERSION))
    })
    .map_err(failed("set up"))?;
    if found == VERSION { Ok(()) } else { Err(HistoryError::Newer { found }) }
}

/// Runs a change as a whole. The connection is shared with other parts of the daemon, so it arrives by reference.
fn in_transaction<T>(
    connection: &Connection,
    change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.unchecked_transaction()?;
    let done = change(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn run_from(row: &Row<'_>) -> rusqlite::Result<Run> {
    let unsigned = |column: usize| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(Run {
        id: RunId(row.get(0)?),
        set: row.get(1)?,
        friend: row.get(2)?,
        started_ms: row.get(3)?,
        ended_ms: row.get(4)?,
        outcome: row.get(5)?,
        snapshot: row.get(6)?,
        files: unsigned(7)?,
        bytes: unsigned(8)?,
        new_bytes: unsigned(9)?,
        skipped_total: unsigned(10)?,
        error: row.get(11)?,
    })
}

/// SQLite's integers are signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(TEXT_KEPT).map_or(text, |(end, _)| &text[..end])
}
