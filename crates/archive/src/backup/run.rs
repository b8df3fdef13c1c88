//! Runs a backup from beginning to end.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::ahead::Ahead;
use super::exclude::Excludes;
use super::packer::{FullPack, Packer};
use super::plan::{self, Plan};
use super::progress::{Counters, Event, Phase, Reporter};
use super::queue::Queue;
use super::report::{Outcome, Problems};
use super::stop::{Stop, Stopped};
use super::upload::Upload;
use super::walk::{Parent, Walker, scan};
use super::worker::{Buffers, Shared, Worker};
use super::{BackupError, BackupReport, BackupRequest, Limits};
use crate::chunker::Chunker;
use crate::id::BlobId;
use crate::repository::{Repository, RepositoryError, Snapshot, SnapshotSummary};

/// The walker goes as deep as the directories do.
const WALKER_STACK: usize = 16 * 1024 * 1024;
/// How long to wait for the threads of a cancelled backup. One that hangs in a file system is left behind.
const PATIENCE: Duration = Duration::from_millis(300);
/// Who wrote a snapshot.
const PROGRAM: &str = concat!("kith ", env!("CARGO_PKG_VERSION"));

/// Backs up files and directories and writes a snapshot.
///
/// `events` is called about five times a second, from one task, and must return quickly. Cancelling `cancel` ends the
/// backup within a second; what was stored until then is not sent again by the next run. Files that can't be read are no
/// error: they are in the report.
///
/// # Errors
/// A path is missing or relative (before anything is sent), something could not be stored, or it was cancelled.
pub async fn backup(
    repository: Arc<Repository>,
    request: BackupRequest,
    events: impl Fn(Event) + Send + Sync,
    cancel: CancellationToken,
) -> Result<BackupReport, BackupError> {
    let started = Instant::now();
    let backup_start = Timestamp::now();
    repository.ensure_writable()?;
    let excludes = Excludes::new(&request.excludes)?;
    let Sources { paths, plan, links } = sources(request.paths.clone()).await?;

    // A child, so that a failure does not look like a cancellation to the caller.
    let token = cancel.child_token();
    let mut reporter = Reporter::new();
    events(reporter.enter(Phase::Preparing));
    let prepared = tokio::select! {
        biased;
        () = token.cancelled() => return Err(BackupError::Cancelled),
        prepared = async { tokio::try_join!(repository.compare_packs(), find_parent(&repository, &request, &paths)) }
            => prepared?,
    };
    let (compared, parent) = prepared;

    let Limits { packs_in_flight, .. } = request.limits;
    let workers = request.limits.worker_count();
    let (full, packs) = mpsc::channel::<FullPack>(1);
    let shared = Arc::new(Shared {
        chunker: Chunker::new(repository.config().chunker_polynomial),
        packer: Packer::new(Arc::clone(&repository), full, packs_in_flight.max(1)),
        repository: Arc::clone(&repository),
        excludes,
        names: Default::default(),
        queue: Queue::new(workers),
        buffers: Buffers::default(),
        counters: Counters::default(),
        problems: Problems::default(),
        stop: Stop::new(token),
        root: Mutex::default(),
    });

    let _guard = StopOnDrop(&shared);
    for (path, reason) in links {
        shared.skip(&path, reason);
    }
    events(reporter.enter(Phase::Storing));
    let ways = plan.ways();
    let threads = start_threads(&shared, plan, parent.as_ref().map(Parent::of), workers)?;
    let upload = Upload::new(Arc::clone(&shared), packs, packs_in_flight.max(1));
    let root = store(&shared, threads, upload, &mut reporter, &events).await?;
    if shared.counters.entries() <= ways {
        return Err(BackupError::Empty);
    }

    let snapshot = Snapshot {
        time: request.time,
        parent: parent.as_ref().map(|parent| parent.id),
        tree: root,
        paths: paths.iter().map(|path| plan::text(path)).collect(),
        hostname: request.hostname,
        username: request.username,
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        excludes: request.excludes.iter().map(|exclude| exclude.as_str().to_owned()).collect(),
        tags: request.tags,
        original: None,
        program_version: PROGRAM.to_owned(),
        summary: Some(summary(&shared.counters, backup_start)),
        id: crate::FileId::ZERO.into(),
    };
    shared.stop.check().map_err(|Stopped| shared.stop.reason())?;
    let id = repository.save_snapshot(&snapshot).await.map_err(|error| match error {
        RepositoryError::Store(source) => BackupError::Store { what: "the snapshot".to_owned(), source },
        other => other.into(),
    })?;
    if let Some(event) = reporter.tell(Instant::now(), &shared.counters) {
        events(event);
    }
    let outcome =
        Outcome { snapshot: id, tree: root, parent: snapshot.parent, compared, duration: started.elapsed() };
    Ok(shared.problems.to_report(&shared.counters, outcome))
}

/// What is asked for.
struct Sources {
    /// All paths, cleaned.
    paths: Vec<PathBuf>,
    /// How to walk through them.
    plan: Plan,
    /// Paths that are links, and where they lead. To store the link alone would look like a backup of what it leads to.
    links: Vec<(PathBuf, String)>,
}

/// The cleaned paths and how to walk through them. Every one must be there.
async fn sources(paths: Vec<PathBuf>) -> Result<Sources, BackupError> {
    let work = move || {
        let (mut cleaned, mut walked, mut links) = (Vec::with_capacity(paths.len()), Vec::new(), Vec::new());
        for path in paths {
            let Some(clean) = plan::clean(&path) else { return Err(BackupError::SourceNotAbsolute { path }) };
            match clean.symlink_metadata() {
                Ok(_) => {
                    match link_reason(&clean) {
                        Some(reason) => links.push((clean.clone(), reason)),
                        None => walked.push(clean.clone()),
                    }
                    cleaned.push(clean);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Err(BackupError::SourceMissing { path });
                }
                Err(error) => return Err(BackupError::SourceUnreadable { path, source: error.into() }),
            }
        }
        if cleaned.is_empty() {
            return Err(BackupError::NoSource);
        }
        if let (true, Some((path, reason))) = (walked.is_empty(), links.first().cloned()) {
            return Err(BackupError::SourceIsLink { path, reason });
        }
        let plan = Plan::new(&walked)
            .map_err(|error| BackupError::SourceUnreadable { path: "/".into(), source: error.into() })?;
        Ok(Sources { paths: cleaned, plan, links })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BackupError::Interrupted))
}

/// If a path to back up is a symbolic link: that it is not followed, and what to name in its place.
#[must_use]
pub fn link_reason(path: &Path) -> Option<String> {
    // With a slash at its end it would be what it leads to.
    let path: PathBuf = path.components().collect();
    if !path.is_symlink() {
        return None;
    }
    Some(match path.canonicalize() {
        Ok(to) => format!("it is a symbolic link, which is not followed: name {} itself", to.display()),
        Err(_) => "it is a symbolic link that leads nowhere".to_owned(),
    })
}

/// The snapshot to compare with.
async fn find_parent(
    repository: &Repository,
    request: &BackupRequest,
    paths: &[PathBuf],
) -> Result<Option<Snapshot>, RepositoryError> {
    if let Some(id) = &request.parent {
        return repository.load_snapshot(id).await.map(Some);
    }
    let wanted: BTreeSet<String> = paths.iter().map(|path| plan::text(path)).collect();
    let tags: BTreeSet<&String> = request.tags.iter().collect();
    let mut list = repository.snapshots().await?.snapshots;
    list.retain(|snapshot| {
        snapshot.hostname == request.hostname
            && snapshot.paths.iter().cloned().collect::<BTreeSet<_>>() == wanted
            && snapshot.tags.iter().collect::<BTreeSet<_>>() == tags
    });
    Ok(list.pop())
}

/// Starts the walker and the workers. The receiver hears when they are all done.
fn start_threads(
    shared: &Arc<Shared>,
    plan: Plan,
    parent: Option<Parent>,
    workers: usize,
) -> Result<oneshot::Receiver<()>, BackupError> {
    let (done, all_done) = oneshot::channel();
    let shared = Arc::clone(shared);
    let runtime = Handle::current();
    let coordinate = move || {
        let result = run_threads(&shared, &plan, parent, workers, &runtime);
        if result.is_err() {
            // Whoever stopped said why, unless a thread panicked.
            shared.stop.fail(BackupError::Interrupted);
        }
        // Nobody listens if the backup was given up.
        done.send(()).ok();
    };
    thread::Builder::new()
        .name("archive".to_owned())
        .spawn(coordinate)
        .map(|_| all_done)
        .map_err(|_| BackupError::Interrupted)
}

fn run_threads(
    shared: &Arc<Shared>,
    plan: &Plan,
    parent: Option<Parent>,
    workers: usize,
    runtime: &Handle,
) -> Result<(), Stopped> {
    let failed = |_| shared.stop.fail(BackupError::Interrupted);
    let ahead = Ahead::default();
    thread::scope(|scope| {
        let scanner = thread::Builder::new().name("archive-scan".to_owned());
        let scanner = scanner.spawn_scoped(scope, || scan(shared, plan)).map_err(failed)?;
        if parent.is_some() {
            let load = || {
                let _guard = StopOnPanic(&shared.stop);
                ahead.run(&shared.repository, runtime, &shared.stop);
            };
            let loader = thread::Builder::new().name("archive-ahead".to_owned());
            loader.spawn_scoped(scope, load).map_err(failed)?;
        }
        let mut threads = Vec::new();
        for number in 0..workers {
            let work = || {
                let _guard = StopOnPanic(&shared.stop);
                Worker::new(Arc::clone(shared))?.run()
            };
            let thread = thread::Builder::new().name(format!("archive-{number}"));
            threads.push(thread.spawn_scoped(scope, work).map_err(failed)?);
        }
        let walk = || {
            let _guard = StopOnPanic(&shared.stop);
            let walked =
                Walker::new(Worker::new(Arc::clone(shared))?, runtime.clone(), &ahead).run(plan, parent);
            ahead.close();
            shared.queue.close();
            walked
        };
        let walker = thread::Builder::new().name("archive-walk".to_owned()).stack_size(WALKER_STACK);
        threads.push(walker.spawn_scoped(scope, walk).map_err(failed)?);
        let mut result = Ok(());
        for thread in threads {
            let ended = thread.join().unwrap_or_else(|_| Err(shared.stop.fail(BackupError::Interrupted)));
            result = result.and(ended);
        }
        scanner.thread().unpark();
        result
    })?;
    shared.packer.finish(&shared.stop)
}

/// Ends the threads of a backup that was dropped before its end.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.token().cancel();
        self.0.packer.abort();
    }
}

/// The other threads would wait for one that panicked.
struct StopOnPanic<'a>(&'a Stop);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(BackupError::Interrupted);
        }
    }
}

/// Waits for threads and upload, telling the progress. Gives the root tree.
async fn store(
    shared: &Arc<Shared>,
    mut threads: oneshot::Receiver<()>,
    upload: Upload,
    reporter: &mut Reporter,
    events: &(impl Fn(Event) + Send + Sync),
) -> Result<BlobId, BackupError> {
    let mut upload = Box::pin(upload.run());
    let mut ticks = tokio::time::interval(Reporter::interval());
    let mut reading = true;
    let uploaded = loop {
        tokio::select! {
            biased;
            uploaded = &mut upload => break uploaded,
            _ = &mut threads, if reading => {
                reading = false;
                events(reporter.enter(Phase::Finishing));
            }
            _ = ticks.tick() => {
                if let Some(event) = reporter.look(Instant::now(), &shared.counters) {
                    events(event);
                }
            }
        }
    };
    drop(upload);
    if let Err(Stopped) = uploaded {
        shared.packer.abort();
        if reading && tokio::time::timeout(PATIENCE, &mut threads).await.is_err() {
            tracing::warn!("a thread of a cancelled backup does not end yet");
        }
        return Err(shared.stop.reason());
    }
    shared.stop.check().map_err(|Stopped| shared.stop.reason())?;
    let root = *shared.root.lock().unwrap_or_else(PoisonError::into_inner);
    root.ok_or(BackupError::Interrupted)
}

fn summary(counters: &Counters, backup_start: Timestamp) -> SnapshotSummary {
    use std::sync::atomic::Ordering::Relaxed;
    let files = [&counters.files_new, &counters.files_changed, &counters.files_unmodified];
    SnapshotSummary {
        backup_start,
        backup_end: Timestamp::now(),
        files_new: counters.files_new.load(Relaxed),
        files_changed: counters.files_changed.load(Relaxed),
        files_unmodified: counters.files_unmodified.load(Relaxed),
        dirs_new: counters.dirs_new.load(Relaxed),
        dirs_changed: counters.dirs_changed.load(Relaxed),
        dirs_unmodified: counters.dirs_unmodified.load(Relaxed),
        data_blobs: counters.data_blobs.load(Relaxed),
        tree_blobs: counters.tree_blobs.load(Relaxed),
        data_added: counters.new_bytes.load(Relaxed) + counters.new_tree_bytes.load(Relaxed),
        data_added_packed: counters.sealed_bytes.load(Relaxed),
        total_files_processed: files.iter().map(|counter| counter.load(Relaxed)).sum(),
        total_bytes_processed: counters.done_bytes.load(Relaxed),
    }
}
