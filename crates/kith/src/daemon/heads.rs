//! Signed heads: what each of our archives must hold, known here and at every friend, so that a holder who shows less is
//! found out.
//!
//! A snapshot is durable at the holder first; then its id and a new head are stored here in one transaction; then the
//! state object takes them to all friends. What a crash leaves between the first two steps is a snapshot that no head
//! knows: it opens with our key, so it is taken over and nobody is accused.

mod compare;
mod known;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kith_archive::repository::SnapshotList;
use kith_archive::{FileKind, Repository, Snapshot, SnapshotId, Store};
use kith_control::view::{ArchiveVerdict, ArchiveView};
use kith_control::{Event, Failure, FailureKind};
use kith_identity::{ArchiveId, PublicKey, SignedHead};
use tracing::{debug, info, warn};

use super::archives::{QUESTION_PATIENCE, SET_TAG, archive_failure, store_failure};
use super::core::Core;
use super::db::{Db, DbError};
use super::failure::{failed, failure};
use super::roster::Friend;
use crate::home::Home;

pub(super) use known::{Known, Made};
pub(super) use store::{HeadRow, Heads, SnapshotRow, documents};
pub(super) use told::Told;

use compare::{Listed, compare};
use known::Last;

/// Snapshots that are read at the same time.
const PARALLEL_LOADS: usize = 8;
/// More names than these that nobody here knows are not looked at one by one.
const MOST_UNKNOWN: usize = 100_000;

/// The set of a snapshot, by its tag.
pub(super) fn set_of(snapshot: &Snapshot) -> Option<&str> {
    snapshot.tags.iter().find_map(|tag| tag.strip_prefix(SET_TAG))
}

/// A comparison that was made and written down.
pub(super) struct Judged {
    /// What is known now.
    pub(super) known: Arc<Known>,
    /// What was wrong, for the person.
    pub(super) accusation: Option<Failure>,
    /// That another program has written, for the person; only the first time that it is seen.
    pub(super) note: Option<String>,
}

impl Judged {
    /// The newest snapshot that should be there and is not.
    pub(super) fn newest_missing(&self) -> Option<(SnapshotId, &Made)> {
        words::missing(&self.known).first().map(|(id, made)| (**id, *made))
    }

    /// The snapshot that is missing and meant by the beginning of an id.
    pub(super) fn missing_like(&self, wanted: &str) -> bool {
        let wanted = wanted.to_ascii_lowercase();
        wanted.len() >= 8
            && words::missing(&self.known).iter().any(|(id, _)| id.to_string().starts_with(&wanted))
    }

    /// The verdict.
    pub(super) fn verdict(&self) -> ArchiveVerdict {
        self.known.last.as_ref().map_or(ArchiveVerdict::Unknown, |last| last.verdict)
    }
}

impl Core {
    /// Compares what a friend lists with what he should. `expected` is what was known *before* he was asked: what was
    /// stored since is not missing.
    ///
    /// Not to be called with a list as of an earlier time: that is a question, not an answer.
    pub(super) async fn judge(
        &self,
        friend: &Friend,
        expected: &Known,
        list: &SnapshotList,
    ) -> Result<Judged, Failure> {
        let readable = list.snapshots.iter();
        let listed: Listed = readable.clone().map(|snapshot| (snapshot.id, snapshot.time)).collect();
        let made = readable.map(|snapshot| (snapshot.id, Made::of(snapshot))).collect::<Vec<_>>();
        let unreadable = list.unreadable.iter().map(|warning| warning.id.into()).collect();
        self.record(friend, expected, &listed, made, unreadable).await.map_err(failed)
    }

    /// The same, by names alone: only what is not known yet is read.
    pub(super) async fn judge_names(
        &self,
        friend: &Friend,
        repository: &Repository,
    ) -> Result<Judged, Failure> {
        let expected = self.heads.of(&friend.archive);
        let files = repository.store().list(FileKind::Snapshot).await;
        let names: Vec<SnapshotId> = files
            .map_err(|error| store_failure(&friend.name, &error))?
            .iter()
            .map(|file| file.id.into())
            .collect();
        let mut listed = Listed::new();
        let mut unknown = Vec::new();
        for id in names {
            match expected.kept.get(&id) {
                // A name says nothing about one that was damaged when it was read.
                Some(made) if !expected.was_unreadable(&id) => drop(listed.insert(id, made.time)),
                _ => unknown.push(id),
            }
        }
        if unknown.len() > MOST_UNKNOWN {
            return Err(Failure {
                kind: FailureKind::Failed,
                message: format!(
                    "{} lists {} snapshots that this computer does not know",
                    friend.name,
                    unknown.len()
                ),
                hint: Some("ask him what happened to his vault".to_owned()),
            });
        }
        let mut loads = stream::iter(unknown)
            .map(|id| async move { (id, repository.load_snapshot(&id).await) })
            .buffer_unordered(PARALLEL_LOADS);
        let (mut new, mut unreadable) = (Vec::new(), BTreeSet::new());
        while let Some((id, loaded)) = loads.next().await {
            match loaded {
                Ok(snapshot) => {
                    listed.insert(id, snapshot.time);
                    new.push((id, Made::of(&snapshot)));
                }
                Err(error) if error.concerns_one_object() => {
                    warn!(friend = %friend.name, id = %id, %error, "a listed snapshot can't be read");
                    unreadable.insert(id);
                }
                Err(error) => return Err(archive_failure(&friend.name, &error)),
            }
        }
        self.record(friend, &expected, &listed, new, unreadable).await.map_err(failed)
    }

    /// Looks, as soon as a friend is there, whether anything is missing: one question, nothing is read. What is new is left
    /// to whoever reads.
    pub(super) async fn glance(&self, friend: &Friend) {
        let expected = self.heads.of(&friend.archive);
        if expected.is_blank() {
            return;
        }
        let Ok(store) = self.store_at(friend, QUESTION_PATIENCE) else { return };
        let names: Vec<SnapshotId> = match store.list(FileKind::Snapshot).await {
            Ok(files) => files.iter().map(|file| file.id.into()).collect(),
            Err(error) => {
                debug!(friend = %friend.name, %error, "the list of snapshots did not come");
                return;
            }
        };
        // Without all names only the new ones could tell whether something is missing.
        if !expected.whole && names.iter().any(|id| !expected.kept.contains_key(id)) {
            return;
        }
        let (listed, unreadable) = expected.by_name(&names);
        if let Err(error) = self.record(friend, &expected, &listed, Vec::new(), unreadable).await {
            warn!(friend = %friend.name, %error, "a comparison was not written down");
        }
    }

    /// A friend says that there is no archive. Nothing is wrong if none was made.
    pub(super) async fn judge_absence(&self, friend: &Friend) -> Option<Failure> {
        let expected = self.heads.of(&friend.archive);
        if expected.is_blank() {
            return None;
        }
        match self.record(friend, &expected, &Listed::new(), Vec::new(), BTreeSet::new()).await {
            Ok(judged) => judged.accusation,
            Err(error) => Some(failed(error)),
        }
    }

    async fn record(
        &self,
        friend: &Friend,
        expected: &Known,
        listed: &Listed,
        made: Vec<(SnapshotId, Made)>,
        unreadable: BTreeSet<SnapshotId>,
    ) -> Result<Judged, DbError> {
        let comparison = compare(expected, listed);
        let adopted: BTreeSet<SnapshotId> = comparison.new.union(&comparison.returned).copied().collect();
        let made: Vec<_> = made.into_iter().filter(|(id, _)| adopted.contains(id)).collect();
        let last = Last {
            time: Timestamp::now(),
            verdict: comparison.verdict,
            unreadable: comparison.missing.intersection(&unreadable).copied().collect(),
            missing: comparison.missing,
            unnamed: comparison.unnamed,
        };
        let new = made.clone();
        let head = expected.head;
        let changed = self.heads.change(friend.archive, move |known| {
            for (id, made) in made {
                known.gone.remove(&id);
                known.kept.entry(id).or_insert(made);
            }
            // A newer head may have come in meanwhile.
            known.whole |= comparison.whole && known.head == head;
            known.last = Some(last);
        });
        let (before, known) = changed.await?;
        let unseen = new.iter().filter(|(id, _)| !before.kept.contains_key(id));
        let foreign = unseen.clone().filter(|(_, made)| !made.by_kith).map(|(id, made)| (id, made));
        let note = words::foreign_note(&friend.name, foreign);
        let adopted = unseen.filter(|(_, made)| made.by_kith).count();
        if adopted > 0 && !before.is_blank() {
            info!(friend = %friend.name, snapshots = adopted, "snapshots that no head knew are taken over");
        }
        let verdict = |known: &Known| known.last.as_ref().map(|last| (last.verdict, last.missing.clone()));
        let accusation = words::accusation(&friend.name, &known);
        if verdict(&before) != verdict(&known) {
            if let Some(accusation) = &accusation {
                warn!(friend = %friend.name, "{accusation}");
            }
            self.tell(Event::Friend { device_id: friend.device_id });
        }
        if before.kept != known.kept {
            self.state_dirty.notify_one();
        }
        Ok(Judged { known, accusation, note })
    }

    /// A snapshot of ours is durable at a friend: a new head says so.
    pub(super) async fn note_snapshot(
        &self,
        friend: &Friend,
        snapshot: SnapshotId,
        made: Made,
    ) -> Result<(), DbError> {
        self.sign_next(friend.archive, move |known| drop(known.kept.insert(snapshot, made))).await
    }

    /// The person knows that what is missing at a friend is lost.
    pub(super) async fn accept_loss(&self, friend: &Friend) -> Result<(), Failure> {
        let known = self.heads.of(&friend.archive);
        if words::accusation(&friend.name, &known).is_none() {
            return Err(failure(
                FailureKind::Conflict,
                format!("nothing is known to be missing at {}", friend.name),
                "`kith snapshots` and `kith check` compare what is there with what should be",
            ));
        }
        self.sign_next(friend.archive, Known::accept_loss).await.map_err(failed)
    }

    async fn sign_next(
        &self,
        archive: ArchiveId,
        change: impl FnOnce(&mut Known) + Send,
    ) -> Result<(), DbError> {
        let signed = self.heads.change(archive, |known| {
            change(known);
            let head = known.next_head(archive, self.incarnation, Timestamp::now());
            known.put_head(SignedHead::sign(head, &self.identity));
        });
        signed.await?;
        self.state_dirty.notify_one();
        Ok(())
    }

    /// What the state object says of the archives at these friends.
    pub(super) fn told(&self, friends: &[Friend]) -> Vec<Told> {
        let most = told::MOST_TOLD / friends.len().max(1);
        let known = friends.iter().map(|friend| (friend.archive, self.heads.of(&friend.archive)));
        known.map(|(archive, known)| Told::of(archive, &known, most)).collect()
    }

    /// Takes over what a friend's copy of our state says of our archives. Whether that was anything new.
    pub(super) async fn merge_told(&self, told: &[Told]) -> Result<bool, DbError> {
        let mut learnt = false;
        for told in told {
            let theirs = told.known(&self.identity.public_key());
            let before = self.heads.of(&told.archive());
            self.heads.change(told.archive(), |known| known.merge(&theirs)).await?;
            learnt |= *before != *self.heads.of(&told.archive());
        }
        Ok(learnt)
    }

    /// What programs and the app are told of the archive at a friend.
    pub(super) fn archive_view(&self, friend: &Friend) -> ArchiveView {
        words::view(&friend.name, &self.heads.of(&friend.archive))
    }
}

/// The snapshots of an archive that this home knows, with time and set: for a command that needs no daemon.
///
/// # Errors
/// There is no database, or it can't be read.
pub(crate) async fn known_snapshots(
    home: &Home,
    archive: &ArchiveId,
) -> Result<Vec<(SnapshotId, Timestamp, Option<String>)>, DbError> {
    let path = home.state_db();
    let db = tokio::task::spawn_blocking(move || path.exists().then(|| Db::open(&path)).transpose()).await;
    let Some(db) = db.map_err(|_ending| DbError::Ending)?? else { return Ok(Vec::new()) };
    store::snapshots(&db, archive).await
}

/// The archives that several copies of our state speak of, merged.
pub(super) fn merged<'a>(
    told: impl Iterator<Item = &'a Told>,
    us: &PublicKey,
) -> std::collections::BTreeMap<ArchiveId, Known> {
    let mut merged = std::collections::BTreeMap::<ArchiveId, Known>::new();
    for told in told {
        merged.entry(told.archive()).or_default().merge(&told.known(us));
    }
    merged
}
