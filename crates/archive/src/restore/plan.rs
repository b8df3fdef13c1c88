//! Walks a snapshot, makes its directories in the target, and cuts what is in them into batches.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::batch::{Batch, DirectoryWork, FileWork, First, LinkWork, OtherWork};
use super::context::{Context, Stopped};
use super::error::{EntryError, entry};
use super::events::add;
use super::target::{self, Directory, Placing};
use super::{Overwrite, RestoreError};
use crate::browse::{BrowseError, DEEPEST};
use crate::id::BlobId;
use crate::repository::{BlobType, Repository, RepositoryError};
use crate::tree::{Node, NodeKind, Tree};

/// Entries of the first batch: few, so that fetching begins soon.
const FIRST_BATCH: usize = 1024;
/// Entries of later batches.
const LARGEST_BATCH: usize = 16 * 1024;
/// So many blobs per entry are planned for; a batch with larger files has fewer entries.
const BLOBS_PER_ENTRY: usize = 4;
/// So many files with several names are remembered. Beyond, names are restored as separate files.
const MOST_LINKED: usize = 1_000_000;

/// An entry of a directory, and what is in its place.
type Found = (Node, Option<FileStat>);

struct Level {
    directory: Arc<Directory>,
    entries: VecDeque<Found>,
}

pub(super) struct Planner {
    repository: Arc<Repository>,
    context: Arc<Context>,
    levels: Vec<Level>,
    /// What is left of the way to the path that was asked for.
    way: VecDeque<Node>,
    linked: HashMap<(u64, u64), (BlobId, Arc<First>)>,
    largest: usize,
    done: bool,
}

impl Planner {
    /// Begins at the root tree, of which only `way` is restored if it is not empty.
    pub(super) async fn new(
        repository: Arc<Repository>,
        context: Arc<Context>,
        root: BlobId,
        way: Vec<Node>,
    ) -> Result<Self, RestoreError> {
        let mut planner = Self {
            repository,
            context,
            levels: Vec::new(),
            way: way.into(),
            linked: HashMap::new(),
            largest: FIRST_BATCH,
            done: false,
        };
        let nodes = match planner.way.pop_front() {
            Some(node) => vec![node],
            None => match crate::browse::load_tree(&planner.repository, &root).await {
                Ok(tree) => tree.nodes,
                Err(source) if !source.concerns_one_object() => return Err(source.into()),
                Err(source) => return Err(BrowseError::Unreadable { path: "/".into(), source }.into()),
            },
        };
        let (context, top) = (Arc::clone(&planner.context), planner.context.target.top());
        let directory = Arc::clone(&top);
        let entries = tokio::task::spawn_blocking(move || look_at(&context, &top, nodes))
            .await
            .map_err(|_| RestoreError::Interrupted)?;
        planner.levels.push(Level { directory, entries });
        Ok(planner)
    }

    pub(super) fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// The next batch, nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Stopped> {
        let mut batch = Batch::default();
        while batch.entries() < self.largest && batch.blobs < self.largest * BLOBS_PER_ENTRY {
            if self.context.is_stopped() {
                return Err(Stopped);
            }
            let Some(level) = self.levels.last_mut() else {
                self.done = true;
                self.context.counters.found_all.store(true, Relaxed);
                break;
            };
            match level.entries.pop_front() {
                Some((node, existing)) => {
                    let directory = Arc::clone(&level.directory);
                    self.entry(&mut batch, directory, node, existing).await?;
                }
                None => {
                    if let Some(Level { directory, .. }) = self.levels.pop() {
                        batch.directories.push(directory);
                    }
                }
            }
        }
        self.largest = (self.largest * 4).min(LARGEST_BATCH);
        Ok(if self.done && batch.is_empty() { None } else { Some(batch) })
    }

    async fn entry(
        &mut self,
        batch: &mut Batch,
        directory: Arc<Directory>,
        node: Node,
        existing: Option<FileStat>,
    ) -> Result<(), Stopped> {
        let context = &self.context;
        if !node.has_safe_name() {
            let reason = "its name is not a valid file name; no honest backup contains this";
            context.fail(directory.join(&node.name), reason);
            return Ok(());
        }
        if node.kind == NodeKind::Dir {
            return self.enter(directory, node).await;
        }
        if node.kind == NodeKind::File {
            add(&context.counters.found_files, 1);
            add(&context.counters.found_bytes, node.size);
        }
        if existing.is_some() && context.overwrite == Overwrite::Never {
            context.keep(directory.join(&node.name));
            if node.kind == NodeKind::File {
                context.done(node.size);
            }
            return Ok(());
        }
        let placing = if existing.is_some() { Placing::Replace } else { Placing::New };
        let first = match self.first(&directory, &node) {
            Linked::To(first) => {
                batch.links.push(LinkWork { directory, node, placing, first });
                return Ok(());
            }
            Linked::First(first) => Some(first),
            Linked::No => None,
        };
        if node.kind == NodeKind::File {
            batch.blobs += node.content.as_ref().map_or(0, Vec::len);
            let mut file = FileWork::new(directory, node, placing);
            file.first = first;
            file.compare = self.context.overwrite == Overwrite::Changed
                && existing.is_some_and(|stat| {
                    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
                        && u64::try_from(stat.st_size).ok() == Some(file.node.size)
                });
            batch.files.push(file);
        } else {
            batch.others.push(OtherWork { directory, node, placing, existing, first });
        }
        Ok(())
    }

    /// Whether something has several names, and whether another one was seen before.
    fn first(&mut self, directory: &Arc<Directory>, node: &Node) -> Linked {
        if node.links < 2 || node.inode == 0 {
            return Linked::No;
        }
        let fingerprint = fingerprint(node);
        match self.linked.get(&(node.device_id, node.inode)) {
            Some((known, first)) if *known == fingerprint => Linked::To(Arc::clone(first)),
            Some(_) => Linked::No,
            None if self.linked.len() >= MOST_LINKED => Linked::No,
            None => {
                let (directory, name) = (Arc::clone(directory), node.name.clone());
                let first = Arc::new(First { directory, name, done: AtomicBool::new(false) });
                self.linked.insert((node.device_id, node.inode), (fingerprint, Arc::clone(&first)));
                Linked::First(first)
            }
        }
    }

    /// Makes a directory and goes on in it.
    async fn enter(&mut self, parent: Arc<Directory>, node: Node) -> Result<(), Stopped> {
        let path = parent.join(&node.name);
        if self.levels.len() >= DEEPEST {
            self.context.fail(path, "it lies too deep");
            return Ok(());
        }
        let on_the_way = self.way.pop_front();
        let selected = on_the_way.is_none();
        let listing = match on_the_way {
            Some(node) => Listing::Node(Box::new(node)),
            None => match self.load(&node).await? {
                Ok(bytes) => Listing::Tree(bytes),
                Err(error) => {
                    self.context
                        .fail(path.clone(), format_args!("nothing in this folder can be restored: {error}"));
                    Listing::Nothing
                }
            },
        };
        let context = Arc::clone(&self.context);
        let made = tokio::task::spawn_blocking(move || make(&context, &parent, node, listing));
        let made = tokio::select! {
            biased;
            () = self.context.stop.cancelled() => return Err(Stopped),
            made = made => made.map_err(|_| self.context.stop_with(RestoreError::Interrupted))?,
        };
        match made {
            Ok((directory, node, entries)) => {
                // A directory that was there keeps its metadata, unless replacing was asked for.
                let set = directory.fresh || (selected && self.context.overwrite != Overwrite::Never);
                if set {
                    self.context.await_directory(DirectoryWork { directory: Arc::clone(&directory), node });
                }
                self.levels.push(Level { directory, entries });
            }
            Err(error) => {
                self.way.clear();
                self.context.fail_entry(path, error);
            }
        }
        Ok(())
    }

    async fn load(&self, node: &Node) -> Result<Result<Bytes, RepositoryError>, Stopped> {
        let Some(tree) = &node.subtree else {
            return Ok(Err(RepositoryError::damaged("its entry", "it names no listing")));
        };
        let loaded = tokio::select! {
            biased;
            () = self.context.stop.cancelled() => return Err(Stopped),
            loaded = self.repository.load_blob(BlobType::Tree, tree) => loaded,
        };
        match loaded {
            Err(error) if !error.concerns_one_object() => Err(self.context.stop_with(error.into())),
            loaded => Ok(loaded),
        }
    }
}

enum Linked {
    No,
    First(Arc<First>),
    To(Arc<First>),
}

/// What must be equal for two names of one inode to be the same thing.
fn fingerprint(node: &Node) -> BlobId {
    let mut bytes = node.kind.as_str().as_bytes().to_vec();
    for number in [node.size, node.device, node.mode.into()] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for id in node.content.iter().flatten() {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes.extend_from_slice(node.link_target.as_encoded_bytes());
    BlobId::of(&bytes)
}

/// Where the entries of a directory come from.
enum Listing {
    Tree(Bytes),
    Node(Box<Node>),
    Nothing,
}

type Made = (Arc<Directory>, Node, VecDeque<Found>);

/// Makes a directory and looks at what is in it. Blocks.
fn make(
    context: &Context,
    parent: &Arc<Directory>,
    node: Node,
    listing: Listing,
) -> Result<Made, EntryError> {
    let placing = match context.overwrite {
        Overwrite::Never => Placing::New,
        Overwrite::Changed | Overwrite::Always => Placing::Replace,
    };
    let directory = context
        .target
        .enter(parent, &node.name, placing)
        .map_err(entry("nothing in this folder can be restored"))?;
    let nodes = match listing {
        Listing::Nothing => Vec::new(),
        Listing::Node(node) => vec![*node],
        Listing::Tree(bytes) => Tree::parse(&bytes).map(|tree| tree.nodes).unwrap_or_else(|error| {
            context.fail(directory.path(), format_args!("nothing in this folder can be restored: {error}"));
            Vec::new()
        }),
    };
    let entries = look_at(context, &directory, nodes);
    Ok((directory, node, entries))
}

/// What is in the target in the places of `nodes`. Blocks.
fn look_at(context: &Context, directory: &Arc<Directory>, nodes: Vec<Node>) -> VecDeque<Found> {
    if directory.fresh {
        return nodes.into_iter().map(|node| (node, None)).collect();
    }
    let descriptor = context.target.descriptor(directory);
    let look = |node: &Node| {
        let descriptor = descriptor.as_ref().ok().filter(|_| node.has_safe_name())?;
        // What can't be looked at can't be replaced either, and is told then.
        target::look(&**descriptor, &node.name).ok().flatten()
    };
    let mut seen = HashSet::new();
    let mut found = VecDeque::with_capacity(nodes.len());
    for node in nodes {
        let existing = look(&node);
        // One would replace the other.
        if let Some(stat) = &existing
            && has_one_name(stat)
            && !seen.insert(target::inode(stat))
        {
            let error = EntryError { what: "it can't be restored", errno: Errno::EEXIST };
            context.fail(directory.join(&node.name), error);
            if node.kind == NodeKind::File {
                context.done(node.size);
            }
            continue;
        }
        found.push_back((node, existing));
    }
    found
}

/// Whether nothing else in its directory can be the same thing.
fn has_one_name(stat: &FileStat) -> bool {
    stat.st_nlink == 1 || SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}
