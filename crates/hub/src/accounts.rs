//! What was relayed for whom today.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kith_identity::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::rules::DAY;

/// Computers for which something was relayed today; so many need a hub that is open to all. One more, and those with least used lose their
/// accounts, unless something is relayed for them just now: they may begin anew.
const MOST_ACCOUNTS: usize = 131_072;
/// So many at a time, so that it is not looked through all of them each time.
const DROPPED_AT_ONCE: usize = MOST_ACCOUNTS / 16;

/// What was relayed in the running day: with it, the day goes on after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// For how long the day has lasted, in seconds of the carrier's own running.
    pub seconds: u64,
    /// For whom how much, those left out for whom nothing was.
    pub bytes: BTreeMap<DeviceId, u64>,
}

/// The volume of one computer.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<Day>);

#[derive(Clone, Copy, Debug, Default)]
struct Day {
    number: u64,
    bytes: u64,
}

impl Account {
    /// Counts bytes of a day; false if the day's volume is used up by what was counted before.
    pub(crate) fn charge(&self, day: u64, bytes: u64, limit: Option<NonZeroU64>) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.number != day {
            *counted = Day { number: day, bytes: 0 };
        }
        let is_allowed = limit.is_none_or(|limit| counted.bytes < limit.get());
        if is_allowed {
            counted.bytes = counted.bytes.saturating_add(bytes);
        }
        is_allowed
    }

    /// What was counted on a day.
    pub(crate) fn used(&self, day: u64) -> u64 {
        let counted = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.number == day { counted.bytes } else { 0 }
    }
}

/// All accounts. Who goes and comes back finds his own.
#[derive(Debug)]
pub(crate) struct Accounts {
    started: Instant,
    day: u64,
    by_user: HashMap<DeviceId, Arc<Account>>,
    dropped: u64,
}

impl Accounts {
    /// Goes on where another run of the carrier ended.
    pub(crate) fn resume(counted: &Counted, now: Instant) -> Self {
        let ran = Duration::from_secs(counted.seconds % DAY.as_secs());
        let started = now.checked_sub(ran).unwrap_or(now);
        let account = |bytes: &u64| Arc::new(Account(Mutex::new(Day { number: 0, bytes: *bytes })));
        let by_user = counted.bytes.iter().take(MOST_ACCOUNTS);
        let by_user = by_user.map(|(user, bytes)| (*user, account(bytes))).collect();
        Self { started, day: 0, by_user, dropped: 0 }
    }

    /// When the first of the days that are counted began.
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// What another run of the carrier is to go on with.
    pub(crate) fn counted(&self, now: Instant) -> Counted {
        let seconds = now.saturating_duration_since(self.started).as_secs() % DAY.as_secs();
        let bytes =
            self.all(now).filter(|(_, bytes)| *bytes > 0).map(|(user, bytes)| (*user, bytes)).collect();
        Counted { seconds, bytes }
    }

    /// The account of one computer; none if something is relayed for too many others just now.
    pub(crate) fn open(&mut self, user: DeviceId, now: Instant) -> Option<Arc<Account>> {
        self.forget(now);
        if self.by_user.len() >= MOST_ACCOUNTS && !self.by_user.contains_key(&user) {
            self.drop_least(now);
            if self.by_user.len() >= MOST_ACCOUNTS {
                return None;
            }
        }
        Some(self.by_user.entry(user).or_default().clone())
    }

    /// Accounts that had to go for others since the start.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_least(&mut self, now: Instant) {
        let today = day(self.started, now);
        let mut idle: Vec<(u64, DeviceId)> = self
            .by_user
            .iter()
            .filter(|(_, account)| Arc::strong_count(account) == 1)
            .map(|(user, account)| (account.used(today), *user))
            .collect();
        if idle.len() > DROPPED_AT_ONCE {
            idle.select_nth_unstable(DROPPED_AT_ONCE);
            idle.truncate(DROPPED_AT_ONCE);
        }
        for (_, user) in &idle {
            self.by_user.remove(user);
            self.dropped += 1;
        }
    }

    /// How much was relayed for one computer today.
    pub(crate) fn used(&self, user: &DeviceId, now: Instant) -> u64 {
        self.by_user.get(user).map_or(0, |account| account.used(day(self.started, now)))
    }

    /// For whom something was relayed today, and how much.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = (&DeviceId, u64)> {
        let day = day(self.started, now);
        self.by_user.iter().map(move |(user, account)| (user, account.used(day)))
    }

    /// Accounts of earlier days say nothing any more, unless a session still counts on them.
    fn forget(&mut self, now: Instant) {
        let today = day(self.started, now);
        if today != self.day {
            self.day = today;
            self.by_user.retain(|_, account| account.used(today) > 0 || Arc::strong_count(account) > 1);
        }
    }
}

/// Which day it is since the start.
pub(crate) fn day(started: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(started).as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(now: Instant) -> Accounts {
        Accounts::resume(&Counted::default(), now)
    }

    fn who(number: u64) -> DeviceId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    #[test]
    fn a_day_goes_on_where_a_restart_interrupted_it() {
        let now = Instant::now();
        let mut accounts = new(now);
        accounts.open(who(1), now).unwrap().charge(0, 50, None);
        accounts.open(who(2), now).unwrap();
        let noon = now + DAY / 2;
        let counted = accounts.counted(noon);
        assert_eq!(counted, Counted { seconds: DAY.as_secs() / 2, bytes: [(who(1), 50)].into() });
        // However long it was off.
        let later = noon + 3 * DAY;
        let mut accounts = Accounts::resume(&counted, later);
        assert_eq!((accounts.used(&who(1), later), accounts.counted(later)), (50, counted.clone()));
        let limit = NonZeroU64::new(50);
        let day_of = |accounts: &Accounts, at| day(accounts.started(), at);
        assert!(!accounts.open(who(1), later).unwrap().charge(day_of(&accounts, later), 1, limit));
        let evening = later + DAY / 2 - Duration::from_secs(1);
        assert_eq!(accounts.used(&who(1), evening), 50);
        let tomorrow = evening + Duration::from_secs(1);
        assert_eq!((accounts.used(&who(1), tomorrow), accounts.counted(tomorrow)), (0, Counted::default()));
        // What no carrier has written.
        let odd = Counted { seconds: u64::MAX, ..counted };
        assert_eq!(Accounts::resume(&odd, later).used(&who(1), later), 50);
    }

    #[test]
    fn a_day_s_volume_is_used_up_and_the_next_day_brings_another() {
        let now = Instant::now();
        let mut accounts = new(now);
        let account = accounts.open(who(1), now).unwrap();
        let limit = NonZeroU64::new(100);
        assert!(account.charge(0, 60, limit) && account.charge(0, 60, limit));
        assert!(!account.charge(0, 1, limit));
        assert_eq!(accounts.used(&who(1), now), 120, "what was refused isn't counted");
        assert!(account.charge(0, 1000, None));
        let tomorrow = now + DAY;
        assert_eq!(accounts.used(&who(1), tomorrow), 0);
        assert!(account.charge(day(now, tomorrow), 7, limit));
        assert_eq!(accounts.all(tomorrow).collect::<Vec<_>>(), [(&who(1), 7)]);
    }

    #[test]
    fn nobody_gets_a_new_account_by_coming_back_and_yesterdays_are_forgotten() {
        let now = Instant::now();
        let mut accounts = new(now);
        accounts.open(who(1), now).unwrap().charge(0, 50, None);
        let later = now + Duration::from_secs(23 * 60 * 60);
        assert_eq!(accounts.open(who(1), later).unwrap().used(0), 50);
        let held = accounts.open(who(2), later).unwrap();
        accounts.open(who(3), now + DAY).unwrap();
        assert_eq!(accounts.by_user.len(), 2, "one whose session goes on, and the new one");
        drop(held);
    }

    #[test]
    fn accounts_are_bounded_and_those_with_least_used_and_nothing_under_way_go() {
        let now = Instant::now();
        let mut accounts = new(now);
        let bound = u64::try_from(MOST_ACCOUNTS).unwrap();
        let live = accounts.open(who(0), now).unwrap();
        accounts.open(who(1), now).unwrap().charge(0, 1000, None);
        // One machine with cheap ids.
        assert!((2..bound).all(|number| accounts.open(who(number), now).is_some()));
        assert_eq!((accounts.by_user.len(), accounts.dropped()), (MOST_ACCOUNTS, 0));
        accounts.open(who(bound), now).expect("a new computer is served all the same").charge(0, 7, None);
        assert_eq!(accounts.dropped(), DROPPED_AT_ONCE as u64);
        assert_eq!(accounts.by_user.len(), MOST_ACCOUNTS - DROPPED_AT_ONCE + 1);
        for number in bound + 1..2 * bound {
            assert!(accounts.open(who(number), now).is_some());
        }
        assert_eq!(
            (accounts.used(&who(1), now), accounts.used(&who(bound), now)),
            (1000, 7),
            "whoever used any keeps it"
        );
        live.charge(0, 5, None);
        assert_eq!(accounts.used(&who(0), now), 5, "nor does one go for whom something is relayed");
        assert!(accounts.by_user.len() <= MOST_ACCOUNTS);
    }
}
