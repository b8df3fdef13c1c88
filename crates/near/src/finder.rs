//! Recognises friends by their tags.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kith_identity::{DeviceId, TagUse};

use crate::tag::LanTag;
use crate::wanted::Friend;

/// Between two tellings of the same addresses of a friend.
const SAME_AGAIN: Duration = Duration::from_secs(10);
/// Between two tellings of one friend, whatever they say: somebody may repeat his tags from other addresses.
const SOONEST: Duration = Duration::from_millis(500);
/// Most addresses of a friend.
const MOST_ADDRESSES: usize = 8;

/// Knows which tags friends announce now. What it keeps is bounded by the number of friends.
#[derive(Default)]
pub(crate) struct Finder {
    expected: BTreeMap<LanTag, DeviceId>,
    hour: Option<u64>,
    seen: BTreeMap<DeviceId, Seen>,
}

struct Seen {
    addresses: Vec<SocketAddr>,
    told: Instant,
}

impl Finder {
    /// From now on these friends are recognised.
    pub(crate) fn set_friends(&mut self, friends: &[Friend], unix: u64) {
        self.seen.retain(|id, _| friends.iter().any(|friend| friend.id == *id));
        self.hour = None;
        self.refresh(friends, unix);
    }

    /// Follows the hour.
    pub(crate) fn refresh(&mut self, friends: &[Friend], unix: u64) {
        let hour = unix / TagUse::Lan.period();
        if self.hour.replace(hour) != Some(hour) {
            let tags =
                |friend: &Friend| LanTag::around(&friend.pair, &friend.id, unix).map(|tag| (tag, friend.id));
            self.expected = friends.iter().flat_map(tags).collect();
        }
    }

    /// Forgets where friends were: the network is another.
    pub(crate) fn forget_places(&mut self) {
        self.seen.clear();
    }

    /// Who announces these tags, if it is a friend. Of an announcement with tags of several friends the first counts: no honest one has any
    /// tags but its own.
    pub(crate) fn recognise(&self, tags: &[LanTag]) -> Option<DeviceId> {
        tags.iter().find_map(|tag| self.expected.get(tag)).copied()
    }

    /// A friend is announced at these addresses: what is to be told now, the newest first.
    pub(crate) fn seen(
        &mut self,
        friend: DeviceId,
        addresses: &[SocketAddr],
        now: Instant,
    ) -> Option<Vec<SocketAddr>> {
        if let Some(seen) = self.seen.get(&friend) {
            let news = addresses.iter().any(|address| !seen.addresses.contains(address));
            let pause = if news { SOONEST } else { SAME_AGAIN };
            if now.saturating_duration_since(seen.told) < pause {
                return None;
            }
        }
        let before = self.seen.remove(&friend).map(|seen| seen.addresses).unwrap_or_default();
        let mut all = addresses.to_vec();
        all.extend(before.into_iter().filter(|address| !addresses.contains(address)));
        all.truncate(MOST_ADDRESSES);
        self.seen.insert(friend, Seen { addresses: all.clone(), told: now });
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use kith_identity::PairKey;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn friend(byte: u8) -> Friend {
        Friend { id: DeviceId::from_bytes([byte; 32]), pair: PairKey::from_bytes([byte; 32]) }
    }

    #[test]
    fn a_friend_is_recognised_whose_clock_is_up_to_an_hour_off_and_nobody_else() {
        let (anna, bert) = (friend(1), friend(2));
        let mut finder = Finder::default();
        finder.set_friends(&[anna.clone(), bert.clone()], NOW);
        let tag = |friend: &Friend, unix| LanTag::of(&friend.pair, &friend.id, unix);
        for unix in [NOW - 3600, NOW, NOW + 3600] {
            assert_eq!(finder.recognise(&[LanTag([0; 8]), tag(&bert, unix)]), Some(bert.id));
        }
        assert_eq!(finder.recognise(&[tag(&bert, NOW + 7200), tag(&bert, NOW - 7200)]), None);
        // What we announce ourselves to him is not what he announces.
        assert_eq!(finder.recognise(&[LanTag::of(&bert.pair, &anna.id, NOW)]), None);
        assert_eq!(finder.recognise(&[tag(&friend(3), NOW)]), None);
        // An hour later.
        finder.refresh(&[anna.clone(), bert.clone()], NOW + 7200);
        assert_eq!(finder.recognise(&[tag(&anna, NOW + 7200)]), Some(anna.id));
        finder.set_friends(&[anna], NOW + 7200);
        assert_eq!(finder.recognise(&[tag(&bert, NOW + 7200)]), None);
    }

    #[test]
    fn news_of_a_friend_are_told_at_once_and_a_flood_of_addresses_is_bounded() {
        let bert = friend(2);
        let mut finder = Finder::default();
        finder.set_friends(std::slice::from_ref(&bert), NOW);
        let start = Instant::now();
        let at = |n: u8| SocketAddr::from(([192, 168, 1, n], 4242));
        assert_eq!(finder.seen(bert.id, &[at(1)], start), Some(vec![at(1)]));
        assert_eq!(finder.seen(bert.id, &[at(1)], start + Duration::from_secs(9)), None);
        assert_eq!(finder.seen(bert.id, &[at(2)], start + SOONEST), Some(vec![at(2), at(1)]));
        let flood = (0..10_000u32).filter(|n| {
            let address = at(u8::try_from(n % 250).unwrap());
            finder.seen(bert.id, &[address], start + Duration::from_secs(1)).is_some()
        });
        assert_eq!(flood.count(), 1);
        for n in 3..100 {
            let told =
                finder.seen(bert.id, &[at(n)], start + Duration::from_secs(60 * u64::from(n))).unwrap();
            assert!(told.len() <= MOST_ADDRESSES && told[0] == at(n));
        }
    }
}
