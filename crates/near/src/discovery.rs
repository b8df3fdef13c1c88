//! The handle, and the task that has the sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kith_identity::DeviceId;
use kith_network::Network;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, trace, warn};

use crate::announcement::Instance;
use crate::engine::{Command, Engine, Now};
use crate::neighbours::Neighbour;
use crate::place::{Place, PlaceId, places};
use crate::socket::{self, Heard};
use crate::wanted::Wanted;

/// Packets that have come and are not looked at yet.
const MOST_WAITING: usize = 64;
/// When a place that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What was found. Nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A friend announces that he is in this network.
    Friend {
        /// Who.
        id: DeviceId,
        /// Where to dial him, the newest first.
        addresses: Vec<SocketAddr>,
    },
    /// A computer whose person looks for others; told only while ours does.
    Neighbour(Neighbour),
    /// It has taken its announcement back.
    Gone(Instance),
    /// This computer is in another network: what was found before may not be near any more. It comes before what is found there.
    Moved,
}

/// Announces this computer in its networks, and listens to others. It sends nothing before something is wanted, and ends when it is dropped.
#[derive(Debug)]
pub struct Discovery {
    wanted: watch::Sender<Option<Wanted>>,
    look: Arc<Notify>,
    open: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted").field("friends", &self.friends.len()).finish_non_exhaustive()
    }
}

impl Discovery {
    /// Starts, with nothing wanted. What is found goes into the channel; what finds no room in it is dropped, and will be said again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(network: &Network, found: mpsc::Sender<Found>) -> Self {
        let (wanted, watched) = watch::channel(None);
        let look = Arc::new(Notify::new());
        let (opened, open) = watch::channel(0);
        let task = tokio::spawn(run(network.clone(), (watched, opened), look.clone(), found));
        Self { wanted, look, open, _task: AbortOnDropHandle::new(task) }
    }

    /// Says what is to be announced and looked for from now on; with none, every socket is closed and nothing is sent any more.
    pub fn set(&self, wanted: Option<Wanted>) {
        self.wanted.send_if_modified(|known| {
            let other = *known != wanted;
            *known = wanted;
            other
        });
    }

    /// How many sockets are open now: one for each interface and family of addresses at which it could be had.
    #[must_use]
    pub fn sockets(&self) -> usize {
        *self.open.borrow()
    }

    /// Asks the network who is there: a friend was lost, who may be near. Often asked, it asks every ten seconds.
    pub fn look(&self) {
        self.look.notify_one();
    }
}

async fn run(
    network: Network,
    (mut wanted, opened): (watch::Receiver<Option<Wanted>>, watch::Sender<usize>),
    look: Arc<Notify>,
    found: mpsc::Sender<Found>,
) {
    let mut news = network.watch();
    let mut engine = Engine::new(Box::new(random), std::time::Instant::now());
    engine.set_places(places(&network.snapshot()), now());
    let (heard, mut packets) = mpsc::channel(MOST_WAITING);
    let mut ears = Ears { open: BTreeMap::new(), heard, retry: None, warned: false };
    loop {
        let wake = [engine.poll_timeout().map(Instant::from_std), ears.retry].into_iter().flatten().min();
        let mut commands = Vec::new();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = wanted.borrow_and_update().clone();
                engine.set_wanted(wanted, now());
                ears.retry = None;
            }
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                let snapshot = news.borrow_and_update().snapshot.clone();
                let places = places(&snapshot);
                if engine.places() != places {
                    commands.push(Command::Tell(Found::Moved));
                }
                engine.set_places(places, now());
                // Memberships of interfaces that went away and came back are not to be trusted.
                ears.open.clear();
                ears.retry = None;
            }
            () = look.notified() => engine.look(std::time::Instant::now()),
            Some(Heard { place, from, bytes }) = packets.recv() => {
                commands = engine.handle_packet(place, from, &bytes, now());
            }
            () = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        ears.reconcile(engine.active());
        let on = !engine.active().is_empty();
        commands.extend(engine.handle_timeout(now()));
        for command in commands {
            match command {
                Command::Send { to, packet } => ears.send(to, &packet),
                Command::Tell(what) => {
                    if found.try_send(what).is_err() {
                        trace!("no room for what was found nearby");
                    }
                }
            }
        }
        if on && engine.active().is_empty() {
            // The last word has been said.
            ears.reconcile(&[]);
        }
        opened.send_if_modified(|open| std::mem::replace(open, ears.open.len()) != ears.open.len());
    }
}

/// The open sockets.
struct Ears {
    open: BTreeMap<PlaceId, (Place, socket::Ear)>,
    heard: mpsc::Sender<Heard>,
    /// When those that could not be opened are tried again.
    retry: Option<Instant>,
    warned: bool,
}

impl Ears {
    /// Opens what is missing and closes what is not wanted any more.
    fn reconcile(&mut self, wanted: &[Place]) {
        self.open.retain(|id, (place, _)| wanted.iter().any(|other| other.id == *id && other == place));
        if wanted.is_empty() {
            self.retry = None;
        }
        if wanted.len() == self.open.len() || self.retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.retry = None;
        for place in wanted {
            if self.open.contains_key(&place.id) {
                continue;
            }
            match socket::Ear::open(place, self.heard.clone()) {
                Ok(ear) => {
                    self.open.insert(place.id, (place.clone(), ear));
                }
                Err(error) => {
                    self.retry = Some(Instant::now() + RETRY);
                    if !self.warned && error.kind() == std::io::ErrorKind::AddrInUse {
                        self.warned = true;
                        warn!(%error, "can't look for friends in the local network: another program has the port for itself");
                    } else {
                        debug!(%error, index = place.id.index, "can't look for friends at an interface");
                    }
                }
            }
        }
    }

    fn send(&self, to: PlaceId, packet: &[u8]) {
        if let Some((_, ear)) = self.open.get(&to)
            && let Err(error) = ear.send(packet)
        {
            debug!(%error, index = to.index, "an announcement was not sent");
        }
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: std::time::Instant::now(), unix }
}

fn random() -> [u8; 8] {
    let mut bytes = [0; 8];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // A name that others have too: announcements of the one are taken for those of the other.
        warn!(%error, "the system gives no random numbers");
    }
    bytes
}
