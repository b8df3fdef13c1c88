//! Whether an archive is whole: what the index says against what the store has, and every snapshot down to its last blob.
//!
//! Without reading data, names and sizes of the packs are compared and all directories are read. Reading data downloads
//! every pack and verifies every byte. What is found is told twice: as the object that is damaged, and as what it means,
//! the files that can't be restored.

mod error;
mod finding;
mod packs;
mod report;
mod snapshots;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::repository::Repository;

pub use error::CheckError;
pub use finding::Finding;
pub use report::{CheckReport, Orphans};

use packs::Packs;
use report::Collector;

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckDepth {
    /// Index, packs by name and size, snapshots and directories.
    #[default]
    Structure,
    /// Also every byte of every pack.
    ReadData,
}

/// What a check is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckPhase {
    /// Comparing the index with the list of packs.
    Packs,
    /// Reading packs.
    Data,
    /// Following snapshots to their blobs.
    Snapshots,
}

/// How far a check is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckProgress {
    /// Packs that were read.
    pub packs_done: u64,
    /// Packs that will be read; 0 if data are not read.
    pub packs_total: u64,
    /// Bytes that were read.
    pub bytes_done: u64,
    /// Bytes that will be read.
    pub bytes_total: u64,
    /// Snapshots that were followed.
    pub snapshots_done: u64,
    /// Snapshots there are, once they were listed.
    pub snapshots_total: u64,
    /// Different directories that were read.
    pub trees: u64,
    /// Findings so far.
    pub findings: u64,
}

/// Something that a check tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckEvent {
    /// A new phase began.
    Phase(CheckPhase),
    /// It went on. Comes about five times a second if something changed.
    Progress(CheckProgress),
    /// Something is wrong. Told for the first thousand.
    Finding(Finding),
}

/// Checks an archive.
///
/// # Errors
/// The store can't be reached, or `cancel` was cancelled. Damage is not an error but a finding in the report.
pub async fn check(
    repository: Arc<Repository>,
    depth: CheckDepth,
    events: impl Fn(CheckEvent) + Send + Sync,
    cancel: CancellationToken,
) -> Result<CheckReport, CheckError> {
    let begin = Instant::now();
    let collector = Arc::new(Collector::default());
    let work = Box::pin(work(repository, depth, Arc::clone(&collector)));
    // Threads that still work when this is dropped look at it.
    let _stop_on_drop = collector.stop.clone().drop_guard();
    let mut work = Box::pin(cancel.run_until_cancelled(work));
    let mut ticker = tokio::time::interval(Duration::from_millis(200));
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = report::Told::default();
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticker.tick() => collector.tell(&mut told, &events),
        }
    };
    collector.tell(&mut told, &events);
    done.unwrap_or(Err(CheckError::Cancelled))?;
    Ok(collector.report(begin.elapsed()))
}

async fn work(
    repository: Arc<Repository>,
    depth: CheckDepth,
    collector: Arc<Collector>,
) -> Result<(), CheckError> {
    collector.enter(CheckPhase::Packs);
    for warning in repository.warnings() {
        collector.find(Finding::UnreadableIndex { id: warning.id, reason: reason(&warning.error) });
    }
    let mut packs = Packs::compare(&repository, &collector).await?;
    if depth == CheckDepth::ReadData {
        collector.enter(CheckPhase::Data);
        packs.read_all(&repository, &collector).await?;
    }
    collector.enter(CheckPhase::Snapshots);
    snapshots::follow(&repository, &packs, &collector).await
}

/// An error with what caused it, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
