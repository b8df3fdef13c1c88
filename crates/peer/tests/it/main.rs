//! Two computers in one process, with real sockets between them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole crate is a test; clippy takes only functions marked as tests for such"
)]

mod crowds;
mod dial_backs;
mod hubs;
mod moving;
mod network;
mod observing;
mod support;
mod ways;
