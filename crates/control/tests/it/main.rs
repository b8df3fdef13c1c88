//! The local side from outside: through its socket, its ports, and as a browser or an attacker sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod admission;
mod app;
mod browser;
mod client;
mod description;
mod doctor;
mod doctor_page;
mod doors;
mod harness;
mod hostile;
mod limits;
mod network;
mod notices;
mod pressed;
mod readme;
mod stand_in;
