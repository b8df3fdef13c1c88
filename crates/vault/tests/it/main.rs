//! The vault through its public face, on real disks.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, helpers included")]

mod crash;
mod disk;
mod durability;
mod every_call;
mod formats;
mod hold;
mod incarnation;
mod past;
mod protocol;
mod restic;
mod rules;
mod scrub;
mod simulated;
mod state;
mod stolen;
mod support;
