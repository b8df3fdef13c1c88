//! The hub from start to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kith_identity::tls::{self, Admission, Admitted as Proved};
use kith_identity::{DeviceId, DialInTag};
use kith_listener::limits::KnownPlaces;
use kith_listener::{Callers, Faces, Incoming, Leg, Listener, ListenerConfig, ListenerState};
use kith_network::Snapshot;
use kith_wire::{Link, LinkLimits, Side};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::admitted::Admitted;
use super::core::{Hub, announce_moving};
use super::invite::known_as;
use super::metrics;
use super::peers::{self, PeerAdmission, Peers};
use super::service::Service;
use crate::daemon::{keys, with_sources};
use crate::home::{DaemonLock, Home};
use crate::settings::{self, SettingsSources};

/// Authenticated connections that wait to be taken over. Whoever comes back with thousands of others shall not be dropped after his handshake.
const MOST_INCOMING: usize = 1024;
/// Connections to be joined that wait to be taken over.
const MOST_LEGS: usize = 256;
/// How often it is looked who has been here for too long without a word.
const SWEEP: Duration = Duration::from_secs(5);
/// Longest time for everything that ends with the hub.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// Requests of one computer that are served at once, and opened to it: it has little to ask.
const STREAMS: usize = 8;

/// Runs a hub until it is asked to end. `say` is told its addresses, line by line.
///
/// # Errors
/// If it can't start: settings, home, keys, ports.
pub(crate) async fn run(home: Home, sources: SettingsSources, say: impl Fn(&str)) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let (lock, settings, keys, admitted) = tokio::task::spawn_blocking({
        let (home, sources) = (home.clone(), sources.clone());
        move || -> anyhow::Result<_> {
            home.prepare()?;
            let lock = DaemonLock::acquire(&home)?;
            let settings = sources.load()?.into_settings().hub;
            let keys = keys::load_or_create(&home)?;
            let admitted = Admitted::load(&home, keys.dial_in.hub_token_key())?;
            Ok((lock, settings, keys, admitted))
        }
    })
    .await??;
    let hub = Hub::new(Arc::new(keys.identity), admitted, settings.clone())?;
    let mut tasks = JoinSet::new();

    let (links, received) = mpsc::channel(MOST_INCOMING);
    let (legs, received_legs) = mpsc::channel(MOST_LEGS);
    let faces = faces(&hub, Arc::new(Everybody(hub.clone())), Some(legs))?;
    let listener = Listener::start(&config(&settings, settings.port.get()), faces, links)
        .context("computers can't connect to this hub")?;
    note_port(&hub, &listener);
    tasks.spawn(receive(hub.clone(), received));
    tasks.spawn(receive_legs(hub.clone(), received_legs));
    tasks.spawn(sweep(hub.clone()));
    let peer_listener = start_peers(&hub, &settings, &mut tasks)?;
    if let Some(address) = settings.metrics {
        let address = address.get();
        let reader = metrics::bind(address)
            .await
            .with_context(|| format!("hub.metrics: {address} can't be opened"))?;
        info!(%address, "numbers for Prometheus can be read");
        tasks.spawn(metrics::serve(hub.clone(), reader));
    }

    say_where(&hub, &settings, &say).await?;
    notify(&[sd_notify::NotifyState::Ready]);
    info!(device = %hub.us(), "ready");
    tasks.spawn(announce_moving(hub.clone()));
    wait(&hub, &listener, &sources, &mut signals, &mut tasks).await;

    notify(&[sd_notify::NotifyState::Stopping]);
    info!("ending");
    let ending = async {
        listener.shutdown().await;
        if let Some(listener) = &peer_listener {
            listener.shutdown().await;
        }
        if let Some(peers) = hub.peers() {
            peers.dismiss();
        }
        hub.dismiss();
        while hub.count() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tasks.shutdown().await;
    };
    if tokio::time::timeout(SHUTDOWN, ending).await.is_err() {
        warn!("not everything ended in time");
    }
    drop(lock);
    info!("ended");
    Ok(())
}

/// The port that was bound is the one that computers and other hubs are told.
fn note_port(hub: &Hub, listener: &Listener) {
    if let ListenerState::Listening { port, .. } = &*listener.state().borrow() {
        hub.set_port(*port);
    }
}

fn config(settings: &settings::Hub, port: u16) -> ListenerConfig {
    ListenerConfig {
        port,
        bind: settings.bind.clone(),
        greeting: true,
        allow_privileged: true,
        known: KnownPlaces::HUB,
    }
}

fn faces(
    hub: &Arc<Hub>,
    admission: Arc<dyn Admission>,
    legs: Option<mpsc::Sender<Leg>>,
) -> anyhow::Result<Faces> {
    let now = Timestamp::now().as_second().unsigned_abs();
    Ok(Faces {
        known: tls::server_config(hub.identity(), admission),
        unknown: tls::throwaway_server_config(now)?,
        callers: Arc::new(KnowUs(hub.clone())),
        legs,
    })
}

/// Recognises whoever knows where the hub is, and the connections that are to be joined.
struct KnowUs(Arc<Hub>);

impl Callers for KnowUs {
    fn recognises(&self, tag: &DialInTag) -> bool {
        self.0.recognises(tag)
    }

    fn leg(&self, tag: &DialInTag) -> bool {
        self.0.rendezvous().awaits_leg(tag)
    }
}

/// Lets in any computer that proves its key; what is done for it is decided after its hello. Only a hub's own key has nothing to seek there.
struct Everybody(Arc<Hub>);

impl Admission for Everybody {
    fn friend(&self, id: &DeviceId) -> bool {
        *id != self.0.us()
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

/// Opens the port for other hubs, and dials them, where the settings name some.
fn start_peers(
    hub: &Arc<Hub>,
    settings: &settings::Hub,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Option<Listener>> {
    let peers = Peers::new(hub.us(), settings);
    if peers.is_empty() {
        return Ok(None);
    }
    hub.set_peers(peers);
    let named = peers::all(hub).iter().map(|peer| peer.id).collect();
    let (links, received) = mpsc::channel(MOST_LEGS);
    let faces = faces(hub, Arc::new(PeerAdmission(named)), None)?;
    let config =
        ListenerConfig { known: KnownPlaces::default(), ..config(settings, settings.peer_port.get()) };
    let listener = Listener::start(&config, faces, links).context("other hubs can't connect to this one")?;
    tasks.spawn(peers::receive(hub.clone(), received));
    for peer in peers::all(hub) {
        tasks.spawn(peers::keep(hub.clone(), peer));
    }
    tasks.spawn(peers::watch(Arc::downgrade(hub)));
    Ok(Some(listener))
}

/// Takes over connections from the listener; each lives in a task of its own, which ends with it.
async fn receive(hub: Arc<Hub>, mut incoming: mpsc::Receiver<Incoming>) {
    let limits = LinkLimits { open_streams: STREAMS, receive_window: 8 << 20, ..LinkLimits::default() };
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            Some(_over) = connections.join_next() => continue,
            incoming = incoming.recv() => match incoming {
                Some(incoming) => incoming,
                None => return,
            },
        };
        let Incoming { admitted: Proved::Friend(who), stream, remote, local } = incoming else { continue };
        let number = hub.next_number();
        let service = Arc::new(Service::new(hub.clone(), (number, who), (remote, local)));
        let (link, driver) = Link::start(Box::new(stream), Side::Acceptor, service, limits.clone());
        hub.enter(number, who, link);
        let hub = hub.clone();
        connections.spawn(async move {
            let why = driver.await;
            tracing::debug!(device = %who, reason = %why, "a connection ended");
            hub.left(number, &who);
        });
    }
}

async fn receive_legs(hub: Arc<Hub>, mut legs: mpsc::Receiver<Leg>) {
    while let Some(Leg { tag, stream, .. }) = legs.recv().await {
        hub.rendezvous().take_leg(&tag, stream);
    }
}

async fn sweep(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        hub.sweep();
    }
}

/// Says under which addresses the hub is known; in the log, too.
async fn say_where(hub: &Arc<Hub>, settings: &settings::Hub, say: &impl Fn(&str)) -> anyhow::Result<()> {
    let snapshot = tokio::task::spawn_blocking(Snapshot::take).await?;
    let known_as = known_as(hub.us(), settings, &snapshot);
    for address in &known_as {
        info!(%address, "this hub is known as");
        say(&address.to_string());
    }
    if known_as.is_empty() {
        warn!("this computer has no address under which the hub could be known: set hub.advertise");
    }
    Ok(())
}

/// Waits for a reason to end; reads the settings again on the way.
async fn wait(
    hub: &Arc<Hub>,
    listener: &Listener,
    sources: &SettingsSources,
    signals: &mut Signals,
    tasks: &mut JoinSet<()>,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(30));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.reload.recv() => match reload(hub, listener, sources).await {
                Ok(()) => {
                    info!("settings reloaded");
                    tasks.spawn(announce_moving(hub.clone()));
                }
                Err(error) => {
                    let reason = error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
                    error!("the settings were not reloaded; the old ones stay in force: {reason}");
                }
            },
            _ = tick.tick() => {
                let (computers, _) = hub.count();
                notify(&[sd_notify::NotifyState::Status(&format!("{computers} computers connected"))]);
            }
        }
    }
}

async fn reload(hub: &Arc<Hub>, listener: &Listener, sources: &SettingsSources) -> anyhow::Result<()> {
    let sources = sources.clone();
    let settings = tokio::task::spawn_blocking(move || sources.load()).await??.into_settings().hub;
    let again = hub.clone();
    tokio::task::spawn_blocking(move || again.admitted().reload()).await??;
    let old = hub.settings();
    // Whether the port can be had is known before anything else changes.
    listener
        .rebind(&config(&settings, settings.port.get()))
        .await
        .map_err(|error| anyhow::anyhow!(with_sources(&error)))?;
    let needs_start =
        old.peers != settings.peers || old.peer_port != settings.peer_port || old.metrics != settings.metrics;
    if needs_start {
        warn!("the other hubs, the port for them and the address of the numbers change with the next start");
    }
    hub.apply(settings);
    note_port(hub, listener);
    if let Some(peers) = hub.peers() {
        peers.say_hello_again();
    }
    Ok(())
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    drop(sd_notify::notify(states));
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}
