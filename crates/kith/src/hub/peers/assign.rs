//! Which two hubs a computer is to use: by rendezvous hashing, so that every hub comes to the same answer without a word between them, each
//! gets as many computers as the others, and when one dies only its own computers move.

use kith_identity::DeviceId;
use sha2::{Digest, Sha256};

/// The primary and the alternate of a computer; one alone where there is one hub only.
pub(in crate::hub) fn assign(who: &DeviceId, hubs: &[DeviceId]) -> Vec<DeviceId> {
    let mut hubs: Vec<DeviceId> = hubs.to_vec();
    hubs.sort_by_cached_key(|hub| std::cmp::Reverse((weight(who, hub), *hub)));
    hubs.dedup();
    hubs.truncate(2);
    hubs
}

fn weight(who: &DeviceId, hub: &DeviceId) -> [u8; 32] {
    let mut weight = Sha256::new();
    weight.update(b"kith/v1 assignment\0");
    weight.update(who.as_bytes());
    weight.update(hub.as_bytes());
    weight.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kind: u8, n: u16) -> DeviceId {
        let mut id = [kind; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    #[test]
    fn the_order_of_the_hubs_does_not_matter_and_the_pair_is_two_different_ones() {
        let hubs: Vec<DeviceId> = (0..5).map(|n| id(9, n)).collect();
        let turned: Vec<DeviceId> = hubs.iter().rev().copied().collect();
        for n in 0..100 {
            let pair = assign(&id(1, n), &hubs);
            assert_eq!(pair, assign(&id(1, n), &turned));
            assert!(pair.len() == 2 && pair[0] != pair[1]);
        }
        assert_eq!(assign(&id(1, 1), &hubs[..1]), [hubs[0]]);
        assert_eq!(assign(&id(1, 1), &[]), []);
    }

    #[test]
    fn computers_are_spread_and_when_a_hub_dies_its_own_go_to_their_alternates_and_no_other_moves() {
        let hubs: Vec<DeviceId> = (0..4).map(|n| id(9, n)).collect();
        let mut each = [0; 4];
        for n in 0..4000 {
            let who = id(1, n);
            let before = assign(&who, &hubs);
            let after = assign(&who, &hubs[1..]);
            if before[0] == hubs[0] {
                assert_eq!(after[0], before[1]);
            } else {
                assert_eq!(after[0], before[0]);
            }
            each[hubs.iter().position(|hub| *hub == before[0]).unwrap()] += 1;
        }
        assert!(each.iter().all(|count| (850..1150).contains(count)), "{each:?}");
    }

    // The values were computed by another program: hubs of all releases must agree.
    #[test]
    fn the_assignment_never_changes() {
        let hubs: Vec<DeviceId> = (0..3).map(|n| id(9, n)).collect();
        let pairs =
            (0..4).map(|n| assign(&id(1, n), &hubs).iter().map(|hub| hub.as_bytes()[1]).collect::<Vec<_>>());
        assert_eq!(pairs.collect::<Vec<_>>(), [[2, 0], [2, 0], [0, 2], [0, 2]]);
    }
}
