//! Joins those who both asked for it, and counts what goes between them.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kith_identity::{DeviceId, PairTag};
use kith_wire::RelayTerms;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::accounts::{Account, Accounts, Counted, day};
use crate::copy::MOST_LARGE;
use crate::fair::Rates;
use crate::pace::Pace;
use crate::rules::RelayRules;
use crate::sessions::Sessions;
use crate::status::JoinedLeg;

/// While bytes are held back, a connection gets a fiftieth of a second's at a time, within these bounds.
const TURNS_IN_A_SECOND: u64 = 50;
const LEAST_TURN: u64 = 1024;
const MOST_TURN: u64 = 64 * 1024;

/// What all relayed connections share.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) pace: Pace,
    /// Bytes of one user in a day; 0: without a limit.
    daily: AtomicU64,
    /// Bytes that one connection passes on at a time; 0: as many as it likes.
    turn: AtomicU64,
    /// Bytes since the start.
    pub(crate) relayed: AtomicU64,
    /// The larger buffers.
    large: Arc<Semaphore>,
    started: Instant,
}

impl Meters {
    fn daily(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.daily.load(Ordering::Relaxed))
    }
}

/// What one relayed connection pays, for both of its users.
#[derive(Debug)]
pub(crate) struct Toll {
    users: [DeviceId; 2],
    accounts: [Arc<Account>; 2],
    meters: Arc<Meters>,
}

impl Toll {
    /// Most bytes that may be passed on at a time; none: it doesn't matter.
    pub(crate) fn most_at_once(&self) -> Option<usize> {
        usize::try_from(self.meters.turn.load(Ordering::Relaxed)).ok().filter(|turn| *turn > 0)
    }

    /// The right to a larger buffer, if there is one left.
    pub(crate) fn large_buffer(&self) -> Option<OwnedSemaphorePermit> {
        self.meters.large.clone().try_acquire_owned().ok()
    }

    /// Counts so many bytes and returns when they may go; false if one of the two has used up his volume.
    pub(crate) async fn pay(&self, bytes: usize) -> bool {
        let (day, limit) = (day(self.meters.started, Instant::now()), self.meters.daily());
        if !self.accounts.iter().all(|account| account.charge(day, 0, limit)) {
            return false;
        }
        let count = u64::try_from(bytes).unwrap_or(u64::MAX);
        for account in &self.accounts {
            account.charge(day, count, None);
        }
        self.meters.relayed.fetch_add(count, Ordering::Relaxed);
        self.meters.pace.pass(self.users, bytes).await;
        true
    }
}

/// The sessions, the connections that are joined, and the accounts.
pub(crate) struct Relay {
    pub(crate) sessions: Sessions<TcpStream>,
    pub(crate) accounts: Accounts,
    pub(crate) meters: Arc<Meters>,
    live: HashMap<PairTag, Joined>,
    /// Sessions that ended for those of networks that had fewer.
    pub(crate) gave_way: u64,
    has_warned: bool,
}

/// Two connections that are joined.
struct Joined {
    legs: Option<[JoinedLeg; 2]>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub(crate) fn new(rules: Option<&RelayRules>, counted: &Counted, now: Instant) -> Self {
        let accounts = Accounts::resume(counted, now);
        let meters = Meters {
            pace: Pace::new(Rates::default()),
            daily: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            relayed: AtomicU64::new(0),
            large: Arc::new(Semaphore::new(MOST_LARGE)),
            started: accounts.started(),
        };
        let relay = Self {
            sessions: Sessions::default(),
            accounts,
            meters: Arc::new(meters),
            live: HashMap::new(),
            gave_way: 0,
            has_warned: false,
        };
        relay.set_limits(rules);
        relay
    }

    /// Puts other rules in force; without any, all that is joined ends.
    pub(crate) fn set_rules(&mut self, rules: Option<&RelayRules>) {
        self.set_limits(rules);
        if rules.is_none() {
            let ended = self.sessions.forget_all();
            self.end(&ended);
        }
    }

    fn set_limits(&self, rules: Option<&RelayRules>) {
        let rates = rates(rules);
        let turn =
            rates.of_one().map_or(0, |rate| (rate.get() / TURNS_IN_A_SECOND).clamp(LEAST_TURN, MOST_TURN));
        let daily = rules.and_then(|rules| rules.user_bytes_per_day).map_or(0, NonZeroU64::get);
        self.meters.turn.store(turn, Ordering::Relaxed);
        self.meters.daily.store(daily, Ordering::Relaxed);
        self.meters.pace.set_rates(rates);
    }

    /// What a user is told of the rules.
    pub(crate) fn terms(&self, user: &DeviceId, rules: &RelayRules, now: Instant) -> RelayTerms {
        RelayTerms {
            bytes_per_second: rates(Some(rules)).of_one().map(NonZeroU64::get),
            bytes_left: self.left(user, now),
        }
    }

    /// What is left for a user today; none: there is no limit.
    pub(crate) fn left(&self, user: &DeviceId, now: Instant) -> Option<u64> {
        self.meters.daily().map(|limit| limit.get().saturating_sub(self.accounts.used(user, now)))
    }

    /// What a session of these two pays; none if there is no account to be had for one of them.
    pub(crate) fn toll(&mut self, users: [DeviceId; 2], now: Instant) -> Option<Toll> {
        let accounts = users.map(|user| self.accounts.open(user, now));
        if self.accounts.dropped() > 0 && !std::mem::replace(&mut self.has_warned, true) {
            warn!(
                "so many computers have had something relayed today that those with least begin anew: perhaps somebody makes up computers"
            );
        }
        let [Some(one), Some(other)] = accounts else { return None };
        Some(Toll { users, accounts: [one, other], meters: self.meters.clone() })
    }

    /// A joined session, which ends when this is told to forget it.
    pub(crate) fn hold(
        &mut self,
        session: PairTag,
        legs: Option<[JoinedLeg; 2]>,
        task: AbortOnDropHandle<()>,
    ) {
        self.live.insert(session, Joined { legs, _task: task });
    }

    /// All connections that are joined, those of one session beside each other.
    pub(crate) fn joined(&self) -> Vec<JoinedLeg> {
        self.live.values().filter_map(|joined| joined.legs).flatten().collect()
    }

    /// A session had to end for somebody of another network.
    pub(crate) fn gave_way(&mut self, session: &PairTag) {
        self.gave_way += 1;
        self.ended(session);
    }

    /// A joined session has ended.
    pub(crate) fn ended(&mut self, session: &PairTag) {
        self.sessions.end(session);
        self.live.remove(session);
    }

    /// Ends what a user has here.
    pub(crate) fn forget(&mut self, user: &DeviceId) {
        let ended = self.sessions.forget(user);
        self.end(&ended);
    }

    fn end(&mut self, sessions: &[PairTag]) {
        for session in sessions {
            self.live.remove(session);
        }
    }
}

fn rates(rules: Option<&RelayRules>) -> Rates {
    rules.map_or_else(Rates::default, |rules| Rates {
        total: rules.bytes_per_second,
        each: rules.user_bytes_per_second,
    })
}
