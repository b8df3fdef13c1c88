//! Integration tests of the package `kith`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, helpers included")]

mod doctor;
mod secrets;
mod services;
