//! The support bundle: what somebody who helps needs to know, in one text file that its sender can read.
//!
//! [`Facts`] are gathered first; [`compose`] makes the text of them and is pure. Between the two stands the
//! [`redact::Redactor`]: nothing that is text gets into the report but through it, or as a word written in this module.
//!
//! It never opens a file of `secrets/`, never reads a record of `state.db` and nothing that friends store: of these it
//! knows sizes, modes, and the numbers of their formats.

mod compose;
mod known;
mod now;
mod page;
pub mod redact;
mod storage;
mod system;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use jiff::Timestamp;
use kith_control::view::{JobView, PortView, SetView, StatusView};

pub use self::compose::compose;
pub use self::storage::Storage;
pub use self::system::System;
use crate::settings::Loaded;

/// Lines of the log in a report, unless more or fewer are wanted.
pub const DEFAULT_LINES: usize = 2_000;
/// The most lines of the log in a report.
pub const MOST_LINES: usize = 20_000;
/// The most bytes that the log takes in a report.
const MOST_LOG_BYTES: usize = 3 << 20;
/// The most jobs in a report, the newest.
const MOST_JOBS: usize = 50;
/// The most skipped files, findings and other small things named of one object.
const MOST_NAMED: usize = 20;
/// The most friends, sets, ports and the like.
const MOST_ROWS: usize = 1_000;

/// Everything that goes into a report, as it is: not yet redacted.
#[derive(Debug)]
pub struct Facts {
    /// When it was gathered.
    pub made: Timestamp,
    /// The program and the system under it.
    pub system: System,
    /// The home.
    pub home: PathBuf,
    /// What the daemon says.
    pub daemon: Daemon,
    /// The settings in force for the command line; a sentence if they can't be read.
    pub settings: Result<Loaded, String>,
    /// What lies in the home and the vault, by size, number and mode.
    pub storage: Storage,
    /// The last lines of the log; a sentence if they can't be read.
    pub log: Result<Vec<String>, String>,
}

/// What the daemon says.
#[derive(Debug)]
pub enum Daemon {
    /// None runs in this home.
    Absent,
    /// One is there, and does not answer.
    Silent(String),
    /// What it answered.
    Answers(Box<Answers>),
}

/// The daemon's answers. A sentence stands in place of one that did not come.
#[derive(Debug)]
pub struct Answers {
    /// This computer, its friends, its newest jobs.
    pub status: StatusView,
    /// The ports in use.
    pub ports: Result<Vec<PortView>, String>,
    /// The backup sets.
    pub sets: Result<Vec<SetView>, String>,
    /// The jobs, the newest first.
    pub jobs: Result<Vec<JobView>, String>,
}
