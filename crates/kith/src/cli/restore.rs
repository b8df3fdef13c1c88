//! `kith restore`: this process writes the files, with the rights of whoever called it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER_PERMISSIVE;
use jiff::Timestamp;
use kith_archive::crypto::open_with_password;
use kith_archive::restore::{self, Overwrite, RestoreError, RestoreEvent, RestoreReport, RestoreRequest};
use kith_archive::{FileKind, LocalStore, MasterKey, Repository, Snapshot, SnapshotId, Store, browse};
use kith_control::view::{ArchiveAccess, FriendView, KnownSnapshotView, SnapshotView};
use kith_control::{Client, SnapshotQuery};
use kith_identity::ArchiveId;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Place;
use super::args::{OverwriteArg, RestoreArgs};
use super::error::{CliError, CliResult, Code};
use super::friends::in_question;
use super::joining::read_secret_line;
use super::output::{line, note, safe, size};
use super::socket_store::store;
use crate::daemon::{SET_TAG, keys};

/// Entries listed that were restored, but not entirely. Of those that were not, the list is as long as the report's.
const MOST_LISTED: usize = 100;
/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn restore(place: &Place, args: RestoreArgs) -> CliResult {
    let (keeper, repository, snapshot) = match &args.repository {
        Some(directory) => from_directory(place, directory, &args).await?,
        None => from_friend(&place.client().await?, &args).await?,
    };
    for warning in repository.warnings() {
        note(format!(
            "note: index {} {keeper} can't be read and is left out: {}",
            warning.id.short(),
            warning.error
        ));
    }
    let target = std::path::absolute(&args.target)?;
    let request = RestoreRequest {
        path: args.path.clone(),
        overwrite: match args.overwrite {
            OverwriteArg::Never => Overwrite::Never,
            OverwriteArg::Changed => Overwrite::Changed,
            OverwriteArg::Always => Overwrite::Always,
        },
        ..RestoreRequest::new(snapshot, &target)
    };
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let interrupt = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    }));
    let screen = Screen::new();
    let outcome = restore::restore(Arc::new(repository), request, |event| screen.show(&event), cancel).await;
    drop(interrupt);
    screen.end();
    let report = outcome.map_err(|error| restore_error(&error, &keeper))?;
    say(&report, &target, &keeper)
}

/// Says what to do about a restore that could not begin, or not go on.
fn restore_error(error: &RestoreError, keeper: &str) -> CliError {
    let hint = match error {
        RestoreError::Browse(browse::BrowseError::Unreadable { .. }) => Some(
            "`kith check FRIEND --read-data` tells what can still be restored; other snapshots may be whole",
        ),
        RestoreError::Browse(_) => Some("`kith ls SNAPSHOT` and `kith ls SNAPSHOT PATH` show what is in it"),
        RestoreError::Target { .. } | RestoreError::Denied { .. } | RestoreError::ReadOnly { .. } => {
            Some("choose a folder that you may write to with --target")
        }
        RestoreError::Full { .. } => {
            Some("make room, or choose another --target; what is restored already is not fetched again")
        }
        RestoreError::Cancelled => Some("the same command goes on where it was cancelled"),
        RestoreError::Repository(_) => {
            Some("what is restored already is complete; the same command goes on from there")
        }
        _ => None,
    };
    CliError {
        code: Code::Failed,
        message: format!("the restore of what lies {keeper} failed: {}", crate::daemon::with_sources(error)),
        hint: hint.map(str::to_owned),
    }
}

/// Says what came of it, and what did not.
fn say(report: &RestoreReport, target: &Path, keeper: &str) -> CliResult {
    line(format!(
        "restored {} files, {}, to {} in {:.1} s",
        report.files,
        size(report.bytes),
        shown(target),
        report.duration.as_secs_f64()
    ));
    let kept = report.kept.total;
    if kept > 0 {
        note(format!(
            "{kept} existing files were kept as they are; `--overwrite changed` replaces those that differ"
        ));
    }
    if report.withheld.total > 0 {
        note(format!(
            "{} entries were restored without special rights, or not at all:",
            report.withheld.total
        ));
        for withheld in report.withheld.items.iter().take(MOST_LISTED) {
            note(format!("  {}: {}", shown(&withheld.path), withheld.kind));
        }
        and_more(report.withheld.total, MOST_LISTED);
    }
    if report.incomplete.total > 0 {
        note(format!("{} entries lack a part of their metadata:", report.incomplete.total));
        for failure in report.incomplete.items.iter().take(MOST_LISTED) {
            note(format!("  {}: {}", shown(&failure.path), safe(&failure.reason)));
        }
        and_more(report.incomplete.total, MOST_LISTED);
    }
    if report.is_complete() {
        return Ok(());
    }
    note(format!("error: {} entries could not be restored from what lies {keeper}:", report.failed.total));
    for failure in &report.failed.items {
        note(format!("  {}: {}", shown(&failure.path), safe(&failure.reason)));
    }
    and_more(report.failed.total, report.failed.items.len());
    Err(CliError::said(Code::Failed))
}

/// Ends a list that was cut.
fn and_more(total: u64, listed: usize) {
    let more = total.saturating_sub(listed as u64);
    if more > 0 {
        note(format!("  and {more} more"));
    }
}

fn shown(path: &Path) -> String {
    safe(&path.to_string_lossy())
}

/// An archive at a friend, by way of the daemon.
async fn from_friend(client: &Client, args: &RestoreArgs) -> CliResult<(String, Repository, Snapshot)> {
    super::browse::note_clocks(client, args.from.as_deref(), args.as_of).await?;
    let query = SnapshotQuery { friend: args.from.clone(), set: args.set.clone(), as_of: args.as_of };
    let views = client.snapshots(&query).await?;
    let shown = views.iter().map(|view| view.friend.clone()).collect();
    let friends = in_question(client.friends().await?, args.from.as_deref(), &shown);
    let chosen = if args.snapshot == "latest" {
        views.last()
    } else {
        views.iter().rev().find(|view| args.snapshot.len() >= 8 && view.id.starts_with(&args.snapshot))
    };
    // What was there once is a question, and no answer about what is there now.
    if args.as_of.is_none() {
        refuse_what_is_missing(args, chosen, &friends)?;
    }
    for friend in friends.iter().filter(|friend| chosen.is_none_or(|chosen| chosen.friend == friend.name)) {
        if let Some(message) = &friend.archive.message {
            note(format!("warning: {}", safe(message)));
        }
    }
    let friend = match (chosen, &args.from) {
        (Some(view), _) => view.friend.clone(),
        (None, Some(from)) => from.clone(),
        (None, None) => {
            return Err(CliError::new(
                match views.is_empty() {
                    true => "there is no snapshot yet".to_owned(),
                    false => format!("no snapshot is called {:?}", args.snapshot),
                },
                "`kith snapshots` lists them; the first 8 characters of an id are enough",
            ));
        }
    };
    let access = client.archive_access(&friend).await?;
    let key = Arc::new(master_key(&access)?);
    let keeper = format!("at {friend}");
    let store = store(client, &access)
        .as_of(args.as_of.map(|as_of| u64::try_from(as_of.as_millisecond()).unwrap_or(0)));
    let opened = Repository::open(Arc::new(store), key).await;
    let repository = opened.map_err(|error| archive_error(&error, &keeper))?;
    // The very snapshot that was compared with what should be there.
    let wanted = chosen.map_or(args.snapshot.as_str(), |view| view.id.as_str());
    let snapshot = find(&repository, wanted, args.set.as_deref(), &keeper).await?;
    Ok((keeper, repository, snapshot))
}

/// What is called the latest must not be an older one, and a snapshot that is known and not there is not "unknown".
fn refuse_what_is_missing(
    args: &RestoreArgs,
    chosen: Option<&SnapshotView>,
    friends: &[FriendView],
) -> CliResult {
    let latest = args.snapshot == "latest";
    let older = |time: Timestamp| chosen.is_none_or(|chosen| chosen.time < time);
    for friend in friends {
        let archive = &friend.archive;
        let wanted = |known: &&KnownSnapshotView| {
            let of_set = args.set.is_none() || known.set.is_none() || args.set == known.set;
            if latest { of_set && older(known.time) } else { known.id.starts_with(&args.snapshot) }
        };
        let named = latest || (chosen.is_none() && args.snapshot.len() >= 8);
        if named && archive.missing.iter().any(|known| wanted(&known)) {
            let message = archive.message.clone().unwrap_or_default();
            return Err(CliError {
                code: Code::Failed,
                message: safe(&message),
                hint: Some(match chosen {
                    Some(chosen) => format!(
                        "the newest that is there is of {}: `kith restore {} --target DIR` restores it",
                        super::output::time(chosen.time),
                        &chosen.id[..chosen.id.len().min(8)]
                    ),
                    None => archive.hint.clone().unwrap_or_default(),
                }),
            });
        }
        // Not there to be asked: what can be had is better than nothing, but not without a word.
        if latest
            && !friend.connected
            && let Some(known) = archive.newest.iter().find(wanted)
            && chosen.is_some()
        {
            note(format!(
                "note: {} keeps a newer snapshot, {} of {}, and is not connected",
                safe(&friend.name),
                &known.id[..known.id.len().min(8)],
                super::output::time(known.time)
            ));
        }
    }
    Ok(())
}

fn master_key(access: &ArchiveAccess) -> CliResult<MasterKey> {
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(access.master_key.as_bytes()).unwrap_or_default());
    let bytes: Option<&[u8; 64]> = bytes.as_slice().try_into().ok();
    bytes.and_then(|bytes| MasterKey::from_bytes(bytes).ok()).ok_or_else(|| {
        CliError::new("the daemon gave a key that makes no sense", "update both to one version")
    })
}

/// A restic repository in a directory: our own archive (a copy of a friend's directory) or any other with a password.
async fn from_directory(
    place: &Place,
    directory: &Path,
    args: &RestoreArgs,
) -> CliResult<(String, Repository, Snapshot)> {
    let keeper = format!("in {}", directory.display());
    if std::fs::exists(directory.join("config")).is_ok_and(|there| !there) {
        return Err(CliError::new(
            format!("{} is no restic repository", directory.display()),
            "name the directory that holds the files `config`, `data` and `index`",
        ));
    }
    let path = directory.to_owned();
    let opened = tokio::task::spawn_blocking(move || LocalStore::open(path)).await;
    let store = opened.map_err(|_ending| CliError::said(Code::Failed))?.map_err(|error| {
        CliError::new(
            format!("{} can't be opened: {}", directory.display(), crate::daemon::with_sources(&error)),
            "name the directory that holds the files `config`, `data` and `index`",
        )
    })?;
    let store: Arc<dyn Store> = Arc::new(store);
    let key = if store.list(FileKind::Key).await?.is_empty() {
        own_key(place, directory)?
    } else {
        let password = Zeroizing::new(read_secret_line("Password of the repository: ").await?);
        open_with_password(&*store, &password).await.map_err(|error| {
            CliError::new(
                crate::daemon::with_sources(&error),
                "check the password; it is read from standard input",
            )
        })?
    };
    let opened = Repository::open(store, Arc::new(key)).await;
    let repository = opened.map_err(|error| archive_error(&error, &keeper))?;
    let snapshot = find(&repository, &args.snapshot, args.set.as_deref(), &keeper).await?;
    if args.snapshot == "latest"
        && let Some(id) = own_id(directory)
        && let Some((newest, made)) = newest_known(place, &id, args.set.as_deref()).await
        && made > snapshot.time
    {
        note(format!(
            "note: this copy is older than what this computer knows of: the newest snapshot in it is of {}, the newest of \
             all is {} of {}",
            super::output::time(snapshot.time),
            newest.short(),
            super::output::time(made)
        ));
    }
    Ok((keeper, repository, snapshot))
}

/// The id of the archive that a directory is a copy of, by its name.
fn own_id(directory: &Path) -> Option<ArchiveId> {
    let full = std::fs::canonicalize(directory).unwrap_or_else(|_| PathBuf::from(directory));
    full.file_name()?.to_str()?.parse().ok()
}

/// The newest snapshot of an archive that this computer has made or seen. A copy can be restored without knowing it.
async fn newest_known(
    place: &Place,
    archive: &ArchiveId,
    set: Option<&str>,
) -> Option<(SnapshotId, Timestamp)> {
    let home = place.home().ok()?;
    let known = crate::daemon::known_snapshots(&home, archive).await.ok()?;
    known
        .into_iter()
        .filter(|(_, _, of)| set.is_none() || set == of.as_deref())
        .map(|(id, time, _)| (id, time))
        .max_by_key(|(_, time)| *time)
}

/// The key of a copied archive directory, whose name is the archive's id.
fn own_key(place: &Place, directory: &Path) -> CliResult<MasterKey> {
    let Some(id) = own_id(directory) else {
        return Err(CliError::new(
            format!(
                "{} has no keys, and its name is not that of one of this computer's archives",
                directory.display()
            ),
            "name the copied directory as it was called at the friend, or add the key file that \
             `kith recovery restic-key` writes, in `keys/`",
        ));
    };
    let root = keys::archive_root(&place.home()?)?;
    MasterKey::from_bytes(root.master_key(&id).as_bytes()).map_err(|error| {
        CliError::new(format!("the archive's key can't be used: {error}"), "is this the right computer?")
    })
}

async fn find(repository: &Repository, wanted: &str, set: Option<&str>, keeper: &str) -> CliResult<Snapshot> {
    let mut list = repository.snapshots().await.map_err(|error| archive_error(&error, keeper))?;
    for unreadable in &list.unreadable {
        note(format!(
            "note: snapshot {} {keeper} can't be read: {}",
            unreadable.id.short(),
            unreadable.error
        ));
    }
    if let Some(set) = set {
        let tag = format!("{SET_TAG}{set}");
        list.snapshots.retain(|snapshot| snapshot.tags.contains(&tag));
    }
    browse::resolve_snapshot(&list.snapshots, wanted).cloned().map_err(|error| {
        CliError::new(error, "`kith snapshots` lists them; the first 8 characters of an id are enough")
    })
}

fn archive_error(error: &kith_archive::RepositoryError, keeper: &str) -> CliError {
    CliError {
        code: Code::Failed,
        message: format!("the archive {keeper} can't be read: {}", crate::daemon::with_sources(error)),
        hint: None,
    }
}

/// Progress: a bar on a terminal, plain lines otherwise.
struct Screen {
    bar: Option<indicatif::ProgressBar>,
    last: Mutex<Instant>,
}

impl Screen {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = indicatif::ProgressBar::new(1);
            if let Ok(style) = indicatif::ProgressStyle::with_template("restore  {bar:24} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last: Mutex::new(Instant::now()) }
    }

    fn show(&self, event: &RestoreEvent) {
        let RestoreEvent::Progress(progress) = event else { return };
        let text = format!(
            "{} of {}, {} of {} files",
            size(progress.done.bytes),
            size(progress.found.bytes),
            progress.done.files,
            progress.found.files
        );
        if let Some(bar) = &self.bar {
            bar.set_length(progress.found.bytes.max(1));
            bar.set_position(progress.done.bytes);
            bar.set_message(text);
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            note(format!("restore: {text}"));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
