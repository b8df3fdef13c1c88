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

/// What is known of backups that ended, over all runs that are kept.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When the last complete one of a set to a friend ended.
    pub(super) complete: BTreeMap<(String, DeviceId), Timestamp>,
    /// When the last one that made a snapshot ended, and whether nothing was left out.
    pub(super) last: Option<(Timestamp, bool)>,
}

impl Known {
    /// A backup made a snapshot.
    pub(super) fn note(&mut self, set: String, friend: DeviceId, ended: Timestamp, complete: bool) {
        if complete {
            let last = self.complete.entry((set, friend)).or_insert(ended);
            *last = ended.max(*last);
        }
        if self.last.is_none_or(|(last, _)| last <= ended) {
            self.last = Some((ended, complete));
        }
    }
}

/// The history, off the async threads.
#[derive(Clone)]
pub(super) struct History {
    db: Db,
}

impl History {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// What is known of backups that ended.
    pub(super) async fn known(&self) -> Result<Known, DbError> {
        let mut known = Known::default();
        for run in self.runs(history::RUNS_KEPT).await? {
            let complete = match run.outcome {
                Outcome::Complete => true,
                Outcome::CompleteWithOmissions => false,
                _ => continue,
            };
            if let (Some(ended), Ok(friend)) = (run.ended_ms.and_then(time), run.friend.parse())
                && !run.set.is_empty()
            {
                known.note(run.set, friend, ended, complete);
            }
        }
        Ok(known)
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
