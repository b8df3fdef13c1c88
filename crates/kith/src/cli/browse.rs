//! Looking into snapshots.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kith_control::view::{EntryView, FindsView, FoundView, SnapshotView};
use kith_control::{Client, SnapshotQuery, UndeleteRequest};

use super::args::Json;
use super::error::{CliError, CliResult, Code};
use super::friends::accuse;
use super::output::{json, line, note, safe, seconds, size, table, time};

/// Characters of a snapshot's id that are shown; arguments take as few.
const SHORT_ID: usize = 8;

/// At a difference of so many seconds it is worth a word that "as of" goes by the friend's clock.
const CLOCKS_DIFFER: u64 = 60;

/// Where to look.
pub(super) struct Where {
    pub(super) from: Option<String>,
    pub(super) as_of: Option<Timestamp>,
}

/// Says whose clock an "as of" goes by, if that makes a difference.
pub(super) async fn note_clocks(client: &Client, from: Option<&str>, as_of: Option<Timestamp>) -> CliResult {
    if as_of.is_none() {
        return Ok(());
    }
    for friend in client.friends().await? {
        let is_asked = from.is_none_or(|from| friend.name.eq_ignore_ascii_case(from));
        if let Some(ahead) = friend.clock_ahead_seconds.filter(|_| is_asked)
            && ahead.unsigned_abs() > CLOCKS_DIFFER
        {
            let how = if ahead > 0 { "ahead of" } else { "behind" };
            note(format!(
                "note: the clock of {} is {} {how} this computer's; the time counts by that clock",
                friend.name,
                seconds(ahead.unsigned_abs())
            ));
        }
    }
    Ok(())
}

pub(super) async fn undelete(client: &Client, friend: &str, as_of: Timestamp) -> CliResult {
    note_clocks(client, Some(friend), Some(as_of)).await?;
    let back = client.undelete(friend, &UndeleteRequest { as_of }).await?;
    if back.files == 0 {
        line(format!(
            "nothing that was deleted at {} after {} is still held",
            safe(&back.friend),
            time(as_of)
        ));
        return Ok(());
    }
    line(format!(
        "{} snapshots are there again at {}, with {} files, {}",
        back.snapshots,
        safe(&back.friend),
        back.files,
        size(back.bytes)
    ));
    Ok(())
}

pub(super) async fn snapshots(
    client: &Client,
    query: SnapshotQuery,
    Json { json: as_json }: Json,
) -> CliResult {
    note_clocks(client, query.friend.as_deref(), query.as_of).await?;
    let snapshots = client.snapshots(&query).await?;
    let friends: BTreeSet<String> = snapshots.iter().map(|snapshot| snapshot.friend.clone()).collect();
    if as_json {
        json(&snapshots)?;
    } else if snapshots.is_empty() {
        line("no snapshots yet: `kith backup` makes one");
    } else {
        show(snapshots);
    }
    // What was there once is a question, and no answer about what is there now.
    if query.as_of.is_none() && accuse(client, query.friend.as_deref(), &friends).await? {
        return Err(CliError::said(Code::Failed));
    }
    Ok(())
}

fn show(snapshots: Vec<SnapshotView>) {
    let foreign = snapshots.iter().filter(|snapshot| snapshot.foreign).count();
    let head = ["ID", "TIME", "FRIEND", "SET", "FILES", "SIZE", "PATHS"].map(str::to_owned).to_vec();
    let rows = snapshots.into_iter().map(|snapshot| {
        let dash = || "-".to_owned();
        vec![
            snapshot.id.chars().take(SHORT_ID).collect(),
            time(snapshot.time),
            safe(&snapshot.friend),
            snapshot.set.map_or_else(dash, |set| safe(&set)),
            snapshot.files.map_or_else(dash, |files| files.to_string()),
            snapshot.bytes.map_or_else(dash, size),
            safe(&snapshot.paths.join(", ")),
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    if foreign > 0 {
        note(format!(
            "note: {foreign} of them were written by another program, with an exported key of the archive"
        ));
    }
}

pub(super) async fn ls(
    client: &Client,
    snapshot: &str,
    path: Option<String>,
    Where { from, as_of }: Where,
    Json { json: as_json }: Json,
) -> CliResult {
    note_clocks(client, from.as_deref(), as_of).await?;
    let entries = client.list_entries(snapshot, path.as_deref(), from.as_deref(), as_of).await?;
    if as_json {
        return json(&entries);
    }
    table(&entries.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn find(
    client: &Client,
    pattern: &str,
    Where { from, as_of }: Where,
    Json { json: as_json }: Json,
) -> CliResult {
    note_clocks(client, from.as_deref(), as_of).await?;
    let FindsView { found, unreadable } = client.find(pattern, from.as_deref(), as_of).await?;
    let friends: BTreeSet<String> = found.iter().map(|hit| hit.friend.clone()).collect();
    if as_json {
        json(&found)?;
    } else {
        show_found(found);
    }
    for what in &unreadable {
        note(format!("error: {}", safe(what)));
    }
    if !unreadable.is_empty() {
        note(
            "hint: there may be more in what can't be read; `kith check FRIEND --read-data` tells what is damaged",
        );
    }
    let accused = as_of.is_none() && accuse(client, from.as_deref(), &friends).await?;
    if accused || !unreadable.is_empty() {
        return Err(CliError::said(Code::Failed));
    }
    Ok(())
}

fn show_found(found: Vec<FoundView>) {
    if found.is_empty() {
        line("nothing found");
    }
    let rows = found.iter().map(|hit| {
        let id = hit.snapshot.chars().take(SHORT_ID).collect::<String>();
        std::iter::once(id).chain(std::iter::once(safe(&hit.friend))).chain(row(&hit.entry)).collect()
    });
    table(&rows.collect::<Vec<_>>());
}

fn row(entry: &EntryView) -> Vec<String> {
    let path = match &entry.target {
        Some(target) => format!("{} -> {}", safe(&entry.path), safe(target)),
        None => safe(&entry.path),
    };
    vec![
        entry.mode.clone(),
        safe(&entry.user),
        safe(&entry.group),
        size(entry.size),
        entry.modified.map_or_else(|| "-".to_owned(), time),
        path,
    ]
}
