//! End-to-end tests: every promise of the command line, between real processes.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod alternates;
mod arrows;
mod bad_input;
mod both_ways;
mod bugreport;
mod carried;
mod carriers_lie;
mod cited;
mod condition;
mod contract;
mod dark;
mod demo;
mod failover;
mod fixtures;
mod flood;
mod heads;
mod history;
mod hostile;
mod hubs;
mod interrupted;
mod kill;
mod lab;
mod lifecycle;
mod local;
mod main_job;
mod memory;
mod newer;
mod notices;
mod pairing;
mod past;
mod policy;
mod reach;
mod recovery;
mod restic;
mod shown;
mod state_db;
mod store_crash;
mod strangers;
mod ways;
mod writers;
