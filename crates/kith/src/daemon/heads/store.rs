//! What is known of all archives: in memory for answers, in `state.db` for good.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use kith_archive::SnapshotId;
use kith_identity::{ArchiveId, PublicKey, SignedHead};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::known::{Gone, Known, Last, Made};
use crate::daemon::db::{Db, DbError, Table};

/// Documents to be written, all or none.
pub(in crate::daemon) type Documents = Vec<(Table, String, serde_json::Value)>;

/// An archive in `state.db`.
#[derive(Serialize, Deserialize)]
pub(in crate::daemon) struct HeadRow {
    archive: ArchiveId,
    head: Option<String>,
    rival: Option<String>,
    whole: bool,
    last: Option<Last>,
}

/// A snapshot in `state.db`, by archive and id.
#[derive(Serialize, Deserialize)]
pub(in crate::daemon) struct SnapshotRow {
    archive: ArchiveId,
    id: SnapshotId,
    time: Option<Timestamp>,
    set: Option<String>,
    #[serde(default)]
    by_kith: bool,
    #[serde(default)]
    gone: Option<Gone>,
}

/// All archives.
pub(in crate::daemon) struct Heads {
    db: Db,
    known: RwLock<BTreeMap<ArchiveId, Arc<Known>>>,
    /// One change at a time, so that the disk and the memory agree.
    writing: tokio::sync::Mutex<()>,
    /// One friend's state object is looked at at a time.
    pub(in crate::daemon) meeting: tokio::sync::Mutex<()>,
}

impl Heads {
    /// Loads what is known.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::daemon) async fn load(db: Db, us: &PublicKey) -> Result<Self, DbError> {
        let mut known: BTreeMap<ArchiveId, Known> = BTreeMap::new();
        for row in db.all::<SnapshotRow>(Table::Snapshots).await? {
            let archive = known.entry(row.archive).or_default();
            match (row.gone, row.time) {
                (Some(gone), _) => drop(archive.gone.insert(row.id, gone)),
                (None, Some(time)) => {
                    archive.kept.insert(row.id, Made { time, set: row.set, by_kith: row.by_kith });
                }
                (None, None) => {}
            }
        }
        for row in db.all::<HeadRow>(Table::Heads).await? {
            let read = |text: Option<String>| {
                let head = text.map(|text| SignedHead::from_text(&text, us)).transpose();
                head.unwrap_or_else(|error| {
                    warn!(archive = %row.archive, %error, "a head in state.db is left out");
                    None
                })
            };
            let archive = known.entry(row.archive).or_default();
            (archive.head, archive.rival) = (read(row.head), read(row.rival));
            (archive.whole, archive.last) = (row.whole, row.last);
        }
        let known = known.into_iter().map(|(id, known)| (id, Arc::new(known))).collect();
        let (writing, meeting) = Default::default();
        Ok(Self { db, known: RwLock::new(known), writing, meeting })
    }

    /// What is known of an archive.
    pub(in crate::daemon) fn of(&self, archive: &ArchiveId) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(archive).cloned().unwrap_or_default()
    }

    /// Changes it, durably. Gives back what was known before, and what is now.
    ///
    /// # Errors
    /// Those of the database; the memory then is as before.
    pub(in crate::daemon) async fn change(
        &self,
        archive: ArchiveId,
        change: impl FnOnce(&mut Known) + Send,
    ) -> Result<(Arc<Known>, Arc<Known>), DbError> {
        let _one_at_a_time = self.writing.lock().await;
        let before = self.of(&archive);
        let mut after = (*before).clone();
        change(&mut after);
        let documents = documents(archive, &before, &after)?;
        if !documents.is_empty() {
            self.db.put_all(documents).await?;
        }
        let after = Arc::new(after);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(archive, after.clone());
        Ok((before, after))
    }
}

/// The snapshots that an archive must hold, with time and set.
///
/// # Errors
/// Those of the database.
pub(super) async fn snapshots(
    db: &Db,
    archive: &ArchiveId,
) -> Result<Vec<(SnapshotId, Timestamp, Option<String>)>, DbError> {
    let rows: Vec<SnapshotRow> = db.all(Table::Snapshots).await?;
    let kept = rows.into_iter().filter(|row| row.archive == *archive && row.gone.is_none());
    Ok(kept.filter_map(|row| Some((row.id, row.time?, row.set))).collect())
}

/// What must be written to get from one state of knowledge to the next. That a comparison came to the same again is not
/// worth a write.
pub(in crate::daemon) fn documents(
    archive: ArchiveId,
    before: &Known,
    after: &Known,
) -> Result<Documents, DbError> {
    let json = |table, value: serde_json::Result<serde_json::Value>| {
        value.map_err(|source| DbError::Damaged { table, source })
    };
    let mut documents = Documents::new();
    let mut put = |row: SnapshotRow| -> Result<(), DbError> {
        let key = format!("{archive}/{}", row.id);
        documents.push((Table::Snapshots, key, json("snapshot", serde_json::to_value(&row))?));
        Ok(())
    };
    for (id, made) in after.kept.iter().filter(|(id, made)| before.kept.get(*id) != Some(*made)) {
        let Made { time, set, by_kith } = made.clone();
        put(SnapshotRow { archive, id: *id, time: Some(time), set, by_kith, gone: None })?;
    }
    for (id, gone) in after.gone.iter().filter(|(id, gone)| before.gone.get(*id) != Some(*gone)) {
        let made = before.kept.get(id);
        put(SnapshotRow {
            archive,
            id: *id,
            time: made.map(|made| made.time),
            set: made.and_then(|made| made.set.clone()),
            by_kith: made.is_some_and(|made| made.by_kith),
            gone: Some(*gone),
        })?;
    }
    let essence = |known: &Known| {
        let last = known.last.clone().map(|last| Last { time: Timestamp::UNIX_EPOCH, ..last });
        (known.head, known.rival, known.whole, last)
    };
    if essence(before) != essence(after) {
        let row = HeadRow {
            archive,
            head: after.head.as_ref().map(SignedHead::to_text),
            rival: after.rival.as_ref().map(SignedHead::to_text),
            whole: after.whole,
            last: after.last.clone(),
        };
        documents.push((
            Table::Heads,
            archive.to_string(),
            json("archive_head", serde_json::to_value(&row))?,
        ));
    }
    Ok(documents)
}
