//! The shell around the vault's scrub: a step, a wait, and word of what was found.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use jiff::Timestamp;
use kith_control::view::ScrubView;
use kith_control::{Event, Failure, FailureKind};
use kith_vault::Haste;
use tokio::time::Instant;
use tracing::warn;

use super::core::Core;
use super::failure::{failed, failure};

/// Between two looks while backups are paused, or after something went wrong.
const REST: Duration = Duration::from_secs(60);

/// Reads everything that is kept once in a while, without end.
pub(super) async fn keep(core: Arc<Core>) {
    let (mut due, mut failed) = (Instant::now(), false);
    loop {
        if Instant::now() >= due {
            let wait = if core.paused_until().is_some() { REST } else { step(&core).await };
            due = Instant::now() + wait;
        }
        // Nobody else looks at the disk as often: whoever is refused because of it shall know why.
        if core.vault.failure().is_some() && !std::mem::replace(&mut failed, true) {
            core.report_to_all();
            core.tell(Event::Status);
        }
        tokio::select! {
            () = tokio::time::sleep_until(due.min(Instant::now() + REST)) => {}
            () = core.scrub_wanted.notified() => due = Instant::now(),
        }
    }
}

async fn step(core: &Arc<Core>) -> Duration {
    let haste = if core.scrub_hurries.load(Relaxed) { Haste::Now } else { Haste::Scheduled };
    let step = match core.vault.scrub(haste).await {
        Ok(step) => step,
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, "what is kept for friends could not be scrubbed");
            core.scrub_hurries.store(false, Relaxed);
            return REST;
        }
    };
    if step.round_ended {
        core.scrub_hurries.store(false, Relaxed);
    }
    if step.round_ended || !step.found.is_empty() || step.trouble.is_some() {
        core.report_to_all();
        core.tell(Event::Status);
    }
    step.wait
}

impl Core {
    /// Begins a round now, as fast as the disk reads.
    pub(super) async fn scrub_now(&self) -> Result<(), Failure> {
        if let Some(error) = self.vault.failure() {
            return Err(failure(
                FailureKind::Failed,
                format!("the disk of the vault failed: it {error}"),
                "check the disk, then `kith restart`",
            ));
        }
        if self.paused_until().is_some() {
            return Err(failure(
                FailureKind::Refused,
                "this computer's work is paused",
                "`kith resume` ends the pause",
            ));
        }
        self.vault.begin_scrub().await.map_err(failed)?;
        self.scrub_hurries.store(true, Relaxed);
        self.scrub_wanted.notify_one();
        Ok(())
    }

    pub(super) fn scrub_view(&self) -> ScrubView {
        let state = self.vault.scrub_state();
        let time = |time: Option<std::time::SystemTime>| time.and_then(|time| Timestamp::try_from(time).ok());
        ScrubView {
            under_way: state.under_way,
            started: time(state.started),
            finished: time(state.finished),
            read_bytes: state.read_bytes,
            trouble: state.trouble,
            damaged: self.vault.owners().iter().map(|owner| self.vault.damaged_count(owner)).sum(),
        }
    }
}
