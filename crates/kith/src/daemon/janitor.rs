//! The vault's janitor: erases what friends deleted and what has been held for its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::core::Core;

/// How often it comes.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Comes at once and then every hour, without end.
pub(super) async fn keep(core: Arc<Core>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What one round leaves for the next is done at once, so that a large prune does not take days to go.
        loop {
            match core.vault.sweep().await {
                Ok(report) if report.more => {}
                Ok(_) => break,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "held data could not be looked after");
                    break;
                }
            }
        }
    }
}
