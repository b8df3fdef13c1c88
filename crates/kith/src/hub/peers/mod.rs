//! The other hubs: this one keeps a link to each, and asks over it. What they ask comes in by links of their own.

mod assign;
mod budget;
mod dial;
mod news;
mod service;
mod standing;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use http::{Request, header};
use kith_identity::DeviceId;
use kith_wire::{
    Body, Delivered, Deposit, FOUND_LIMIT, Found, HUBS_LIMIT, HubAddress, HubHello, Link, LinkError, Post,
    Search, VersionRange, Vouch, Vouched, collect, json_body, paths,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

pub(super) use self::news::watch;
pub(super) use self::service::{PeerAdmission, receive};

use self::news::Alive;
use self::standing::Standing;
use super::core::Hub;
use crate::daemon::PROGRAM;
use crate::settings::{self, HostPort};

/// Longest wait for another hub's answer: whoever asked waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait for handing over a message, which the other hub passes on to a computer.
const HANDED_WITHIN: Duration = Duration::from_secs(8);
/// Searches that are under way at other hubs; one more is answered by what lies here. Each may bring a mebibyte of every hub.
const MOST_SEARCHES: usize = 16;
/// Messages that are under way to other hubs; one more gets nowhere.
const MOST_POSTS: usize = 256;
/// Computers about which the other hubs are asked at once; one more is known to none.
const MOST_VOUCHES: usize = 32;
/// More digits than this no hub needs for as many records as it keeps. One that says so would have others tell it what they search.
const MOST_DIGITS: u8 = 4;
/// How often hubs say hello again, for what they say changes.
const HELLO_AGAIN: Duration = Duration::from_secs(60);
/// To so many computers of one hub a message gets at most.
const MOST_RECEIVERS: u32 = 16;
/// First pause after a connection that did not come about...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ...and the longest, to which it doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// All other hubs.
pub(super) struct Peers {
    us: DeviceId,
    peers: Vec<Arc<Peer>>,
    searches: Semaphore,
    posts: Semaphore,
    vouches: Semaphore,
    /// The connection to one of them came up, or ended.
    changed: Arc<Notify>,
}

/// One of them.
pub(super) struct Peer {
    pub(super) id: DeviceId,
    /// Its port for hubs.
    at: HostPort,
    state: Mutex<State>,
    /// What this hub says of itself has changed.
    again: Notify,
}

struct State {
    standing: Standing,
    link: Option<Link>,
    /// What it last said of itself.
    told: Option<HubHello>,
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_alive(&self) -> bool {
        self.state().standing.is_alive()
    }

    fn link(&self) -> Option<Link> {
        self.state().link.clone()
    }

    /// Where computers reach it.
    fn address(&self) -> HubAddress {
        let state = self.state();
        let at = state.told.as_ref().map(|told| match told.at.first() {
            Some(at) => at.clone(),
            None => host_port(self.at.host(), told.port),
        });
        HubAddress { id: self.id, at: at.unwrap_or_else(|| self.at.to_string()) }
    }

    /// Asks it something.
    async fn ask<T: DeserializeOwned>(
        &self,
        path: &'static str,
        question: &impl Serialize,
        limit: usize,
        within: Duration,
    ) -> Option<T> {
        let link = self.link()?;
        let request = request(path, question)?;
        let asked = async {
            let answer = link.request(request).await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
            let body = collect(answer.into_body(), limit).await.ok()?;
            serde_json::from_slice(&body).ok()
        };
        timeout(within, asked).await.ok().flatten()
    }
}

fn request(path: &'static str, question: &impl Serialize) -> Option<Request<Body>> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request.body(json_body(question).ok()?).ok()
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What one of them shows of itself.
pub(super) struct PeerStatus {
    pub(super) id: DeviceId,
    pub(super) reachable: bool,
    pub(super) alive: bool,
    pub(super) computers: u64,
}

impl Peers {
    /// The hubs of the settings; nothing is dialled before [`Self::keep`].
    pub(super) fn new(us: DeviceId, settings: &settings::Hub) -> Self {
        let now = Instant::now();
        let peer = |peer: &settings::HubAddress| {
            let state = State { standing: Standing::new(now), link: None, told: None };
            let (id, at) = (peer.device_id(), peer.address().clone());
            Arc::new(Peer { id, at, state: Mutex::new(state), again: Notify::new() })
        };
        // A hub that names itself has copied its settings from another one.
        let peers = settings.peers.iter().filter(|peer| peer.device_id() != us).map(peer).collect();
        Self {
            us,
            peers,
            searches: Semaphore::new(MOST_SEARCHES),
            posts: Semaphore::new(MOST_POSTS),
            vouches: Semaphore::new(MOST_VOUCHES),
            changed: Arc::new(Notify::new()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(super) fn peer(&self, id: &DeviceId) -> Option<&Arc<Peer>> {
        self.peers.iter().find(|peer| peer.id == *id)
    }

    /// Where computers reach one of them.
    pub(super) fn address_of(&self, id: &DeviceId) -> Option<HubAddress> {
        Some(self.peer(id)?.address())
    }

    /// The primary and the alternate hub of a computer, of those that are alive and this one.
    pub(super) fn assign(&self, who: &DeviceId) -> Vec<DeviceId> {
        let alive = self.peers.iter().filter(|peer| peer.is_alive()).map(|peer| peer.id);
        assign::assign(who, &alive.chain([self.us]).collect::<Vec<_>>())
    }

    /// Which hubs are alive, and where each says that it is.
    fn alive(&self, hub: &Hub) -> Alive {
        let alive = self.peers.iter().filter(|peer| peer.is_alive()).map(|peer| (peer.id, peer.address().at));
        let settings = hub.settings();
        let us = settings.advertise.first().map_or_else(|| hub.port().to_string(), ToString::to_string);
        alive.chain([(self.us, us)]).collect()
    }

    /// By how many digits is to be searched at those of them where most is needed.
    pub(super) fn digits(&self) -> u8 {
        let told = |peer: &Arc<Peer>| peer.state().told.as_ref().map(|told| told.prefix_digits);
        self.peers.iter().filter_map(told).max().unwrap_or_default().min(MOST_DIGITS)
    }

    /// What this hub says of itself has changed: the others, and the computers, are told.
    pub(super) fn say_hello_again(&self) {
        for peer in &self.peers {
            peer.again.notify_one();
        }
        self.changed.notify_one();
    }

    pub(super) fn status(&self) -> Vec<PeerStatus> {
        let status = |peer: &Arc<Peer>| {
            let state = peer.state();
            PeerStatus {
                id: peer.id,
                reachable: state.standing.is_reachable(),
                alive: state.standing.is_alive(),
                computers: state.told.as_ref().map_or(0, |told| told.computers),
            }
        };
        self.peers.iter().map(status).collect()
    }

    /// Hands a message to whoever awaits it at the other hubs; to how many it got.
    pub(super) async fn post(&self, post: Post) -> u32 {
        let Ok(_place) = self.posts.try_acquire() else { return 0 };
        let handed = self
            .peers
            .iter()
            .map(|peer| peer.ask::<Delivered>(paths::POST, &post, HUBS_LIMIT, HANDED_WITHIN));
        let handed = join_all(handed).await.into_iter().flatten();
        handed.map(|delivered| delivered.to.min(MOST_RECEIVERS)).sum()
    }

    /// Searches at the other hubs.
    pub(super) async fn find(&self, search: Search) -> Vec<Deposit> {
        let Ok(_place) = self.searches.try_acquire() else { return Vec::new() };
        let found = self
            .peers
            .iter()
            .map(|peer| peer.ask::<Found>(paths::RECORDS, &search, FOUND_LIMIT + HUBS_LIMIT, ANSWER_WITHIN));
        join_all(found).await.into_iter().flatten().flat_map(|found| found.records).collect()
    }

    /// Whether one of the others says that a computer is registered with it.
    pub(super) async fn vouch(&self, who: &DeviceId) -> bool {
        let Ok(_place) = self.vouches.try_acquire() else { return false };
        let vouch = Vouch { who: *who };
        let vouched = self
            .peers
            .iter()
            .map(|peer| peer.ask::<Vouched>(paths::HUB_VOUCH, &vouch, HUBS_LIMIT, ANSWER_WITHIN));
        join_all(vouched).await.into_iter().flatten().any(|vouched| vouched.registered)
    }

    /// Ends all links to them.
    pub(super) fn dismiss(&self) {
        for link in self.peers.iter().filter_map(|peer| peer.link()) {
            link.close("the hub ends");
        }
    }
}

/// What this hub says of itself.
fn hello(hub: &Hub) -> HubHello {
    let settings = hub.settings();
    HubHello {
        wire: VersionRange::OURS,
        program: PROGRAM.to_owned(),
        at: settings.advertise.iter().map(ToString::to_string).collect(),
        port: hub.port(),
        computers: hub.count().0 as u64,
        prefix_digits: hub.rendezvous().prefix_digits(),
    }
}

/// Keeps a link to one other hub, for as long as this is polled.
pub(super) async fn keep(hub: Arc<Hub>, peer: Arc<Peer>) {
    let mut pause = FIRST_PAUSE;
    let mut complained = false;
    loop {
        match dial::dial(&hub, &peer.id, &peer.at.to_string()).await {
            Ok((link, driver, told)) => {
                info!(hub = %peer.id, "connected with another hub");
                (pause, complained) = (FIRST_PAUSE, false);
                peer.up(link.clone(), told, &hub);
                let why = tokio::select! {
                    ended = driver => ended.unwrap_or(LinkError::ClosedByPeer),
                    never = peer.greet(&hub, &link) => match never {},
                };
                peer.down(&hub);
                info!(hub = %peer.id, reason = %why, "not connected with another hub any more");
            }
            Err(error) => {
                // Said once, and not with each of many tries.
                if !std::mem::replace(&mut complained, true) {
                    warn!(hub = %peer.id, at = %peer.at, %error, "another hub can't be reached; it is tried again all the time");
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Peer {
    fn up(&self, link: Link, told: HubHello, hub: &Hub) {
        let mut state = self.state();
        state.standing.set_reachable(true, Instant::now());
        (state.link, state.told) = (Some(link), Some(told));
        drop(state);
        self.changed(hub);
    }

    /// Says hello again and again, and keeps what the other one says.
    async fn greet(&self, hub: &Hub, link: &Link) -> Infallible {
        loop {
            tokio::select! {
                () = tokio::time::sleep(HELLO_AGAIN) => {}
                () = self.again.notified() => {}
            }
            // A link over which nothing goes any more ends by itself.
            if let Ok(Ok(told)) = timeout(ANSWER_WITHIN, dial::say_hello(link, hub)).await {
                self.heard(told, hub);
            }
        }
    }

    /// The newest word counts, by whichever of the two links it came.
    fn heard(&self, told: HubHello, hub: &Hub) {
        self.state().told = Some(told);
        self.changed(hub);
    }

    fn down(&self, hub: &Hub) {
        let mut state = self.state();
        state.standing.set_reachable(false, Instant::now());
        state.link = None;
        drop(state);
        self.changed(hub);
    }

    fn changed(&self, hub: &Hub) {
        if let Some(peers) = hub.peers() {
            peers.changed.notify_one();
        }
    }
}

/// All of them, to be kept.
pub(super) fn all(hub: &Hub) -> Vec<Arc<Peer>> {
    hub.peers().map(|peers| peers.peers.clone()).unwrap_or_default()
}
