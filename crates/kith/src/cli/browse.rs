//! Looking into snapshots.

use kith_control::view::EntryView;
use kith_control::{Client, SnapshotQuery};

use super::args::Json;
use super::error::CliResult;
use super::output::{json, line, safe, size, table, time};

/// Characters of a snapshot's id that are shown; arguments take as few.
const SHORT_ID: usize = 8;

pub(super) async fn snapshots(
    client: &Client,
    from: Option<String>,
    set: Option<String>,
    Json { json: as_json }: Json,
) -> CliResult {
    let snapshots = client.snapshots(&SnapshotQuery { friend: from, set }).await?;
    if as_json {
        return json(&snapshots);
    }
    if snapshots.is_empty() {
        line("no snapshots yet: `kith backup` makes one");
        return Ok(());
    }
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
    Ok(())
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
    if as_json {
        return json(&found);
    }
    if found.is_empty() {
        line("nothing found");
    }
    let rows = found.iter().map(|hit| {
        let id = hit.snapshot.chars().take(SHORT_ID).collect::<String>();
        std::iter::once(id).chain(std::iter::once(safe(&hit.friend))).chain(row(&hit.entry)).collect()
    });
    table(&rows.collect::<Vec<_>>());
    Ok(())
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
