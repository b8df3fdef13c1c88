//! The list of computers whose people look for others.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use kith_identity::DeviceId;

use crate::announcement::{About, Instance};

/// Most computers that are listed.
pub const MOST_NEIGHBOURS: usize = 16;
/// Of these, at one address: one computer has several homes at most.
const MOST_AT_ONE_ADDRESS: usize = 4;
/// Who is not heard for so long is gone: four announcements were missed.
const SILENCE: Duration = Duration::from_secs(22);
/// Who is announced anew from elsewhere takes the place of one who has been silent for so long.
const TAKEN_OVER: Duration = Duration::from_secs(8);

/// A computer whose person looks for others. Nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Under which name it was announced.
    pub instance: Instance,
    /// What it says of itself.
    pub about: About,
    /// Where to dial it.
    pub addresses: Vec<SocketAddr>,
}

/// Computers nearby, at most [`MOST_NEIGHBOURS`]. Who comes when it is full is not listed until somebody goes.
#[derive(Debug, Default)]
pub struct Neighbours(BTreeMap<DeviceId, Known>);

#[derive(Debug)]
struct Known {
    neighbour: Neighbour,
    heard: Instant,
}

impl Neighbours {
    /// One was heard: whether the list looks different now.
    pub fn heard(&mut self, neighbour: Neighbour, now: Instant) -> bool {
        if let Some(known) = self.0.get_mut(&neighbour.about.device_id) {
            let same = known.neighbour.instance == neighbour.instance;
            if !same && now.saturating_duration_since(known.heard) < TAKEN_OVER {
                return false;
            }
            known.heard = now;
            let changed = known.neighbour != neighbour;
            known.neighbour = neighbour;
            return changed;
        }
        let at: Option<IpAddr> = neighbour.addresses.first().map(SocketAddr::ip);
        let beside =
            self.0.values().filter(|known| known.neighbour.addresses.first().map(SocketAddr::ip) == at);
        if self.0.len() >= MOST_NEIGHBOURS || beside.count() >= MOST_AT_ONE_ADDRESS {
            return false;
        }
        self.0.insert(neighbour.about.device_id, Known { neighbour, heard: now });
        true
    }

    /// One has taken its announcement back: whether the list looks different now.
    pub fn gone(&mut self, instance: &Instance) -> bool {
        let before = self.0.len();
        self.0.retain(|_, known| known.neighbour.instance != *instance);
        self.0.len() != before
    }

    /// Drops who has not been heard for a while: whether the list looks different now.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, known| now.saturating_duration_since(known.heard) < SILENCE);
        self.0.len() != before
    }

    /// All of them, by device id.
    pub fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.0.values().map(|known| &known.neighbour)
    }

    /// The one with this device id.
    #[must_use]
    pub fn of(&self, device_id: &DeviceId) -> Option<&Neighbour> {
        self.0.get(device_id).map(|known| &known.neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(id: u8, address: u8) -> Neighbour {
        Neighbour {
            instance: Instance::new([id; 8]),
            about: About {
                name: format!("pc {id}"),
                device_id: DeviceId::from_bytes([id; 32]),
                token: [id; 16],
            },
            addresses: vec![SocketAddr::from(([192, 168, 1, address], 4242))],
        }
    }

    #[test]
    fn the_list_is_bounded_in_all_and_for_one_address_and_who_was_there_stays() {
        let now = Instant::now();
        let mut list = Neighbours::default();
        assert!(list.heard(neighbour(200, 200), now));
        assert_eq!((1..=50).filter(|id| list.heard(neighbour(*id, 7), now)).count(), 4);
        for id in 60..160 {
            list.heard(neighbour(id, id), now);
        }
        assert_eq!(list.iter().count(), MOST_NEIGHBOURS);
        assert!(list.of(&DeviceId::from_bytes([200; 32])).is_some());
    }

    #[test]
    fn who_is_silent_or_says_goodbye_is_gone() {
        let now = Instant::now();
        let mut list = Neighbours::default();
        assert!(list.heard(neighbour(1, 1), now) && list.heard(neighbour(2, 2), now));
        assert!(!list.heard(neighbour(1, 1), now + SILENCE / 2), "nothing new");
        assert!(list.expire(now + SILENCE));
        assert_eq!(list.iter().map(|n| n.about.name.as_str()).collect::<Vec<_>>(), ["pc 1"]);
        assert!(!list.gone(&Instance::new([9; 8])) && list.gone(&Instance::new([1; 8])));
        assert_eq!(list.iter().count(), 0);
    }

    #[test]
    fn nobody_takes_the_place_of_one_who_is_still_heard() {
        let now = Instant::now();
        let mut list = Neighbours::default();
        list.heard(neighbour(1, 1), now);
        let thief = Neighbour { about: neighbour(1, 1).about, ..neighbour(2, 2) };
        assert!(!list.heard(thief.clone(), now + Duration::from_secs(5)));
        assert_eq!(list.of(&DeviceId::from_bytes([1; 32])), Some(&neighbour(1, 1)));
        // It was started anew.
        assert!(list.heard(thief, now + TAKEN_OVER));
    }
}
