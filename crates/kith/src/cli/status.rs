//! Commands about this computer.

use std::time::Duration;

use kith_control::Client;
use kith_control::view::{FriendView, JobState, ListenerState, StatusView};

use super::Place;
use super::args::Json;
use super::error::{CliError, CliResult};
use super::output::{ago, json, line, note, safe, seconds, size, table, time};
use crate::daemon::keys;

/// Most lines of log that are shown.
const MOST_LINES: usize = 100_000;
/// Longest wait for a restarted daemon.
const RESTART_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn status(client: &Client, Json { json: as_json }: Json) -> CliResult {
    let status = client.status().await?;
    if as_json {
        return json(&status);
    }
    show(&status);
    Ok(())
}

fn show(status: &StatusView) {
    line(format!("{}   {}", safe(&status.name), status.device_id));
    let listener = match status.listener.state {
        ListenerState::Listening => format!("port {} is open for friends", status.listener.port),
        ListenerState::Off => "closed: connections are only dialled (outbound-only)".to_owned(),
        ListenerState::Error => status.listener.error.clone().unwrap_or_else(|| "not open".to_owned()),
    };
    let list = |addresses: &[String]| {
        if addresses.is_empty() { "not known".to_owned() } else { addresses.join(", ") }
    };
    let mut rows = vec![vec!["listener".into(), listener]];
    rows.extend(super::network::router_rows(status, jiff::Timestamp::now()));
    rows.extend([
        vec!["internal".into(), list(&status.internal)],
        vec!["public".into(), list(&status.public)],
    ]);
    rows.extend(super::network::hub_rows(&status.hubs));
    rows.extend([
        vec!["app".into(), format!("http://127.0.0.1:{}/   (`kith open`)", status.control.app_port)],
        vec!["stored here".into(), stored(status)],
        vec!["scrub".into(), scrubbed(status)],
    ]);
    if let Some(until) = status.paused_until {
        rows.push(vec!["paused".into(), format!("until {}", time(until))]);
    }
    table(&rows);
    super::notices::show(&status.notices);
    if let Some(superseded) = &status.superseded {
        note(format!(
            "THIS COMPUTER WRITES NO MORE BACKUPS: it was recovered on another computer on {} ({} says so, with proof). Snapshots \
             can still be listed and restored here.",
            time(superseded.since),
            superseded.told_by
        ));
        note(
            "  to have this one write again, and the other one stop: `kith recover --from HOST:PORT` with its 24 words;\n  \
             to make this a computer of its own: `kith --home NEW_DIRECTORY daemon`, then pair it with friends",
        );
    }
    if let Some(failure) = &status.vault.failure {
        note(format!(
            "THE DISK OF THE VAULT FAILED: it {failure}. Nothing new is stored for friends, reading goes on. Check the disk, then \
             `kith restart`."
        ));
    }
    for job in status.jobs.iter().filter(|job| !job.state.is_over()) {
        let set = job.set.as_deref().unwrap_or("check");
        let state =
            if job.state == JobState::WaitingForFriend { "waiting for the friend" } else { "running" };
        let done = format!("{} of {}", size(job.progress.bytes_done), size(job.progress.bytes_total));
        line(format!("job {}: {} to {}: {state}, {done}", job.id, safe(set), safe(&job.friend)));
    }
    line("");
    super::friends::show(&status.friends, super::friends::Detail::Short);
    if status.recovery_unseen {
        note(
            "reminder: print the recovery sheet (`kith recovery show`): without its words nothing can be restored on a new computer",
        );
    }
}

/// Whether what is kept for friends was read lately, and what came of it.
fn scrubbed(status: &StatusView) -> String {
    let (scrub, total) = (&status.vault.scrub, status.vault.live_bytes);
    let done = match (scrub.under_way, scrub.finished) {
        (true, _) => {
            let begun = scrub.started.map(|started| format!(", begun {}", ago(started))).unwrap_or_default();
            format!("{} of {} read{begun}", size(scrub.read_bytes.min(total)), size(total))
        }
        (false, Some(finished)) => format!("everything was read, {}", ago(finished)),
        (false, None) => "nothing was read yet".to_owned(),
    };
    let done = match scrub.damaged {
        0 => done,
        damaged => format!("{done}; {damaged} objects are DAMAGED on this disk, their owners are told"),
    };
    match &scrub.trouble {
        None => done,
        Some(trouble) => format!("{done}; NOT ALL COULD BE READ: {trouble}"),
    }
}

pub(super) async fn scrub(client: &Client) -> CliResult {
    client.scrub().await?;
    line("everything that is kept for friends is read and compared now; `kith status` shows how far it is");
    Ok(())
}

fn stored(status: &StatusView) -> String {
    let vault = &status.vault;
    let held =
        if vault.held_bytes > 0 { format!(" and {} held", size(vault.held_bytes)) } else { String::new() };
    let free = vault.free_bytes.map(|free| format!(", {} free", size(free))).unwrap_or_default();
    format!("{}{held} in {}{free}; accepted from: {}", size(vault.live_bytes), vault.path, vault.accept)
}

/// One line about a friend's link: by which way, where, since when, how long an answer takes.
pub(super) fn link(friend: &FriendView) -> String {
    let mut words = match (&friend.address, friend.connected) {
        (Some(address), true) => {
            let words = friend.path_words().unwrap_or_else(|| "connected".to_owned());
            vec![format!("connected, {}, at {}", safe(&words), safe(address))]
        }
        _ => vec!["not connected".to_owned()],
    };
    if let Some(since) = friend.path_since.filter(|_| friend.connected).or(friend.connected_since) {
        words.push(format!("since {}", time(since)));
    }
    words.extend(friend.round_trip_words());
    if let Some(seen) = friend.last_seen.filter(|_| !friend.connected) {
        words.push(format!("seen {}", ago(seen)));
    }
    words.join(", ")
}

pub(super) fn id(place: &Place) -> CliResult {
    let home = place.home()?;
    home.check_readable()?;
    if !keys::exist(&home) {
        return Err(CliError::new(
            format!("the home {} has no identity yet", home.root().display()),
            "the first `kith daemon` makes one",
        ));
    }
    line(keys::load(&home)?.identity.device_id().to_string());
    Ok(())
}

pub(super) async fn open(client: &Client, print: bool) -> CliResult {
    let code = client.app_code().await?;
    if print {
        line(code.url);
        return Ok(());
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // The code in the address can be used once, within 30 seconds, and only on this computer.
    let opened = tokio::process::Command::new(opener)
        .arg(&code.url)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .await;
    if !opened.is_ok_and(|status| status.success()) {
        note("no browser could be started; open this address within 30 seconds:");
        line(code.url);
    }
    Ok(())
}

pub(super) async fn ports(client: &Client, Json { json: as_json }: Json) -> CliResult {
    let ports = client.ports().await?;
    if as_json {
        return json(&ports);
    }
    table(&super::network::port_rows(&ports));
    Ok(())
}

pub(super) async fn pause(client: &Client, duration: Duration) -> CliResult {
    client.pause(duration.as_secs()).await?;
    line(format!("backups are paused for {}", seconds(duration.as_secs())));
    Ok(())
}

pub(super) async fn resume(client: &Client) -> CliResult {
    client.resume().await?;
    line("backups go on");
    Ok(())
}

pub(super) async fn reauthenticate(client: &Client) -> CliResult {
    client.reauthenticate().await?;
    line("all links were dropped and are dialled and authenticated again");
    Ok(())
}

pub(super) async fn restart(client: &Client) -> CliResult {
    let before = client.status().await?.started;
    client.restart().await?;
    let patience = tokio::time::Instant::now() + RESTART_PATIENCE;
    while tokio::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if client.status().await.is_ok_and(|status| status.started != before) {
            line("the daemon was restarted");
            return Ok(());
        }
    }
    Err(CliError::new("the daemon did not come back", "`kith logs` says why"))
}

pub(super) fn logs(place: &Place, lines: usize) -> CliResult {
    let home = place.home()?;
    home.check_readable()?;
    for text in crate::home::tail(&home, lines.min(MOST_LINES))? {
        line(safe(&text));
    }
    Ok(())
}
