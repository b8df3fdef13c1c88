//! All friends: the handle that the program holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kith_identity::Identity;
use kith_network::Network;
use kith_wire::{ByteStream, DeviceId, HubAddress, Link, RENDEZVOUS_CAPABILITY};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::book::AddressBook;
use crate::calls::{Caller, Calls, Dialed};
use crate::carriers::{Carrier, CarrierKind, HubHost};
use crate::dialer::Dialer;
use crate::friend::{Arrival, Common, Friend, Shared, now};
use crate::host::{Host, PeerState};
use crate::outbound::{NamedBy, Outbound};
use crate::session::Household;
use crate::way::Way;

/// Most friends of one computer.
pub const MOST_FRIENDS: usize = 4096;
/// Most hubs of one computer.
pub const MOST_HUBS: usize = 16;

/// Finds friends and holds one link to each. Cheap to clone; the links end with [`Peers::shutdown`] or with the last
/// clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

/// [`Peers`] for those whom the peers hold themselves.
#[derive(Clone)]
pub struct WeakPeers(Weak<Inner>);

impl WeakPeers {
    /// The peers, while anybody else holds them.
    #[must_use]
    pub fn upgrade(&self) -> Option<Peers> {
        self.0.upgrade().map(|inner| Peers { inner })
    }
}

struct Inner {
    common: Common,
    host: Arc<dyn Host>,
    calls: Caller,
    friends: Mutex<BTreeMap<DeviceId, Friend>>,
    hubs: Mutex<BTreeMap<DeviceId, Friend>>,
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
        outbound.follow(network);
        let mut news = network.watch();
        let common = Common { identity, outbound, carriers: watch::Sender::new(0) };
        let inner = Arc::new(Inner {
            common,
            host,
            calls: Caller::default(),
            friends: Mutex::default(),
            hubs: Mutex::default(),
            _network: network.clone(),
            watch: Mutex::default(),
        });
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

    /// A handle that does not keep the peers alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakPeers {
        WeakPeers(Arc::downgrade(&self.inner))
    }

    /// From now on these help to reach friends; they must hold [`WeakPeers`] at most.
    pub fn set_calls(&self, calls: Arc<dyn Calls>) {
        self.inner.calls.set(calls);
        for friend in lock(&self.inner.friends).values() {
            friend.shared.dial_now();
        }
    }

    /// Adds a friend, or replaces what is known of his addresses. News start a dial at once.
    pub fn set_friend(&self, friend: DeviceId, book: AddressBook) {
        self.add_friend(friend, book, Dialer::new(now()));
    }

    /// The same for one who has just become a friend by calling us: the first dial is left to him, for a moment.
    pub fn await_friend(&self, friend: DeviceId, book: AddressBook) {
        self.add_friend(friend, book, Dialer::called(now()));
    }

    fn add_friend(&self, friend: DeviceId, book: AddressBook, dialer: Dialer) {
        let mut friends = lock(&self.inner.friends);
        if let Some(known) = friends.get(&friend) {
            known.shared.set_book(book);
        } else if friends.len() < MOST_FRIENDS && friend != self.us() {
            let host = self.inner.host.clone();
            friends.insert(friend, self.begin(CarrierKind::Friend, friend, host, book, dialer));
        }
    }

    fn begin(
        &self,
        kind: CarrierKind,
        friend: DeviceId,
        host: Arc<dyn Host>,
        book: AddressBook,
        dialer: Dialer,
    ) -> Friend {
        let household = Household { friend, kind, host, calls: self.inner.calls.clone() };
        Friend::start(household, book, self.inner.common.clone(), dialer)
    }

    fn us(&self) -> DeviceId {
        self.inner.common.identity.device_id()
    }

    /// Keeps a link to each of these hubs, at most 16, and to no others. Those that the person did not choose were named by others.
    pub fn set_hubs(&self, wanted: &[HubAddress], is_chosen: impl Fn(&HubAddress) -> bool) {
        let mut hubs = lock(&self.inner.hubs);
        let wanted: BTreeMap<DeviceId, AddressBook> =
            wanted.iter().filter(|hub| hub.id != self.us()).fold(BTreeMap::new(), |mut all, hub| {
                let book: &mut AddressBook = all.entry(hub.id).or_default();
                let at = if is_chosen(hub) { &mut book.configured } else { &mut book.invited };
                at.push(hub.at.clone());
                all
            });
        hubs.retain(|id, hub| {
            let stays = wanted.contains_key(id);
            if !stays {
                hub.shared.close("the hub is not used any more");
            }
            stays
        });
        for (id, book) in wanted {
            if let Some(known) = hubs.get(&id) {
                known.shared.set_book(book);
            } else if hubs.len() < MOST_HUBS {
                let host = Arc::new(HubHost { hub: id, host: self.inner.host.clone() });
                let dialer = Dialer::new(now());
                hubs.insert(id, self.begin(CarrierKind::Hub, id, host, book, dialer));
            }
        }
    }

    /// Where the connection to each hub stands.
    #[must_use]
    pub fn hubs(&self) -> Vec<(DeviceId, PeerState)> {
        lock(&self.inner.hubs).iter().map(|(id, hub)| (*id, hub.shared.state())).collect()
    }

    /// Those with a live link who help to find and reach others, hubs first.
    #[must_use]
    pub fn carriers(&self) -> Vec<Carrier> {
        let mut carriers: Vec<Carrier> =
            lock(&self.inner.hubs).values().filter_map(|hub| carrier(&hub.shared)).collect();
        for friend in lock(&self.inner.friends).values() {
            let is_known = carriers.iter().any(|carrier| carrier.id == friend.shared.friend);
            if let Some(carrier) = carrier(&friend.shared)
                && carrier.can(RENDEZVOUS_CAPABILITY)
                && !is_known
            {
                carriers.push(carrier);
            }
        }
        carriers
    }

    /// Changes whenever the link to a friend or a hub comes, goes, or takes another way.
    #[must_use]
    pub fn carriers_changed(&self) -> watch::Receiver<u64> {
        self.inner.common.carriers.subscribe()
    }

    /// Replaces what a friend's address record says. News start a dial at once.
    pub fn set_record(&self, friend: &DeviceId, record: AddressBook) {
        if let Some(shared) = self.shared(friend) {
            shared.set_record(record);
        }
    }

    /// Where a friend is seen in our network at the moment. What is new is dialled at once, before all others; a link that takes
    /// a worse way moves there.
    pub fn nearby(&self, friend: &DeviceId, addresses: &[SocketAddr]) {
        if let Some(shared) = self.shared(friend) {
            shared.set_nearby(addresses);
        }
    }

    /// Forgets a friend and ends the link to him.
    pub fn remove_friend(&self, friend: &DeviceId) {
        let removed = lock(&self.inner.friends).remove(friend);
        if let Some(friend) = removed {
            friend.shared.close("the friend was removed");
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
        self.hand_over(friend, Arrival::Accepted { stream, remote, local, way: None });
    }

    /// As [`Peers::accept`], for a connection by whose way it is known that it was punched or is relayed: of the two computers
    /// this one is the TLS server.
    pub fn arrive(
        &self,
        friend: &DeviceId,
        stream: Box<dyn ByteStream>,
        remote: SocketAddr,
        local: SocketAddr,
        way: Way,
    ) {
        self.hand_over(friend, Arrival::Accepted { stream, remote, local, way: Some(way) });
    }

    /// Takes a connection of ours that came about after its race was over. It becomes the link if its way is better.
    pub fn offer(&self, friend: &DeviceId, dialed: Dialed) {
        self.hand_over(friend, Arrival::Dialed(dialed));
    }

    fn hand_over(&self, friend: &DeviceId, arrival: Arrival) {
        if let Some(friend) = lock(&self.inner.friends).get(friend) {
            drop(friend.arrivals.try_send(arrival));
        }
    }

    /// The live link to a friend.
    #[must_use]
    pub fn link(&self, friend: &DeviceId) -> Option<Link> {
        self.shared(friend)?.live_link()
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

    /// Lets the link to a friend, who says that there is none, prove that it lives; if it doesn't, it is closed. What is
    /// [offered](Self::offer) meanwhile waits for that.
    pub fn doubt(&self, friend: &DeviceId) {
        if let Some(shared) = self.shared(friend) {
            shared.doubt();
        }
    }

    /// Drops the link to a friend, which can't work any more, and dials anew.
    pub fn redial(&self, friend: &DeviceId, reason: &str) {
        if let Some(shared) = self.shared(friend) {
            shared.close(reason);
            shared.dial_now();
        }
    }

    /// Drops every link, to hubs too, and dials, registers and searches anew.
    pub fn reauthenticate(&self) {
        self.each(|shared| {
            shared.close("re-authentication was asked for");
            shared.dial_now();
        });
        self.inner.calls.now().afresh();
    }

    /// Dials at once whoever is not linked, and lets every link prove that it still lives.
    pub fn network_changed(&self) {
        self.each(Shared::network_changed);
    }

    fn each(&self, act: impl Fn(&Shared)) {
        for all in [&self.inner.friends, &self.inner.hubs] {
            lock(all).values().for_each(|friend| act(&friend.shared));
        }
    }

    /// Ends every link with a goodbye, within two seconds.
    pub async fn shutdown(&self) {
        *lock(&self.inner.watch) = None;
        self.inner.calls.clear();
        let mut all: Vec<Friend> = Vec::new();
        for map in [&self.inner.friends, &self.inner.hubs] {
            all.extend(std::mem::take(&mut *lock(map)).into_values());
        }
        let goodbyes = all.iter().filter_map(|friend| {
            let link = friend.shared.link().borrow().clone()?;
            friend.shared.close("the program ends");
            Some(async move { link.ended().await })
        });
        let goodbyes = futures::future::join_all(goodbyes);
        drop(tokio::time::timeout(Duration::from_secs(2), goodbyes).await);
    }

    fn shared(&self, friend: &DeviceId) -> Option<Arc<Shared>> {
        lock(&self.inner.friends).get(friend).map(|friend| friend.shared.clone())
    }
}

fn carrier(shared: &Shared) -> Option<Carrier> {
    let link = shared.live_link()?;
    let connection = shared.state().connection?;
    let address = connection.dialled.clone().or_else(|| shared.likeliest(connection.remote));
    let told = address.as_deref().map_or(NamedBy::Others, |address| shared.told(address));
    Some(Carrier { id: shared.friend, kind: shared.kind, link, address, told, connection })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
