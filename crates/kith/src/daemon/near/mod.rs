//! Computers in the local network: friends are found by their tags, and who is no friend yet by a meeting.

mod meeting;
mod open;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kith_control::Event;
use kith_identity::DeviceId;
use kith_listener::ListenerState;
use kith_near::{About, Discovery, Found, Friend, Neighbours, Wanted};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

pub(super) use self::meeting::Asked;
use self::open::Open;
pub(super) use self::table::Decision;
use self::table::Meetings;
use super::core::Core;
use crate::settings::{Loaded, Settings};

/// What was found and waits to be looked at.
const MOST_WAITING: usize = 64;
/// Between two looks at what is to be announced.
const PACE: Duration = Duration::from_millis(100);

/// What the daemon has of the local network.
#[derive(Default)]
pub(super) struct Near {
    discovery: OnceLock<Discovery>,
    /// Something that is announced may have changed, which no event tells.
    changed: Notify,
    /// What this computer shows itself with, while its person looks for others.
    open: Mutex<Option<Open>>,
    neighbours: Mutex<Neighbours>,
    meetings: Mutex<Meetings>,
}

impl Near {
    /// To be called when something of what is announced may have changed, which no event tells.
    pub(super) fn refresh(&self) {
        self.changed.notify_one();
    }

    /// A friend was lost, who may be in the network.
    pub(super) fn look(&self) {
        if let Some(discovery) = self.discovery.get() {
            discovery.look();
        }
    }
}

/// Announces this computer as the settings say, and dials friends who are found, until the daemon ends.
pub(super) async fn keep(core: Arc<Core>) {
    let (sender, mut found) = mpsc::channel(MOST_WAITING);
    let discovery = core.near.discovery.get_or_init(|| Discovery::start(&core.network, sender));
    let mut events = core.events.subscribe();
    let mut network = core.network.watch();
    let mut announced: Option<Announced> = None;
    let mut look = Some(Instant::now());
    loop {
        let tend = core.tend_near();
        let news = async {
            loop {
                match events.recv().await {
                    Ok(Event::Job { .. } | Event::Sets) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        tokio::select! {
            biased;
            Some(what) = found.recv() => core.found(what),
            changed = network.changed() => {
                if changed.is_err() {
                    return;
                }
                core.drop_links_without_address();
            }
            () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {
                look = None;
                // Each friend is a derivation of keys: nothing is made anew but what may differ.
                let now = core.announced();
                if announced.as_ref().is_none_or(|before| !before.is_same(&now)) {
                    discovery.set(core.wanted_nearby());
                    announced = Some(now);
                }
            }
            news = news => {
                if !news {
                    return;
                }
                look.get_or_insert_with(|| Instant::now() + PACE);
            }
            () = core.near.changed.notified() => {
                look.get_or_insert_with(|| Instant::now() + PACE);
            }
            () = sleep(tend.unwrap_or_default()), if tend.is_some() => {}
        }
    }
}

/// What an announcement is made from.
struct Announced {
    roster: u64,
    loaded: Arc<Loaded>,
    port: Option<u16>,
    about: Option<About>,
}

impl Announced {
    fn is_same(&self, other: &Self) -> bool {
        let same_settings = Arc::ptr_eq(&self.loaded, &other.loaded);
        same_settings && self.roster == other.roster && self.port == other.port && self.about == other.about
    }
}

impl Core {
    fn announced(&self) -> Announced {
        let (loaded, port, about) = (self.loaded(), self.open_port(), self.about_nearby());
        Announced { roster: self.roster.generation(), loaded, port, about }
    }

    /// The port that friends can dial now.
    fn open_port(&self) -> Option<u16> {
        match &*self.listener()?.state().borrow() {
            ListenerState::Listening { port, .. } => Some(*port),
            _ => None,
        }
    }

    /// Whether the local network is listened to now: it is wanted, and the port could be had.
    pub(super) fn hears_nearby(&self) -> bool {
        self.near.discovery.get().is_some_and(|discovery| discovery.sockets() > 0)
    }

    /// What is to be announced; none where nothing may be sent.
    fn wanted_nearby(&self) -> Option<Wanted> {
        let settings = self.settings();
        if why_silent(&settings).is_some() {
            return None;
        }
        let friends = self.roster.all().into_iter().filter_map(|friend| {
            let pair = self.pair_key(&friend.device_id)?;
            Some(Friend { id: friend.device_id, pair })
        });
        Some(Wanted {
            us: self.us(),
            port: self.open_port(),
            bind: settings.listener.bind,
            friends: friends.collect(),
            about: self.about_nearby(),
        })
    }

    /// Ends links from an address that was replaced by another: they carry nothing, and a friend who is found at a new address is not to
    /// wait until that is noticed. Where no other has come, the old one may come back, and the link lives on.
    fn drop_links_without_address(&self) {
        let Some(peers) = self.peers() else { return };
        let snapshot = self.network.snapshot();
        let all = snapshot.interfaces.iter().flat_map(|interface| &interface.addresses);
        let all: Vec<IpAddr> = all.map(|address| address.ip.to_canonical()).collect();
        let lasting = snapshot.local_addresses();
        for friend in self.roster.all() {
            let connection = peers.state(&friend.device_id).and_then(|state| state.connection);
            let Some(local) = connection.map(|connection| connection.local.ip().to_canonical()) else {
                continue;
            };
            let replaced = lasting.iter().any(|ip| ip.is_ipv4() == local.is_ipv4());
            if replaced && !local.is_loopback() && !all.contains(&local) {
                peers.redial(
                    &friend.device_id,
                    "the link used an address that this computer does not have any more",
                );
            }
        }
    }

    fn found(&self, what: Found) {
        match what {
            Found::Friend { id, addresses } => self.dial_nearby(&id, &addresses),
            Found::Moved => self.leave_network(),
            Found::Neighbour(_) | Found::Gone(_) => self.note_neighbour(what),
        }
    }

    /// What was found in another network is not near any more.
    fn leave_network(&self) {
        if let Some(peers) = self.peers() {
            for friend in self.roster.all() {
                peers.nearby(&friend.device_id, &[]);
            }
        }
    }

    /// A friend says that he is at these addresses of our network.
    fn dial_nearby(&self, friend: &DeviceId, addresses: &[SocketAddr]) {
        let Some(peers) = self.peers().filter(|_| self.roster.contains(friend)) else { return };
        debug!(friend = %friend.short(), addresses = addresses.len(), "a friend is announced in the local network");
        peers.nearby(friend, addresses);
        if peers.link(friend).is_none() {
            // The same addresses again are no news to the peers; that he is there now is.
            peers.dial_now(friend);
        }
    }
}

/// Why nothing may be sent into the local network, a sentence; none if it may.
pub(super) fn why_silent(settings: &Settings) -> Option<&'static str> {
    let network = &settings.network;
    if network.outbound_only {
        Some("this computer accepts no connections and announces nothing (network.outbound-only)")
    } else if !network.lan_discovery {
        Some("the settings say that nothing is announced in the local network (network.lan-discovery)")
    } else if settings.listener.bind.iter().all(IpAddr::is_loopback) {
        Some("this computer listens at no address that others can reach (listener.bind)")
    } else {
        None
    }
}
