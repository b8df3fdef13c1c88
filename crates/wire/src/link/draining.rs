//! A link whose work moves to another one, without breaking anything off.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Link;

/// How often it is looked whether nothing is under way any more.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// For how long nothing must have been under way. The other side hears of the new link at about the same time, and what it
/// began here just before that is still on its way.
const QUIET: Duration = Duration::from_secs(4);
/// When what is still under way is broken off.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// To where a link's work has moved, and why.
#[derive(Clone)]
pub(super) struct Moved {
    pub(super) reason: String,
    pub(super) to: Option<Link>,
}

/// Waits until the work has moved, and says why.
pub(super) async fn why_moved(moved: &mut watch::Receiver<Option<Moved>>) -> String {
    let reason = match moved.wait_for(Option::is_some).await {
        Ok(moved) => moved.as_ref().map(|moved| moved.reason.clone()),
        Err(_never) => None,
    };
    match reason {
        Some(reason) => reason,
        // Every handle to the link can move it; who asks has one.
        None => std::future::pending().await,
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    began: Instant,
    /// Since when nothing is under way, and how many streams the other side had opened by then.
    quiet: Option<(Instant, u64)>,
}

impl Draining {
    pub(super) const fn start(now: Instant) -> Self {
        Self { began: now, quiet: None }
    }

    /// Whether the link may be closed now. If nothing is under way, `idle_after` is how many streams the other side has opened so
    /// far: between two looks one may have come and gone.
    pub(super) fn is_over(&mut self, now: Instant, idle_after: Option<u64>) -> bool {
        let Some(taken) = idle_after else {
            self.quiet = None;
            return now.saturating_duration_since(self.began) >= LONGEST;
        };
        match self.quiet {
            Some((since, before)) if before == taken => now.saturating_duration_since(since) >= QUIET,
            _ => {
                self.quiet = Some((now, taken));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_after_a_quiet_while_or_after_the_longest_time() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut draining = Draining::start(began);
        assert!(!draining.is_over(at(0), Some(5)));
        assert!(!draining.is_over(at(3), None), "something is under way");
        assert!(!draining.is_over(at(4), Some(6)), "the quiet begins anew");
        assert!(!draining.is_over(at(8), Some(7)), "something came and went");
        assert!(!draining.is_over(at(11), Some(7)));
        assert!(draining.is_over(at(12), Some(7)));
        let mut busy = Draining::start(began);
        assert!(!busy.is_over(at(599), None));
        assert!(busy.is_over(at(600), None));
    }
}
