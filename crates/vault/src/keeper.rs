//! Work that recurs while a vault is open: hold time is looked at and saved, records are made durable.

use std::sync::Weak;
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::warn;

use crate::sweep::known_places;
use crate::vault::Inner;

/// How often; a crash loses at most this much of the hold clock.
const EVERY: Duration = Duration::from_secs(60);

/// The task; ends with the vault.
pub(crate) struct Keeper(AbortHandle);

impl Keeper {
    pub(crate) fn start(inner: Weak<Inner>) -> Self {
        let task = tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
            // What was missed has not been observed.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(inner) = inner.upgrade() else { return };
                // A panic in there ends nothing else; the next tick tries again.
                drop(spawn_blocking(move || inner.keep()).await);
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Blocking.
    fn keep(&self) {
        if let Err(error) = self.disk.save_clock(Duration::ZERO) {
            warn!(%error, "the hold clock could not be saved");
        }
        for owner in self.all_owners() {
            owner.save_damages(&self.disk);
            known_places(&self.disk, &owner).iter().for_each(crate::archive::Place::sync_arrivals);
        }
    }
}
