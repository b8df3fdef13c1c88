//! For whom anything is kept, and how often each may ask: pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kith_identity::DeviceId;
use tokio::time::Instant;

use crate::allowance::{Allowance, Used};
use crate::network::Network;
use crate::rules::LINGER;

/// A computer tells all anew with every link and every change; more often than every five seconds nothing changes for long.
const REGISTRATIONS: Allowance = Allowance { each: Duration::from_secs(5), at_once: 32 };
/// A search costs at least one, and one more for every so many bytes of its answer.
const SEARCHES: Allowance = Allowance { each: Duration::from_millis(500), at_once: 128 };
const BYTES_OF_A_SEARCH: usize = 16 * 1024;
/// After a change of its network a computer may call all its friends at once, with three messages each.
const POSTS: Allowance = Allowance { each: Duration::from_millis(125), at_once: 256 };
const RELAYS: Allowance = Allowance { each: Duration::from_secs(1), at_once: 32 };

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Registration,
    Search,
    Post,
    Relay,
}

#[derive(Debug)]
struct User {
    /// Since when it is not connected.
    gone: Option<Instant>,
    /// From where it came, where that matters.
    network: Option<Network>,
    used: [Used; 4],
}

/// All computers for which anything is kept.
#[derive(Debug, Default)]
pub(crate) struct Users {
    all: HashMap<Arc<DeviceId>, User>,
    gone: BTreeSet<(Instant, Arc<DeviceId>)>,
}

/// What became of somebody who wants a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    pub(crate) who: Arc<DeviceId>,
    /// Who is not connected, and had to go for it.
    pub(crate) instead_of: Option<Arc<DeviceId>>,
}

impl Users {
    /// The place of one who asks, who has one or gets one; until he is known to be connected it isn't kept for longer than for one who
    /// has gone. None if all places are taken by those who are.
    pub(crate) fn enter(&mut self, who: &DeviceId, most: usize, now: Instant) -> Option<Entered> {
        if let Some((who, _)) = self.all.get_key_value(who) {
            return Some(Entered { who: who.clone(), instead_of: None });
        }
        let mut instead_of = None;
        if self.all.len() >= most {
            let (_, longest) = self.gone.first()?.clone();
            self.remove(&longest);
            instead_of = Some(longest);
        }
        let who = Arc::new(*who);
        self.gone.insert((now, who.clone()));
        self.all.insert(who.clone(), User { gone: Some(now), network: None, used: Default::default() });
        Some(Entered { who, instead_of })
    }

    /// The place of one who has one.
    pub(crate) fn known(&self, who: &DeviceId) -> Option<Arc<DeviceId>> {
        self.all.get_key_value(who).map(|(who, _)| who.clone())
    }

    pub(crate) fn connected(&mut self, who: &DeviceId, network: Option<Network>) {
        if let Some((id, user)) = self.entry(who) {
            user.network = network;
            if let Some(since) = user.gone.take() {
                self.gone.remove(&(since, id));
            }
        }
    }

    /// From where one came.
    pub(crate) fn network(&self, who: &DeviceId) -> Option<Network> {
        self.all.get(who)?.network
    }

    pub(crate) fn disconnected(&mut self, who: &DeviceId, now: Instant) {
        if let Some((id, user)) = self.entry(who)
            && user.gone.is_none()
        {
            user.gone = Some(now);
            self.gone.insert((now, id));
        }
    }

    /// Whether he may ask once more.
    pub(crate) fn allows(&mut self, who: &DeviceId, asked: Asked, now: Instant) -> bool {
        self.all.get_mut(who).is_some_and(|user| user.used[asked as usize].once(&allowance(asked), now))
    }

    /// What he searched had an answer of so many bytes.
    pub(crate) fn answered(&mut self, who: &DeviceId, bytes: usize, now: Instant) {
        if let Some(user) = self.all.get_mut(who) {
            let times = u32::try_from(bytes / BYTES_OF_A_SEARCH).unwrap_or(u32::MAX);
            user.used[Asked::Search as usize].more(&SEARCHES, times, now);
        }
    }

    /// Drops those who were gone for too long, and says who they are.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Arc<DeviceId>> {
        let mut dropped = Vec::new();
        while let Some((since, who)) = self.gone.first().cloned()
            && since + LINGER <= now
        {
            self.remove(&who);
            dropped.push(who);
        }
        dropped
    }

    /// When the next one is.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.gone.first().map(|(since, _)| *since + LINGER)
    }

    pub(crate) fn remove(&mut self, who: &DeviceId) -> Option<Arc<DeviceId>> {
        let (id, user) = self.all.remove_entry(who)?;
        if let Some(since) = user.gone {
            self.gone.remove(&(since, id.clone()));
        }
        Some(id)
    }

    /// How many there are, and how many of them are connected.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.all.len(), self.all.len() - self.gone.len())
    }

    fn entry(&mut self, who: &DeviceId) -> Option<(Arc<DeviceId>, &mut User)> {
        let id = self.all.get_key_value(who)?.0.clone();
        self.all.get_mut(who).map(|user| (id, user))
    }
}

const fn allowance(asked: Asked) -> Allowance {
    match asked {
        Asked::Registration => REGISTRATIONS,
        Asked::Search => SEARCHES,
        Asked::Post => POSTS,
        Asked::Relay => RELAYS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(byte: u8) -> DeviceId {
        DeviceId::from_bytes([byte; 32])
    }

    fn enter(users: &mut Users, byte: u8, now: Instant) -> Option<Option<Arc<DeviceId>>> {
        users.enter(&who(byte), 2, now).map(|entered| entered.instead_of)
    }

    #[test]
    fn who_has_gone_makes_room_and_who_is_connected_does_not() {
        let (mut users, now) = (Users::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        assert_eq!(enter(&mut users, 1, now), Some(None));
        assert_eq!(enter(&mut users, 2, later), Some(None));
        users.connected(&who(1), None);
        assert_eq!(enter(&mut users, 1, later), Some(None));
        assert_eq!(enter(&mut users, 3, later), Some(Some(Arc::new(who(2)))));
        users.connected(&who(3), None);
        assert_eq!(enter(&mut users, 4, later), None);
        users.disconnected(&who(1), later);
        assert_eq!(enter(&mut users, 4, later), Some(Some(Arc::new(who(1)))));
        assert_eq!(users.count(), (2, 1));
    }

    #[test]
    fn who_is_gone_for_ten_minutes_is_dropped_and_who_comes_back_is_not() {
        let (mut users, now) = (Users::default(), Instant::now());
        for byte in [1, 2] {
            enter(&mut users, byte, now);
            users.connected(&who(byte), None);
            users.disconnected(&who(byte), now);
        }
        // Told twice, it counts from the first time.
        users.disconnected(&who(1), now + Duration::from_secs(60));
        users.connected(&who(2), None);
        assert_eq!(users.poll_timeout(), Some(now + LINGER));
        assert!(users.handle_timeout(now + LINGER - Duration::from_secs(1)).is_empty());
        assert_eq!(users.handle_timeout(now + LINGER), [Arc::new(who(1))]);
        assert_eq!((users.poll_timeout(), users.count()), (None, (1, 1)));
    }

    #[test]
    fn each_has_an_allowance_of_its_own_for_each_thing() {
        let (mut users, now) = (Users::default(), Instant::now());
        enter(&mut users, 1, now);
        enter(&mut users, 2, now);
        let posts = (0..1000).filter(|_| users.allows(&who(1), Asked::Post, now)).count();
        assert_eq!(posts, 256);
        assert!(users.allows(&who(1), Asked::Search, now) && users.allows(&who(2), Asked::Post, now));
        assert!(!users.allows(&who(3), Asked::Post, now), "who has no place");
        users.answered(&who(1), 127 * BYTES_OF_A_SEARCH, now);
        assert!(!users.allows(&who(1), Asked::Search, now), "a long answer was dear");
        users.remove(&who(1));
        enter(&mut users, 1, now);
        assert!(users.allows(&who(1), Asked::Post, now));
    }
}
