//! The listener against real sockets, and against the programs that people look in with.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole crate is a test; clippy takes only functions marked as tests for such"
)]

mod binding;
mod dark;
mod dial_backs;
mod floods;
mod friends;
mod legs;
mod people;
mod punches;
mod support;
