//! What the journals of a vault have in memory: little, however many archives and objects there are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Key;

/// So many arrivals are kept in memory for all archives of a vault together, some 110 bytes each.
pub(crate) const MOST_KNOWN: usize = 1 << 19;
/// So many of one owner, who must not take it all.
pub(crate) const MOST_KNOWN_OF_OWNER: usize = 1 << 18;

/// How many entries may be kept, and are.
#[derive(Debug)]
pub(crate) struct Budget {
    most: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, used: AtomicUsize::new(0) }
    }

    fn take(&self) -> bool {
        let take = |used| if used < self.most { Some(used + 1) } else { None };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}

/// What a journal says, as far as there is room for it. It goes back with [`Known::free`].
#[derive(Default)]
pub(super) struct Known(HashMap<Key, u64>);

impl Known {
    /// Notes an arrival. Without room in both budgets it is not known: then the file's time serves.
    pub(super) fn insert(&mut self, budgets: [&Budget; 2], key: Key, arrived: u64) {
        if let Some(known) = self.0.get_mut(&key) {
            *known = arrived;
            return;
        }
        let [one, other] = budgets;
        if !one.take() {
            return;
        }
        if !other.take() {
            return one.give(1);
        }
        self.0.insert(key, arrived);
    }

    pub(super) fn get(&self, key: &Key) -> Option<u64> {
        self.0.get(key).copied()
    }

    pub(super) fn free(self, budgets: [&Budget; 2]) {
        budgets.into_iter().for_each(|budget| budget.give(self.0.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ObjectType;

    fn key(number: u8) -> Key {
        (ObjectType::Data, [number; 32])
    }

    #[test]
    fn all_archives_of_a_vault_share_one_bound_and_no_owner_takes_it_all() {
        let vault = Budget::new(10);
        let owners = [Budget::new(6), Budget::new(6)];
        let mut archives: Vec<(usize, Known)> = (0..4).map(|number| (number / 2, Known::default())).collect();
        for (owner, known) in &mut archives {
            (0..5).for_each(|number| known.insert([&vault, &owners[*owner]], key(number), 1));
        }
        let counts: Vec<usize> = archives.iter().map(|(_, known)| known.0.len()).collect();
        assert_eq!(counts, [5, 1, 4, 0]);
        // What is known can change; what is not, stays unknown.
        let (owner, known) = &mut archives[1];
        known.insert([&vault, &owners[*owner]], key(0), 7);
        known.insert([&vault, &owners[*owner]], key(1), 7);
        assert_eq!((known.get(&key(0)), known.get(&key(1))), (Some(7), None));
        for (owner, known) in archives {
            known.free([&vault, &owners[owner]]);
        }
        let used = |budget: &Budget| budget.used.load(Ordering::Relaxed);
        assert_eq!((used(&vault), used(&owners[0]), used(&owners[1])), (0, 0, 0));
    }
}
