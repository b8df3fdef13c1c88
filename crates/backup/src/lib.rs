//! When and what a computer backs up: its named sets, the queue of jobs, their progress, and the history of runs.
//!
//! - [`set`]: named folders, exclusions and destinations, checked once at the edge.
//! - [`jobs`]: the queue as a plain state machine: requests and outcomes in, commands out.
//! - [`progress`]: folds what a running job counts into rates and a range for the time left.
//! - [`history`]: what came of each run, kept in the daemon's database.
//!
//! It reads no files of a set, talks to no friend, spawns nothing and has no clock: `kith-archive` does the work, `kith`
//! connects the two and says what time it is. Only [`history`] touches a disk, through the connection it is given; its
//! callers keep it off the async threads.

pub mod history;
pub mod jobs;
pub mod progress;
pub mod set;

pub use history::{History, HistoryError, Outcome, Run, RunId};
pub use jobs::{Command, Job, JobId, JobState, Queue, Target};
pub use progress::{Counts, Meter, Rates};
pub use set::{BackupSet, SetError, SetName, check_sets};
