//! A directory on its way to becoming a tree blob: it is complete when its last entry is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::BlobId;
use crate::tree::{Node, TreeWriter};

/// A directory of which not all entries are done yet.
pub(super) struct Directory {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// The tree that the parent snapshot has in its place.
    pub(super) previous: Option<BlobId>,
    /// Its place in the directory above; the root has none.
    pub(super) parent: Option<Place>,
    state: Mutex<State>,
}

/// A place in a directory that an entry is going to take.
pub(super) struct Place {
    directory: Arc<Directory>,
    slot: usize,
}

struct State {
    /// The directory's own node; the root has none.
    node: Option<Node>,
    /// The JSON of its entries, in the order of their names.
    slots: Vec<Option<Box<[u8]>>>,
    /// Entries that are not done yet, and one more as long as the walker is in the directory.
    open: usize,
}

/// A directory of which all entries are done.
pub(super) struct Complete {
    pub(super) directory: Arc<Directory>,
    pub(super) node: Option<Node>,
    pub(super) tree: Vec<u8>,
}

impl Directory {
    pub(super) fn new(
        path: PathBuf,
        node: Option<Node>,
        previous: Option<BlobId>,
        parent: Option<Place>,
    ) -> Arc<Self> {
        let state = Mutex::new(State { node, slots: Vec::new(), open: 1 });
        Arc::new(Self { path, previous, parent, state })
    }

    /// Keeps the next place for an entry. Places are taken in the order of names.
    pub(super) fn reserve(self: &Arc<Self>) -> Place {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.slots.push(None);
        state.open += 1;
        Place { directory: Arc::clone(self), slot: state.slots.len() - 1 }
    }

    /// Says that no more places will be reserved.
    pub(super) fn close(self: &Arc<Self>) -> Option<Complete> {
        self.finish_one(None)
    }

    fn finish_one(self: &Arc<Self>, entry: Option<(usize, Box<[u8]>)>) -> Option<Complete> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((slot, json)) = entry {
            state.slots[slot] = Some(json);
        }
        state.open -= 1;
        if state.open > 0 {
            return None;
        }
        let slots = std::mem::take(&mut state.slots);
        let node = state.node.take();
        drop(state);
        let mut writer = TreeWriter::new();
        for json in slots.into_iter().flatten() {
            writer.push_json(&json);
        }
        Some(Complete { directory: Arc::clone(self), node, tree: writer.finish() })
    }
}

impl Place {
    /// Puts an entry into its place. If it was the directory's last one, the directory comes back to be stored.
    pub(super) fn fill(&self, node: &Node) -> Option<Complete> {
        let mut json = Vec::with_capacity(512);
        node.write_json(&mut json);
        self.directory.finish_one(Some((self.slot, json.into_boxed_slice())))
    }

    /// Leaves the place empty: the entry can't be stored.
    pub(super) fn leave(&self) -> Option<Complete> {
        self.directory.finish_one(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{NodeKind, Tree};

    #[test]
    fn a_directory_is_complete_when_its_last_entry_is_done() {
        let directory = Directory::new("/d".into(), None, None, None);
        let places: Vec<Place> = (0..3).map(|_| directory.reserve()).collect();
        assert!(places[2].fill(&Node::new("c", NodeKind::Fifo)).is_none());
        assert!(places[1].leave().is_none());
        assert!(directory.close().is_none());
        let complete = places[0].fill(&Node::new("a", NodeKind::Fifo)).unwrap();
        let names: Vec<_> = Tree::parse(&complete.tree).unwrap().nodes.into_iter().map(|n| n.name).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
