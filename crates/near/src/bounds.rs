//! How much is listened to where anybody may speak.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The window of time that packets are counted in.
const WINDOW: Duration = Duration::from_secs(1);
/// Most packets about Kith computers in a window that are looked into.
const MOST_PACKETS: u32 = 256;
/// Of these, of one address. In the same network anybody can lie about that; then the other bound holds.
const MOST_OF_ONE: u32 = 32;

/// Counts the packets that come. It keeps at most as many addresses as it lets packets through in a window.
#[derive(Debug)]
pub(crate) struct Allowance {
    window: Instant,
    packets: u32,
    of: BTreeMap<IpAddr, u32>,
}

impl Allowance {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { window: now, packets: 0, of: BTreeMap::new() }
    }

    /// One more has come from there: whether it may be looked into.
    pub(crate) fn admits(&mut self, from: IpAddr, now: Instant) -> bool {
        if now >= self.window + WINDOW {
            *self = Self::new(now);
        }
        if self.packets >= MOST_PACKETS {
            return false;
        }
        let of_one = self.of.entry(from).or_default();
        if *of_one >= MOST_OF_ONE {
            return false;
        }
        *of_one += 1;
        self.packets += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_from_one_address_leaves_room_for_others_and_one_from_many_is_bounded() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let admitted = (0..10_000).filter(|_| allowance.admits(address(1), start)).count();
        assert_eq!(admitted, 32);
        assert!(allowance.admits(address(2), start));
        let admitted = (0..100_000).filter(|n| allowance.admits(address(*n), start)).count();
        assert!(admitted < 256, "{admitted}");
        assert!(allowance.of.len() <= 256);
        // The next window begins anew.
        assert!(allowance.admits(address(1), start + WINDOW));
        assert_eq!(allowance.of.len(), 1);
    }
}
