//! Carries out a batch: reads from several packs at a time, opens on all cores, writes.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::RestoreError;
use super::batch::{Batch, Files, Part, Reads, Run};
use super::context::{Context, Stopped};
use super::write::{Writer, give_up};
use super::{existing, metadata, others};
use crate::repository::{BlobOpener, Repository, RepositoryError};
use crate::store::{FileKind, StoreError};

/// So many reads are in flight.
const PARALLEL_READS: usize = 8;
/// So many files are compared in one go.
const COMPARED_AT_ONCE: usize = 16;

/// Restores everything of a batch.
pub(super) async fn execute(
    context: &Arc<Context>,
    repository: &Arc<Repository>,
    batch: Batch,
) -> Result<(), Stopped> {
    let Batch { files, others, links, directories, .. } = batch;
    let files = Arc::new(Files { context: Arc::clone(context), list: files });
    let fetched = fetch_files(context, repository, &files).await;
    // Removes what was not finished.
    blocking(context, move || drop(files)).await?;
    fetched?;
    let shared = Arc::clone(context);
    blocking(context, move || {
        // Links after what they lead to, directories after what is in them.
        each(&shared, &others, others::restore)?;
        each(&shared, &links, others::link)?;
        each(&shared, &directories, metadata::finish_directory)
    })
    .await?
}

fn each<T>(context: &Context, list: &[T], work: impl Fn(&Context, &T)) -> Result<(), Stopped> {
    for item in list {
        work(context, item);
        if context.is_stopped() {
            return Err(Stopped);
        }
    }
    Ok(())
}

async fn fetch_files(
    context: &Arc<Context>,
    repository: &Arc<Repository>,
    files: &Arc<Files>,
) -> Result<(), Stopped> {
    compare(context, repository, files).await?;
    let reads = {
        let (repository, files) = (Arc::clone(repository), Arc::clone(files));
        blocking(context, move || {
            let reads = Reads::plan(&repository, &files);
            let mut writer = Writer::default();
            for number in &reads.empty {
                writer.create_empty(&files, *number);
            }
            reads
        })
        .await?
    };
    let fetch = Fetch {
        context: Arc::clone(context),
        repository: Arc::clone(repository),
        files: Arc::clone(files),
        reads: Arc::new(reads),
        cores: Semaphore::new(cores()),
        openers: Arc::default(),
    };
    let mut runs = stream::iter(0..fetch.reads.runs.len())
        .map(|number| Box::pin(fetch.run(number)))
        .buffer_unordered(PARALLEL_READS);
    let mut done = Ok(());
    // After a failure the others end soon by themselves; no thread may go on writing when this returns.
    while let Some(result) = runs.next().await {
        done = done.and(result);
    }
    drop(runs);
    if context.is_stopped() { Err(Stopped) } else { done }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get).max(2)
}

/// Settles the files that are in the target already.
async fn compare(
    context: &Arc<Context>,
    repository: &Arc<Repository>,
    files: &Arc<Files>,
) -> Result<(), Stopped> {
    let compared: Vec<usize> = (0..files.list.len()).filter(|&number| files.list[number].compare).collect();
    let mut tasks =
        stream::iter(compared.chunks(COMPARED_AT_ONCE).map(<[usize]>::to_vec).collect::<Vec<_>>())
            .map(|numbers| {
                let (files, repository) = (Arc::clone(files), Arc::clone(repository));
                blocking(context, move || {
                    for number in numbers.into_iter().take_while(|_| !files.context.is_stopped()) {
                        existing::settle_file(&files.context, &repository, &files.list[number]);
                    }
                })
            })
            .buffer_unordered(cores());
    while let Some(done) = tasks.next().await {
        done?;
    }
    if context.is_stopped() { Err(Stopped) } else { Ok(()) }
}

struct Fetch {
    context: Arc<Context>,
    repository: Arc<Repository>,
    files: Arc<Files>,
    reads: Arc<Reads>,
    /// Permits for opening and writing.
    cores: Semaphore,
    /// Those that nobody uses at the moment: with the permits, there are no more of them than cores.
    openers: Arc<Mutex<Vec<BlobOpener>>>,
}

/// Parts with one blob, by their place in the list, and why its content could not be had.
struct Missing {
    parts: std::ops::Range<usize>,
    error: RepositoryError,
}

impl Fetch {
    async fn run(&self, number: usize) -> Result<(), Stopped> {
        let Some(run) = self.reads.runs.get(number) else { return Ok(()) };
        let load = self.repository.store().load(FileKind::Pack, &run.pack, Some(run.bytes.clone()));
        match self.unless_stopped(load).await? {
            Ok(bytes) => {
                for missing in self.open_and_write(number, bytes).await? {
                    let copies = self.copies(&missing.parts);
                    self.recover(missing, copies > 1).await?;
                }
            }
            Err(error) => {
                let gone = matches!(error, StoreError::NotFound { .. });
                let error = RepositoryError::from(error);
                if !error.concerns_one_object() {
                    return Err(self.context.stop_with(error.into()));
                }
                for parts in groups(&self.reads.parts, run) {
                    let again = !gone || self.copies(&parts) > 1;
                    let error = RepositoryError::damaged(format_args!("pack {}", run.pack), &error);
                    self.recover(Missing { parts, error }, again).await?;
                }
            }
        }
        Ok(())
    }

    /// Opens the blobs of a read and writes them; gives back those that are damaged.
    async fn open_and_write(&self, number: usize, bytes: Bytes) -> Result<Vec<Missing>, Stopped> {
        let permit = self.unless_stopped(self.cores.acquire()).await?;
        let (repository, files) = (Arc::clone(&self.repository), Arc::clone(&self.files));
        let (reads, openers) = (Arc::clone(&self.reads), Arc::clone(&self.openers));
        let done = blocking(&self.context, move || {
            let run = &reads.runs[number];
            let unused = openers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut opener = unused.unwrap_or_default();
            let mut writer = Writer::default();
            let mut missing = Vec::new();
            for group in groups(&reads.parts, run) {
                if files.context.is_stopped() {
                    break;
                }
                let parts = &reads.parts[group.clone()];
                match open(&repository, &mut opener, run, &parts[0], &bytes) {
                    Ok(content) => writer.write(&files, parts, content),
                    Err(error) => missing.push(Missing { parts: group, error }),
                }
            }
            openers.lock().unwrap_or_else(PoisonError::into_inner).push(opener);
            missing
        })
        .await;
        drop(permit);
        done
    }

    /// How many copies the repository has of a blob.
    fn copies(&self, parts: &std::ops::Range<usize>) -> usize {
        let blob = self.reads.parts[parts.start].blob;
        self.repository.locate(blob.blob_type, &blob.id).len()
    }

    /// Tries a blob alone, and its other copies; without success, the files that need it fail.
    async fn recover(&self, missing: Missing, again: bool) -> Result<(), Stopped> {
        let Missing { parts, mut error } = missing;
        let blob = self.reads.parts[parts.start].blob;
        if again {
            let load = self.repository.load_blob(blob.blob_type, &blob.id);
            match self.unless_stopped(Box::pin(load)).await? {
                Ok(content) => {
                    let (files, reads) = (Arc::clone(&self.files), Arc::clone(&self.reads));
                    return blocking(&self.context, move || {
                        Writer::default().write(&files, &reads.parts[parts], &content);
                    })
                    .await;
                }
                Err(fatal) if !fatal.concerns_one_object() => {
                    return Err(self.context.stop_with(fatal.into()));
                }
                Err(failed) => error = failed,
            }
        }
        let (files, reads) = (Arc::clone(&self.files), Arc::clone(&self.reads));
        blocking(&self.context, move || {
            for part in &reads.parts[parts] {
                give_up(&files, &files.list[part.file as usize], &error);
            }
        })
        .await
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => Err(Stopped),
            done = work => Ok(done),
        }
    }
}

fn open<'a>(
    repository: &Repository,
    opener: &'a mut BlobOpener,
    run: &Run,
    part: &Part,
    bytes: &[u8],
) -> Result<&'a [u8], RepositoryError> {
    let start = usize::try_from(u64::from(part.blob.offset) - run.bytes.start).unwrap_or(usize::MAX);
    let sealed = bytes
        .get(start..start.saturating_add(part.blob.length as usize))
        .ok_or_else(|| RepositoryError::damaged(format_args!("pack {}", run.pack), "it is too short"))?;
    repository.open_blob_blocking(opener, &part.blob, sealed).map_err(|error| error.in_pack(&run.pack))
}

/// The parts of a read, those with the same blob together.
fn groups(parts: &[Part], run: &Run) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let mut start = run.parts.start;
    for chunk in parts[run.parts.clone()].chunk_by(|a, b| a.blob == b.blob) {
        groups.push(start..start + chunk.len());
        start += chunk.len();
    }
    groups
}

/// Runs work that blocks or computes, away from the async threads.
async fn blocking<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    tokio::task::spawn_blocking(work).await.map_err(|_| context.stop_with(RestoreError::Interrupted))
}
