//! `state.db`: what the daemon learned. SQLite in WAL mode, every commit synchronous.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the tables below; a newer one is refused.
const VERSION: i64 = 2;

/// Version 1 knew of snapshots from the history of runs alone: what ran to a friend since he is one must be in our
/// archive at him.
const SNAPSHOTS_OF_RUNS: &str = "
    INSERT OR IGNORE INTO snapshot (key, document)
    SELECT json_extract(friend.document, '$.archive') || '/' || run.snapshot,
           json_object('archive', json_extract(friend.document, '$.archive'), 'id', run.snapshot,
                       'time', strftime('%Y-%m-%dT%H:%M:%fZ', run.started / 1000.0, 'unixepoch'),
                       'set', run.set_name, 'by_kith', json('true'), 'gone', NULL)
    FROM backup_runs AS run JOIN friend ON friend.key = run.friend
    WHERE length(run.snapshot) = 64
      AND run.started / 1000.0 >= CAST(strftime('%s', json_extract(friend.document, '$.added')) AS REAL)";

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It was written by a newer program.
    #[error(
        "state.db has version {found}, and this program knows versions up to {VERSION}: install the newer Kith again"
    )]
    Newer {
        /// Its version.
        found: i64,
    },
    /// SQLite failed.
    #[error("state.db: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row does not hold what it should.
    #[error("state.db holds a damaged {table} entry: {source}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// All sequence numbers were used.
    #[error("there is no further sequence number for a state object: `kith recover` begins anew")]
    NoNumbers,
    /// The history of runs failed.
    #[error("state.db failed")]
    History(#[from] kith_backup::HistoryError),
    /// The program ends.
    #[error("the program ends")]
    Ending,
}

/// A shared handle. Every call blocks a thread of the blocking pool, never an async one.
#[derive(Clone)]
pub struct Db {
    connection: Arc<Mutex<Connection>>,
}

/// The tables of documents: one row per thing, its value as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// By device id.
    Friends,
    /// By public id of the invite.
    Invites,
    /// Single values by name.
    Values,
    /// What is known of each of our archives, by its id.
    Heads,
    /// What is known of each snapshot in them, by `archive/snapshot`.
    Snapshots,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Friends => "friend",
            Self::Invites => "invite",
            Self::Values => "value",
            Self::Heads => "archive_head",
            Self::Snapshots => "snapshot",
        }
    }
}

impl Db {
    /// Opens or makes the database. Blocks.
    ///
    /// # Errors
    /// See [`DbError`].
    pub fn open(path: &Path) -> Result<Self, DbError> {
        // Friends' dial-in keys and invites lie in it: made private before SQLite opens it with the usual mode.
        {
            use std::os::unix::fs::OpenOptionsExt;
            let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            made.map_err(|error| {
                let message = format!("{}: {error}", path.display());
                rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(14), Some(message))
            })?;
        }
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > VERSION {
            return Err(DbError::Newer { found });
        }
        kith_backup::History::open(&connection, jiff::Timestamp::now().as_millisecond())?;
        let transaction = connection.transaction()?;
        for table in [Table::Friends, Table::Invites, Table::Values, Table::Heads, Table::Snapshots] {
            let name = table.name();
            transaction.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT"
            ))?;
        }
        if found == 1 {
            transaction.execute(SNAPSHOTS_OF_RUNS, [])?;
        }
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs `work` with the connection on the blocking pool.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn with<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, DbError> + Send + 'static,
    {
        let connection = self.connection.clone();
        let task = tokio::task::spawn_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|_ending| DbError::Ending)?
    }

    /// All documents of a table, by key.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn all<T: DeserializeOwned + Send + 'static>(&self, table: Table) -> Result<Vec<T>, DbError> {
        self.with(move |connection| {
            let sql = format!("SELECT document FROM {} ORDER BY key", table.name());
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.map(|row| parse(table, &row?)).collect()
        })
        .await
    }

    /// One document.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        table: Table,
        key: &str,
    ) -> Result<Option<T>, DbError> {
        let key = key.to_owned();
        self.with(move |connection| {
            let sql = format!("SELECT document FROM {} WHERE key = ?1", table.name());
            let row: Option<String> = connection.query_row(&sql, [key], |row| row.get(0)).optional()?;
            row.map(|row| parse(table, &row)).transpose()
        })
        .await
    }

    /// Writes a document.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn put<T: Serialize>(&self, table: Table, key: &str, value: &T) -> Result<(), DbError> {
        let document = serde_json::to_string(value)
            .map_err(|source| DbError::Damaged { table: table.name(), source })?;
        let key = key.to_owned();
        self.with(move |connection| {
            let sql = format!(
                "INSERT INTO {} (key, document) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET document = excluded.document",
                table.name()
            );
            connection.execute(&sql, params![key, document])?;
            Ok(())
        })
        .await
    }

    /// Writes several documents: all of them or none.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn put_all(&self, documents: Vec<(Table, String, serde_json::Value)>) -> Result<(), DbError> {
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            insert(&transaction, documents)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Replaces all documents of a table, and writes others: all of it or nothing.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn replace_all(
        &self,
        table: Table,
        documents: Vec<(Table, String, serde_json::Value)>,
    ) -> Result<(), DbError> {
        self.with(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(&format!("DELETE FROM {}", table.name()), [])?;
            insert(&transaction, documents)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Removes a document, if it is there.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn remove(&self, table: Table, key: &str) -> Result<(), DbError> {
        let key = key.to_owned();
        self.with(move |connection| {
            connection.execute(&format!("DELETE FROM {} WHERE key = ?1", table.name()), [key])?;
            Ok(())
        })
        .await
    }
}

fn insert(
    connection: &Connection,
    documents: Vec<(Table, String, serde_json::Value)>,
) -> Result<(), DbError> {
    for (table, key, value) in documents {
        let sql = format!("INSERT OR REPLACE INTO {} (key, document) VALUES (?1, ?2)", table.name());
        connection.execute(&sql, params![key, value.to_string()])?;
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(table: Table, document: &str) -> Result<T, DbError> {
    serde_json::from_str(document).map_err(|source| DbError::Damaged { table: table.name(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documents_survive_a_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let db = Db::open(&path).unwrap();
        db.put(Table::Values, "a", &vec![1, 2]).await.unwrap();
        db.put(Table::Values, "a", &vec![3]).await.unwrap();
        drop(db);
        let db = Db::open(&path).unwrap();
        assert_eq!(db.get::<Vec<u8>>(Table::Values, "a").await.unwrap(), Some(vec![3]));
        db.remove(Table::Values, "a").await.unwrap();
        assert_eq!(db.get::<Vec<u8>>(Table::Values, "a").await.unwrap(), None);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_database_of_version_1_is_opened_and_knows_the_snapshots_of_its_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let old = Connection::open(&path).unwrap();
        kith_backup::History::open(&old, 0).unwrap();
        old.execute_batch(VERSION_1).unwrap();
        drop(old);
        // Twice: the second time nothing is left to do.
        for _ in 0..2 {
            let db = Db::open(&path).unwrap();
            let name: Option<u64> = db.get(Table::Values, "state-sequence").await.unwrap();
            assert_eq!(name, Some(7));
            let known: Vec<serde_json::Value> = db.all(Table::Snapshots).await.unwrap();
            let expected = serde_json::json!([{
                "archive": "00112233445566778899aabbccddeeff", "id": "aa".repeat(32), "time": "2026-01-02T00:00:00.500Z",
                "set": "docs", "by_kith": true, "gone": null,
            }]);
            assert_eq!(
                serde_json::Value::from(known),
                expected,
                "the runs to a friend before he was one don't count"
            );
            let version: i64 = db
                .with(|connection| Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?))
                .await
                .unwrap();
            assert_eq!(version, VERSION);
        }
    }

    /// What version 1 left behind.
    const VERSION_1: &str = r#"
        PRAGMA user_version = 1;
        CREATE TABLE friend (key TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        CREATE TABLE invite (key TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        CREATE TABLE value (key TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
        INSERT INTO value VALUES ('state-sequence', '7');
        INSERT INTO friend VALUES ('BERT', '{"device_id":"BERT","archive":"00112233445566778899aabbccddeeff","added":"2026-01-01T12:00:00.123456789Z"}');
        INSERT INTO backup_runs (set_name, friend, started, ended, outcome, snapshot) VALUES
            ('docs', 'BERT', 1767182400500, 1767182401000, 'complete', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'),
            ('docs', 'BERT', 1767312000500, 1767312001000, 'complete', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'),
            ('docs', 'BERT', 1767312002500, 1767312003000, 'failed', NULL),
            ('docs', 'CARL', 1767312004500, 1767312005000, 'complete', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc');
    "#;

    #[test]
    fn a_database_of_a_newer_program_is_refused_with_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Db::open(&path).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
    }
}
