//! What is shown to whom.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use kith_identity::DialInTag;
use rustls::ServerConfig;
use tokio::sync::mpsc;

use crate::leg::Leg;
use crate::limits::MAX_USED_TAGS;

/// Knows by which tags callers are recognised.
pub trait Callers: Send + Sync {
    /// Whether the tag was made with a key that this computer gave out. Asked for whatever has the form of a tag, also in the middle of a
    /// flood: the answer must come at once, from memory. Whether the tag was used before is not asked here.
    fn recognises(&self, tag: &DialInTag) -> bool;

    /// Whether a connection that brings this tag is a [`Leg`] that was promised to be joined with another. Asked for tags by which nobody
    /// is recognised, under the same conditions.
    fn leg(&self, _tag: &DialInTag) -> bool {
        false
    }
}

/// The two faces of a listener, and where those go who are not to see one.
#[derive(Clone)]
pub struct Faces {
    /// For those who are recognised: who this computer is. It admits whom its
    /// [`Admission`](kith_identity::tls::Admission) says.
    pub known: Arc<ServerConfig>,
    /// For everybody else: nobody. See [`throwaway_server_config`](kith_identity::tls::throwaway_server_config).
    pub unknown: Arc<ServerConfig>,
    /// Who is recognised.
    pub callers: Arc<dyn Callers>,
    /// Where promised connections go; none: nobody was promised any, and [`Callers::leg`] isn't asked.
    pub legs: Option<mpsc::Sender<Leg>>,
}

/// The nonces of tags that were used: a tag that was seen on its way opens nothing to whoever sends it again. Only tags that were
/// recognised come in here, so that no flood of made-up ones pushes them out.
#[derive(Debug, Default)]
pub(crate) struct UsedTags {
    known: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl UsedTags {
    /// Notes a tag; false if it was used before.
    pub(crate) fn use_up(&mut self, tag: &DialInTag) -> bool {
        if !self.known.insert(*tag.nonce()) {
            return false;
        }
        if self.order.len() == MAX_USED_TAGS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(*tag.nonce());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_used_once_and_remembered_until_thousands_of_others_were_used() {
        let mut used = UsedTags::default();
        let first = DialInTag::made_up();
        assert!(used.use_up(&first));
        for _ in 1..MAX_USED_TAGS {
            assert!(!used.use_up(&first));
            assert!(used.use_up(&DialInTag::made_up()));
        }
        assert_eq!((used.known.len(), used.order.len()), (MAX_USED_TAGS, MAX_USED_TAGS));
        assert!(used.use_up(&DialInTag::made_up()), "one more pushes out the oldest");
        assert_eq!((used.known.len(), used.order.len()), (MAX_USED_TAGS, MAX_USED_TAGS));
        assert!(used.use_up(&first));
    }
}
