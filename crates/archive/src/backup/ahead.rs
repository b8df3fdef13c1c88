//! Loads directories of the parent snapshot ahead of the walker: opening and parsing them takes as long as looking at the files.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::stop::Stop;
use crate::id::BlobId;
use crate::repository::{Repository, RepositoryError};
use crate::tree::Tree;

/// Directories that are to be loaded. What is told beyond is forgotten: the walker loads it when it comes there.
const MOST_WANTED: usize = 1024;
/// Entries in directories that were loaded and not taken yet; with the last directory there may be more.
const MOST_ENTRIES: usize = 8192;
/// How often a waiting thread looks whether the backup was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// What came of loading a directory.
pub(super) type Loaded = Result<Tree, RepositoryError>;

/// Between the walker, who says where it will go, and the thread that loads.
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which the walker will come.
    wanted: VecDeque<BlobId>,
    loading: Option<BlobId>,
    /// The oldest first.
    ready: VecDeque<(BlobId, Loaded)>,
    entries: usize,
    closed: bool,
}

impl Ahead {
    /// The directories that the walker will enter next, before those it was going to enter until now.
    pub(super) fn want(&self, trees: impl DoubleEndedIterator<Item = BlobId>) {
        let mut state = self.lock();
        for tree in trees.rev() {
            state.wanted.push_front(tree);
        }
        state.wanted.truncate(MOST_WANTED);
        self.changed.notify_all();
    }

    /// A directory that was loaded; `None` if nobody has begun to.
    pub(super) fn take(&self, tree: &BlobId, stop: &Stop) -> Option<Loaded> {
        let mut state = self.lock();
        while state.loading == Some(*tree) && stop.check().is_ok() {
            state = self.wait(state);
        }
        if let Some(at) = state.ready.iter().position(|(id, _)| id == tree) {
            // What is older was for directories that are not there any more.
            state.ready.drain(..at);
            let found = state.ready.pop_front();
            state.entries = state.ready.iter().map(|(_, loaded)| entries(loaded)).sum();
            self.changed.notify_all();
            return found.map(|(_, loaded)| loaded);
        }
        if let Some(at) = state.wanted.iter().position(|id| id == tree) {
            state.wanted.drain(..=at);
        }
        // Whatever was loaded comes before it, in directories that are not there any more: it must not take the room for ever.
        state.ready.clear();
        state.entries = 0;
        self.changed.notify_all();
        None
    }

    /// Loads until the walker is done.
    pub(super) fn run(&self, repository: &Repository, runtime: &Handle, stop: &Stop) {
        while let Some(tree) = self.next(stop) {
            let loaded = runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = stop.token().cancelled() => None,
                    loaded = repository.load_tree(&tree) => Some(loaded),
                }
            });
            let mut state = self.lock();
            state.loading = None;
            if let Some(loaded) = loaded {
                state.entries += entries(&loaded);
                state.ready.push_back((tree, loaded));
            }
            self.changed.notify_all();
        }
    }

    fn next(&self, stop: &Stop) -> Option<BlobId> {
        let mut state = self.lock();
        loop {
            if state.closed || stop.check().is_err() {
                return None;
            }
            if state.entries < MOST_ENTRIES
                && let Some(tree) = state.wanted.pop_front()
            {
                state.loading = Some(tree);
                return Some(tree);
            }
            state = self.wait(state);
        }
    }

    /// Says that nothing will be taken any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// An empty directory counts too: it takes a place.
fn entries(loaded: &Loaded) -> usize {
    1 + loaded.as_ref().map_or(0, |tree| tree.nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> BlobId {
        BlobId([number; 32])
    }

    fn load(ahead: &Ahead, stop: &Stop) -> Option<BlobId> {
        let next = ahead.next(stop)?;
        let mut state = ahead.lock();
        state.loading = None;
        state.entries += 1;
        state.ready.push_back((next, Ok(Tree::default())));
        Some(next)
    }

    #[test]
    fn directories_are_loaded_in_the_order_in_which_the_walker_comes() {
        let (ahead, stop) = (Ahead::default(), Stop::new(Default::default()));
        ahead.want([1, 5].map(id).into_iter());
        assert_eq!(load(&ahead, &stop), Some(id(1)));
        ahead.want([2, 3, 4].map(id).into_iter());
        assert_eq!(load(&ahead, &stop), Some(id(2)));
        assert!(ahead.take(&id(1), &stop).is_some());
        assert!(ahead.take(&id(1), &stop).is_none());
        // The walker was quicker, and the directory 3 is gone, of which nothing is kept.
        assert_eq!(load(&ahead, &stop), Some(id(3)));
        assert!(ahead.take(&id(4), &stop).is_none());
        assert!(ahead.lock().ready.is_empty() && ahead.lock().entries == 0);
        assert_eq!(load(&ahead, &stop), Some(id(5)));
        assert!(ahead.take(&id(5), &stop).is_some());
        let state = ahead.lock();
        assert!(state.ready.is_empty() && state.wanted.is_empty() && state.entries == 0);
    }

    #[test]
    fn what_is_loaded_ahead_and_what_is_wanted_have_a_bound() {
        let (ahead, stop) = (Ahead::default(), Stop::new(Default::default()));
        ahead.want((0..=255).map(id).cycle().take(5000).collect::<Vec<_>>().into_iter());
        assert_eq!(ahead.lock().wanted.len(), MOST_WANTED);
        ahead.lock().entries = MOST_ENTRIES;
        stop.token().cancel();
        assert_eq!(ahead.next(&stop), None, "it waits although there is room");
    }

    #[test]
    fn whoever_loads_ends_with_the_walker() {
        let (ahead, stop) = (Ahead::default(), Stop::new(Default::default()));
        ahead.want([1].map(id).into_iter());
        ahead.close();
        assert_eq!(ahead.next(&stop), None);
    }
}
