//! Other systems: the application firewall of macOS says whether it is on; of its rules and of other firewalls nothing is known.

use std::time::Duration;

use kith_doctor::firewall::Texts;
use tokio::time::Instant;

use super::super::program::spoken;

/// The program by which the firewall of macOS is asked.
const FIREWALL: &str = "socketfilterfw";

/// What it prints.
pub(in super::super) async fn texts(patience: Duration) -> Texts {
    let macos = spoken(FIREWALL, &["--getglobalstate"], Instant::now() + patience).await;
    Texts { macos, ..Texts::default() }
}
