//! Jobs: backups and checks. The queue decides which may run; this is its shell.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kith_backup::jobs::{self as queue, JobId, Queue, Target};
use kith_control::view::{JobKind, JobState, JobView, ProgressView, SkippedView};
use kith_control::{Event, Failure, FailureKind};
use kith_identity::DeviceId;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::core::lock;
use super::failure::failure;
use super::history::{History, Known};

mod shown;

use self::shown::log_end;

/// Jobs that run at once, all friends together.
const MOST_RUNNING: usize = 4;
/// Longest wait for their end: it leaves time for what ends after them, such as the removal of mappings.
const SHUTDOWN: Duration = Duration::from_millis(2500);

/// All jobs since the start, and what the history knows of those before.
pub(super) struct Jobs {
    history: History,
    events: broadcast::Sender<Event>,
    table: Mutex<Table>,
    /// One request at a time: the same job is not begun twice.
    starting: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    /// Cancelled when the daemon ends.
    ending: CancellationToken,
}

struct Table {
    queue: Queue,
    /// By number in the history.
    jobs: BTreeMap<u64, Entry>,
    known: Known,
}

struct Entry {
    queue_id: JobId,
    target: Target,
    view: JobView,
    work: Work,
    cancel: CancellationToken,
}

/// A job's work; a job that was stopped by a pause is started again.
pub(super) type Work = Arc<dyn Fn(Handle) -> Pin<Box<dyn Future<Output = Ended> + Send>> + Send + Sync>;

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: JobKind,
    pub(super) set: Option<String>,
    pub(super) friend: String,
    pub(super) friend_id: DeviceId,
    pub(super) archive: String,
}

/// What a job's work holds.
#[derive(Clone)]
pub(super) struct Handle {
    jobs: Arc<Jobs>,
    id: u64,
    /// Cancelled when the work is to end, within a second.
    pub(super) cancel: CancellationToken,
}

impl Handle {
    /// Changes what is shown of the job and tells everybody.
    pub(super) fn update(&self, change: impl FnOnce(&mut JobView)) {
        self.jobs.change(self.id, change);
    }
}

/// How a job's work ended.
pub(super) struct Ended {
    pub(super) state: JobState,
    pub(super) snapshot: Option<String>,
    pub(super) error: Option<Failure>,
    pub(super) skipped: Vec<SkippedView>,
    pub(super) skipped_count: u64,
    pub(super) findings: Vec<String>,
}

impl Ended {
    pub(super) const fn plain(state: JobState) -> Self {
        Self {
            state,
            snapshot: None,
            error: None,
            skipped: Vec::new(),
            skipped_count: 0,
            findings: Vec::new(),
        }
    }

    pub(super) fn failed(error: Failure) -> Self {
        Self { error: Some(error), ..Self::plain(JobState::Failed) }
    }
}

/// The queue counts in milliseconds of one clock.
fn now_ms() -> u64 {
    Timestamp::now().as_millisecond().cast_unsigned()
}

impl Jobs {
    pub(super) fn new(history: History, known: Known, events: broadcast::Sender<Event>) -> Arc<Self> {
        let table = Table { queue: Queue::new(MOST_RUNNING), jobs: BTreeMap::new(), known };
        Arc::new(Self {
            history,
            events,
            table: Mutex::new(table),
            starting: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Asks for a job; it waits for its turn. The same job that is open already is not started twice.
    pub(super) async fn start(self: &Arc<Self>, request: Request, work: Work) -> Result<JobView, Failure> {
        let target = Target {
            set: request.set.clone().unwrap_or_default(),
            friend: request.friend_id.to_string(),
            archive: request.archive.clone(),
        };
        let _one_at_a_time = self.starting.lock().await;
        if let Some(open) = self.open_job(&target) {
            return Ok(open);
        }
        let started = Timestamp::now();
        let id = self.history.begin(&request, started).await?;
        let view = JobView {
            id,
            kind: request.kind,
            set: request.set,
            friend: request.friend,
            friend_id: request.friend_id,
            state: JobState::Queued,
            started,
            ended: None,
            progress: ProgressView { phase: "connecting".into(), ..ProgressView::default() },
            snapshot: None,
            error: None,
            skipped: Vec::new(),
            skipped_count: 0,
            findings: Vec::new(),
        };
        let asked = {
            let mut table = lock(&self.table);
            let asked = table.queue.request(target.clone(), now_ms());
            if let Ok((queue_id, _)) = &asked {
                let cancel = self.ending.child_token();
                table
                    .jobs
                    .insert(id, Entry { queue_id: *queue_id, target, view: view.clone(), work, cancel });
            }
            asked
        };
        match asked {
            Ok((_, commands)) => {
                self.tell(&view);
                self.carry_out(commands);
                Ok(view)
            }
            Err(error) => {
                let failed = JobView { state: JobState::Failed, error: Some(error.to_string()), ..view };
                self.note_end(&failed).await;
                Err(failure(FailureKind::Conflict, error, "cancel some in the app, or wait"))
            }
        }
    }

    fn open_job(&self, target: &Target) -> Option<JobView> {
        let table = lock(&self.table);
        // As the queue sees it: a job that a pause stopped is still open.
        let is_open = |entry: &&Entry| {
            let cancelled = queue::AfterStop::Cancelled;
            table.queue.job(entry.queue_id).is_some_and(|job| match job.state {
                queue::JobState::Waiting | queue::JobState::Running { .. } => true,
                queue::JobState::Stopping { then, .. } => then != cancelled,
                queue::JobState::Finished { .. } => false,
            })
        };
        let mut same = table.jobs.values().filter(|entry| entry.target == *target);
        same.find(is_open).map(|entry| entry.view.clone())
    }

    fn carry_out(self: &Arc<Self>, commands: Vec<queue::Command>) {
        for command in commands {
            match command {
                queue::Command::Start { id, .. } => self.begin(id),
                queue::Command::Stop { id } => {
                    if let Some(entry) = lock(&self.table).jobs.values().find(|entry| entry.queue_id == id) {
                        entry.cancel.cancel();
                    }
                }
                // The list of commands may grow; a new one is of no use to an old shell.
                _ => {}
            }
        }
    }

    fn begin(self: &Arc<Self>, queue_id: JobId) {
        if self.ending.is_cancelled() {
            return;
        }
        let mut table = lock(&self.table);
        let running = |job: &queue::Job| matches!(job.state, queue::JobState::Running { .. });
        if !table.queue.job(queue_id).is_some_and(running) {
            // It was cancelled or stopped by a pause before it had begun.
            let commands = table.queue.ended(queue_id, now_ms());
            drop(table);
            self.carry_out(commands);
            return;
        }
        let Some(entry) = table.jobs.values_mut().find(|entry| entry.queue_id == queue_id) else { return };
        if entry.cancel.is_cancelled() {
            // It was stopped by a pause and goes on.
            entry.cancel = self.ending.child_token();
        }
        entry.view.state = JobState::Running;
        let (id, work, cancel) = (entry.view.id, entry.work.clone(), entry.cancel.clone());
        let view = entry.view.clone();
        drop(table);
        self.tell(&view);
        info!(job = id, set = view.set.as_deref().unwrap_or("check"), friend = %view.friend, "job begins");
        let jobs = self.clone();
        self.tasks.spawn(async move {
            let handle = Handle { jobs: jobs.clone(), id, cancel };
            // Else the job would run for ever, and keep its place and its friend from others.
            let ended = AssertUnwindSafe(async move { work(handle).await }).catch_unwind().await;
            let ended = ended.unwrap_or_else(|_panic| {
                Ended::failed(failure(
                    FailureKind::Failed,
                    "a fault in the program ended the job",
                    "run it again; `kith logs` says more, please report it",
                ))
            });
            jobs.end(id, queue_id, ended).await;
        });
    }

    async fn end(self: &Arc<Self>, id: u64, queue_id: JobId, mut ended: Ended) {
        let (commands, waits) = {
            let mut table = lock(&self.table);
            let mut commands = table.queue.ended(queue_id, now_ms());
            let mut waits = table.queue.job(queue_id).is_some_and(|job| {
                matches!(job.state, queue::JobState::Waiting | queue::JobState::Running { .. })
            });
            if waits && ended.state != JobState::Cancelled {
                // It came to its end before it heard of the pause: there is nothing to go on with.
                waits = false;
                commands.retain(|c| !matches!(c, queue::Command::Start { id, .. } if *id == queue_id));
                if table.queue.cancel(queue_id, now_ms()).is_ok() {
                    commands.extend(table.queue.ended(queue_id, now_ms()));
                }
            }
            if waits && let Some(entry) = table.jobs.get_mut(&id) {
                entry.view.state = JobState::Queued;
            }
            (commands, waits)
        };
        if waits {
            self.change(id, |_view| {});
            self.carry_out(commands);
            return;
        }
        if ended.state == JobState::Cancelled && self.ending.is_cancelled() {
            ended.state = JobState::Interrupted;
        }
        let now = Timestamp::now();
        let view = self.change(id, |view| {
            view.state = ended.state;
            view.ended = Some(now);
            view.snapshot = ended.snapshot;
            view.error = ended.error.map(|error| match error.hint {
                Some(hint) => format!("{}. {hint}", error.message),
                None => error.message,
            });
            view.skipped = ended.skipped;
            view.skipped_count = ended.skipped_count;
            view.findings = ended.findings;
            view.progress.phase = "done".into();
            view.progress.current = None;
        });
        if let Some(view) = view {
            log_end(&view);
            self.note_end(&view).await;
        }
        self.carry_out(commands);
    }

    async fn note_end(&self, view: &JobView) {
        {
            let mut table = lock(&self.table);
            if let (
                JobKind::Backup,
                JobState::Complete | JobState::CompleteWithOmissions,
                Some(set),
                Some(ended),
            ) = (view.kind, view.state, &view.set, view.ended)
            {
                let complete = view.state == JobState::Complete;
                table.known.note(set.clone(), view.friend_id, ended, complete);
            }
            let over = |entry: &&Entry| entry.view.state.is_over();
            while table.jobs.values().filter(over).count() > queue::FINISHED_KEPT {
                let oldest = table.jobs.values().find(over).map(|entry| entry.view.id);
                oldest.map(|oldest| table.jobs.remove(&oldest));
            }
        }
        if let Err(error) = self.history.end(view).await {
            warn!(%error, "the end of a job was not written to the history");
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut JobView)) -> Option<JobView> {
        let view = {
            let mut table = lock(&self.table);
            let entry = table.jobs.get_mut(&id)?;
            change(&mut entry.view);
            entry.view.clone()
        };
        self.tell(&view);
        Some(view)
    }

    fn tell(&self, view: &JobView) {
        // Nobody listening is fine.
        drop(self.events.send(Event::Job { job: Box::new(view.clone()) }));
    }

    /// Asks a job to end. One that is over stays as it is.
    pub(super) async fn cancel(self: &Arc<Self>, id: u64) {
        let waiting = {
            let mut table = lock(&self.table);
            let Some(entry) = table.jobs.get(&id) else { return };
            let (queue_id, cancel) = (entry.queue_id, entry.cancel.clone());
            let waiting = entry.view.state == JobState::Queued;
            match table.queue.cancel(queue_id, now_ms()) {
                Ok(_commands) => cancel.cancel(),
                Err(_over) => return,
            }
            waiting
        };
        if waiting {
            let now = Timestamp::now();
            let cancelled = self.change(id, |view| {
                view.state = JobState::Cancelled;
                view.ended = Some(now);
            });
            if let Some(view) = cancelled {
                self.note_end(&view).await;
            }
        }
    }

    /// Cancels every job with a friend, for one who is removed.
    pub(super) async fn cancel_friend(self: &Arc<Self>, friend: &DeviceId) {
        self.cancel_where(|view| view.friend_id == *friend).await;
    }

    /// Cancels every job of a set, for one that is removed.
    pub(super) async fn cancel_set(self: &Arc<Self>, set: &str) {
        self.cancel_where(|view| view.set.as_deref() == Some(set)).await;
    }

    async fn cancel_where(self: &Arc<Self>, wanted: impl Fn(&JobView) -> bool) {
        let ids: Vec<u64> = {
            let table = lock(&self.table);
            let open = table.jobs.values().map(|entry| &entry.view).filter(|view| !view.state.is_over());
            open.filter(|view| wanted(view)).map(|view| view.id).collect()
        };
        for id in ids {
            self.cancel(id).await;
        }
    }

    /// Stops all work until a time; running jobs go on afterwards.
    pub(super) fn pause(self: &Arc<Self>, until: Timestamp) {
        let commands = {
            let until = until.as_millisecond().cast_unsigned();
            lock(&self.table).queue.pause(Some(until), now_ms())
        };
        self.carry_out(commands);
        let jobs = self.clone();
        self.tasks.spawn(async move {
            // In steps: timers stand still while the computer sleeps, and the clock may be set.
            loop {
                let left = until.duration_since(Timestamp::now());
                if !left.is_positive() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(left.unsigned_abs().min(Duration::from_secs(30))) => {}
                    () = jobs.ending.cancelled() => return,
                }
            }
            let commands = lock(&jobs.table).queue.tick(now_ms());
            jobs.carry_out(commands);
        });
    }

    /// Ends a pause.
    pub(super) fn resume(self: &Arc<Self>) {
        let commands = lock(&self.table).queue.resume(now_ms());
        self.carry_out(commands);
    }

    /// Ends every job; they are `interrupted` and go on with the next run.
    pub(super) async fn shutdown(&self) {
        self.ending.cancel();
        self.tasks.close();
        drop(tokio::time::timeout(SHUTDOWN, self.tasks.wait()).await);
    }
}

#[cfg(test)]
mod tests;
