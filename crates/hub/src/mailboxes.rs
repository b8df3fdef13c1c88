//! Who awaits messages under which tag: pure.

use std::collections::HashMap;
use std::sync::Arc;

use kith_identity::{DeviceId, PairTag};

use crate::rules::MOST_WATCHERS;

/// Who watches. Hubs have many tags, and nearly each of them one watcher.
#[derive(Debug)]
enum Watchers {
    One(Arc<DeviceId>),
    Some(Vec<Arc<DeviceId>>),
}

impl Watchers {
    fn all(&self) -> &[Arc<DeviceId>] {
        match self {
            Self::One(who) => std::slice::from_ref(who),
            Self::Some(all) => all,
        }
    }
}

/// All tags under which messages are awaited.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    by_tag: HashMap<PairTag, Watchers>,
    of: HashMap<Arc<DeviceId>, Box<[PairTag]>>,
}

impl Mailboxes {
    /// Messages under these tags, and no others, are for this computer. Whoever watches a tag already goes on.
    pub(crate) fn watch(&mut self, who: &Arc<DeviceId>, mut tags: Vec<PairTag>) {
        tags.sort_unstable();
        tags.dedup();
        let before = self.of.remove(who).unwrap_or_default();
        for tag in before.iter().filter(|tag| tags.binary_search(tag).is_err()) {
            self.remove(tag, who);
        }
        tags.retain(|tag| before.binary_search(tag).is_ok() || self.add(*tag, who));
        if !tags.is_empty() {
            self.of.insert(who.clone(), tags.into());
        }
    }

    /// Nothing is for this computer any more.
    pub(crate) fn forget(&mut self, who: &Arc<DeviceId>) {
        self.watch(who, Vec::new());
    }

    /// For whom a message under this tag is.
    pub(crate) fn watchers(&self, tag: &PairTag) -> Vec<DeviceId> {
        self.by_tag
            .get(tag)
            .map(|watchers| watchers.all().iter().map(|who| **who).collect())
            .unwrap_or_default()
    }

    /// How many tags are watched.
    pub(crate) fn count(&self) -> usize {
        self.by_tag.len()
    }

    /// Whether there was a place.
    fn add(&mut self, tag: PairTag, who: &Arc<DeviceId>) -> bool {
        let Some(watchers) = self.by_tag.get_mut(&tag) else {
            self.by_tag.insert(tag, Watchers::One(who.clone()));
            return true;
        };
        if watchers.all().len() >= MOST_WATCHERS {
            return false;
        }
        let mut all = watchers.all().to_vec();
        all.push(who.clone());
        *watchers = Watchers::Some(all);
        true
    }

    fn remove(&mut self, tag: &PairTag, who: &Arc<DeviceId>) {
        let Some(watchers) = self.by_tag.get_mut(tag) else { return };
        let mut left = watchers.all().to_vec();
        left.retain(|other| other != who);
        match left.pop() {
            None => drop(self.by_tag.remove(tag)),
            Some(only) if left.is_empty() => *watchers = Watchers::One(only),
            Some(last) => {
                left.push(last);
                *watchers = Watchers::Some(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(byte: u8) -> Arc<DeviceId> {
        Arc::new(DeviceId::from_bytes([byte; 32]))
    }

    fn tag(byte: u8) -> PairTag {
        PairTag::from_bytes([byte; 16])
    }

    #[test]
    fn a_message_is_for_whoever_watches_its_tag_until_he_watches_others() {
        let mut boxes = Mailboxes::default();
        boxes.watch(&who(1), vec![tag(1), tag(2), tag(2)]);
        boxes.watch(&who(2), vec![tag(2)]);
        assert_eq!(boxes.watchers(&tag(1)), [*who(1)]);
        assert_eq!(boxes.watchers(&tag(2)), [*who(1), *who(2)]);
        boxes.watch(&who(1), vec![tag(3)]);
        assert!(boxes.watchers(&tag(1)).is_empty());
        assert_eq!(boxes.watchers(&tag(2)), [*who(2)]);
        boxes.forget(&who(1));
        boxes.forget(&who(2));
        assert_eq!((boxes.count(), boxes.of.len()), (0, 0));
    }

    #[test]
    fn whoever_watched_first_is_not_pushed_out() {
        let mut boxes = Mailboxes::default();
        for byte in 0..10 {
            boxes.watch(&who(byte), vec![tag(1), tag(byte)]);
        }
        assert_eq!(boxes.watchers(&tag(1)), [*who(0), *who(1), *who(2), *who(3)]);
        boxes.watch(&who(0), vec![tag(1)]);
        assert_eq!(boxes.watchers(&tag(1))[0], *who(0));
        // Who found no place has none to give back.
        boxes.forget(&who(9));
        assert_eq!(boxes.watchers(&tag(1)).len(), MOST_WATCHERS);
        boxes.forget(&who(2));
        boxes.watch(&who(8), vec![tag(1)]);
        assert_eq!(boxes.watchers(&tag(1)), [*who(0), *who(1), *who(3), *who(8)]);
    }
}
