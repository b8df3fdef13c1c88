//! The daemon: everything that runs, from start to end.

mod advice;
mod archives;
mod backend;
mod carrier;
mod condition;
pub mod core;
mod damage;
pub mod db;
mod dial_in;
pub(crate) mod doctor;
mod entries;
mod failure;
mod firewall;
mod heads;
mod history;
mod host;
mod hubs;
mod installation;
mod invites;
mod janitor;
mod jobs;
pub mod keys;
mod listening;
mod mapping;
mod near;
mod numbers;
mod pairing;
mod ports;
mod progress;
mod proof;
mod reach;
#[doc(hidden)]
pub mod readers;
pub mod recover;
mod roster;
mod scrub;
mod state_object;
mod views;
mod work;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kith_control::{ControlConfig, ControlServer};
use kith_network::Network;
use kith_peer::Peers;
use kith_vault::{Vault, VaultConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

pub use self::archives::SET_TAG;
pub use self::core::{Exit, PROGRAM, value};
pub(crate) use self::failure::with_sources;
pub(crate) use self::heads::known_snapshots;
pub(crate) use self::roster::KnownFriend;

use self::backend::Daemon;
use self::core::{Arrivals, Core, Parts};
use self::db::{Db, Table};
use self::host::DaemonHost;
use crate::home::{DaemonLock, Home, Ports};
use crate::settings::SettingsSources;

/// Longest time for everything that ends with the daemon. Its end is promised within five seconds, and what comes after this takes time, too.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// Longest wait for those who still hold something of it after that.
const LAST_HOLD: Duration = Duration::from_secs(2);

/// Runs the daemon until it is asked to end; a restart starts everything anew in this process.
///
/// # Errors
/// If it can't start: settings, home, keys, database or vault.
pub async fn run(home: Home, sources: SettingsSources) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    loop {
        if run_once(&home, &sources, &mut signals).await? == Exit::Stop {
            return Ok(());
        }
        info!("starting anew");
    }
}

async fn run_once(home: &Home, sources: &SettingsSources, signals: &mut Signals) -> anyhow::Result<Exit> {
    let (lock, core, arrivals) = start(home, sources).await?;
    let host = Arc::new(DaemonHost(Arc::downgrade(&core)));
    let peers = Peers::start(core.identity.clone(), host.clone(), core.outbound.clone(), &core.network);
    // Set once: this core was made a moment ago.
    drop(core.peers.set(peers.clone()));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(host::receive(core.clone(), arrivals.incoming));
    tasks.spawn(carrier::join(core.clone(), arrivals.legs));
    tasks.spawn(carrier::keep(core.clone()));
    tasks.spawn(carrier::note(core.clone()));
    tasks.spawn(state_object::keep_at_friends(core.clone()));
    tasks.spawn(janitor::keep(core.clone()));
    tasks.spawn(condition::tell(core.clone()));
    tasks.spawn(scrub::keep(core.clone()));
    let (nat, mut mappings) = mapping::start(&core).await?;
    // Set once: this core was made a moment ago.
    drop(core.nat.set(nat.clone()));
    tasks.spawn(mapping::keep(core.db.clone(), mappings.clone()));
    tasks.spawn(mapping::follow(core.clone(), nat.clone()));
    tasks.spawn(proof::keep(core.clone(), nat.clone()));
    tasks.spawn(doctor::keep(core.clone(), nat.clone()));
    tasks.spawn(doctor::meet_routers(core.clone()));
    tasks.spawn(doctor::record(core.clone()));
    tasks.spawn(doctor::watch(core.clone(), nat.clone()));
    // Before anybody can ask: whoever is told "ready" finds the port open, or the reason why it is not.
    core.apply_listener().await;
    tasks.spawn(listening::keep(core.clone()));
    tasks.spawn(near::keep(core.clone()));
    for friend in core.roster.all() {
        peers.set_friend(friend.device_id, friend.addresses.book());
    }
    core.say_what_is_mapped();
    let (reach, mut remembered) = reach::start(&core, host).await?;
    tasks.spawn(reach::keep(core.db.clone(), remembered.clone()));
    if let Some(reach) = reach {
        // Set once: this core was made a moment ago.
        drop(core.reach.set(reach.clone()));
        tasks.spawn(reach::follow(core.clone(), reach));
    }
    let control = start_control(&core).await?;
    notify(&[sd_notify::NotifyState::Ready]);
    info!(device = %core.us(), name = %core.loaded().settings().computer_name(), "ready");

    let exit = wait(&core, signals).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    info!("ending");
    let ending = async {
        // Before the links end, which is nobody's doing but ours.
        core.end_histories().await;
        core.jobs.shutdown().await;
        tokio::join!(control.shutdown(Duration::from_secs(1)), peers.shutdown(), nat.shutdown(), async {
            if let Some(listener) = core.set_listener(None) {
                listener.shutdown().await;
            }
        });
        tasks.shutdown().await;
        mapping::save(&core.db, &mut mappings).await;
        reach::save(&core.db, &mut remembered).await;
        if !core.carrier.counted().bytes.is_empty() {
            carrier::save(&core).await;
        }
    };
    if tokio::time::timeout(SHUTDOWN, ending).await.is_err() {
        warn!("not everything ended in time");
    }
    if let Err(error) = core.home.clear_run() {
        warn!(%error, "files of the running daemon were left behind");
    }
    let left = Arc::downgrade(&core);
    drop((core, peers, nat));
    // What was told to end may still hold the vault for a moment; a restart opens it anew. The end of the process lets
    // go of everything, and has no time to wait: it is promised within five seconds.
    let patience = tokio::time::Instant::now() + LAST_HOLD;
    while exit == Exit::Restart && left.strong_count() > 0 && tokio::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if exit == Exit::Restart && left.strong_count() > 0 {
        warn!("something of the ended daemon is still held");
    }
    drop(lock);
    info!("ended");
    Ok(exit)
}

/// Everything that must be there before anything is served.
async fn start(home: &Home, sources: &SettingsSources) -> anyhow::Result<(DaemonLock, Arc<Core>, Arrivals)> {
    let (home, sources) = (home.clone(), sources.clone());
    let (lock, loaded, keys, db) = tokio::task::spawn_blocking({
        let (home, sources) = (home.clone(), sources.clone());
        move || -> anyhow::Result<_> {
            home.prepare()?;
            let lock = DaemonLock::acquire(&home)?;
            let loaded = sources.load()?;
            let keys = keys::load_or_create(&home)?;
            let db = Db::open(&home.state_db())?;
            Ok((lock, loaded, keys, db))
        }
    })
    .await??;
    let settings = loaded.settings();
    let path = home.path_of(&settings.vault.path);
    refuse_lost_vault(&db, &path).await?;
    let config = VaultConfig { path: path.clone(), free_space_floor: settings.vault.keep_free.bytes() };
    let vault = Vault::open(config).await.context("the vault can't be opened")?;
    db.put(Table::Values, value::VAULT, &path).await?;
    // Its first look reads files.
    let network = tokio::task::spawn_blocking(Network::start).await?;
    let (core, arrivals) = Core::new(Parts { home, sources, loaded, keys, db, vault, network }).await?;
    Ok((lock, core, arrivals))
}

/// An empty mount point is not an empty vault: friends' archives would seem to be gone.
async fn refuse_lost_vault(db: &Db, path: &std::path::Path) -> anyhow::Result<()> {
    let known: Option<std::path::PathBuf> = db.get(Table::Values, value::VAULT).await?;
    let marker = path.join(kith_vault::layout::FORMAT_FILE);
    let lost = known.as_deref() == Some(path) && !tokio::fs::try_exists(&marker).await.unwrap_or(false);
    anyhow::ensure!(
        !lost,
        "the vault at {} is not there any more: is its disk not mounted? Mount it; or, if it is gone for good, choose \
         another place with `kith settings set vault.path DIR`",
        path.display()
    );
    Ok(())
}

async fn start_control(core: &Arc<Core>) -> anyhow::Result<ControlServer> {
    let settings = core.settings();
    let (port, app_port) = (settings.control.port.get(), settings.control.app_port.get());
    let config = ControlConfig::new(port, app_port, core.home.control_socket());
    let control = ControlServer::bind(config, Arc::new(Daemon(core.clone()))).await?;
    let bound = control.bound();
    for (wanted, got, what) in
        [(bound.wanted_api_port, bound.api_port, "API"), (bound.wanted_app_port, bound.app_port, "app")]
    {
        if wanted != got {
            let holder = tokio::task::spawn_blocking(move || kith_listener::port_holder(wanted)).await;
            let holder =
                holder.ok().flatten().map(|holder| format!("{} (process {})", holder.program, holder.pid));
            warn!(
                "port {wanted} of the {what} is in use by {}: port {got} is used instead",
                holder.as_deref().unwrap_or("another program")
            );
        }
    }
    info!("API on 127.0.0.1:{}, app on http://127.0.0.1:{}/ (`kith open`)", bound.api_port, bound.app_port);
    // Set once: this core was made a moment ago.
    core.bound.get_or_init(|| bound);
    let token = control.token().reveal();
    let home = core.home.clone();
    let ports = Ports {
        pid: std::process::id(),
        control: bound.api_port,
        app: bound.app_port,
        listener: Some(core.listen_port()),
    };
    tokio::task::spawn_blocking(move || home.write_ports(ports).and_then(|()| home.write_token(&token)))
        .await??;
    // Whoever gets an answer finds all ports and the token in their places.
    control.open();
    Ok(control)
}

/// Waits for a reason to end; reloads settings on the way.
async fn wait(core: &Arc<Core>, signals: &mut Signals) -> Exit {
    let mut exit = core.exit.subscribe();
    let mut status = core.events.subscribe();
    let mut tick = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Exit::Stop,
            _ = signals.interrupt.recv() => return Exit::Stop,
            _ = signals.reload.recv() => match core.reload().await {
                Ok(()) => info!("settings reloaded"),
                Err(error) => error!(%error, "the settings were not reloaded; the old ones stay in force"),
            },
            Ok(wanted) = exit.wait_for(|exit| *exit != Exit::No) => {
                let wanted = *wanted;
                // Leaves the answer to the request time to go out.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return wanted;
            }
            _ = status.recv() => tell_systemd(core),
            _ = tick.tick() => tell_systemd(core),
        }
    }
}

fn tell_systemd(core: &Core) {
    let friends = core.roster.all();
    let linked = friends
        .iter()
        .filter(|friend| core.peers().is_some_and(|peers| peers.link(&friend.device_id).is_some()));
    let status = format!("{} of {} friends connected", linked.count(), friends.len());
    notify(&[sd_notify::NotifyState::Status(&status)]);
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
