//! Hard links: names that are one file in the original must be one file in the copy, and no others.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

type Id = (u64, u64);

/// Which file of the copy belongs to which of the original.
#[derive(Default)]
pub(super) struct Links {
    forward: HashMap<Id, Id>,
    backward: HashMap<Id, Id>,
    groups: HashSet<Id>,
}

impl Links {
    /// False if this pair contradicts an earlier one.
    pub(super) fn same(&mut self, before: &Metadata, after: &Metadata) -> bool {
        // A file with one name on both sides can't contradict anything, and most are.
        if before.nlink() < 2 && after.nlink() < 2 {
            return true;
        }
        let (before, after) = ((before.dev(), before.ino()), (after.dev(), after.ino()));
        if self.forward.contains_key(&before) {
            self.groups.insert(before);
        }
        *self.forward.entry(before).or_insert(after) == after
            && *self.backward.entry(after).or_insert(before) == before
    }

    /// Files of the original with several names in the folder.
    pub(super) fn groups(&self) -> u64 {
        self.groups.len() as u64
    }
}
