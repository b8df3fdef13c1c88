//! The service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use kith_identity::{DeviceId, DialInTag};
use kith_wire::{Deposit, HubAddress, Moves, Post, Search};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::accounts::Counted;
use crate::copy::join;
use crate::mailboxes::Mailboxes;
use crate::network::Network;
use crate::records::Records;
use crate::relay::Relay;
use crate::rules::Rules;
use crate::sessions::Arrived;
use crate::status::{JoinedLeg, Relayed, RelayedFor, Status};
use crate::users::Users;

/// Longest time for handing a message over; whoever sent it waits no longer than that.
const HAND_OVER: Duration = Duration::from_secs(10);

/// How a carrier gets to those it carries for, and to other carriers.
pub trait Courier: Send + Sync + 'static {
    /// Hands a message over by `POST /kith/v1/posted`; whether it was taken. It should come to an end soon.
    fn carry(&self, to: &DeviceId, post: Post) -> BoxFuture<'static, bool>;

    /// Hands a message for which nobody here waits to other carriers; to how many computers it got there.
    fn carry_beyond(&self, _post: Post) -> BoxFuture<'static, u32> {
        Box::pin(std::future::ready(0))
    }

    /// Searches at other carriers too.
    fn find_beyond(&self, _search: Search) -> BoxFuture<'static, Vec<Deposit>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// By how many digits is to be searched at the other carriers; 0: there are none.
    fn digits_beyond(&self) -> u8 {
        0
    }

    /// The carriers that this computer is to use from now on.
    fn assigned(&self, _to: &DeviceId) -> Vec<HubAddress> {
        Vec::new()
    }

    /// Where this carrier is going to be found.
    fn moves(&self) -> Option<Moves> {
        None
    }
}

/// Serves those who want to find and reach each other. Cheap to clone; with the last clone all that it joined ends.
#[derive(Clone)]
pub struct Rendezvous(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    state: Mutex<State>,
    pub(crate) courier: Arc<dyn Courier>,
    handed_over: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Something has to be looked at sooner than thought.
    pub(crate) sooner: Arc<Notify>,
    tasks: OnceLock<[AbortOnDropHandle<()>; 2]>,
}

pub(crate) struct State {
    pub(crate) rules: Rules,
    pub(crate) users: Users,
    pub(crate) records: Records,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) relay: Relay,
}

impl Rendezvous {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(rules: Rules, courier: Arc<dyn Courier>) -> Self {
        Self::resume(rules, courier, &Counted::default())
    }

    /// The same, and what was relayed in the running day is known of an earlier run. Must be called within a tokio runtime.
    #[must_use]
    pub fn resume(rules: Rules, courier: Arc<dyn Courier>, counted: &Counted) -> Self {
        let relay = Relay::new(rules.relay.as_ref(), counted, Instant::now());
        let (meters, sooner) = (relay.meters.clone(), Arc::new(Notify::new()));
        let state = State {
            rules,
            users: Users::default(),
            records: Records::default(),
            mailboxes: Mailboxes::default(),
            relay,
        };
        let inner = Arc::new(Inner {
            state: Mutex::new(state),
            courier,
            handed_over: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sooner: sooner.clone(),
            tasks: OnceLock::new(),
        });
        let weak = Arc::downgrade(&inner);
        let pace = tokio::spawn(async move { meters.pace.run().await });
        let tidying = tokio::spawn(tidy(weak, sooner));
        inner.tasks.get_or_init(|| [AbortOnDropHandle::new(pace), AbortOnDropHandle::new(tidying)]);
        Self(inner)
    }

    /// Puts other rules in force, at once.
    pub fn set_rules(&self, rules: Rules) {
        let mut state = self.0.state();
        if state.rules != rules {
            state.relay.set_rules(rules.relay.as_ref());
            state.rules = rules;
        }
    }

    /// A link to this computer is up, which came from this network: where a network is given, networks share what there is too little of.
    /// May be said more than once.
    pub fn connected(&self, who: DeviceId, from: Option<Network>) {
        let mut state = self.0.state();
        if state.enter(&who, Instant::now()).is_some() {
            state.users.connected(&who, from);
        }
    }

    /// There is no link to this computer any more. What is kept for it is dropped ten minutes later, unless it comes back; its records live
    /// for as long as it asked for. May be said more than once.
    pub fn disconnected(&self, who: &DeviceId) {
        self.0.state().users.disconnected(who, Instant::now());
        self.0.sooner.notify_one();
    }

    /// Nothing is done for this computer any more: all that is kept for it is dropped, and what is relayed for it ends.
    pub fn removed(&self, who: &DeviceId) {
        let mut state = self.0.state();
        // Records outlive the place of whoever left them.
        let who = state.users.remove(who).unwrap_or_else(|| Arc::new(*who));
        state.records.forget(&who);
        state.forget(&who);
    }

    /// Hands a message to those who await it here; to how many. A message that came from another carrier goes no further.
    pub async fn hand_over(&self, post: Post) -> u32 {
        let watchers = self.0.state().mailboxes.watchers(&post.tag);
        let carried = watchers.iter().map(|to| {
            let carried = self.0.courier.carry(to, post.clone());
            async move { tokio::time::timeout(HAND_OVER, carried).await.unwrap_or(false) }
        });
        let taken = join_all(carried).await.into_iter().filter(|taken| *taken).count();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        self.0.handed_over.fetch_add(taken.into(), Ordering::Relaxed);
        taken
    }

    /// The records here that another carrier searches, for somebody of its own. It may have been told fewer digits than are enough here:
    /// it is answered as much as there is room for.
    ///
    /// # Errors
    /// A sentence, if that is no search.
    pub fn find(&self, search: &Search) -> Result<Vec<Deposit>, String> {
        self.0.state().records.find(search, 0, Instant::now()).map(|(records, _)| records)
    }

    /// By how many digits is to be searched here.
    #[must_use]
    pub fn prefix_digits(&self) -> u8 {
        self.0.state().records.prefix_digits()
    }

    /// Whether a connection is awaited that brings this name.
    #[must_use]
    pub fn awaits_leg(&self, name: &DialInTag) -> bool {
        self.0.state().relay.sessions.awaits(name, Instant::now())
    }

    /// Takes a connection that brought a name, of which all was read up to the end of the ClientHello. When the other one of its session
    /// is there, the two are joined; what nobody awaits is closed.
    pub fn take_leg(&self, name: &DialInTag, stream: TcpStream) {
        let now = Instant::now();
        let mut state = self.0.state();
        match state.relay.sessions.arrive(name, stream, now) {
            Arrived::Unknown(_closed) => debug!("a connection came for a session that is over"),
            Arrived::Waits => {}
            Arrived::Both(session, [(one, first), (other, second)]) => {
                let Some(toll) = state.relay.toll([one, other], now) else {
                    state.relay.ended(&session);
                    return warn!("two computers were not joined: something is relayed for too many others");
                };
                let inner = Arc::downgrade(&self.0);
                let legs = ends(one, other, &first)
                    .and_then(|leg| Ok([leg, ends(other, one, &second)?]))
                    // Gone already; the join finds out.
                    .ok();
                // Its end needs the state, and so comes after it is held.
                let task = tokio::spawn(async move {
                    debug!(friend = %one, with = %other, "two computers are joined");
                    let ending = join(first, second, &toll).await;
                    debug!(friend = %one, with = %other, %ending, "two computers are not joined any more");
                    if let Some(inner) = inner.upgrade() {
                        inner.state().relay.ended(&session);
                    }
                });
                state.relay.hold(session, legs, AbortOnDropHandle::new(task));
            }
        }
    }

    /// What is kept and was done, in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.0.state();
        let (users, connected) = state.users.count();
        Status {
            users,
            connected,
            records: state.records.count(),
            record_bytes: state.records.bytes(),
            watched: state.mailboxes.count(),
            handed_over: self.0.handed_over.load(Ordering::Relaxed),
            refused: self.0.refused.load(Ordering::Relaxed),
            relay: Relayed {
                rules: state.rules.relay.clone(),
                sessions: state.relay.sessions.count(),
                bytes: state.relay.meters.relayed.load(Ordering::Relaxed),
                gave_way: state.relay.gave_way,
                accounts_dropped: state.relay.accounts.dropped(),
            },
        }
    }

    /// What was relayed in the running day, for a later run to go on with.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.0.state().relay.accounts.counted(Instant::now())
    }

    /// The connections that are joined now, the two of each pair beside each other.
    #[must_use]
    pub fn joined(&self) -> Vec<JoinedLeg> {
        self.0.state().relay.joined()
    }

    /// For whom is relayed now, or was today.
    #[must_use]
    pub fn relayed_for(&self) -> Vec<RelayedFor> {
        let state = self.0.state();
        let Relay { accounts, sessions, .. } = &state.relay;
        let all = accounts.all(Instant::now());
        let all = all.map(|(who, bytes_today)| RelayedFor {
            who: *who,
            sessions: sessions.count_of(who),
            bytes_today,
        });
        let mut all: Vec<_> = all.filter(|user| user.sessions > 0 || user.bytes_today > 0).collect();
        all.sort_by_key(|user| user.who);
        all
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of one who asks; none if there is none to be had.
    pub(crate) fn enter(&mut self, who: &DeviceId, now: Instant) -> Option<Arc<DeviceId>> {
        let entered = self.users.enter(who, self.rules.most_users, now)?;
        if let Some(gone) = entered.instead_of {
            self.forget(&gone);
        }
        Some(entered.who)
    }

    /// What somebody awaited and what was relayed for him ends; his records live on.
    fn forget(&mut self, who: &Arc<DeviceId>) {
        self.mailboxes.forget(who);
        self.relay.forget(who);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for who in self.users.handle_timeout(now) {
            self.forget(&who);
        }
        self.records.handle_timeout(now);
        self.relay.sessions.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timeouts =
            [self.users.poll_timeout(), self.records.poll_timeout(), self.relay.sessions.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }
}

/// Drops what is over, when it is.
async fn tidy(inner: Weak<Inner>, sooner: Arc<Notify>) {
    loop {
        let next = {
            let Some(inner) = inner.upgrade() else { return };
            let mut state = inner.state();
            state.handle_timeout(Instant::now());
            state.poll_timeout()
        };
        match next {
            Some(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = sooner.notified() => {}
                }
            }
            None => sooner.notified().await,
        }
    }
}

/// Where a connection goes from and to.
fn ends(who: DeviceId, with: DeviceId, leg: &TcpStream) -> std::io::Result<JoinedLeg> {
    Ok(JoinedLeg { who, with, local: leg.local_addr()?, remote: leg.peer_addr()? })
}

#[cfg(test)]
mod tests;
