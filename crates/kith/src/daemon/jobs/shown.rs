//! What is shown of jobs: those of this daemon, and those that the history knows.

use jiff::Timestamp;
use kith_control::view::{JobKind, JobState, JobView};
use kith_control::{Failure, FailureKind};
use kith_identity::DeviceId;
use kith_wire::Work;
use tracing::{info, warn};

use super::Jobs;
use crate::daemon::core::lock;
use crate::daemon::failure::failure;

impl Jobs {
    /// Jobs that run or wait, newest first, and the latest ended one of each set and friend.
    pub(in crate::daemon) fn current(&self) -> Vec<JobView> {
        let table = lock(&self.table);
        let mut seen = std::collections::BTreeSet::new();
        let views = table.jobs.values().rev().map(|entry| &entry.view);
        views
            .filter(|view| !view.state.is_over() || seen.insert((view.set.clone(), view.friend_id)))
            .cloned()
            .collect()
    }

    /// All jobs, newest first: of this daemon, and those of the history before it.
    pub(in crate::daemon) async fn all(
        &self,
        name: impl Fn(&DeviceId) -> Option<String> + Send,
    ) -> Result<Vec<JobView>, Failure> {
        let mut views: Vec<JobView> =
            lock(&self.table).jobs.values().rev().map(|entry| entry.view.clone()).collect();
        let known: std::collections::BTreeSet<u64> = views.iter().map(|view| view.id).collect();
        let older = self.history.recent(name).await?;
        views.extend(older.into_iter().filter(|view| !known.contains(&view.id)));
        Ok(views)
    }

    /// One job.
    pub(in crate::daemon) async fn get(
        &self,
        id: u64,
        name: impl Fn(&DeviceId) -> Option<String> + Send,
    ) -> Result<JobView, Failure> {
        let here = lock(&self.table).jobs.get(&id).map(|entry| entry.view.clone());
        match here {
            Some(view) => Ok(view),
            None => self.all(name).await?.into_iter().find(|view| view.id == id).ok_or_else(|| {
                failure(FailureKind::NotFound, format!("there is no job {id}"), "`kith status` lists them")
            }),
        }
    }

    /// When the last complete backup ended: of a set or of any, to a friend or to any.
    pub(in crate::daemon) fn last_complete(
        &self,
        set: Option<&str>,
        friend: Option<&DeviceId>,
    ) -> Option<Timestamp> {
        let table = lock(&self.table);
        let fits = |(of, to): &(String, DeviceId)| {
            set.is_none_or(|set| set == of) && friend.is_none_or(|friend| friend == to)
        };
        table.known.complete.iter().filter(|(key, _)| fits(key)).map(|(_, ended)| *ended).max()
    }

    /// When the last backup that made a snapshot ended, and whether nothing was left out.
    pub(in crate::daemon) fn last_snapshot(&self) -> Option<(Timestamp, bool)> {
        lock(&self.table).known.last
    }

    /// What the backups do at the moment, and how far they are in percent.
    pub(in crate::daemon) fn work(&self) -> (Work, Option<u8>) {
        under_way(lock(&self.table).jobs.values().map(|entry| &entry.view))
    }
}

/// What the backups do, and how far they are.
fn under_way<'a>(jobs: impl Iterator<Item = &'a JobView>) -> (Work, Option<u8>) {
    let mut work = Work::Idle;
    let (mut done, mut total, mut certain) = (0_u64, 0_u64, true);
    for job in jobs.filter(|job| job.kind == JobKind::Backup && !job.state.is_over()) {
        if job.state == JobState::Running {
            work = Work::Running;
            certain &= job.progress.totals_final;
            done = done.saturating_add(job.progress.bytes_done);
            total = total.saturating_add(job.progress.bytes_total);
        } else if work == Work::Idle {
            work = Work::Waiting;
        }
    }
    let percent = (u128::from(done) * 100).checked_div(total.into()).map_or(100, |percent| percent.min(100));
    (work, (work == Work::Running && certain).then(|| u8::try_from(percent).unwrap_or(100)))
}

/// A line about the end of a job.
pub(super) fn log_end(view: &JobView) {
    let (job, set, friend) = (view.id, view.set.as_deref().unwrap_or("check"), &view.friend);
    let progress = &view.progress;
    match (&view.error, view.state) {
        (Some(error), JobState::Complete | JobState::CompleteWithOmissions) => {
            warn!(job, set, %friend, error, "job complete, but something else is wrong");
        }
        (Some(error), _) => warn!(job, set, %friend, error, "job failed"),
        (None, JobState::CompleteWithOmissions) => {
            warn!(job, set, %friend, skipped = view.skipped_count, "job complete, but files were left out");
        }
        (None, state) => info!(
            job,
            set,
            %friend,
            ?state,
            files = progress.files_done,
            bytes = progress.bytes_done,
            sent = progress.bytes_sent,
            "job ended"
        ),
    }
}
