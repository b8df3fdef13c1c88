//! All friends: the handle that the program holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kith_identity::Identity;
use kith_network::Network;
use kith_wire::{ByteStream, DeviceId, Link};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::book::AddressBook;
use crate::dialer::Dialer;
use crate::friend::{Arrival, Friend, Shared};
use crate::host::{Host, PeerState};
use crate::outbound::Outbound;

/// Most friends of one computer.
pub const MOST_FRIENDS: usize = 4096;

/// Finds friends and holds one link to each. Cheap to clone; the links end with [`Peers::shutdown`] or with the last
/// clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Arc<Identity>,
    host: Arc<dyn Host>,
    outbound: Outbound,
    friends: Mutex<BTreeMap<DeviceId, Friend>>,
    /// Held, so that it goes on being watched.
    _network: Network,
    watch: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Peers {
    /// Starts without friends. Changes of the network and a resume from sleep start dials and checks of the links by
    /// themselves. Connections are made as `outbound` has it.
    #[must_use]
    pub fn start(
        identity: Arc<Identity>,
        host: Arc<dyn Host>,
        outbound: Outbound,
        network: &Network,
    ) -> Self {
        let mut news = network.watch();
        let (friends, watch, network) = (Mutex::default(), Mutex::default(), network.clone());
        let inner = Arc::new(Inner { identity, host, outbound, friends, _network: network, watch });
        let weak = Arc::downgrade(&inner);
        let watch = tokio::spawn(async move {
            while news.changed().await.is_ok() {
                let (changes, resumes) = {
                    let news = news.borrow_and_update();
                    (news.changes, news.resumes)
                };
                debug!(changes, resumes, "the network changed, or the computer slept");
                let Some(inner) = weak.upgrade() else { return };
                Self { inner }.network_changed();
            }
        });
        *lock(&inner.watch) = Some(AbortOnDropHandle::new(watch));
        Self { inner }
    }

    /// Adds a friend, or replaces what is known of his addresses. News start a dial at once.
    pub fn set_friend(&self, friend: DeviceId, book: AddressBook) {
        self.add_friend(friend, book, Dialer::new(Instant::now()));
    }

    /// The same for one who has just become a friend by calling us: the first dial is left to him, for a moment.
    pub fn await_friend(&self, friend: DeviceId, book: AddressBook) {
        self.add_friend(friend, book, Dialer::called(Instant::now()));
    }

    fn add_friend(&self, friend: DeviceId, book: AddressBook, dialer: Dialer) {
        let mut friends = lock(&self.inner.friends);
        if let Some(known) = friends.get(&friend) {
            known.shared.set_book(book);
        } else if friends.len() < MOST_FRIENDS && friend != self.inner.identity.device_id() {
            let task = {
                let Inner { identity, host, outbound, .. } = &*self.inner;
                Friend::start(friend, book, identity.clone(), host.clone(), outbound.clone(), dialer)
            };
            friends.insert(friend, task);
        }
    }

    /// Forgets a friend and ends the link to him.
    pub fn remove_friend(&self, friend: &DeviceId) {
        let removed = lock(&self.inner.friends).remove(friend);
        if let Some(friend) = removed {
            close(&friend.shared, "the friend was removed");
        }
    }

    /// Takes a connection that the listener authenticated. Of an unknown friend, or of one with too many unfinished
    /// connections, it is dropped.
    pub fn accept(
        &self,
        friend: &DeviceId,
        stream: Box<dyn ByteStream>,
        remote: SocketAddr,
        local: SocketAddr,
    ) {
        if let Some(friend) = lock(&self.inner.friends).get(friend) {
            drop(friend.arrivals.try_send(Arrival { stream, remote, local }));
        }
    }

    /// The live link to a friend.
    #[must_use]
    pub fn link(&self, friend: &DeviceId) -> Option<Link> {
        let shared = self.shared(friend)?;
        let link = shared.link().borrow().clone();
        link.filter(|link| !link.is_over())
    }

    /// Waits for a link to a friend; none if it does not come in time or the friend is not known.
    pub async fn wait_for_link(&self, friend: &DeviceId, patience: Duration) -> Option<Link> {
        let mut watch = self.shared(friend)?.link();
        let found = tokio::time::timeout(patience, async {
            let live = |link: &Option<Link>| link.as_ref().is_some_and(|link| !link.is_over());
            watch.wait_for(live).await.ok().and_then(|link| link.clone())
        });
        found.await.ok().flatten()
    }

    /// Where the connection to a friend stands.
    #[must_use]
    pub fn state(&self, friend: &DeviceId) -> Option<PeerState> {
        self.shared(friend).map(|shared| shared.state())
    }

    /// Dials a friend now, instead of at the end of the pause.
    pub fn dial_now(&self, friend: &DeviceId) {
        if let Some(shared) = self.shared(friend) {
            shared.dial_now();
        }
    }

    /// Drops the link to a friend, which can't work any more, and dials anew.
    pub fn redial(&self, friend: &DeviceId, reason: &str) {
        if let Some(shared) = self.shared(friend) {
            close(&shared, reason);
            shared.dial_now();
        }
    }

    /// Drops every link and dials anew.
    pub fn reauthenticate(&self) {
        for friend in lock(&self.inner.friends).values() {
            close(&friend.shared, "re-authentication was asked for");
            friend.shared.dial_now();
        }
    }

    /// Dials at once whoever is not linked, and lets every link prove that it still lives.
    pub fn network_changed(&self) {
        for friend in lock(&self.inner.friends).values() {
            friend.shared.network_changed();
        }
    }

    /// Ends every link with a goodbye, within two seconds.
    pub async fn shutdown(&self) {
        *lock(&self.inner.watch) = None;
        let friends: Vec<Friend> = std::mem::take(&mut *lock(&self.inner.friends)).into_values().collect();
        let goodbyes = friends.iter().filter_map(|friend| {
            let link = friend.shared.link().borrow().clone()?;
            link.close("the program ends");
            Some(async move { link.ended().await })
        });
        let goodbyes = futures::future::join_all(goodbyes);
        drop(tokio::time::timeout(Duration::from_secs(2), goodbyes).await);
    }

    fn shared(&self, friend: &DeviceId) -> Option<Arc<Shared>> {
        lock(&self.inner.friends).get(friend).map(|friend| friend.shared.clone())
    }
}

fn close(shared: &Shared, reason: &str) {
    if let Some(link) = &*shared.link().borrow() {
        link.close(reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
