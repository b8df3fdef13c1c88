//! The vault through its public face, on real disks.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, helpers included")]

mod crash;
mod disk;
mod durability;
mod protocol;
mod restic;
mod rules;
mod state;
mod support;
