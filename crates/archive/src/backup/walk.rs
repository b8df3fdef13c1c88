//! The walker: finds what there is, in the order of names, and compares it with the parent snapshot.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Handle;

use super::ahead::Ahead;
use super::directory::{Directory, Place};
use super::file::describe;
use super::metadata;
use super::plan::{Plan, Planned, sorted_names};
use super::progress::add;
use super::queue::{BATCH_BYTES, BATCH_FILES, FileItem, Previous};
use super::stop::Stopped;
use super::worker::{Shared, Worker};
use crate::id::BlobId;
use crate::repository::Snapshot;
use crate::tree::{FileTime, Node, NodeKind, Tree};

/// A run that is done sooner needs no total.
const SCAN_AFTER: Duration = Duration::from_secs(2);
const SCAN_LOOK: Duration = Duration::from_millis(50);
/// The time of a file's last change advances in steps of a few milliseconds; those of FAT are the longest.
const LONGEST_TICK_SECONDS: i64 = 2;

/// The snapshot to compare with.
#[derive(Clone, Copy)]
pub(super) struct Parent {
    tree: BlobId,
    /// Files changed since then may have been changed again unnoticed, after they were read: their times count in ticks,
    /// and both changes in one tick look the same.
    settled: FileTime,
}

impl Parent {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let begun = snapshot.summary.as_ref().map_or(snapshot.time, |summary| summary.backup_start);
        let begun = begun.min(snapshot.time);
        let nanoseconds = u32::try_from(begun.subsec_nanosecond()).unwrap_or(0);
        Self {
            tree: snapshot.tree,
            settled: FileTime { seconds: begun.as_second() - LONGEST_TICK_SECONDS, nanoseconds },
        }
    }
}

/// Walks through the sources and feeds the workers.
pub(super) struct Walker<'a> {
    worker: Worker,
    runtime: Handle,
    ahead: &'a Ahead,
    settled: FileTime,
    batch: Vec<FileItem>,
    batch_bytes: u64,
}

impl<'a> Walker<'a> {
    pub(super) fn new(worker: Worker, runtime: Handle, ahead: &'a Ahead) -> Self {
        let settled = FileTime::default();
        Self { worker, runtime, ahead, settled, batch: Vec::new(), batch_bytes: 0 }
    }

    /// Walks through everything.
    pub(super) fn run(&mut self, plan: &Plan, parent: Option<Parent>) -> Result<(), Stopped> {
        if let Some(parent) = parent {
            self.settled = parent.settled;
        }
        let root = Directory::new(plan.path.clone(), None, parent.map(|parent| parent.tree), None);
        self.walk_plan(plan, root)?;
        self.flush()?;
        self.shared().counters.walked_all.store(true, Relaxed);
        Ok(())
    }

    fn shared(&self) -> &Shared {
        &self.worker.shared
    }

    /// A directory of which only some entries are taken.
    fn walk_plan(&mut self, plan: &Plan, directory: Arc<Directory>) -> Result<(), Stopped> {
        let mut previous = self.load(directory.previous)?;
        for (name, planned) in &plan.entries {
            self.shared().stop.check()?;
            let old = take(&mut previous, name);
            match planned {
                Planned::Source(path) => self.entry(&directory, path, name, old)?,
                Planned::Way(below) => {
                    // The way may lead over symbolic links: here they count as the directories they stand for.
                    let metadata = match fs::metadata(&below.path) {
                        Ok(metadata) => metadata,
                        Err(error) => {
                            self.shared().skip(&below.path, describe(error));
                            continue;
                        }
                    };
                    let node = self.node(&below.path, name, &metadata);
                    let place = directory.reserve();
                    let next = Directory::new(
                        below.path.clone(),
                        Some(node),
                        old.and_then(|node| node.subtree),
                        Some(place),
                    );
                    self.walk_plan(below, next)?;
                }
            }
        }
        self.worker.complete(directory.close())
    }

    /// All entries of a directory.
    fn walk_dir(&mut self, names: &[std::ffi::OsString], directory: &Arc<Directory>) -> Result<(), Stopped> {
        let mut previous = self.load(directory.previous)?;
        for name in names {
            self.shared().stop.check()?;
            let path = directory.path.join(name);
            let old = take(&mut previous, name);
            self.entry(directory, &path, name, old)?;
        }
        self.worker.complete(directory.close())
    }

    fn entry(
        &mut self,
        directory: &Arc<Directory>,
        path: &Path,
        name: &OsStr,
        old: Option<Node>,
    ) -> Result<(), Stopped> {
        if self.shared().excludes.contains(path) {
            add(&self.shared().counters.excluded, 1);
            return Ok(());
        }
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.shared().skip(path, describe(error));
                return Ok(());
            }
        };
        match metadata::kind(&metadata) {
            NodeKind::File => self.file(directory.reserve(), path, name, metadata, old),
            NodeKind::Dir => self.dir(directory, path, name, &metadata, old),
            // A socket lives as long as the program that made it: there is nothing to restore.
            NodeKind::Socket => Ok(()),
            NodeKind::Unknown => {
                self.shared().skip(path, "its kind is unknown");
                Ok(())
            }
            NodeKind::Symlink => {
                let target = match fs::read_link(path) {
                    Ok(target) => target,
                    Err(error) => {
                        self.shared().skip(path, describe(error));
                        return Ok(());
                    }
                };
                let mut node = metadata::node(name, &metadata, &self.shared().names);
                node.link_target = target.into_os_string();
                add(&self.shared().counters.others, 1);
                let place = directory.reserve();
                self.worker.complete(place.fill(&node))
            }
            NodeKind::BlockDevice | NodeKind::CharDevice | NodeKind::Fifo => {
                let node = self.node(path, name, &metadata);
                add(&self.shared().counters.others, 1);
                let place = directory.reserve();
                self.worker.complete(place.fill(&node))
            }
        }
    }

    fn dir(
        &mut self,
        directory: &Arc<Directory>,
        path: &Path,
        name: &OsStr,
        metadata: &Metadata,
        old: Option<Node>,
    ) -> Result<(), Stopped> {
        let names = match sorted_names(path) {
            Ok(names) => names,
            Err(error) => {
                self.shared().skip(path, describe(error));
                return Ok(());
            }
        };
        let node = self.node(path, name, metadata);
        let previous = old.and_then(|node| node.subtree);
        let place = directory.reserve();
        let below = Directory::new(path.to_owned(), Some(node), previous, Some(place));
        self.walk_dir(&names, &below)
    }

    fn file(
        &mut self,
        place: Place,
        path: &Path,
        name: &OsStr,
        metadata: Metadata,
        old: Option<Node>,
    ) -> Result<(), Stopped> {
        let counters = &self.shared().counters;
        add(&counters.walked_files, 1);
        add(&counters.walked_bytes, metadata.size());
        let previous = compare(&metadata, old, self.settled);
        if !matches!(previous, Previous::Same(_)) {
            self.batch_bytes += metadata.size();
        }
        self.batch.push(FileItem { place, path: path.to_owned(), name: name.to_owned(), metadata, previous });
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        self.batch_bytes = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_FILES));
        self.shared().queue.push_files(batch, &self.shared().stop)
    }

    fn node(&self, path: &Path, name: &OsStr, metadata: &Metadata) -> Node {
        let mut node = metadata::node(name, metadata, &self.shared().names);
        self.shared().add_attributes(&mut node, path, metadata::extended_attributes(path));
        node
    }

    /// A directory of the parent snapshot. If it can't be read, its files are read again: nothing is lost.
    fn load(&self, tree: Option<BlobId>) -> Result<Option<Tree>, Stopped> {
        let Some(id) = tree else { return Ok(None) };
        let shared = self.shared();
        let loaded = match self.ahead.take(&id, &shared.stop) {
            Some(loaded) => Some(loaded),
            None => self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = shared.stop.token().cancelled() => None,
                    loaded = shared.repository.load_tree(&id) => Some(loaded),
                }
            }),
        };
        match loaded {
            None => Err(Stopped),
            Some(Ok(tree)) => {
                self.ahead.want(tree.nodes.iter().filter_map(|node| node.subtree));
                Ok(Some(tree))
            }
            Some(Err(error)) => {
                tracing::warn!(tree = %id, %error, "a directory of the previous snapshot can't be read");
                Ok(None)
            }
        }
    }
}

/// Takes an entry out of a directory of the parent snapshot.
fn take(tree: &mut Option<Tree>, name: &OsStr) -> Option<Node> {
    let tree = tree.as_mut()?;
    let at = tree.nodes.binary_search_by(|node| node.name.as_os_str().cmp(name)).ok()?;
    // The name stays, so that the order does.
    let placeholder = Node::new(name, NodeKind::Unknown);
    Some(std::mem::replace(&mut tree.nodes[at], placeholder))
}

/// Whether a file is the one that the parent snapshot has, by what restic compares: size, times, inode. That says nothing
/// about one that had not settled when it was read.
fn compare(metadata: &Metadata, old: Option<Node>, settled: FileTime) -> Previous {
    let Some(old) = old else { return Previous::None };
    let same = old.kind == NodeKind::File
        && old.size == metadata.size()
        && old.modified == metadata::modified(metadata)
        && old.changed == metadata::changed(metadata)
        && old.inode == metadata.ino();
    match (same, old.content) {
        (true, Some(content)) if old.changed < settled => Previous::Same(content),
        (true, Some(content)) => Previous::Unsettled(content),
        _ => Previous::Different,
    }
}

/// Counts everything ahead of the walker, so that the person sees how much there is. Runs beside it, and only if the backup
/// takes long.
pub(super) fn scan(shared: &Shared, plan: &Plan) {
    let mut waited = Duration::ZERO;
    while waited < SCAN_AFTER {
        // Whoever waits for this thread wakes it.
        std::thread::park_timeout(SCAN_LOOK);
        waited += SCAN_LOOK;
        if is_over(shared) {
            return;
        }
    }
    if scan_plan(shared, plan).is_some() {
        shared.counters.scanned_all.store(true, Relaxed);
    }
}

fn is_over(shared: &Shared) -> bool {
    shared.stop.check().is_err() || shared.counters.walked_all.load(Relaxed)
}

fn scan_plan(shared: &Shared, plan: &Plan) -> Option<()> {
    for planned in plan.entries.values() {
        match planned {
            Planned::Way(below) => scan_plan(shared, below)?,
            Planned::Source(path) => scan_entries(shared, path)?,
        }
    }
    Some(())
}

/// `None` if there is no need to go on.
fn scan_entries(shared: &Shared, source: &Path) -> Option<()> {
    let mut left = vec![source.to_owned()];
    while let Some(path) = left.pop() {
        if is_over(shared) {
            return None;
        }
        if shared.excludes.contains(&path) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_file() {
            add(&shared.counters.scanned_files, 1);
            add(&shared.counters.scanned_bytes, metadata.size());
        } else if metadata.is_dir()
            && let Ok(entries) = fs::read_dir(&path)
        {
            left.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
    Some(())
}
