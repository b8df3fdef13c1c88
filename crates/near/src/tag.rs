//! The tags by which friends recognise each other's announcements.

use kith_identity::{DeviceId, PairKey, TagUse};

/// The beginning of what [`PairKey::tag`] gives for [`TagUse::Lan`]: to all but the pair it is random. Shorter than the whole, so that more
/// of them go into one packet; by chance a stranger's is taken for a friend's once in 2^64, and then costs one dial in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LanTag(pub [u8; Self::LENGTH]);

impl LanTag {
    /// Bytes of a tag.
    pub const LENGTH: usize = 8;

    /// Under which `owner`, one of a pair, announces itself to the other at a time in Unix seconds.
    pub(crate) fn of(pair: &PairKey, owner: &DeviceId, unix: u64) -> Self {
        Self::cut(pair.tag(TagUse::Lan, owner, unix))
    }

    /// That tag, the one before and the one after.
    pub(crate) fn around(pair: &PairKey, owner: &DeviceId, unix: u64) -> [Self; 3] {
        pair.tags(TagUse::Lan, owner, unix).map(Self::cut)
    }

    fn cut(tag: kith_identity::PairTag) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes.copy_from_slice(&tag.as_bytes()[..Self::LENGTH]);
        Self(bytes)
    }
}
