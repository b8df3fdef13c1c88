//! The history of jobs in `state.db`, as the API shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kith_backup::history::{self, Ending, Outcome, Run, RunId, Skipped};
use kith_control::Failure;
use kith_control::view::{JobKind, JobState, JobView, ProgressView};
use kith_identity::DeviceId;

use super::db::{Db, DbError};
use super::failure::failed;
use super::jobs::Request;

/// When the last complete backup of a set to a friend ended.
pub(super) type Complete = BTreeMap<(String, DeviceId), Timestamp>;

/// The history, off the async threads.
#[derive(Clone)]
pub(super) struct History {
    db: Db,
}

impl History {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// What is known of complete backups, over all runs that are kept.
    pub(super) async fn complete(&self) -> Result<Complete, DbError> {
        let mut complete = Complete::new();
        for run in self.runs(history::RUNS_KEPT).await? {
            if let (Outcome::Complete, Some(ended), Ok(friend)) =
                (run.outcome, run.ended_ms.and_then(time), run.friend.parse())
                && !run.set.is_empty()
            {
                let last = complete.entry((run.set, friend)).or_insert(ended);
                *last = ended.max(*last);
            }
        }
        Ok(complete)
    }

    /// Notes the begin of a job; its number is unique on this computer.
    pub(super) async fn begin(&self, request: &Request, now: Timestamp) -> Result<u64, Failure> {
        let (set, friend) = (request.set.clone().unwrap_or_default(), request.friend_id.to_string());
        let begun = self.db.with(move |connection| {
            Ok(history::History::new(connection).begin(&set, &friend, now.as_millisecond())?)
        });
        Ok(begun.await.map_err(failed)?.0.cast_unsigned())
    }

    /// Notes the end of a job.
    pub(super) async fn end(&self, view: &JobView) -> Result<(), DbError> {
        let run = RunId(view.id.cast_signed());
        let skipped = view.skipped.iter().take(history::SKIPPED_KEPT);
        let ending = Ending {
            outcome: match view.state {
                JobState::Complete => Outcome::Complete,
                JobState::CompleteWithOmissions => Outcome::CompleteWithOmissions,
                JobState::Cancelled => Outcome::Cancelled,
                JobState::Interrupted => Outcome::Interrupted,
                _ => Outcome::Failed,
            },
            snapshot: view.snapshot.clone(),
            files: view.progress.files_done,
            bytes: view.progress.bytes_done,
            new_bytes: view.progress.bytes_sent,
            skipped_total: view.skipped_count,
            skipped: skipped
                .map(|skipped| Skipped { path: skipped.path.clone(), reason: skipped.reason.clone() })
                .collect(),
            error: view.error.clone(),
        };
        let now = view.ended.unwrap_or_else(Timestamp::now).as_millisecond();
        self.db.with(move |connection| Ok(history::History::new(connection).end(run, &ending, now)?)).await
    }

    /// The jobs that are kept, newest first. `name` gives the friend's name today.
    pub(super) async fn recent(
        &self,
        name: impl Fn(&DeviceId) -> Option<String>,
    ) -> Result<Vec<JobView>, Failure> {
        let runs = self.runs(history::RUNS_KEPT).await.map_err(failed)?;
        Ok(runs.into_iter().filter_map(|run| view(run, &name)).collect())
    }

    async fn runs(&self, limit: u32) -> Result<Vec<Run>, DbError> {
        self.db.with(move |connection| Ok(history::History::new(connection).recent(limit)?)).await
    }
}

fn time(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

fn view(run: Run, name: impl Fn(&DeviceId) -> Option<String>) -> Option<JobView> {
    let friend_id: DeviceId = run.friend.parse().ok()?;
    let is_check = run.set.is_empty();
    Some(JobView {
        id: run.id.0.cast_unsigned(),
        kind: if is_check { JobKind::Check } else { JobKind::Backup },
        set: (!is_check).then_some(run.set),
        friend: name(&friend_id).unwrap_or_else(|| friend_id.short()),
        friend_id,
        state: match run.outcome {
            Outcome::Running => JobState::Running,
            Outcome::Complete => JobState::Complete,
            Outcome::CompleteWithOmissions => JobState::CompleteWithOmissions,
            Outcome::Failed => JobState::Failed,
            Outcome::Cancelled => JobState::Cancelled,
            Outcome::Interrupted => JobState::Interrupted,
        },
        started: time(run.started_ms)?,
        ended: run.ended_ms.and_then(time),
        progress: ProgressView {
            phase: "done".to_owned(),
            files_total: run.files,
            files_done: run.files,
            bytes_total: run.bytes,
            bytes_done: run.bytes,
            bytes_sent: run.new_bytes,
            totals_final: true,
            errors: run.skipped_total,
            ..ProgressView::default()
        },
        snapshot: run.snapshot,
        error: run.error,
        skipped: Vec::new(),
        skipped_count: run.skipped_total,
        findings: Vec::new(),
    })
}
