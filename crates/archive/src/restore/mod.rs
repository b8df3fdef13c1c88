//! From a snapshot back to files.
//!
//! Nothing that a repository contains can make a restore write outside its target: every name must be a single
//! component, and every directory on the way is opened from its parent without following symbolic links. A file gets
//! its final name only when all of its content was written and verified.
//!
//! Directories are walked in order and cut into batches, so that memory is bounded. While one batch is fetched (pack by
//! pack, several reads in flight, all cores decrypting), the next one is planned.
//!
//! Not restored: owners, if the process is not root; sockets; and what gives rights ([`Special`]), unless asked for.

mod batch;
mod context;
mod error;
mod events;
mod existing;
mod fetch;
mod metadata;
mod others;
mod plan;
mod report;
mod target;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::repository::{Repository, Snapshot};

pub use error::RestoreError;
pub use events::{RestoreEvent, RestorePhase, RestoreProgress, RestoreTotals};
pub use report::{Failure, RestoreReport, Withheld, WithheldKind};

use context::{Context, Stopped};
use events::Reporter;
use plan::Planner;

/// What happens to files that exist in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// They are kept as they are, and listed.
    #[default]
    Never,
    /// They are replaced if their size or content differs from the snapshot's. If only time, permissions or (for root)
    /// owner differ, these are set.
    Changed,
    /// They are replaced.
    Always,
}

/// What happens to what gives rights: setuid and setgid programs, programs with capabilities, devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Special {
    /// Programs are restored without these rights, devices not at all; the report lists them.
    #[default]
    Withhold,
    /// They are restored as far as the system permits.
    Restore,
}

/// What is to be restored, and where to.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// A file or directory in it; everything if there is none.
    pub path: Option<PathBuf>,
    /// The directory that everything goes to, below it with the full path it came from. It is made if need be.
    pub target: PathBuf,
    /// What happens to existing files.
    pub overwrite: Overwrite,
    /// What happens to setuid programs, devices and the like.
    pub special: Special,
}

impl RestoreRequest {
    /// The whole snapshot, keeping existing files, without anything special.
    #[must_use]
    pub fn new(snapshot: Snapshot, target: impl Into<PathBuf>) -> Self {
        Self {
            snapshot,
            path: None,
            target: target.into(),
            overwrite: Overwrite::default(),
            special: Special::default(),
        }
    }
}

/// Restores files. When this returns a report, what was written has reached the disk. What can't be restored is listed in the report and does not keep the rest from being restored.
///
/// # Errors
/// The path is not in the snapshot, the target can't be written to, its disk is full, the store can't be reached, or
/// `cancel` was cancelled. What was restored until then is complete; nothing unfinished has its final name.
pub async fn restore(
    repository: Arc<Repository>,
    request: RestoreRequest,
    events: impl Fn(RestoreEvent) + Send + Sync,
    cancel: CancellationToken,
) -> Result<RestoreReport, RestoreError> {
    let begin = Instant::now();
    let mut reporter = Reporter::default();
    events(RestoreEvent::Phase(RestorePhase::Preparing));
    let stop = cancel.child_token();
    // Whoever drops this future stops the threads that work for it.
    let _stop_on_drop = stop.clone().drop_guard();
    let prepare = Box::pin(prepare(repository, request, stop.clone()));
    let (context, planner) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(RestoreError::Cancelled),
        prepared = prepare => prepared?,
    };
    events(RestoreEvent::Phase(RestorePhase::Restoring));
    let mut work = Box::pin(work(Arc::clone(&context), planner));
    let mut ticker = tokio::time::interval(Reporter::INTERVAL);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticker.tick() => reporter.look(&context, &events),
        }
    };
    drop(work);
    reporter.look(&context, &events);
    match done {
        Ok(()) => {
            let written = Arc::clone(&context);
            let sync = tokio::task::spawn_blocking(move || written.target.sync());
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(RestoreError::Cancelled),
                synced = sync => synced.map_err(|_| RestoreError::Interrupted)??,
            }
            Ok(context.report(begin.elapsed()))
        }
        Err(Stopped) => {
            let early = Arc::clone(&context);
            // Nothing more can be done about its failing.
            drop(tokio::task::spawn_blocking(move || metadata::finish_early(&early)).await);
            Err(context.take_fatal().unwrap_or(RestoreError::Cancelled))
        }
    }
}

async fn prepare(
    repository: Arc<Repository>,
    request: RestoreRequest,
    stop: CancellationToken,
) -> Result<(Arc<Context>, Planner), RestoreError> {
    let way = match &request.path {
        Some(path) => crate::browse::resolve(&repository, &request.snapshot, path).await?,
        None => Vec::new(),
    };
    let context = tokio::task::spawn_blocking({
        let request = request.clone();
        move || Context::new(&request, stop)
    })
    .await
    .map_err(|_| RestoreError::Interrupted)??;
    let context = Arc::new(context);
    if let (true, Some(summary)) = (way.is_empty(), &request.snapshot.summary) {
        context.counters.expect(summary.total_files_processed, summary.total_bytes_processed);
    }
    let planner = Planner::new(repository, Arc::clone(&context), request.snapshot.tree, way).await?;
    Ok((context, planner))
}

/// Restores batch after batch, planning the next one meanwhile.
async fn work(context: Arc<Context>, mut planner: Planner) -> Result<(), Stopped> {
    let repository = Arc::clone(planner.repository());
    let mut planned = planner.next().await?;
    while let Some(batch) = planned.take() {
        let execute = Box::pin(fetch::execute(&context, &repository, batch));
        let (done, next) = tokio::join!(execute, Box::pin(planner.next()));
        done?;
        planned = next?;
    }
    Ok(())
}
