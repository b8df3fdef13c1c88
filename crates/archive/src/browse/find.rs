//! Where a name occurs, over many snapshots.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::{BrowseError, DEEPEST, load_tree};
use crate::id::{BlobId, SnapshotId};
use crate::repository::{Repository, Snapshot};
use crate::tree::{Node, NodeKind};

/// So many directories are remembered as searched. Beyond, they may be searched again, which costs time only.
const MOST_REMEMBERED: usize = 4_000_000;
/// So many unreadable directories are listed.
const MOST_UNREADABLE: usize = 100;

/// Something whose name fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The newest of the searched snapshots that has it in this form.
    pub snapshot: SnapshotId,
    /// Where it lies, beginning with `/`.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
}

/// What came of a search.
#[derive(Debug, Default)]
pub struct Finds {
    /// What was found: newest snapshots first, within a snapshot in the order of the directories.
    pub found: Vec<Found>,
    /// Whether there may be more, because the limit was reached.
    pub limited: bool,
    /// Directories that could not be searched, at most 100.
    pub unreadable: Vec<BrowseError>,
}

/// Why nothing was searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The pattern can't be understood.
    #[error("the pattern {pattern:?} is not valid: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Searches snapshots for names that fit a glob: `*`, `?`, `[a-z]`, `{a,b}`. A pattern with a `/` must fit the whole path,
/// where `*` ends at a `/` and `**` does not; it may leave out the first `/`.
///
/// A directory that did not change from snapshot to snapshot is searched once, and something that did not change is told
/// once, with the newest snapshot that has it.
///
/// # Errors
/// The pattern is not valid. What can't be read is listed in the result.
pub async fn find(
    repository: &Repository,
    snapshots: &[Snapshot],
    pattern: &str,
    limit: usize,
) -> Result<Finds, FindError> {
    let mut search = Search {
        repository,
        pattern: Pattern::new(pattern)?,
        limit,
        searched: HashSet::new(),
        told: HashSet::new(),
        finds: Finds::default(),
    };
    let mut newest_first: Vec<&Snapshot> = snapshots.iter().collect();
    newest_first.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| b.id.cmp(&a.id)));
    for snapshot in newest_first {
        search.snapshot(snapshot).await;
        if search.finds.limited {
            break;
        }
    }
    Ok(search.finds)
}

struct Pattern {
    glob: GlobMatcher,
    whole_path: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, FindError> {
        let whole_path = pattern.contains('/');
        let anchored = if whole_path && !pattern.starts_with('/') && !pattern.starts_with("**") {
            format!("/{pattern}")
        } else {
            pattern.to_owned()
        };
        let glob =
            GlobBuilder::new(anchored.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(&anchored))
                .literal_separator(true)
                .build()
                .map_err(|error| FindError::Pattern {
                    pattern: pattern.to_owned(),
                    reason: error.kind().to_string(),
                })?;
        Ok(Self { glob: glob.compile_matcher(), whole_path })
    }

    fn fits(&self, path: &Path, node: &Node) -> bool {
        self.glob.is_match(if self.whole_path { path } else { Path::new(&node.name) })
    }
}

struct Search<'a> {
    repository: &'a Repository,
    pattern: Pattern,
    limit: usize,
    /// Hashes of tree and path.
    searched: HashSet<BlobId>,
    /// Hashes of path and node.
    told: HashSet<BlobId>,
    finds: Finds,
}

impl Search<'_> {
    async fn snapshot(&mut self, snapshot: &Snapshot) {
        let mut stack = vec![(PathBuf::from("/"), snapshot.tree, 0)];
        while let Some((path, tree, depth)) = stack.pop() {
            if !self.is_new(&path, &tree) {
                continue;
            }
            let tree = match load_tree(self.repository, &tree).await {
                Ok(tree) if depth < DEEPEST => tree,
                Ok(_) => {
                    self.unreadable(BrowseError::TooDeep { path });
                    continue;
                }
                Err(source) => {
                    self.unreadable(BrowseError::Unreadable { path, source });
                    continue;
                }
            };
            let before = stack.len();
            for node in tree.nodes {
                let path = path.join(&node.name);
                if let (NodeKind::Dir, Some(subtree)) = (node.kind, node.subtree) {
                    stack.push((path.clone(), subtree, depth + 1));
                }
                if self.pattern.fits(&path, &node) && !self.tell(snapshot.id, path, node) {
                    return;
                }
            }
            stack[before..].reverse();
        }
    }

    fn is_new(&mut self, path: &Path, tree: &BlobId) -> bool {
        let mut key = tree.as_bytes().to_vec();
        key.extend_from_slice(path.as_os_str().as_bytes());
        let key = BlobId::of(&key);
        if self.searched.len() < MOST_REMEMBERED {
            self.searched.insert(key)
        } else {
            !self.searched.contains(&key)
        }
    }

    /// Adds to the result; false when it is full.
    fn tell(&mut self, snapshot: SnapshotId, path: PathBuf, node: Node) -> bool {
        let mut key = path.as_os_str().as_bytes().to_vec();
        key.push(0);
        node.write_json(&mut key);
        if self.told.insert(BlobId::of(&key)) {
            if self.finds.found.len() >= self.limit {
                self.finds.limited = true;
                return false;
            }
            self.finds.found.push(Found { snapshot, path, node });
        }
        true
    }

    fn unreadable(&mut self, error: BrowseError) {
        if self.finds.unreadable.len() < MOST_UNREADABLE {
            self.finds.unreadable.push(error);
        }
    }
}
