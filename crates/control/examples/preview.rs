//! Shows the app with invented data: `cargo run -p kith-control --example preview [live|rich|empty|friends|quiet|picture|near|hostile|long]`,
//! or with the name of a network: `mapped`, `unproved`, `router-off`, ... (see `tests/it/networks.rs`), or of a diagnosis: `works`,
//! `firewall-in-there`, ... (see `tests/it/diagnoses.rs`).
//!
//! Prints a fresh address whenever Enter is pressed (each works once). `live` moves a backup forward.

#[path = "../tests/it/stand_in.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "made for tests, which use more of it")]
mod stand_in;

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::time::Duration;

use kith_control::view::JobState;
use kith_control::{Client, ControlConfig, ControlServer, Event};
use stand_in::StandIn;
use tokio::io::AsyncBufReadExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind = std::env::args().nth(1).unwrap_or_else(|| "live".to_owned());
    let state = match kind.as_str() {
        "empty" => stand_in::empty(),
        "friends" => {
            let mut state = stand_in::rich();
            state.sets.clear();
            state.jobs.clear();
            state.status.jobs.clear();
            state
        }
        "hostile" => stand_in::hostile("\"><img src=x onerror=alert(1)>\u{202e}gpj.exe\n\u{1b}[2J"),
        "long" => stand_in::hostile(&"W".repeat(255)),
        "quiet" => {
            let mut state = stand_in::rich();
            state.jobs.retain(|job| job.state.is_over());
            state.status.jobs.clear();
            state.status.recovery_unseen = true;
            state
        }
        "near" => {
            let mut state = stand_in::rich();
            state.near = stand_in::looking();
            state.jobs.retain(|job| job.state.is_over());
            state.status.jobs.clear();
            state
        }
        // The one in the README.
        "picture" => {
            let mut state = stand_in::rich();
            state.jobs.retain(|job| job.state == JobState::Complete || job.state == JobState::Running);
            state.status.jobs.retain(|job| job.state == JobState::Running);
            state.status.friends.retain(|friend| friend.connected);
            state
        }
        diagnosis if stand_in::diagnoses::ALL.contains(&diagnosis) => {
            let mut state = stand_in::rich();
            state.diagnosis = stand_in::diagnoses::named(diagnosis);
            state
        }
        network if stand_in::networks::ALL.contains(&network) => {
            let mut state = stand_in::rich();
            stand_in::networks::put(network, &mut state.status);
            state
        }
        _ => stand_in::rich(),
    };
    let backend = Arc::new(StandIn::new(state));
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("control.sock");
    let server = ControlServer::start(ControlConfig::new(0, 0, socket.clone()), backend.clone()).await?;
    let client = Client::connect(&socket).await?;
    let mover = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        loop {
            pace.tick().await;
            if kind == "live" {
                advance(&backend);
            }
        }
    });
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    loop {
        let mut out = stdout().lock();
        writeln!(out, "{}", client.app_code().await?.url)?;
        out.flush()?;
        drop(out);
        if lines.next_line().await?.is_none() {
            break;
        }
    }
    mover.abort();
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

fn advance(backend: &StandIn) {
    let mut state = backend.state();
    let Some(job) = state.status.jobs.iter_mut().find(|job| job.state == JobState::Running) else { return };
    let progress = &mut job.progress;
    progress.bytes_done = (progress.bytes_done + 180_000_000) % progress.bytes_total;
    progress.bytes_sent += 20_000_000;
    progress.files_done = (progress.files_done + 321) % progress.files_total;
    progress.current = Some(format!("/home/me/Pictures/2026/08 Norway/IMG_{}.jpg", progress.files_done));
    let event = Event::Job { job: Box::new(job.clone()) };
    drop(state);
    backend.tell(event);
}
