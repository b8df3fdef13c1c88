//! Looking into snapshots.

use std::collections::BTreeSet;

use kith_control::view::{EntryView, FoundView, SnapshotView};
use kith_control::{Client, SnapshotQuery};

use super::args::Json;
use super::error::{CliError, CliResult, Code};
use super::friends::accuse;
use super::output::{json, line, note, safe, size, table, time};

/// Characters of a snapshot's id that are shown; arguments take as few.
const SHORT_ID: usize = 8;

pub(super) async fn snapshots(
    client: &Client,
    from: Option<String>,
    set: Option<String>,
    Json { json: as_json }: Json,
) -> CliResult {
    let snapshots = client.snapshots(&SnapshotQuery { friend: from.clone(), set }).await?;
    let friends: BTreeSet<String> = snapshots.iter().map(|snapshot| snapshot.friend.clone()).collect();
    if as_json {
        json(&snapshots)?;
    } else if snapshots.is_empty() {
        line("no snapshots yet: `kith backup` makes one");
    } else {
        show(snapshots);
    }
    if accuse(client, from.as_deref(), &friends).await? {
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
    from: Option<String>,
    Json { json: as_json }: Json,
) -> CliResult {
    let entries = client.list_entries(snapshot, path.as_deref(), from.as_deref()).await?;
    if as_json {
        return json(&entries);
    }
    table(&entries.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

pub(super) async fn find(
    client: &Client,
    pattern: &str,
    from: Option<String>,
    Json { json: as_json }: Json,
) -> CliResult {
    let found = client.find(pattern, from.as_deref()).await?;
    let friends: BTreeSet<String> = found.iter().map(|hit| hit.friend.clone()).collect();
    if as_json {
        json(&found)?;
    } else {
        show_found(found);
    }
    if accuse(client, from.as_deref(), &friends).await? {
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
