//! What came of a check, and where its parts collect it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{CheckEvent, CheckPhase, CheckProgress, Finding};
use crate::listed::Listed;

/// Packs that no index names. They do no harm: an interrupted backup leaves them behind, and the next one uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orphans {
    /// How many.
    pub packs: u64,
    /// Their size.
    pub bytes: u64,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// What is wrong.
    pub findings: Listed<Finding>,
    /// A note: packs that no index names.
    pub orphans: Orphans,
    /// A note: packs that the store lost, wholly or in part, after which a backup stored everything in them again.
    pub replaced: u64,
    /// Packs in the index.
    pub packs: u64,
    /// Their size.
    pub bytes: u64,
    /// Packs that were read.
    pub packs_read: u64,
    /// Their size.
    pub bytes_read: u64,
    /// Snapshots that were followed.
    pub snapshots: u64,
    /// Different directories that were read.
    pub trees: u64,
    /// How long it took.
    pub duration: Duration,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Collector {
    /// Set when nobody waits for the outcome any more.
    pub(super) stop: CancellationToken,
    pub(super) packs_total: AtomicU64,
    pub(super) bytes_total: AtomicU64,
    pub(super) snapshots_total: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Option<CheckPhase>,
    report: CheckReport,
}

/// What was told already.
#[derive(Default)]
pub(super) struct Told {
    phase: Option<CheckPhase>,
    findings: usize,
    progress: Option<CheckProgress>,
}

impl Collector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, phase: CheckPhase) {
        self.state().phase = Some(phase);
    }

    pub(super) fn find(&self, finding: Finding) {
        self.state().report.findings.push(finding);
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut CheckReport)) {
        change(&mut self.state().report);
    }

    pub(super) fn tell(&self, told: &mut Told, events: &impl Fn(CheckEvent)) {
        let state = self.state();
        let phase = state.phase;
        let report = &state.report;
        let findings = report.findings.items.get(told.findings..).unwrap_or_default().to_vec();
        let progress = CheckProgress {
            packs_done: report.packs_read,
            packs_total: self.packs_total.load(Relaxed),
            bytes_done: report.bytes_read,
            bytes_total: self.bytes_total.load(Relaxed),
            snapshots_done: report.snapshots,
            snapshots_total: self.snapshots_total.load(Relaxed),
            trees: report.trees,
            findings: report.findings.total,
        };
        drop(state);
        if phase != told.phase {
            told.phase = phase;
            phase.map(CheckEvent::Phase).into_iter().for_each(events);
        }
        told.findings += findings.len();
        findings.into_iter().map(CheckEvent::Finding).for_each(events);
        if told.progress.as_ref() != Some(&progress) {
            events(CheckEvent::Progress(progress.clone()));
            told.progress = Some(progress);
        }
    }

    pub(super) fn report(&self, duration: Duration) -> CheckReport {
        let mut report = std::mem::take(&mut self.state().report);
        report.duration = duration;
        report
    }
}
