//! The queue of jobs as a plain state machine: requests, outcomes and the time come in, commands go out.
//!
//! A job backs up one set to one friend. At most one job runs for each friend and for each archive (two writers of one
//! archive would disturb each other), and at most a given number in total; the rest wait in the order of their requests.
//! Whoever owns the queue carries out the [`Command`]s it returns and reports what came of them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use thiserror::Error;

/// Jobs that may wait or run at once.
pub const JOBS_MAX: usize = 1000;
/// Finished jobs that stay listed.
pub const FINISHED_KEPT: usize = 100;

/// Number of a job, unique until the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a job backs up, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Name of the set.
    pub set: String,
    /// Device id of the friend, as text.
    pub friend: String,
    /// The archive at the friend, as text.
    pub archive: String,
}

/// How a job stands. Times are in milliseconds of the caller's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn.
    Waiting,
    /// It runs.
    Running {
        /// When it began.
        since_ms: u64,
    },
    /// It was told to stop and has not yet.
    Stopping {
        /// When it was told.
        since_ms: u64,
        /// Whether it goes on later.
        then: AfterStop,
    },
    /// It is over.
    Finished {
        /// When it ended.
        at_ms: u64,
        /// How.
        result: JobResult,
    },
}

/// What becomes of a job once it has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStop {
    /// It is cancelled.
    Cancelled,
    /// It waits again, at the head of the queue: nothing it stored is sent twice.
    Waits,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobResult {
    /// Its work came to an end, good or bad: the run in the history says which.
    Done,
    /// It was cancelled.
    Cancelled,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What it backs up, and to whom.
    pub target: Target,
    /// When it was asked for, in milliseconds of the caller's clock.
    pub requested_ms: u64,
    /// How it stands.
    pub state: JobState,
}

/// What the owner of the queue must do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Start this job, and call [`Queue::ended`] when it is over.
    Start {
        /// The job.
        id: JobId,
        /// What it backs up, and to whom.
        target: Target,
    },
    /// Ask this running job to stop; [`Queue::ended`] is still to be called when it has.
    Stop {
        /// The job.
        id: JobId,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JobError {
    /// Too many wait already.
    #[error("{JOBS_MAX} backup jobs are waiting already; wait until some are done")]
    QueueFull,
    /// No such job.
    #[error("there is no backup job {id}")]
    Unknown {
        /// The number asked for.
        id: JobId,
    },
    /// Nothing left to cancel.
    #[error("backup job {id} is over already")]
    Over {
        /// The job.
        id: JobId,
    },
}

/// The queue.
#[derive(Debug, Clone)]
pub struct Queue {
    limit: usize,
    next: u64,
    /// Waiting and running jobs, in the order in which they may start.
    live: VecDeque<Job>,
    /// Over, oldest first.
    finished: VecDeque<Job>,
    pause: Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    Off,
    Until(u64),
    Open,
}

impl Queue {
    /// A queue that runs at most `limit` jobs at once, at least one.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            next: 1,
            live: VecDeque::new(),
            finished: VecDeque::new(),
            pause: Pause::Off,
        }
    }

    /// Asks for a backup. One that waits or runs already for the same target is that job.
    ///
    /// # Errors
    /// [`JobError::QueueFull`].
    pub fn request(&mut self, target: Target, now_ms: u64) -> Result<(JobId, Vec<Command>), JobError> {
        let same = |job: &&Job| job.target == target && !job.is_being_cancelled();
        if let Some(job) = self.live.iter().find(same) {
            return Ok((job.id, Vec::new()));
        }
        if self.live.len() >= JOBS_MAX {
            return Err(JobError::QueueFull);
        }
        let id = JobId(self.next);
        self.next += 1;
        self.live.push_back(Job { id, target, requested_ms: now_ms, state: JobState::Waiting });
        Ok((id, self.start_what_may(now_ms)))
    }

    /// Cancels a job: a waiting one is over at once, a running one is told to stop.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::Over`].
    pub fn cancel(&mut self, id: JobId, now_ms: u64) -> Result<Vec<Command>, JobError> {
        let Some(index) = self.live.iter().position(|job| job.id == id) else {
            let over = self.finished.iter().any(|job| job.id == id);
            return Err(if over { JobError::Over { id } } else { JobError::Unknown { id } });
        };
        match self.live[index].state {
            JobState::Running { .. } => {
                self.live[index].state = JobState::Stopping { since_ms: now_ms, then: AfterStop::Cancelled };
                Ok(vec![Command::Stop { id }])
            }
            // It was told to stop already; now it does not go on later.
            JobState::Stopping { since_ms, .. } => {
                self.live[index].state = JobState::Stopping { since_ms, then: AfterStop::Cancelled };
                Ok(Vec::new())
            }
            JobState::Waiting | JobState::Finished { .. } => {
                self.finish(index, JobResult::Cancelled, now_ms);
                Ok(Vec::new())
            }
        }
    }

    /// A job that was started is over, for whatever reason; the next ones may start.
    pub fn ended(&mut self, id: JobId, now_ms: u64) -> Vec<Command> {
        if let Some(index) = self.live.iter().position(|job| job.id == id) {
            match self.live[index].state {
                JobState::Stopping { then: AfterStop::Waits, .. } => {
                    self.live[index].state = JobState::Waiting;
                }
                JobState::Stopping { then: AfterStop::Cancelled, .. } => {
                    self.finish(index, JobResult::Cancelled, now_ms);
                }
                JobState::Running { .. } => self.finish(index, JobResult::Done, now_ms),
                JobState::Waiting | JobState::Finished { .. } => {}
            }
        }
        self.start_what_may(now_ms)
    }

    /// Stops all work until a time, or until [`Queue::resume`]: running jobs are told to stop and go on later.
    pub fn pause(&mut self, until_ms: Option<u64>, now_ms: u64) -> Vec<Command> {
        self.pause = until_ms.map_or(Pause::Open, Pause::Until);
        if !self.is_paused(now_ms) {
            return self.start_what_may(now_ms);
        }
        let mut commands = Vec::new();
        for job in &mut self.live {
            if matches!(job.state, JobState::Running { .. }) {
                job.state = JobState::Stopping { since_ms: now_ms, then: AfterStop::Waits };
                commands.push(Command::Stop { id: job.id });
            }
        }
        commands
    }

    /// Ends a pause.
    pub fn resume(&mut self, now_ms: u64) -> Vec<Command> {
        self.pause = Pause::Off;
        self.start_what_may(now_ms)
    }

    /// To be called when [`Queue::wake_at`] has come.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Command> {
        self.start_what_may(now_ms)
    }

    /// When to call [`Queue::tick`]: at the end of a pause.
    pub fn wake_at(&self) -> Option<u64> {
        match self.pause {
            Pause::Until(end) => Some(end),
            Pause::Off | Pause::Open => None,
        }
    }

    /// True while nothing may start.
    pub fn is_paused(&self, now_ms: u64) -> bool {
        match self.pause {
            Pause::Off => false,
            Pause::Until(end) => now_ms < end,
            Pause::Open => true,
        }
    }

    /// One job, waiting, running or lately finished.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.live.iter().chain(&self.finished).find(|job| job.id == id)
    }

    /// All jobs: running and waiting ones in the order of the queue, then finished ones, newest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.live.iter().chain(self.finished.iter().rev())
    }

    fn start_what_may(&mut self, now_ms: u64) -> Vec<Command> {
        if self.is_paused(now_ms) {
            return Vec::new();
        }
        // A pause that has run out is over, even if the clock should go back.
        self.pause = Pause::Off;
        let mut commands = Vec::new();
        for index in 0..self.live.len() {
            let busy = self.live.iter().filter(|job| job.is_active());
            let job = &self.live[index];
            let disturbs = |other: &Job| {
                other.target.friend == job.target.friend || other.target.archive == job.target.archive
            };
            if job.state != JobState::Waiting || busy.clone().any(disturbs) {
                continue;
            }
            if busy.count() >= self.limit {
                break;
            }
            commands.push(Command::Start { id: job.id, target: job.target.clone() });
            self.live[index].state = JobState::Running { since_ms: now_ms };
        }
        commands
    }

    fn finish(&mut self, index: usize, result: JobResult, at_ms: u64) {
        let Some(mut job) = self.live.remove(index) else { return };
        job.state = JobState::Finished { at_ms, result };
        self.finished.push_back(job);
        if self.finished.len() > FINISHED_KEPT {
            self.finished.pop_front();
        }
    }
}

impl Job {
    /// True while it holds its friend and its archive.
    fn is_active(&self) -> bool {
        matches!(self.state, JobState::Running { .. } | JobState::Stopping { .. })
    }

    fn is_being_cancelled(&self) -> bool {
        matches!(self.state, JobState::Stopping { then: AfterStop::Cancelled, .. })
    }
}
