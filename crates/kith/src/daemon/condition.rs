//! How this computer is, told to every friend, and how friends are, shown.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kith_control::view::{ConditionView, LastBackupView, WorkView};
use kith_wire::{Condition, LastBackup, Work};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::core::{Core, lock};

/// Between two tellings of something that a person waits for: a pause, the begin or the end of a backup.
const SOON: Duration = Duration::from_secs(3);
/// Between two tellings of how far a backup is, and how much is free.
const LATER: Duration = Duration::from_secs(60);
/// How often the free space is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Free space that differs by less than this, and by less than a fiftieth, is no news.
const LEAST_FREE: u64 = 64 << 20;

/// Tells friends how this computer is, whenever that changes and not too often, until the daemon ends.
pub(super) async fn tell(core: Arc<Core>) {
    let mut events = core.events.subscribe();
    let mut look = tokio::time::interval(LOOK);
    // Whoever is linked in the first moment was told in hello, without the free space.
    let mut told = (core.condition(), Instant::now());
    loop {
        let now = core.condition();
        let due = wait(&told.0, &now).map(|wait| told.1 + wait);
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = look.tick() => core.look_at_free_space().await,
            event = events.recv() => match event {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = timer => {
                core.report_to_all();
                told = (now, Instant::now());
            }
        }
    }
}

/// How long after what was told last the new is to be told; none if it is no news.
fn wait(told: &Condition, now: &Condition) -> Option<Duration> {
    let apart = |condition: &Condition| Condition { free_bytes: None, percent: None, ..*condition };
    if apart(told) != apart(now) {
        return Some(SOON);
    }
    let other_space = match (told.free_bytes, now.free_bytes) {
        (Some(before), Some(after)) => before.abs_diff(after) > LEAST_FREE.max(before / 50),
        (before, after) => before != after,
    };
    (other_space || told.percent != now.percent).then_some(LATER)
}

impl Core {
    /// How this computer is.
    pub(super) fn condition(&self) -> Condition {
        let (work, percent) = self.jobs.work();
        Condition {
            outbound_only: self.takes_no_calls(),
            free_bytes: *lock(&self.free_bytes),
            paused_until: self.paused_until().map(|until| until.as_second().max(0)),
            last_backup: self
                .jobs
                .last_snapshot()
                .map(|(ended, complete)| LastBackup { time: ended.as_second().max(0), complete }),
            work,
            percent,
            slept: self.histories.last_sleep(),
        }
    }

    async fn look_at_free_space(&self) {
        let free = self.vault.free_bytes().await.ok();
        *lock(&self.free_bytes) = free;
    }
}

/// How a friend is, as the API shows it.
pub(super) fn view(condition: &Condition) -> ConditionView {
    let time = |seconds: i64| Timestamp::from_second(seconds).ok();
    ConditionView {
        outbound_only: condition.outbound_only,
        free_bytes: condition.free_bytes,
        paused_until: condition.paused_until.and_then(time),
        last_backup: condition
            .last_backup
            .and_then(|last| Some(LastBackupView { time: time(last.time)?, complete: last.complete })),
        work: match condition.work {
            Work::Idle => WorkView::Idle,
            Work::Running => WorkView::Running,
            Work::Waiting => WorkView::Waiting,
            Work::Unknown => WorkView::Unknown,
        },
        percent: condition.percent,
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::Slept;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn check(change: impl FnOnce(&mut Condition), expected: Option<Duration>) {
        let told = Condition {
            free_bytes: Some(100 * GIB),
            work: Work::Running,
            percent: Some(5),
            ..Condition::default()
        };
        let mut now = told;
        change(&mut now);
        assert_eq!(wait(&told, &now), expected, "{now:?}");
    }

    #[test]
    fn what_a_person_waits_for_is_told_soon() {
        check(|now| now.work = Work::Idle, Some(SOON));
        check(|now| now.paused_until = Some(1), Some(SOON));
        check(|now| now.outbound_only = true, Some(SOON));
        check(|now| now.slept = Some(Slept { from: 1, to: 2 }), Some(SOON));
        check(|now| now.last_backup = Some(LastBackup { time: 1, complete: false }), Some(SOON));
    }

    #[test]
    fn what_changes_all_the_time_is_told_now_and_then() {
        check(|_| {}, None);
        check(|now| now.percent = Some(6), Some(LATER));
        check(|now| now.free_bytes = Some(99 * GIB), None);
        check(|now| now.free_bytes = Some(90 * GIB), Some(LATER));
        check(|now| now.free_bytes = None, Some(LATER));
    }
}
