//! When and what a computer backs up: its named sets, the queue of jobs, progress, and the history of runs.
//!
//! - [`set`]: named folders, exclusions and destinations, checked once at the edge.
//!
//! It reads no files of a set, talks to no friend and spawns nothing: `kith-archive` does the work, `kith` connects the two.

pub mod set;

pub use set::{BackupSet, SetError};
