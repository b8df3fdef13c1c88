//! Hubs under test, and computers that use them and do nothing else.

mod client;
mod process;

pub use client::{Client, HubError, News, identity};
pub use process::HubProcess;
