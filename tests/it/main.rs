//! End-to-end tests: every promise of the command line, between real processes.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod arrows;
mod bad_input;
mod both_ways;
mod bugreport;
mod cited;
mod contract;
mod dark;
mod demo;
mod fixtures;
mod flood;
mod heads;
mod hostile;
mod interrupted;
mod kill;
mod lab;
mod lifecycle;
mod local;
mod main_job;
mod memory;
mod newer;
mod pairing;
mod past;
mod recovery;
mod restic;
mod state_db;
mod store_crash;
mod strangers;
mod writers;
