//! Progress of the engine as the API shows it, with rates and a range for the time left.

use std::sync::Mutex;
use std::time::Instant;

use kith_archive::backup::{Phase, Progress};
use kith_archive::check::CheckProgress;
use kith_backup::progress::{Counts, Meter};
use kith_control::view::ProgressView;

use super::core::lock;

/// Watches one job.
pub(super) struct Watcher {
    started: Instant,
    meter: Mutex<Meter>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), meter: Mutex::new(Meter::new()) }
    }

    /// How a backup is going.
    pub(super) fn backup(&self, progress: &Progress) -> ProgressView {
        let counts = Counts {
            files_found: progress.found.files,
            bytes_found: progress.found.bytes,
            found_all: progress.found_all,
            files_done: progress.done.files,
            bytes_done: progress.done.bytes,
            bytes_new: progress.new_bytes,
            bytes_sent: progress.stored_bytes,
        };
        let phase = match progress.phase {
            Phase::Preparing => "scanning",
            Phase::Storing => "storing",
            Phase::Finishing => "finishing",
        };
        self.view(counts, phase, progress.known_bytes, progress.current.as_deref(), progress.errors)
    }

    /// How a check is going. Its files are snapshots, or packs where data is read.
    pub(super) fn check(&self, progress: &CheckProgress) -> ProgressView {
        let counts = Counts {
            files_found: progress.packs_total + progress.snapshots_total,
            bytes_found: progress.bytes_total,
            found_all: progress.snapshots_total > 0,
            files_done: progress.packs_done + progress.snapshots_done,
            bytes_done: progress.bytes_done,
            ..Counts::default()
        };
        self.view(counts, "checking", 0, None, progress.findings)
    }

    /// The view of some counts as of now.
    fn view(
        &self,
        counts: Counts,
        phase: &str,
        bytes_saved: u64,
        current: Option<&std::path::Path>,
        errors: u64,
    ) -> ProgressView {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let rates = {
            let mut meter = lock(&self.meter);
            meter.observe(counts, now_ms);
            meter.rates(now_ms)
        };
        ProgressView {
            phase: phase.to_owned(),
            files_total: counts.files_found,
            bytes_total: counts.bytes_found,
            totals_final: counts.found_all,
            files_done: counts.files_done,
            bytes_done: counts.bytes_done,
            bytes_sent: counts.bytes_sent,
            bytes_saved,
            bytes_per_second: rates.bytes_per_second,
            seconds_left_least: rates.left.map(|(least, _)| least.as_secs()),
            seconds_left_most: rates.left.map(|(_, most)| most.as_secs()),
            current: current.map(|path| path.to_string_lossy().into_owned()),
            errors,
        }
    }
}
