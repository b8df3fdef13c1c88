//! Backups against real directories and against stock restic.

mod backup;
mod interop;
mod support;
