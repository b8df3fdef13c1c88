//! The work of the jobs: a backup, a check.

use std::sync::Arc;
use std::time::Duration;

use kith_archive::backup::{self, BackupError, BackupReport, Exclude};
use kith_archive::check::{self, CheckDepth, CheckError, CheckEvent};
use kith_archive::repository::Salvaged;
use kith_archive::{Repository, Store};
use kith_backup::BackupSet;
use kith_control::view::{JobKind, JobState, JobView, SkippedView};
use kith_control::{BackupRequest, CheckRequest, Failure, FailureKind};
use kith_identity::DeviceId;
use tokio_util::sync::CancellationToken;

use super::archives::{SET_TAG, archive_failure, offline, store_failure};
use super::core::Core;
use super::failure::{failed, failure, with_sources};
use super::heads::{Judged, Made};
use super::jobs::{Ended, Handle, Request, Work};
use super::progress::Watcher;
use super::roster::Friend;

/// How long the start of a job waits for a friend who is not linked.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Most links of a friend that may end while a job starts.
const MOST_START_LINKS: u32 = 4;
/// How long a job that has begun waits for a friend who went away.
const JOB_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How long the end of a backup waits for the friend to keep the new head.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);
/// Files listed as skipped in a job's view.
const MOST_SKIPPED: usize = 1000;

impl Core {
    /// Starts the backups that were asked for.
    pub(super) async fn start_backups(
        self: &Arc<Self>,
        request: BackupRequest,
    ) -> Result<Vec<JobView>, Failure> {
        if let Some(until) = self.paused_until() {
            return Err(failure(
                FailureKind::Refused,
                format!("backups are paused until {}", until.strftime("%Y-%m-%d %H:%M:%S UTC")),
                "`kith resume` ends the pause",
            ));
        }
        self.refuse_if_superseded()?;
        let mut pairs = self.backups_asked(&request)?;
        // Whoever names a friend means him.
        if request.friend.is_none() {
            self.put_alternates(&mut pairs).await;
        }
        let mut views = Vec::with_capacity(pairs.len());
        for (set, friend) in pairs {
            let asked = Request {
                kind: JobKind::Backup,
                set: Some(set.name().to_string()),
                friend: friend.name.clone(),
                friend_id: friend.device_id,
                archive: friend.archive.to_string(),
            };
            // The core keeps its jobs: a job that kept the core would keep both for ever.
            let core = Arc::downgrade(self);
            let work: Work = Arc::new(move |handle| {
                let (core, set, friend) = (core.upgrade(), set.clone(), friend.clone());
                Box::pin(async move {
                    match core {
                        Some(core) => core.back_up(set, friend, handle).await,
                        None => Ended::plain(JobState::Interrupted),
                    }
                })
            });
            views.push(self.jobs.start(asked, work).await?);
        }
        Ok(views)
    }

    /// The sets and friends of a request.
    fn backups_asked(&self, request: &BackupRequest) -> Result<Vec<(BackupSet, Friend)>, Failure> {
        let sets = self.settings().sets;
        if sets.is_empty() {
            return Err(failure(
                FailureKind::NotFound,
                "there is no backup set yet",
                "choose folders with `kith set add NAME PATH... --to FRIEND`",
            ));
        }
        let names: Vec<String> = sets.iter().map(|set| set.name().to_string()).collect();
        let chosen: Vec<BackupSet> = match &request.set {
            None => sets,
            Some(name) => sets.into_iter().filter(|set| set.name().as_str() == name).collect(),
        };
        if chosen.is_empty() {
            let wanted = request.set.as_deref().unwrap_or_default();
            return Err(failure(
                FailureKind::NotFound,
                format!("there is no backup set called {wanted:?}; sets are: {}", names.join(", ")),
                "`kith set list` shows them",
            ));
        }
        let only = request.friend.as_deref().map(|friend| self.find_friend(friend)).transpose()?;
        let mut pairs = Vec::new();
        for set in chosen {
            for destination in set.destinations() {
                let friend = self.find_friend(destination)?;
                if only.as_ref().is_none_or(|only| only.device_id == friend.device_id) {
                    pairs.push((set.clone(), friend));
                }
            }
            // An alternate may be named, too.
            for alternate in only.iter().flat_map(|_| set.alternates()) {
                let friend = self.find_friend(alternate)?;
                if only.as_ref().is_some_and(|only| only.device_id == friend.device_id) {
                    pairs.push((set.clone(), friend));
                }
            }
        }
        match (pairs.is_empty(), only) {
            (true, Some(only)) => Err(failure(
                FailureKind::NotFound,
                format!("no chosen backup set goes to {}", only.name),
                "`kith set list` shows where each set goes",
            )),
            _ => Ok(pairs),
        }
    }

    /// Puts the first alternate that is there in the place of each destination that is away.
    async fn put_alternates(&self, pairs: &mut [(BackupSet, Friend)]) {
        let away = pairs.iter().map(|(set, friend)| async move {
            !set.alternates().is_empty() && self.wait_for(friend).await.is_err()
        });
        let away = futures::future::join_all(away).await;
        let is_linked = |id: &DeviceId| self.peers().is_some_and(|peers| peers.link(id).is_some());
        for place in away.iter().enumerate().filter_map(|(place, away)| away.then_some(place)) {
            let (set, friend) = &pairs[place];
            let gets_it =
                |id| pairs.iter().any(|(of, friend)| of.name() == set.name() && friend.device_id == id);
            let alternates = set.alternates().iter().filter_map(|name| self.find_friend(name).ok());
            let alternate =
                alternates.filter(|it| is_linked(&it.device_id)).find(|it| !gets_it(it.device_id));
            if let Some(alternate) = alternate {
                tracing::info!(set = %set.name(), friend = %friend.name, alternate = %alternate.name, "an alternate takes over for a friend who is away");
                pairs[place].1 = alternate;
            }
        }
    }

    async fn back_up(self: Arc<Self>, set: BackupSet, friend: Friend, handle: Handle) -> Ended {
        let cancel = handle.cancel.clone();
        let mut superseded = self.superseded.subscribe();
        tokio::select! {
            biased;
            // Also of what goes to friends who have not met the other installation yet.
            Ok(other) = superseded.wait_for(Option::is_some) => {
                let failure = other.as_ref().map(super::installation::Superseded::failure);
                failure.map_or_else(|| Ended::plain(JobState::Failed), Ended::failed)
            }
            ended = self.try_back_up(&set, &friend, &handle) => ended.unwrap_or_else(Ended::failed),
            () = cut_off(&cancel) => Ended::plain(JobState::Cancelled),
        }
    }

    async fn try_back_up(
        self: &Arc<Self>,
        set: &BackupSet,
        friend: &Friend,
        handle: &Handle,
    ) -> Result<Ended, Failure> {
        self.keep_state_first(friend).await?;
        handle.update(|view| view.progress.phase = "loading".into());
        let store = self.store_at(friend, JOB_PATIENCE)?;
        let mut waiting = store.waiting();
        let remote = Arc::new(store);
        let work = async {
            let store: Arc<dyn Store> = remote.clone();
            let repository = Arc::new(self.open_or_make_archive(friend, store).await?);
            let judged = self.judge_names(friend, &repository).await?;
            handle.update(|view| view.progress.phase = "repairing".into());
            let salvaged = self.salvage(&repository, friend).await;
            // Packs that hang on a dying disk are no reason to give the backup up.
            remote.forgive();
            let (salvaged, said) = salvaged.map_err(|error| archive_failure(&friend.name, &error))?;
            let mut ended = self.run_backup(repository, set, friend, handle, judged, &salvaged).await?;
            ended.findings.extend(said);
            Ok(ended)
        };
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                ended = &mut work => {
                    self.fetch_report(&friend.device_id).await;
                    return ended;
                }
                Ok(()) = waiting.changed() => {
                    let away = *waiting.borrow_and_update();
                    handle.update(|view| {
                        view.state = if away { JobState::WaitingForFriend } else { JobState::Running };
                    });
                }
            }
        }
    }

    /// Makes sure that a friend keeps the state: an archive that could not be found again from the words would be worth nothing.
    /// If his link ends meanwhile, as when he starts again, it is told to him by the next one.
    async fn keep_state_first(self: &Arc<Self>, friend: &Friend) -> Result<(), Failure> {
        let mut tries = 1;
        loop {
            self.wait_for(friend).await?;
            let link = self.peers().and_then(|peers| peers.link(&friend.device_id));
            let Err(reason) = self.keep_state_at(&friend.device_id).await else { return Ok(()) };
            let has_ended = link.is_none_or(|link| link.is_over());
            if !has_ended || tries == MOST_START_LINKS {
                return Err(failure(
                    FailureKind::Failed,
                    format!("{} did not take the state object, which recovery needs: {reason}", friend.name),
                    "try again; `kith friends` shows whether he accepts anything at present",
                ));
            }
            tries += 1;
        }
    }

    /// Waits a little for a friend who may just be coming.
    async fn wait_for(&self, friend: &Friend) -> Result<(), Failure> {
        let Some(peers) = self.peers() else {
            return Err(offline(&friend.name, "the daemon is just starting"));
        };
        if peers.link(&friend.device_id).is_some() {
            return Ok(());
        }
        peers.dial_now(&friend.device_id);
        match peers.wait_for_link(&friend.device_id, START_PATIENCE).await {
            Some(_link) => Ok(()),
            None => {
                let error = peers.state(&friend.device_id).and_then(|state| state.last_error);
                Err(offline(&friend.name, &error.unwrap_or_else(|| "it did not answer".to_owned())))
            }
        }
    }

    async fn run_backup(
        self: &Arc<Self>,
        repository: Arc<Repository>,
        set: &BackupSet,
        friend: &Friend,
        handle: &Handle,
        judged: Judged,
        salvaged: &Salvaged,
    ) -> Result<Ended, Failure> {
        for warning in repository.warnings() {
            tracing::warn!(friend = %friend.name, id = %warning.id, error = %warning.error, "an index file can't be read");
        }
        let excludes =
            set.excludes().iter().map(Exclude::new).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let host = self.settings().computer_name();
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
        let request = backup::BackupRequest {
            excludes,
            tags: vec![format!("{SET_TAG}{}", set.name())],
            ..backup::BackupRequest::new(
                set.paths().to_vec(),
                host,
                user.map(|user| user.name).unwrap_or_default(),
            )
        };
        let made = Made { time: request.time, set: Some(set.name().to_string()), by_kith: true };
        let (reporter, watcher) = (handle.clone(), Watcher::new());
        let events = move |event: backup::Event| {
            if let backup::Event::Progress(progress) = event {
                let shown = watcher.backup(&progress);
                reporter.update(|view| view.progress = shown);
            }
        };
        match backup::backup(repository.clone(), request, events, handle.cancel.clone()).await {
            Ok(report) => {
                self.note_snapshot(friend, report.snapshot, made).await.map_err(failed)?;
                // The others get it within a second. If this computer is lost in that second, one of them should know.
                let told = tokio::time::timeout(TELL_TIMEOUT, self.keep_state_at(&friend.device_id)).await;
                if let Ok(Err(reason)) = told {
                    tracing::warn!(friend = %friend.name, %reason, "the new head was not taken");
                }
                let mut ended = accused(ended(&report, handle), judged);
                ended.findings.extend(self.retire(&repository, friend, salvaged).await);
                Ok(ended)
            }
            Err(BackupError::Cancelled) => Ok(Ended::plain(JobState::Cancelled)),
            Err(error) => Err(backup_failure(&friend.name, &error)),
        }
    }

    /// Starts a check.
    pub(super) async fn start_check_job(self: &Arc<Self>, request: CheckRequest) -> Result<JobView, Failure> {
        let friend = self.find_friend(&request.friend)?;
        let asked = Request {
            kind: JobKind::Check,
            set: None,
            friend: friend.name.clone(),
            friend_id: friend.device_id,
            archive: friend.archive.to_string(),
        };
        let core = Arc::downgrade(self);
        let read_data = request.read_data;
        let work: Work = Arc::new(move |handle| {
            let (core, friend) = (core.upgrade(), friend.clone());
            Box::pin(async move {
                let Some(core) = core else { return Ended::plain(JobState::Interrupted) };
                let cancel = handle.cancel.clone();
                tokio::select! {
                    ended = core.check(&friend, read_data, &handle) => ended.unwrap_or_else(Ended::failed),
                    () = cut_off(&cancel) => Ended::plain(JobState::Cancelled),
                }
            })
        });
        self.jobs.start(asked, work).await
    }

    async fn check(&self, friend: &Friend, read_data: bool, handle: &Handle) -> Result<Ended, Failure> {
        self.wait_for(friend).await?;
        handle.update(|view| view.progress.phase = "checking".into());
        let repository = match self.open_archive(friend).await {
            // No archive where there should be one is worse than none.
            Err(problem) if problem.kind == FailureKind::NotFound => {
                return Err(self.judge_absence(friend).await.unwrap_or(problem));
            }
            opened => Arc::new(opened?),
        };
        let judged = self.judge_names(friend, &repository).await?;
        let (reporter, watcher) = (handle.clone(), Watcher::new());
        let events = move |event: CheckEvent| {
            if let CheckEvent::Progress(progress) = event {
                let shown = watcher.check(&progress);
                reporter.update(|view| view.progress = shown);
            }
        };
        let depth = if read_data { CheckDepth::ReadData } else { CheckDepth::Structure };
        let checked = check::check(repository, depth, events, handle.cancel.clone()).await;
        if let (Ok(report), true) = (&checked, read_data) {
            self.note_check(&friend.device_id, report).await;
        }
        match checked {
            Ok(report) if report.is_clean() && judged.accusation.is_none() => {
                Ok(Ended { findings: judged.note.into_iter().collect(), ..Ended::plain(JobState::Complete) })
            }
            Ok(report) => {
                let accusation = judged.accusation;
                let faults = report.findings.total + u64::from(accusation.is_some());
                let findings = report.findings.items.iter().map(ToString::to_string);
                let hint = accusation.as_ref().and_then(|failure| failure.hint.clone());
                let again =
                    "back up again: what is missing or damaged, and still on this computer, is sent anew";
                Ok(Ended {
                    findings: (accusation.into_iter().map(|failure| failure.message))
                        .chain(findings)
                        .chain(judged.note)
                        .collect(),
                    error: Some(failure(
                        FailureKind::Failed,
                        format!("the archive at {} has {}", friend.name, counted(faults)),
                        hint.as_deref().unwrap_or(again),
                    )),
                    ..Ended::plain(JobState::Failed)
                })
            }
            Err(CheckError::Cancelled) => Ok(Ended::plain(JobState::Cancelled)),
            Err(error) => Err(Failure {
                kind: FailureKind::Failed,
                message: format!(
                    "the check of the archive at {} failed: {}",
                    friend.name,
                    with_sources(&error)
                ),
                hint: None,
            }),
        }
    }
}

/// The engine stops by itself within a second of being cancelled; this is for everything else that may be waited for.
async fn cut_off(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

fn counted(faults: u64) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}

/// The backup itself is complete; that something else is missing at the friend must not go unheard.
fn accused(ended: Ended, judged: Judged) -> Ended {
    let findings = ended.findings.into_iter().chain(judged.note).collect();
    match judged.accusation {
        None => Ended { findings, ..ended },
        Some(accusation) => Ended { findings, error: Some(accusation), ..ended },
    }
}

fn ended(report: &BackupReport, handle: &Handle) -> Ended {
    handle.update(|view| {
        view.progress.bytes_sent = report.bytes_stored;
        view.progress.errors = report.skipped_total;
        view.progress.totals_final = true;
    });
    let skipped = report.skipped.iter().take(MOST_SKIPPED).map(|skipped| SkippedView {
        path: skipped.path.to_string_lossy().into_owned(),
        reason: skipped.reason.clone(),
    });
    let changed = report.changed_while_read.iter().map(|path| {
        format!("{} changed while it was read: it may be a mixture of old and new", path.display())
    });
    let lost = (report.lost_packs > 0).then(|| {
        format!(
            "{} pack files were lost or damaged at the friend: what of them is still on this computer was stored again",
            report.lost_packs
        )
    });
    Ended {
        snapshot: Some(report.snapshot.to_string()),
        skipped: skipped.collect(),
        skipped_count: report.skipped_total,
        findings: lost.into_iter().chain(changed).collect(),
        ..Ended::plain(if report.is_complete() {
            JobState::Complete
        } else {
            JobState::CompleteWithOmissions
        })
    }
}

/// Says what an error of a backup means for the person.
fn backup_failure(friend: &str, error: &BackupError) -> Failure {
    match error {
        BackupError::Repository(error) => archive_failure(friend, error),
        BackupError::Store { source, .. } => store_failure(friend, source),
        BackupError::SourceMissing { path } => failure(
            FailureKind::NotFound,
            format!("{} is not there any more, or can't be reached", path.display()),
            "bring it back (is a disk not mounted?), or take it out of the set; nothing was changed at the friend",
        ),
        other => Failure { kind: FailureKind::Failed, message: with_sources(other), hint: None },
    }
}
