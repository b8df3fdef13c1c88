//! One friend, or one hub: the task that keeps a link to him, and what it shares with the rest.

mod accepting;
mod dialling;
mod run;
mod telling;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use kith_identity::Identity;
use kith_wire::{ByteStream, DeviceId, Link, LinkError};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info_span};

use crate::attempts::Attempts;
use crate::book::{AddressBook, Known};
use crate::calls::Dialed;
use crate::carriers::CarrierKind;
use crate::dial_back::DialBacks;
use crate::dialer::Dialer;
use crate::guests::Guests;
use crate::host::PeerState;
use crate::outbound::{NamedBy, Outbound};
use crate::prefer::Claims;
use crate::runs::Runs;
use crate::session::Household;
use crate::way::{PathChange, Way};

/// Connections of one friend that wait for their hello at once; one more, and the one that has waited for longest goes.
const MOST_ARRIVALS: usize = 8;
/// Links of one friend whose work moves to a better one, at once; one more, and the oldest is closed.
const MOST_DRAINING: usize = 4;

/// What the friend's task shares.
pub(crate) struct Shared {
    pub(crate) friend: DeviceId,
    pub(crate) kind: CarrierKind,
    us: DeviceId,
    identity: Arc<Identity>,
    household: Household,
    outbound: Outbound,
    known: Mutex<Known>,
    state: Mutex<Told>,
    link: watch::Sender<Option<Link>>,
    /// Raised whenever a link of anybody came or went.
    carriers: watch::Sender<u64>,
    claims: Mutex<Claims>,
    /// Which runs of his program had the link.
    runs: Mutex<Runs>,
    /// Why his last hello was turned away, until there is a link: he dials, and can't be dialled perhaps.
    turned_away: Mutex<Option<String>>,
    /// Older installations of his, and visitors.
    guests: Mutex<Guests>,
    /// Links whose work has moved, until it is done.
    draining: Mutex<Vec<(Link, AbortOnDropHandle<LinkError>)>>,
    /// Something changed that makes a dial promising.
    promising: Notify,
    /// An address of his became known that is news.
    news: Notify,
    /// What he asks to be called at, and from where he is connected.
    dial_backs: Arc<DialBacks>,
    /// The network changed: links must prove themselves.
    network: Notify,
    /// The link must prove itself.
    doubted: Notify,
    /// Whether that is still open.
    is_doubted: watch::Sender<bool>,
}

/// What people are told.
#[derive(Default)]
struct Told {
    state: PeerState,
    attempts: Attempts,
}

/// A connection that was made elsewhere.
pub(crate) enum Arrival {
    /// By the friend.
    Accepted {
        stream: Box<dyn ByteStream>,
        remote: SocketAddr,
        local: SocketAddr,
        /// If that is known otherwise than from the addresses.
        way: Option<Way>,
    },
    /// By us.
    Dialed(Dialed),
}

/// What all friends' tasks are given.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) identity: Arc<Identity>,
    pub(crate) outbound: Outbound,
    pub(crate) carriers: watch::Sender<u64>,
}

/// The handle to a friend's task; dropping it ends the task and its link.
pub(crate) struct Friend {
    pub(crate) shared: Arc<Shared>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    _task: AbortOnDropHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time by the clock that the timers go by.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

impl Friend {
    pub(crate) fn start(household: Household, book: AddressBook, common: Common, dialer: Dialer) -> Self {
        let Common { identity, outbound, carriers } = common;
        let (friend, kind) = (household.friend, household.kind);
        let shared = Arc::new(Shared {
            friend,
            kind,
            us: identity.device_id(),
            identity,
            household,
            known: Mutex::new(Known::new(book)),
            state: Mutex::default(),
            link: watch::Sender::new(None),
            carriers,
            claims: Mutex::default(),
            runs: Mutex::default(),
            turned_away: Mutex::default(),
            guests: Mutex::default(),
            draining: Mutex::default(),
            promising: Notify::new(),
            news: Notify::new(),
            dial_backs: Arc::new(DialBacks::new(outbound.clone())),
            outbound,
            network: Notify::new(),
            doubted: Notify::new(),
            is_doubted: watch::Sender::new(false),
        });
        let (arrivals, arriving) = mpsc::channel(MOST_ARRIVALS);
        let span = match kind {
            CarrierKind::Friend => info_span!("friend", id = %friend.short()),
            CarrierKind::Hub => info_span!("hub", id = %friend.short()),
        };
        let task = tokio::spawn(run::run(shared.clone(), arriving, dialer).instrument(span));
        Self { shared, arrivals, _task: AbortOnDropHandle::new(task) }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> PeerState {
        let told = lock(&self.state);
        let mut state = told.state.clone();
        state.attempts = told.attempts.all();
        drop(told);
        state.round_trip = self.link.borrow().as_ref().and_then(Link::round_trip);
        state
    }

    pub(crate) fn link(&self) -> watch::Receiver<Option<Link>> {
        self.link.subscribe()
    }

    /// The link, if it lives.
    pub(crate) fn live_link(&self) -> Option<Link> {
        self.link.borrow().clone().filter(|link| !link.is_over())
    }

    /// The address by which he is to be dialled, who has dialled us from here.
    pub(crate) fn likeliest(&self, remote: SocketAddr) -> Option<String> {
        lock(&self.known).likeliest(remote.ip()).cloned()
    }

    /// Who named an address of his.
    pub(crate) fn told(&self, address: &str) -> NamedBy {
        lock(&self.known).told(address)
    }

    /// Replaces what is known of the addresses; news start a dial.
    pub(crate) fn set_book(&self, book: AddressBook) {
        let is_news = lock(&self.known).set_book(book);
        self.dial_if(is_news);
    }

    /// Replaces what his address record says; news start a dial.
    pub(crate) fn set_record(&self, record: AddressBook) {
        let is_news = lock(&self.known).set_record(record);
        self.dial_if(is_news);
    }

    /// Replaces where he is seen in our network; news start a dial.
    pub(crate) fn set_nearby(&self, nearby: &[SocketAddr]) {
        let is_news = lock(&self.known).set_nearby(nearby);
        self.dial_if(is_news);
    }

    fn dial_if(&self, is_news: bool) {
        if is_news {
            self.dial_now();
            self.news.notify_one();
        }
    }

    pub(crate) fn dial_now(&self) {
        self.promising.notify_one();
    }

    pub(crate) fn network_changed(&self) {
        self.network.notify_one();
    }

    /// The friend says that there is no link: ours must prove that it lives.
    pub(crate) fn doubt(&self) {
        self.is_doubted.send_replace(true);
        self.doubted.notify_one();
    }

    /// Waits until it is known whether the link lives.
    async fn settled(&self) {
        // The task that says so lives as long as this is waited for.
        drop(self.is_doubted.subscribe().wait_for(|is_doubted| !is_doubted).await);
    }

    /// Ends the link, and those whose work has moved to it.
    pub(crate) fn close(&self, reason: &str) {
        for (link, _driver) in &*lock(&self.draining) {
            link.close(reason);
        }
        if let Some(link) = &*self.link.borrow() {
            link.close(reason);
        }
    }

    /// Lets what runs on a link finish there, while all else is done over the new one.
    fn drain(&self, old: crate::session::Session, to: &Link, reason: &str) {
        old.link.drain(reason, Some(to.clone()));
        let mut draining = lock(&self.draining);
        draining.retain(|(link, driver)| !link.is_over() && !driver.is_finished());
        if draining.len() >= MOST_DRAINING {
            let (oldest, driver) = draining.remove(0);
            oldest.close("its work has moved to another connection long ago");
            driver.detach();
        }
        draining.push((old.link, old.driver));
    }

    /// Notes how he is linked now. None of it, if he is linked as before.
    fn change_path(&self, told: &mut Told, reason: &str) -> Option<PathChange> {
        let from = told.state.last_change.as_ref().and_then(|change| change.to);
        let to = told.state.connection.as_ref().map(crate::host::Connection::path);
        if from == to {
            return None;
        }
        let when = SystemTime::now();
        let change = PathChange { when, from, to, reason: reason.to_owned() };
        told.state.path_since = Some(when);
        told.state.last_change = Some(change.clone());
        Some(change)
    }
}
