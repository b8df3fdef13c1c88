//! Our archives at friends: opening them, and answering questions about what is in them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use http::{Request, Response};
use jiff::Timestamp;
use kith_archive::{MasterKey, Polynomial, Repository, RepositoryError, Snapshot, Store, StoreError, browse};
use kith_control::view::{
    ArchiveAccess, ArchiveVerdict, EntryView, FindsView, FoundView, SnapshotView, UndeleteView,
};
use kith_control::{Failure, FailureKind, SnapshotQuery};
use kith_identity::DeviceId;
use kith_peer::Peers;
use kith_wire::{Body, LinkError, paths};

use super::core::Core;
use super::failure::{failed, failure, with_sources};
use super::heads::{self, Judged, Made};
use super::keys;
use super::roster::Friend;
use crate::remote_store::{Carrier, CarrierError, Patience, RemoteStore};

/// How long a question waits for a friend who is just being linked.
pub(super) const QUESTION_PATIENCE: Duration = Duration::from_secs(8);
/// How long undoing deletions may take.
const UNDELETE_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Tag prefix that names the set of a snapshot.
pub const SET_TAG: &str = "set:";
/// Most hits of one search.
const MOST_FOUND: usize = 10_000;
/// Folders that could not be searched, told at once.
const MOST_UNREADABLE: usize = 100;

/// Carries requests over the link to one friend.
pub(super) struct LinkCarrier {
    peers: Peers,
    friend: DeviceId,
}

#[async_trait]
impl Carrier for LinkCarrier {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CarrierError> {
        let away = |reason: String| CarrierError::Away(reason);
        let link = self.peers.link(&self.friend).ok_or_else(|| {
            let error = self.peers.state(&self.friend).and_then(|state| state.last_error);
            away(error.unwrap_or_else(|| "the friend is not connected".to_owned()))
        })?;
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{}{path}", paths::STORE)
            .parse()
            .map_err(|error: http::uri::InvalidUri| CarrierError::Final(error.to_string()))?;
        link.request(Request::from_parts(head, body)).await.map_err(|error| match error {
            LinkError::Exchange(_) => CarrierError::Broken(error.to_string()),
            over => away(over.to_string()),
        })
    }

    async fn wait(&self, patience: Duration) {
        self.peers.dial_now(&self.friend);
        self.peers.wait_for_link(&self.friend, patience).await;
    }
}

impl Core {
    /// The archive at a friend as a store that waits this long for him.
    pub(super) fn store_at(
        &self,
        friend: &Friend,
        patience: Duration,
    ) -> Result<RemoteStore<LinkCarrier>, Failure> {
        let peers = self.peers().ok_or_else(starting)?.clone();
        let carrier = LinkCarrier { peers, friend: friend.device_id };
        Ok(RemoteStore::new(carrier, friend.archive.to_string(), Patience(patience)))
    }

    /// The master key of the archive at a friend.
    pub(super) async fn master_key(&self, friend: &Friend) -> Result<Arc<MasterKey>, Failure> {
        let (home, archive) = (self.home.clone(), friend.archive);
        let root = blocking(move || keys::archive_root(&home)).await?;
        let key = MasterKey::from_bytes(root.master_key(&archive).as_bytes()).map_err(failed)?;
        Ok(Arc::new(key))
    }

    /// Opens the archive at a friend.
    pub(super) async fn open_archive(&self, friend: &Friend) -> Result<Repository, Failure> {
        self.open_archive_at(friend, None).await
    }

    /// Opens the archive at a friend as it is, or as it was at a time by his clock. Nothing is kept between two of
    /// these: no view ever sees what another one has read.
    async fn open_archive_at(
        &self,
        friend: &Friend,
        as_of: Option<Timestamp>,
    ) -> Result<Repository, Failure> {
        let store = self.store_at(friend, QUESTION_PATIENCE)?.as_of(as_of.map(unix_ms));
        let store: Arc<dyn Store> = Arc::new(store);
        let key = self.master_key(friend).await?;
        Repository::open(store, key).await.map_err(|error| archive_failure(&friend.name, &error))
    }

    /// Opens the archive at a friend, or makes it.
    pub(super) async fn open_or_make_archive(
        &self,
        friend: &Friend,
        store: Arc<dyn Store>,
    ) -> Result<Repository, Failure> {
        let key = self.master_key(friend).await?;
        match Repository::open(store.clone(), key.clone()).await {
            Err(RepositoryError::NotInitialised) => {}
            other => return other.map_err(|error| archive_failure(&friend.name, &error)),
        }
        let home = self.home.clone();
        let seed = blocking(move || keys::chunker_seed(&home)).await?;
        let polynomial = Polynomial::derive(seed.as_bytes());
        Repository::init(store, key, polynomial).await.map_err(|error| archive_failure(&friend.name, &error))
    }

    /// The friends a question is about.
    fn asked(&self, friend: Option<&str>) -> Result<Vec<Friend>, Failure> {
        match friend {
            Some(friend) => Ok(vec![self.find_friend(friend)?]),
            None => Ok(self.roster.all()),
        }
    }

    pub(super) fn find_friend(&self, wanted: &str) -> Result<Friend, Failure> {
        self.roster.find(wanted).map_err(|error| {
            failure(FailureKind::NotFound, error, "`kith friends` lists them; `kith invite` makes a new one")
        })
    }

    pub(super) async fn snapshot_views(&self, query: SnapshotQuery) -> Result<Vec<SnapshotView>, Failure> {
        if query.friend.is_none() && self.roster.all().is_empty() {
            // A program that asks for a list gets one.
            return Ok(Vec::new());
        }
        let (archives, mut problems) = self.reachable(query.friend.as_deref(), query.as_of).await?;
        let mut views = Vec::new();
        for (friend, repository) in &archives {
            match self.listed(friend, repository, query.as_of).await {
                Ok((list, judged)) => {
                    let verdict = judged.verdict();
                    views.extend(list.iter().map(|snapshot| view(friend, snapshot, verdict)));
                    // An empty list would say that nothing was ever there.
                    problems.extend(judged.accusation);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let (true, Some(problem)) = (archives.is_empty() || views.is_empty(), problems.pop()) {
            return Err(problem);
        }
        views.retain(|view| query.set.is_none() || view.set == query.set);
        views.sort_by(|a, b| (a.time, &a.friend, &a.id).cmp(&(b.time, &b.friend, &b.id)));
        Ok(views)
    }

    pub(super) async fn entry_views(
        &self,
        snapshot: &str,
        path: Option<&str>,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<Vec<EntryView>, Failure> {
        let (friend, repository, snapshot) = self.find_snapshot(snapshot, friend, as_of).await?;
        let path = path.map(std::path::Path::new);
        let entries = browse::ls(&repository, &snapshot, path)
            .await
            .map_err(|error| failed_to_browse(&friend, &error))?;
        Ok(entries.iter().map(|entry| super::entries::view(&entry.path, &entry.node)).collect())
    }

    pub(super) async fn found_views(
        &self,
        pattern: &str,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<FindsView, Failure> {
        let (archives, mut problems) = self.reachable(friend, as_of).await?;
        let mut views = FindsView::default();
        for (friend, repository) in &archives {
            let list = match self.listed(friend, repository, as_of).await {
                Ok((list, judged)) => {
                    problems.extend(judged.accusation);
                    list
                }
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let found = browse::find(repository, &list, pattern, MOST_FOUND)
                .await
                .map_err(|error| failed_to_browse(&friend.name, &error))?;
            let unread = found.unreadable.iter().map(|error| in_archive(&friend.name, error));
            views.unreadable.extend(unread.take(MOST_UNREADABLE.saturating_sub(views.unreadable.len())));
            for hit in found.found {
                let time =
                    list.iter().find(|snapshot| snapshot.id == hit.snapshot).map(|snapshot| snapshot.time);
                views.found.push(FoundView {
                    snapshot: hit.snapshot.to_string(),
                    time: time.unwrap_or_default(),
                    friend: friend.name.clone(),
                    entry: super::entries::view(&hit.path, &hit.node),
                });
            }
        }
        match problems.pop() {
            Some(problem) if views.found.is_empty() && views.unreadable.is_empty() => Err(problem),
            _ => Ok(views),
        }
    }

    /// The snapshots of an archive, and what the comparison with those that should be there came to.
    async fn listed(
        &self,
        friend: &Friend,
        repository: &Repository,
        as_of: Option<Timestamp>,
    ) -> Result<(Vec<Snapshot>, Judged), Failure> {
        let expected = self.heads.of(&friend.archive);
        let list = repository.snapshots().await.map_err(|error| archive_failure(&friend.name, &error))?;
        for unreadable in &list.unreadable {
            tracing::warn!(friend = %friend.name, id = %unreadable.id, error = %unreadable.error, "a snapshot can't be read");
        }
        let judged = match as_of {
            None => self.judge(friend, &expected, &list).await?,
            // What was there once says nothing about what is there now.
            Some(_) => Judged { known: expected, accusation: None, note: None },
        };
        Ok((list.snapshots, judged))
    }

    /// A snapshot by `latest` or the beginning of its id, at one friend or at any.
    async fn find_snapshot(
        &self,
        wanted: &str,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<(String, Repository, Snapshot), Failure> {
        let (archives, mut problems) = self.reachable(friend, as_of).await?;
        let mut best: Option<(String, Repository, Snapshot)> = None;
        let mut withheld: Option<(Timestamp, Failure)> = None;
        for (friend, repository) in archives {
            let (list, judged) = self.listed(&friend, &repository, as_of).await?;
            let newest_missing = judged.newest_missing().map(|(_, made)| made.time);
            let is_missing = judged.missing_like(wanted);
            if let (Some(time), Some(accusation)) = (newest_missing, judged.accusation) {
                if wanted == "latest" && withheld.as_ref().is_none_or(|(other, _)| time > *other) {
                    withheld = Some((time, accusation));
                } else if is_missing {
                    problems.push(accusation);
                    continue;
                }
            }
            match browse::resolve_snapshot(&list, wanted) {
                Ok(snapshot) => {
                    if best.as_ref().is_none_or(|(_, _, other)| snapshot.time > other.time) {
                        best = Some((friend.name, repository, snapshot.clone()));
                    }
                }
                Err(error) => problems.push(failure(
                    FailureKind::NotFound,
                    error,
                    "`kith snapshots` lists them; the first 8 characters of an id are enough",
                )),
            }
        }
        let nothing =
            || failure(FailureKind::NotFound, "there is no snapshot", "make one with `kith backup`");
        // What is called the latest must not be an older one.
        if let Some((time, accusation)) = withheld
            && best.as_ref().is_none_or(|(_, _, snapshot)| snapshot.time < time)
        {
            return Err(accusation);
        }
        best.ok_or_else(|| problems.pop().unwrap_or_else(nothing))
    }

    /// The archives that can be opened now; those that can't are told with the reason.
    async fn reachable(
        &self,
        friend: Option<&str>,
        as_of: Option<Timestamp>,
    ) -> Result<(Vec<(Friend, Repository)>, Vec<Failure>), Failure> {
        let friends = self.asked(friend)?;
        if friends.is_empty() {
            return Err(failure(
                FailureKind::NotFound,
                "there are no friends yet",
                "make one with `kith invite`",
            ));
        }
        let opened = friends.into_iter().map(|friend| async move {
            let repository = self.open_archive_at(&friend, as_of).await;
            (friend, repository)
        });
        let (mut archives, mut problems) = (Vec::new(), Vec::new());
        for (friend, repository) in futures::future::join_all(opened).await {
            match repository {
                Ok(repository) => archives.push((friend, repository)),
                // Nothing was backed up to him yet: no problem, but nothing to show either. Unless we know better.
                Err(problem) if problem.kind == FailureKind::NotFound => {
                    problems.extend(self.judge_absence(&friend).await);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if archives.is_empty()
            && let Some(problem) = problems.pop()
        {
            return Err(problem);
        }
        Ok((archives, problems))
    }

    /// Brings back what was deleted from the archive at a friend.
    pub(super) async fn undelete(&self, friend: &str, as_of: Timestamp) -> Result<UndeleteView, Failure> {
        self.refuse_if_superseded()?;
        let friend = self.find_friend(friend)?;
        let store = self.store_at(&friend, UNDELETE_PATIENCE)?;
        let back =
            store.undelete(unix_ms(as_of)).await.map_err(|error| store_failure(&friend.name, &error))?;
        tracing::info!(friend = %friend.name, %as_of, snapshots = back.snapshots, packs = back.data, "deletions were undone");
        let files = back.data + back.index + back.snapshots;
        Ok(UndeleteView { friend: friend.name, snapshots: back.snapshots, files, bytes: back.bytes })
    }

    pub(super) async fn access(&self, friend: &str) -> Result<ArchiveAccess, Failure> {
        let friend = self.find_friend(friend)?;
        let (home, archive) = (self.home.clone(), friend.archive);
        let root = blocking(move || keys::archive_root(&home)).await?;
        Ok(ArchiveAccess {
            friend: friend.name,
            friend_id: friend.device_id,
            archive: archive.to_string(),
            master_key: HEXLOWER.encode(root.master_key(&archive).as_bytes()),
        })
    }

    /// Hands a restic REST request to the friend.
    pub(super) async fn forward(
        &self,
        friend: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        let friend = self.find_friend(friend)?;
        let peers = self.peers().ok_or_else(starting)?.clone();
        let carrier = LinkCarrier { peers, friend: friend.device_id };
        if carrier.peers.link(&friend.device_id).is_none() {
            carrier.wait(QUESTION_PATIENCE).await;
        }
        carrier.send(request).await.map_err(|error| match error {
            CarrierError::Broken(reason) => Failure {
                kind: FailureKind::Failed,
                message: format!("{}: {reason}", friend.name),
                hint: None,
            },
            away => offline(&friend.name, &away.to_string()),
        })
    }
}

fn view(friend: &Friend, snapshot: &Snapshot, verdict: ArchiveVerdict) -> SnapshotView {
    SnapshotView {
        id: snapshot.id.to_string(),
        time: snapshot.time,
        friend: friend.name.clone(),
        set: heads::set_of(snapshot).map(str::to_owned),
        paths: snapshot.paths.clone(),
        files: snapshot.summary.as_ref().map(|summary| summary.total_files_processed),
        bytes: snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed),
        hostname: snapshot.hostname.clone(),
        tags: snapshot.tags.clone(),
        foreign: !Made::of(snapshot).by_kith,
        verdict,
    }
}

/// Says what an error of an archive means for the person.
pub(super) fn archive_failure(friend: &str, error: &RepositoryError) -> Failure {
    match error {
        RepositoryError::NotInitialised => failure(
            FailureKind::NotFound,
            format!("nothing has been backed up to {friend} yet"),
            "start with `kith set add` and `kith backup`",
        ),
        RepositoryError::Store(error) => store_failure(friend, error),
        other => Failure {
            kind: FailureKind::Failed,
            message: format!("the archive at {friend}: {}", with_sources(other)),
            hint: Some(format!("`kith check {friend}` tells what can still be restored")),
        },
    }
}

/// Says what an error of a store means for the person.
pub(super) fn store_failure(friend: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable(reason) => offline(friend, reason),
        StoreError::Stalled { what, reason } => failure(
            FailureKind::Offline,
            format!("{friend} is connected, but {what} does not come or go: {reason}"),
            "try again; if it stays so, look at the other computer: its disk may hang",
        ),
        StoreError::QuotaExceeded { message } => failure(
            FailureKind::Refused,
            format!("{friend} has no more room for this computer: {message}"),
            "ask for a larger quota (`kith friend quota` over there), or leave something out with --exclude",
        ),
        StoreError::Full => failure(
            FailureKind::Failed,
            format!("the disk at {friend} is full"),
            "nothing stored is lost; back up again when there is room",
        ),
        StoreError::Superseded { since_ms } => {
            let since = since_ms.and_then(|ms| Timestamp::from_millisecond(ms.cast_signed()).ok());
            let since = since.map(|since| since.strftime(" since %Y-%m-%d %H:%M UTC").to_string());
            failure(
                FailureKind::Refused,
                format!(
                    "{friend} takes nothing from this installation: this computer was recovered elsewhere, and the other one \
                     writes there{}",
                    since.unwrap_or_default()
                ),
                "`kith status` says what to do",
            )
        }
        StoreError::Refused { .. } => Failure {
            kind: FailureKind::Refused,
            message: format!("{friend} said no: {}", with_sources(error)),
            hint: None,
        },
        other => Failure {
            kind: FailureKind::Failed,
            message: format!("the archive at {friend}: {}", with_sources(other)),
            hint: None,
        },
    }
}

/// The friend can't be reached.
pub(super) fn offline(friend: &str, reason: &str) -> Failure {
    failure(
        FailureKind::Offline,
        format!("{friend} is not connected: {reason}"),
        "check that the other computer is on and its Kith runs; `kith friends` shows the addresses tried",
    )
}

fn starting() -> Failure {
    failure(FailureKind::Offline, "the daemon is just starting", "try again in a second")
}

fn failed_to_browse(friend: &str, error: &impl std::error::Error) -> Failure {
    Failure { kind: FailureKind::NotFound, message: in_archive(friend, error), hint: None }
}

fn in_archive(friend: &str, error: &impl std::error::Error) -> String {
    format!("the archive at {friend}: {}", with_sources(error))
}

fn unix_ms(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

/// Runs what reads secret files off the async threads.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Failure>
where
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(failed),
        Err(_ending) => Err(failure(FailureKind::Failed, "the daemon ends", "start it again")),
    }
}
