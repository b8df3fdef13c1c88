//! Backups, restores and checks of real directories, against stock restic, and against those who mean harm.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod backup;
mod browse;
mod damage;
mod forge;
mod hostile;
mod interop;
mod restore;
mod support;
