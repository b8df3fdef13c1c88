//! What all parts of the hub share: who is there, who may be, and what is told to whom.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, header};
use jiff::Timestamp;
use kith_hub::{Courier, Rendezvous, Rules};
use kith_identity::{DeviceId, DialInKey, DialInRing, DialInTag, Identity, InstallationId};
use kith_wire::{
    Deposit, HUB_CAPABILITY, Hello, HubAddress, Link, Moves, Post, RELAY_CAPABILITY, RENDEZVOUS_CAPABILITY,
    Registered, Report, Search, VersionRange, json_body, paths,
};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::admitted::Admitted;
use super::peers::Peers;
use super::rules;
use super::seats::{Guest, Number, Seated, Seats};
use crate::daemon::PROGRAM;
use crate::settings::{self, Registering};

/// Longest time for a computer to take a message or news.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Computers to which news is told at the same time.
const TOLD_AT_ONCE: usize = 512;

tokio::task_local! {
    /// The hub that handed over the message that is being carried, if it was one: a message is carried within the task that takes it.
    static FROM_HUB: HubAddress;
}

/// The hub.
pub(super) struct Hub {
    identity: Arc<Identity>,
    ring: DialInRing,
    settings: RwLock<Arc<settings::Hub>>,
    admitted: Admitted,
    rendezvous: OnceLock<Rendezvous>,
    peers: OnceLock<Peers>,
    seats: Mutex<Seats<Link>>,
    /// To which of our addresses each computer came: where nothing is advertised, that is where it finds us again.
    came_to: Mutex<HashMap<DeviceId, SocketAddr>>,
    /// Drawn at every start.
    run: InstallationId,
    /// The port for computers, as it was bound.
    port: AtomicU16,
    pub(super) counters: Counters,
}

/// What was counted since the start.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) hellos: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) replaced: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Hub {
    /// A hub where nobody is yet. Must be called within a tokio runtime.
    pub(super) fn new(
        identity: Arc<Identity>,
        admitted: Admitted,
        settings: settings::Hub,
    ) -> anyhow::Result<Arc<Self>> {
        let mut run = [0; 16];
        getrandom::fill(&mut run)?;
        let us = identity.device_id();
        let rules = rules::of(&settings);
        let hub = Arc::new(Self {
            ring: DialInRing::new([&DialInKey::of_hub(&us)]),
            seats: Mutex::new(Seats::new(settings.most_computers.get())),
            settings: RwLock::new(Arc::new(settings)),
            identity,
            admitted,
            rendezvous: OnceLock::new(),
            peers: OnceLock::new(),
            came_to: Mutex::default(),
            run: InstallationId::from_bytes(run),
            port: AtomicU16::new(0),
            counters: Counters::default(),
        });
        let courier = Arc::new(Carrier(Arc::downgrade(&hub)));
        hub.rendezvous.get_or_init(|| Rendezvous::new(rules, courier));
        Ok(hub)
    }

    pub(super) fn us(&self) -> DeviceId {
        self.identity.device_id()
    }

    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(super) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    pub(super) fn rendezvous(&self) -> &Rendezvous {
        // Set by `new`, with rules that it has there.
        self.rendezvous.get_or_init(|| Rendezvous::new(Rules::of_hub(), Arc::new(Carrier(Weak::new()))))
    }

    pub(super) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(super) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// The other hubs, once there are some.
    pub(super) fn peers(&self) -> Option<&Peers> {
        self.peers.get()
    }

    pub(super) fn set_peers(&self, peers: Peers) {
        // Set once, at the start.
        drop(self.peers.set(peers));
    }

    pub(super) fn settings(&self) -> Arc<settings::Hub> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings are in force from now on; those whom the owner barred go.
    pub(super) fn apply(&self, settings: settings::Hub) {
        self.rendezvous().set_rules(rules::of(&settings));
        self.seats().set_most(settings.most_computers.get());
        let closes = settings.registration == Registering::Invite;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        if closes {
            let mut seats = self.seats();
            let barred = seats.admitted().filter(|(who, _)| !self.admitted.knows(who));
            let barred: Vec<(DeviceId, Link)> = barred.map(|(who, link)| (*who, link.clone())).collect();
            for (who, link) in barred {
                seats.bar(&who);
                self.rendezvous().removed(&who);
                link.close("the owner of the hub doesn't let this computer in any more");
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats<Link>> {
        // No code that holds the lock can leave them half-written.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn came_to(&self) -> MutexGuard<'_, HashMap<DeviceId, SocketAddr>> {
        self.came_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.settings().registration == Registering::Open
    }

    /// Whether the tag was made by somebody who knows where this hub is.
    pub(super) fn recognises(&self, tag: &DialInTag) -> bool {
        self.ring.recognises(tag)
    }

    pub(super) fn next_number(&self) -> Number {
        self.seats().number()
    }

    /// A connection has come in; it has to say hello soon.
    pub(super) fn enter(&self, number: Number, who: DeviceId, link: Link) {
        Counters::count(&self.counters.connections);
        let gone = self.seats().enter(number, who, link, Instant::now());
        for link in gone {
            link.close("too many connections have not said hello");
        }
    }

    /// A connection has said hello.
    pub(super) fn seat(
        &self,
        number: Number,
        who: DeviceId,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> Seated<()> {
        Counters::count(&self.counters.hellos);
        // All of it while the seats are held: whoever has a seat is known to the rendezvous as connected, and nobody else is.
        let mut seats = self.seats();
        let admitted = self.is_open() || self.admitted.knows(&who);
        let gone = match seats.sit(number, remote.ip(), admitted, Instant::now()) {
            Seated::Taken(gone) => gone,
            Seated::Full => {
                Counters::count(&self.counters.refused_full);
                return Seated::Full;
            }
            Seated::Gone => return Seated::Gone,
        };
        for (other, link) in gone {
            self.gone(&other);
            Counters::count(&self.counters.replaced);
            link.close("another connection takes this place");
        }
        self.came_to().insert(who, local);
        if let Some(seat) = seats.seat(number, &who) {
            seat.link.welcome();
            if admitted {
                self.rendezvous().connected(who, Some(seat.network()));
            }
        }
        Seated::Taken(Vec::new())
    }

    /// Whether a connection has its seat, and if all is done for it.
    pub(super) fn seated(&self, number: Number, who: &DeviceId) -> Option<bool> {
        self.seats().seat(number, who).map(|seat| seat.admitted)
    }

    /// All is done for this computer from now on. True if that is news.
    pub(super) fn admit(&self, number: Number, who: &DeviceId) -> bool {
        let mut seats = self.seats();
        // It may have gone, or been barred, meanwhile.
        let Some(seat) = seats.seat(number, who).filter(|seat| !seat.admitted) else { return false };
        if !self.admitted.knows(who) {
            return false;
        }
        self.rendezvous().connected(*who, Some(seat.network()));
        seats.admit(who);
        true
    }

    /// Whether somebody here awaits a computer that was not let in, or another hub says that it is registered there.
    pub(super) async fn vouched(&self, number: Number, who: &DeviceId) -> bool {
        let known = self.seats().guest(number, who, Instant::now());
        match known {
            Guest::Known => true,
            Guest::Unknown => false,
            Guest::Ask => match self.peers() {
                Some(peers) => peers.vouch(who).await && self.vouch(number, who),
                None => false,
            },
        }
    }

    /// A computer that was not let in may use the relay. False if it has gone.
    pub(super) fn vouch(&self, number: Number, who: &DeviceId) -> bool {
        let mut seats = self.seats();
        let is_there = seats.vouch(number, who);
        if let Some(seat) = seats.seat(number, who).filter(|_| is_there) {
            self.rendezvous().connected(*who, Some(seat.network()));
        }
        is_there
    }

    /// A connection is over.
    pub(super) fn left(&self, number: Number, who: &DeviceId) {
        let mut seats = self.seats();
        if seats.leave(number, who) {
            self.gone(who);
        }
    }

    /// To be called while the seats are held.
    fn gone(&self, who: &DeviceId) {
        self.came_to().remove(who);
        self.rendezvous().disconnected(who);
    }

    /// Closes what has been here for too long without the right to stay.
    pub(super) fn sweep(&self) {
        let overdue = self.seats().overdue(Instant::now());
        for link in overdue {
            link.close("this connection did not say in time what it is for");
        }
    }

    /// Says goodbye to everybody.
    pub(super) fn dismiss(&self) {
        for link in self.seats().all() {
            link.close("the hub ends");
        }
    }

    /// How many computers are here, and how many connections that have not said hello.
    pub(super) fn count(&self) -> (usize, usize) {
        self.seats().count()
    }

    /// Whether a computer is here and let in.
    pub(super) fn is_registered(&self, who: &DeviceId) -> bool {
        self.seats().link(who).is_some()
    }

    /// Hands over a message that another hub brought; to how many.
    pub(super) async fn hand_over_from(&self, hub: HubAddress, post: Post) -> u32 {
        FROM_HUB.scope(hub, self.rendezvous().hand_over(post)).await
    }

    pub(super) fn hello(&self, seen_from: IpAddr) -> Hello {
        let mut capabilities = vec![HUB_CAPABILITY.to_owned(), RENDEZVOUS_CAPABILITY.to_owned()];
        if self.settings().relay {
            capabilities.push(RELAY_CAPABILITY.to_owned());
        }
        Hello {
            wire: VersionRange::OURS,
            program: PROGRAM.to_owned(),
            installation: self.run,
            incarnation: 0,
            since: 0,
            proof: String::new(),
            run: Some(self.run),
            class: None,
            capabilities,
            you_are: seen_from.to_canonical().to_string(),
            time: Timestamp::now().as_second(),
            report: Report::default(),
        }
    }

    /// Where a computer is to find us: what is advertised, else where it came to.
    fn our_address(&self, to: &DeviceId) -> Option<HubAddress> {
        let settings = self.settings();
        let at = match settings.advertise.first() {
            Some(at) => at.to_string(),
            // The port may have changed since.
            None => SocketAddr::new(self.came_to().get(to)?.ip(), self.port()).to_string(),
        };
        Some(HubAddress { id: self.us(), at })
    }

    fn assigned(&self, to: &DeviceId) -> Vec<HubAddress> {
        // With one hub alone there is nothing to choose.
        let Some(peers) = self.peers() else { return Vec::new() };
        let pair = peers.assign(to);
        pair.into_iter()
            .filter_map(|hub| if hub == self.us() { self.our_address(to) } else { peers.address_of(&hub) })
            .collect()
    }

    /// Where the hub is going to be.
    pub(super) fn moves(&self) -> Option<Moves> {
        let moving = &self.settings().moving;
        let to: Vec<String> = moving.to.iter().map(ToString::to_string).collect();
        moving.at.map(|at| Moves { at: at.unix(), to })
    }

    /// Tells those for whom it is news which hubs they are to use, and where this one will be; to how many it got.
    pub(super) async fn tell_news(&self, is_news: impl Fn(&DeviceId) -> bool) -> usize {
        let computers: Vec<(DeviceId, Link)> =
            self.seats().admitted().map(|(who, link)| (*who, link.clone())).collect();
        let told = computers.into_iter().filter(|(who, _)| is_news(who)).map(|(who, link)| async move {
            let news = Registered {
                prefix_digits: 0,
                relay: None,
                assigned: self.assigned(&who),
                moves: self.moves(),
            };
            let body = json_body(&news).ok()?;
            let request = Request::post(paths::REGISTERED).header(header::CONTENT_TYPE, "application/json");
            let answer = timeout(TAKEN_WITHIN, link.request(request.body(body).ok()?)).await;
            answer.ok()?.ok().filter(|answer| answer.status().is_success()).map(drop)
        });
        let told = futures::stream::iter(told).buffer_unordered(TOLD_AT_ONCE);
        told.filter(|told| std::future::ready(told.is_some())).count().await
    }

    async fn carry(self: Arc<Self>, to: DeviceId, from: Option<HubAddress>, post: Post) -> bool {
        let Some(link) = self.seats().link(&to).cloned() else { return false };
        let Ok(body) = json_body(&post) else { return false };
        let mut request = Request::post(paths::POSTED).header(header::CONTENT_TYPE, "application/json");
        if let Some(hub) = from {
            request = request.header(paths::HANDED_BY_HEADER, hub.to_string());
        }
        let Ok(request) = request.body(body) else { return false };
        match timeout(TAKEN_WITHIN, link.request(request)).await {
            Ok(Ok(answer)) => answer.status().is_success(),
            Ok(Err(error)) => {
                debug!(device = %to, %error, "a message was not handed over");
                false
            }
            Err(_elapsed) => false,
        }
    }
}

/// Carries the messages of the rendezvous over the hub's links.
struct Carrier(Weak<Hub>);

impl Courier for Carrier {
    fn carry(&self, to: &DeviceId, post: Post) -> BoxFuture<'static, bool> {
        let from = FROM_HUB.try_with(HubAddress::clone).ok();
        match self.0.upgrade() {
            Some(hub) => Box::pin(hub.carry(*to, from, post)),
            None => Box::pin(std::future::ready(false)),
        }
    }

    fn carry_beyond(&self, post: Post) -> BoxFuture<'static, u32> {
        match self.0.upgrade() {
            Some(hub) => Box::pin(async move {
                match hub.peers() {
                    Some(peers) => peers.post(post).await,
                    None => 0,
                }
            }),
            None => Box::pin(std::future::ready(0)),
        }
    }

    fn find_beyond(&self, search: Search) -> BoxFuture<'static, Vec<Deposit>> {
        match self.0.upgrade() {
            Some(hub) => Box::pin(async move {
                match hub.peers() {
                    Some(peers) => peers.find(search).await,
                    None => Vec::new(),
                }
            }),
            None => Box::pin(std::future::ready(Vec::new())),
        }
    }

    fn digits_beyond(&self) -> u8 {
        self.0.upgrade().and_then(|hub| Some(hub.peers()?.digits())).unwrap_or_default()
    }

    fn assigned(&self, to: &DeviceId) -> Vec<HubAddress> {
        self.0.upgrade().map(|hub| hub.assigned(to)).unwrap_or_default()
    }

    fn moves(&self) -> Option<Moves> {
        self.0.upgrade()?.moves()
    }
}

/// Tells everybody that the hub is going to move, and the owner that they were told.
pub(super) async fn announce_moving(hub: Arc<Hub>) {
    let Some(moves) = hub.moves() else { return };
    let when = Timestamp::from_second(i64::try_from(moves.at).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let told = hub.tell_news(|_| true).await;
    let (computers, _) = hub.count();
    warn!(at = %when, to = ?moves.to, told, computers, "this hub is going to be at another address: its computers are told");
}
