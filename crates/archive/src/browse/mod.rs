//! Looking into a snapshot: what lies at a path, in a directory, below it, and where a name occurs.
//!
//! Paths inside a snapshot are absolute: `/` is its root tree, whose entries are the first components of the paths that
//! were backed up. Names are bytes, not always UTF-8. What comes from a repository is listed as it is,
//! also names that no honest backup writes: whoever creates files from it must look at
//! [`Node::has_safe_name`](crate::tree::Node::has_safe_name).

mod find;
mod select;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use futures::Stream;

use crate::id::BlobId;
use crate::repository::{BlobType, Repository, RepositoryError, Snapshot};
use crate::tree::{Node, NodeKind, Tree};

pub use find::{FindError, Finds, Found, find};
pub use select::{SelectError, resolve_snapshot};

/// Directories lie no deeper than this; deeper ones are refused, so that a hostile tree can't use up the memory.
pub const DEEPEST: usize = 4096;
/// Longer trees are parsed on a thread for blocking work.
const SMALL_TREE: usize = 64 * 1024;

/// Something in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies, beginning with `/`.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
}

/// Why a path could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowseError {
    /// There is nothing of that name.
    #[error("the snapshot has no {}", path.display())]
    NotFound {
        /// The path as far as it was looked up, with the first component that is not there.
        path: PathBuf,
    },
    /// The path goes on below something that is no directory.
    #[error("{} is not a folder in the snapshot", path.display())]
    NotADirectory {
        /// What is no directory.
        path: PathBuf,
    },
    /// The path has a `..`.
    #[error("the path {} must not contain \"..\"", path.display())]
    InvalidPath {
        /// The path.
        path: PathBuf,
    },
    /// Directories are nested absurdly deep.
    #[error("{} lies too deep", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// A directory can't be read.
    #[error("the folder {} can't be read from the archive", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: RepositoryError,
    },
}

/// The way from the root of a snapshot to something in it: the nodes of all components. Empty for the root itself.
///
/// # Errors
/// There is nothing at `path`, or a directory on the way can't be read.
pub async fn resolve(
    repository: &Repository,
    snapshot: &Snapshot,
    path: &Path,
) -> Result<Vec<Node>, BrowseError> {
    let mut way: Vec<Node> = Vec::new();
    let mut at = PathBuf::from("/");
    for name in components(path)? {
        let tree = match way.last() {
            None => snapshot.tree,
            Some(node) => subtree(node, &at)?,
        };
        let tree = load(repository, &tree, &at).await?;
        at.push(&name);
        let found = tree.find(&name).cloned();
        way.push(found.ok_or_else(|| BrowseError::NotFound { path: at.clone() })?);
    }
    Ok(way)
}

/// The entries of a directory, or the one entry that `path` names if it is no directory. Without a path, the entries
/// of the root.
///
/// # Errors
/// There is nothing at `path`, or a directory on the way can't be read.
pub async fn ls(
    repository: &Repository,
    snapshot: &Snapshot,
    path: Option<&Path>,
) -> Result<Vec<Entry>, BrowseError> {
    let (path, node) = start(repository, snapshot, path).await?;
    let tree = match node {
        None => snapshot.tree,
        Some(node) if node.kind == NodeKind::Dir => subtree(&node, &path)?,
        Some(node) => return Ok(vec![Entry { path, node }]),
    };
    let tree = load(repository, &tree, &path).await?;
    Ok(tree.nodes.into_iter().map(|node| Entry { path: path.join(&node.name), node }).collect())
}

/// Everything at and below `path`, directories before what is in them. Memory is bounded by the largest directories on
/// the way to one entry. A directory that can't be read is an error in the stream, which then goes on.
pub fn walk<'a>(
    repository: &'a Repository,
    snapshot: &'a Snapshot,
    path: Option<&Path>,
) -> impl Stream<Item = Result<Entry, BrowseError>> + Send + 'a {
    let state =
        Walk { repository, snapshot, begin: Some(path.map(Path::to_owned)), levels: Vec::new(), enter: None };
    futures::stream::unfold(state, |mut walk| async move { walk.next().await.map(|item| (item, walk)) })
}

struct Walk<'a> {
    repository: &'a Repository,
    snapshot: &'a Snapshot,
    /// Where to begin, until begun.
    begin: Option<Option<PathBuf>>,
    /// What is left of the directories on the way.
    levels: Vec<Level>,
    /// A directory that was told last and is entered next.
    enter: Option<(PathBuf, BlobId)>,
}

struct Level {
    path: PathBuf,
    nodes: VecDeque<Node>,
}

impl Walk<'_> {
    async fn next(&mut self) -> Option<Result<Entry, BrowseError>> {
        if let Some(path) = self.begin.take() {
            match start(self.repository, self.snapshot, path.as_deref()).await {
                Err(error) => return Some(Err(error)),
                Ok((path, None)) => self.enter = Some((path, self.snapshot.tree)),
                Ok((path, Some(node))) => return Some(self.tell(path, node)),
            }
        }
        if let Some((path, tree)) = self.enter.take() {
            if self.levels.len() >= DEEPEST {
                return Some(Err(BrowseError::TooDeep { path }));
            }
            match load(self.repository, &tree, &path).await {
                Ok(tree) => self.levels.push(Level { path, nodes: tree.nodes.into() }),
                Err(error) => return Some(Err(error)),
            }
        }
        while let Some(level) = self.levels.last_mut() {
            if let Some(node) = level.nodes.pop_front() {
                let path = level.path.join(&node.name);
                return Some(self.tell(path, node));
            }
            self.levels.pop();
        }
        None
    }

    fn tell(&mut self, path: PathBuf, node: Node) -> Result<Entry, BrowseError> {
        if node.kind == NodeKind::Dir {
            self.enter = Some((path.clone(), subtree(&node, &path)?));
        }
        Ok(Entry { path, node })
    }
}

/// The node at `path`, `None` for the root, and the path as it is written here.
async fn start(
    repository: &Repository,
    snapshot: &Snapshot,
    path: Option<&Path>,
) -> Result<(PathBuf, Option<Node>), BrowseError> {
    let mut way = resolve(repository, snapshot, path.unwrap_or_else(|| Path::new("/"))).await?;
    let mut path = PathBuf::from("/");
    path.extend(way.iter().map(|node| &node.name));
    Ok((path, way.pop()))
}

/// The names that a path consists of. It need not begin with `/`.
pub(crate) fn components(path: &Path) -> Result<Vec<OsString>, BrowseError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(BrowseError::InvalidPath { path: path.to_owned() });
            }
        }
    }
    if names.len() > DEEPEST {
        return Err(BrowseError::TooDeep { path: path.to_owned() });
    }
    Ok(names)
}

fn subtree(node: &Node, path: &Path) -> Result<BlobId, BrowseError> {
    if node.kind != NodeKind::Dir {
        return Err(BrowseError::NotADirectory { path: path.to_owned() });
    }
    node.subtree.ok_or_else(|| BrowseError::Unreadable {
        path: path.to_owned(),
        source: RepositoryError::damaged(format_args!("the entry {}", path.display()), "it names no listing"),
    })
}

async fn load(repository: &Repository, tree: &BlobId, path: &Path) -> Result<Tree, BrowseError> {
    load_tree(repository, tree)
        .await
        .map_err(|source| BrowseError::Unreadable { path: path.to_owned(), source })
}

/// A tree; large ones are not parsed on the calling thread.
pub(crate) async fn load_tree(repository: &Repository, id: &BlobId) -> Result<Tree, RepositoryError> {
    let bytes = repository.load_blob(BlobType::Tree, id).await?;
    let (id, small) = (*id, bytes.len() <= SMALL_TREE);
    let parse = move || {
        Tree::parse(&bytes).map_err(|error| RepositoryError::damaged(format_args!("tree {id}"), error))
    };
    if small {
        return parse();
    }
    tokio::task::spawn_blocking(parse)
        .await
        .map_err(|_| RepositoryError::Internal("reading a folder was interrupted"))?
}
