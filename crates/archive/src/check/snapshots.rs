//! Follows every snapshot to its last blob. Every directory is read once, however many snapshots have it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::vec::IntoIter;

use super::packs::Packs;
use super::report::Collector;
use super::{CheckError, Finding, reason};
use crate::browse::{DEEPEST, load_tree};
use crate::id::{BlobId, SnapshotId};
use crate::repository::{BlobType, Repository, RepositoryError};
use crate::tree::{Node, NodeKind, Tree};

/// So many lost files are named.
const EXAMPLES: usize = 5;

/// Follows all snapshots.
pub(super) async fn follow(
    repository: &Arc<Repository>,
    packs: &Packs,
    collector: &Collector,
) -> Result<(), CheckError> {
    let list = repository.snapshots().await?;
    collector.snapshots_total.store(list.snapshots.len() as u64, Relaxed);
    for warning in &list.unreadable {
        let (id, reason) = (warning.id.into(), reason(&warning.error));
        collector.find(Finding::UnreadableSnapshot { id, reason });
    }
    let mut follower =
        Follower { repository, packs, collector, whole: HashSet::new(), damaged: HashMap::new() };
    // The newest first: what is lost in several is told first for the one that matters most.
    for snapshot in list.snapshots.iter().rev() {
        let loss = follower.snapshot(snapshot.id, snapshot.tree).await?;
        if let Some(reason) = loss.reason {
            let (snapshot, examples) = (snapshot.id, loss.examples);
            if loss.files > 0 {
                collector.find(Finding::LostFiles { snapshot, count: loss.files, examples, reason });
            }
        }
        collector.update(|report| report.snapshots += 1);
    }
    Ok(())
}

/// What is lost in and below a directory.
#[derive(Clone, Default)]
struct Loss {
    files: u64,
    /// Unreadable directories.
    folders: u64,
    /// Relative to the directory.
    examples: Vec<PathBuf>,
    reason: Option<String>,
}

impl Loss {
    fn is_none(&self) -> bool {
        self.files == 0 && self.folders == 0
    }

    /// Adds what is lost in something in this directory.
    fn add(&mut self, name: &Path, other: &Self) {
        self.files += other.files;
        self.folders += other.folders;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).map(|path| below(name, path)));
        if self.reason.is_none() {
            self.reason.clone_from(&other.reason);
        }
    }
}

/// Joins paths. What is lost itself has an empty path below itself: joining that would end in a slash.
fn below(name: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { name.to_owned() } else { name.join(path) }
}

struct Follower<'a> {
    repository: &'a Arc<Repository>,
    packs: &'a Packs,
    collector: &'a Collector,
    /// Directories with nothing lost in or below them.
    whole: HashSet<BlobId>,
    /// The others.
    damaged: HashMap<BlobId, Loss>,
}

struct Level {
    name: PathBuf,
    tree: BlobId,
    nodes: IntoIter<Node>,
    loss: Loss,
}

impl Follower<'_> {
    async fn snapshot(&mut self, id: SnapshotId, root: BlobId) -> Result<Loss, CheckError> {
        let mut levels = Vec::new();
        let mut total = Loss::default();
        let name = PathBuf::from("/");
        if let Some(loss) = self.enter(id, &mut levels, name.clone(), root).await? {
            total.add(&name, &loss);
        }
        while let Some(level) = levels.last_mut() {
            let Some(node) = level.nodes.next() else {
                let Some(Level { name, tree, loss, .. }) = levels.pop() else { break };
                levels.last_mut().map_or(&mut total, |above| &mut above.loss).add(&name, &loss);
                self.remember(tree, loss);
                continue;
            };
            let name = PathBuf::from(&node.name);
            match (node.kind, node.subtree) {
                (NodeKind::Dir, Some(tree)) => {
                    if let Some(loss) = self.enter(id, &mut levels, name.clone(), tree).await?
                        && let Some(level) = levels.last_mut()
                    {
                        level.loss.add(&name, &loss);
                    }
                }
                (NodeKind::Dir, None) => {
                    let loss = self.unreadable(id, &levels, &name, "its entry names no listing".to_owned());
                    if let Some(level) = levels.last_mut() {
                        level.loss.add(&name, &loss);
                    }
                }
                (NodeKind::File, _) => {
                    if let Err(reason) = self.file(&node) {
                        let examples = vec![PathBuf::new()];
                        let lost = Loss { files: 1, examples, reason: Some(reason), folders: 0 };
                        level.loss.add(&name, &lost);
                    }
                }
                _ => {}
            }
        }
        Ok(total)
    }

    /// Goes into a directory, or tells what is lost in it if that is known already.
    async fn enter(
        &mut self,
        snapshot: SnapshotId,
        levels: &mut Vec<Level>,
        name: PathBuf,
        tree: BlobId,
    ) -> Result<Option<Loss>, CheckError> {
        if self.whole.contains(&tree) {
            return Ok(None);
        }
        if let Some(loss) = self.damaged.get(&tree) {
            return Ok(Some(loss.clone()));
        }
        let loaded = if levels.len() >= DEEPEST {
            Ok(Err("it lies too deep".to_owned()))
        } else {
            self.load(&tree).await
        };
        match loaded? {
            Ok(loaded) => {
                self.collector.update(|report| report.trees += 1);
                levels.push(Level { name, tree, nodes: loaded.nodes.into_iter(), loss: Loss::default() });
                Ok(None)
            }
            Err(reason) => {
                let loss = self.unreadable(snapshot, levels, &name, reason);
                self.damaged.insert(tree, loss.clone());
                Ok(Some(loss))
            }
        }
    }

    async fn load(&self, tree: &BlobId) -> Result<Result<Tree, String>, CheckError> {
        if let Err(reason) = self.packs.can_read(self.repository, BlobType::Tree, tree) {
            return Ok(Err(reason));
        }
        match load_tree(self.repository, tree).await {
            Ok(tree) => Ok(Ok(tree)),
            Err(RepositoryError::Damaged { what, reason }) => Ok(Err(format!("{what} is damaged: {reason}"))),
            Err(error) if error.concerns_one_object() => Ok(Err(reason(&error))),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&self, node: &Node) -> Result<(), String> {
        node.content
            .iter()
            .flatten()
            .try_for_each(|id| self.packs.can_read(self.repository, BlobType::Data, id))
    }

    fn unreadable(&self, snapshot: SnapshotId, levels: &[Level], name: &Path, reason: String) -> Loss {
        let path: PathBuf = levels.iter().map(|level| level.name.as_path()).chain([name]).collect();
        self.collector.find(Finding::UnreadableFolder { snapshot, path, reason: reason.clone() });
        Loss { folders: 1, reason: Some(reason), ..Loss::default() }
    }

    fn remember(&mut self, tree: BlobId, loss: Loss) {
        if loss.is_none() {
            self.whole.insert(tree);
        } else {
            self.damaged.insert(tree, loss);
        }
    }
}
