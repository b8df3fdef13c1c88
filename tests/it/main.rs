//! End-to-end tests: every promise of the command line, between real processes.

mod arrows;
mod contract;
mod lifecycle;
mod main_job;
mod pairing;
mod recovery;
mod restic;
mod strangers;
