//! What all parts of the daemon share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use kith_control::{Bound, Event};
use kith_hub::Rendezvous;
use kith_identity::{DeviceId, Identity, InstallationId, StateKey, tls};
use kith_listener::{Faces, Incoming, Leg, Listener};
use kith_nat::{Family, Nat, Proof};
use kith_network::Network;
use kith_peer::reach::{HubStanding, Reach, ReachMemory};
use kith_peer::{Outbound, Peers};
use kith_vault::{Accepting, Owner, Vault};
use kith_wire::{Hello, Installed, Report, VersionRange};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tracing::warn;

use super::carrier::{self, ByLink};
use super::db::{Db, Table};
use super::dial_in::DialIn;
use super::doctor::{Asked, Histories, Memory, Notice};
use super::heads::Heads;
use super::history::History;
use super::host::Door;
use super::hubs::SeenByHubs;
use super::installation::{Ourselves, Superseded};
use super::invites::Invites;
use super::jobs::Jobs;
use super::near::Near;
use super::roster::{Friend, Roster};
use super::state_object::Newest;
use crate::home::Home;
use crate::settings::{Accept, Loaded, Settings, SettingsSources};

/// Most addresses under which friends have seen us that are remembered.
const MOST_OBSERVED: usize = 8;
/// Events that a slow listener may lag behind.
const EVENT_BACKLOG: usize = 256;

/// Authenticated connections that wait to be taken over.
const MOST_INCOMING: usize = 64;

/// Name and version, as friends see them.
pub const PROGRAM: &str = concat!("kith ", env!("CARGO_PKG_VERSION"));

/// What the daemon is asked to do with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Go on.
    No,
    /// End.
    Stop,
    /// End and start anew.
    Restart,
}

/// Values in `state.db` by name.
pub mod value {
    /// Installation id.
    pub const INSTALLATION: &str = "installation";
    /// Incarnation number.
    pub const INCARNATION: &str = "incarnation";
    /// When this installation was made.
    pub const INSTALLED_SINCE: &str = "installed-since";
    /// When it got another id because a copy of it ran.
    pub const NEW_ID_AT: &str = "new-id-at";
    /// Which newer installation has taken over.
    pub const SUPERSEDED: &str = "superseded";
    /// Sequence of the newest state object.
    pub const STATE_SEQUENCE: &str = "state-sequence";
    /// First sequence of a state object that this installation has written.
    pub const STATE_FIRST: &str = "state-first";
    /// Sequence of the newest state object of another installation that is taken over.
    pub const STATE_BASE: &str = "state-base";
    /// Friends who were removed: no older state object brings them back.
    pub const REMOVED: &str = "friends-removed";
    /// Whether the recovery phrase was shown.
    pub const RECOVERY_SHOWN: &str = "recovery-shown";
    /// Until when backups are paused.
    pub const PAUSED_UNTIL: &str = "paused-until";
    /// Where the vault lies that was opened last.
    pub const VAULT: &str = "vault";
    /// Addresses under which friends saw us.
    pub const OBSERVED: &str = "observed";
    /// Which dial-in key is given out, and which others friends may hold.
    pub const DIAL_IN: &str = "dial-in";
    /// What is mapped on routers.
    pub const MAPPINGS: &str = "mappings";
    /// Friends' address records, what connected us to them, and hubs.
    pub const REACH: &str = "reach";
    /// What was relayed for friends in the running day.
    pub const RELAYED: &str = "relayed";
    /// What let friends in before, for the doctor.
    pub const WORKED: &str = "worked";
    /// How well each friend could be reached in the last days.
    pub const REACHABILITY: &str = "reachability";
}

/// The shared state.
pub struct Core {
    pub(super) home: Home,
    pub(super) sources: SettingsSources,
    loaded: RwLock<Arc<Loaded>>,
    /// One change of the inbound port at a time.
    pub(super) binding: tokio::sync::Mutex<()>,
    /// One change of the settings at a time.
    pub(super) editing: tokio::sync::Mutex<()>,
    pub(super) identity: Arc<Identity>,
    pub(super) state_key: StateKey,
    /// Connections that the listener authenticated go in here.
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) faces: Faces,
    pub(super) dial_in: DialIn,
    pub(super) installation: InstallationId,
    pub(super) incarnation: u64,
    /// Both of them, signed.
    pub(super) installed: Installed,
    /// Drawn at every start.
    run: InstallationId,
    /// The installation that has taken over from this one.
    pub(super) superseded: watch::Sender<Option<Superseded>>,
    /// Which installation of each friend the vault knows as the one that writes.
    pub(super) writers: Mutex<BTreeMap<DeviceId, (u64, InstallationId)>>,
    pub(super) db: Db,
    pub(super) roster: Roster,
    pub(super) heads: Heads,
    pub(super) invites: Invites,
    pub(super) vault: Vault,
    pub(super) jobs: Arc<Jobs>,
    pub(super) network: Network,
    /// What it has to do with the local network.
    pub(super) near: Near,
    /// How connections leave this computer.
    pub(super) outbound: Outbound,
    pub(super) peers: OnceLock<Peers>,
    /// What is done for friends who want to find and reach each other.
    pub(super) carrier: Rendezvous,
    pub(super) nat: OnceLock<Nat>,
    /// Reaches friends by the help of others, from the moment the daemon serves anything.
    pub(super) reach: OnceLock<Reach>,
    /// What is remembered of it.
    pub(super) reach_memory: watch::Sender<ReachMemory>,
    /// How the hubs stand that are used.
    pub(super) hubs: Mutex<Vec<HubStanding>>,
    /// From where hubs see this computer.
    pub(super) seen_by_hubs: Mutex<SeenByHubs>,
    /// What came of dials to the forwardings that were made by hand.
    pub(super) static_proofs: Mutex<BTreeMap<SocketAddr, Proof>>,
    listener: Mutex<Option<Listener>>,
    /// Why there is no listener although there should be.
    pub(super) listener_error: Mutex<Option<String>>,
    pub(super) bound: OnceLock<Bound>,
    pub(super) events: broadcast::Sender<Event>,
    /// Our IP addresses as friends see them from outside, the newest first.
    observed: Mutex<Vec<IpAddr>>,
    /// Sequence of the newest state object of each friend that we keep.
    pub(super) kept_states: Mutex<BTreeMap<DeviceId, u64>>,
    pub(super) newest_state: tokio::sync::Mutex<Newest>,
    /// What our checks found damaged at friends, until it is repaired.
    pub(super) found_damaged: Mutex<BTreeMap<DeviceId, BTreeSet<String>>>,
    /// Packs at friends that stay although they are damaged, and when they were looked at.
    pub(super) kept_damaged: Mutex<BTreeMap<DeviceId, (std::time::Instant, BTreeSet<kith_archive::FileId>)>>,
    /// By how many seconds friends' clocks are ahead of ours.
    pub(super) clocks: Mutex<BTreeMap<DeviceId, i64>>,
    /// What came of looking for friends by way of others.
    pub(super) sought: watch::Sender<BTreeMap<DeviceId, super::doctor::Sought>>,
    /// The scrub is to go on, and whether it hurries.
    pub(super) scrub_wanted: Notify,
    pub(super) scrub_hurries: std::sync::atomic::AtomicBool,
    /// Friends whose reports are being noted, and the newest that waits.
    pub(super) reports: Mutex<BTreeMap<DeviceId, Option<Report>>>,
    /// The state object must be written and sent anew.
    pub(super) state_dirty: Notify,
    pub(super) exit: watch::Sender<Exit>,
    pub(super) started: Timestamp,
    pub(super) recovery_shown: std::sync::atomic::AtomicBool,
    pub(super) paused_until: Mutex<Option<Timestamp>>,
    /// What is free on the vault's disk, as it was last looked at.
    pub(super) free_bytes: Mutex<Option<u64>>,
    /// What friends' doctors were answered.
    pub(super) asked: Asked,
    /// What let friends in before.
    pub(super) worked: Mutex<Memory>,
    /// How well friends could be reached, and when this computer slept.
    pub(super) histories: Histories,
    /// What a person should know before he asks.
    pub(super) notices: Mutex<Vec<Notice>>,
}

/// What the listener hands over.
pub(super) struct Arrivals {
    /// Of friends, and of those who hold an invite.
    pub(super) incoming: mpsc::Receiver<Incoming>,
    /// To be joined with others.
    pub(super) legs: mpsc::Receiver<Leg>,
}

/// What [`Core::new`] is made from.
pub(super) struct Parts {
    pub(super) home: Home,
    pub(super) sources: SettingsSources,
    pub(super) loaded: Loaded,
    pub(super) keys: super::keys::Keys,
    pub(super) db: Db,
    pub(super) vault: Vault,
    pub(super) network: Network,
}

impl Core {
    /// The core, and the connections that its listener will hand over.
    pub(super) async fn new(parts: Parts) -> anyhow::Result<(Arc<Self>, Arrivals)> {
        let Parts { home, sources, loaded, keys, db, vault, network } = parts;
        let Ourselves { installed, superseded } = Ourselves::load(&db, &keys.identity).await?;
        let observed = db.get(Table::Values, value::OBSERVED).await?.unwrap_or_default();
        let recovery_shown = db.get(Table::Values, value::RECOVERY_SHOWN).await?.unwrap_or(false);
        let paused_until = db.get(Table::Values, value::PAUSED_UNTIL).await?;
        let roster = Roster::load(db.clone()).await?;
        let invites = Invites::load(db.clone()).await?;
        let histories = Histories::load(&db, &roster).await;
        let outbound = Outbound::new(loaded.settings().network.outbound_rules());
        let events = broadcast::Sender::new(EVENT_BACKLOG);
        let history = History::new(db.clone());
        let known = history.known().await?;
        let jobs = Jobs::new(history, known, events.clone());
        let recovery = keys.state.recovery_dial_in_key();
        let dial_in = DialIn::load(db.clone(), keys.dial_in, recovery).await?;
        let unknown = tls::throwaway_server_config(Timestamp::now().as_second().unsigned_abs())?;
        let identity = Arc::new(keys.identity);
        let heads = Heads::load(db.clone(), &identity.public_key()).await?;
        let (incoming, received) = mpsc::channel(MOST_INCOMING);
        let (legs, joining) = mpsc::channel(MOST_INCOMING);
        let rules = carrier::rules(loaded.settings());
        let relayed = db.get(Table::Values, value::RELAYED).await?.unwrap_or_default();
        let core = Arc::new_cyclic(|core| Self {
            faces: Faces {
                known: tls::server_config(&identity, Arc::new(Door(core.clone()))),
                unknown,
                callers: Arc::new(Door(core.clone())),
                legs: Some(legs),
            },
            incoming,
            home,
            sources,
            loaded: RwLock::new(Arc::new(loaded)),
            editing: tokio::sync::Mutex::default(),
            binding: tokio::sync::Mutex::default(),
            identity,
            state_key: keys.state,
            dial_in,
            installation: installed.installation,
            incarnation: installed.incarnation,
            installed,
            run: InstallationId::generate(),
            superseded: watch::Sender::new(superseded),
            writers: Mutex::default(),
            db,
            roster,
            heads,
            invites,
            vault,
            jobs,
            network,
            near: Near::default(),
            outbound,
            peers: OnceLock::new(),
            carrier: Rendezvous::resume(rules, Arc::new(ByLink(core.clone())), &relayed),
            nat: OnceLock::new(),
            reach: OnceLock::new(),
            reach_memory: watch::Sender::default(),
            hubs: Mutex::default(),
            seen_by_hubs: Mutex::default(),
            static_proofs: Mutex::default(),
            listener: Mutex::default(),
            listener_error: Mutex::default(),
            bound: OnceLock::new(),
            events,
            observed: Mutex::new(observed),
            kept_states: Mutex::default(),
            newest_state: tokio::sync::Mutex::default(),
            found_damaged: Mutex::default(),
            kept_damaged: Mutex::default(),
            clocks: Mutex::default(),
            sought: watch::Sender::default(),
            scrub_wanted: Notify::new(),
            scrub_hurries: false.into(),
            reports: Mutex::default(),
            state_dirty: Notify::new(),
            exit: watch::Sender::new(Exit::No),
            started: Timestamp::now(),
            recovery_shown: recovery_shown.into(),
            paused_until: Mutex::new(paused_until),
            free_bytes: Mutex::default(),
            asked: Asked::default(),
            worked: Mutex::default(),
            histories,
            notices: Mutex::default(),
        });
        core.load_kept_states().await;
        core.load_damage().await;
        core.apply_vault_policy();
        if let Some(until) = core.paused_until() {
            core.jobs.pause(until);
        }
        Ok((core, Arrivals { incoming: received, legs: joining }))
    }

    pub(super) fn us(&self) -> DeviceId {
        self.identity.device_id()
    }

    pub(super) fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn settings(&self) -> Settings {
        self.loaded().settings().clone()
    }

    pub(super) fn set_loaded(&self, loaded: Loaded) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
    }

    /// The running peers. They exist from the moment the daemon serves anything.
    pub(super) fn peers(&self) -> Option<&Peers> {
        self.peers.get()
    }

    /// What keeps the port mapped. It exists from the moment the daemon serves anything.
    pub(super) fn nat(&self) -> Option<&Nat> {
        self.nat.get()
    }

    /// Tells the listeners of events; nobody listening is fine.
    pub(super) fn tell(&self, event: Event) {
        drop(self.events.send(event));
    }

    pub(super) fn listener(&self) -> Option<Listener> {
        lock(&self.listener).clone()
    }

    pub(super) fn set_listener(&self, listener: Option<Listener>) -> Option<Listener> {
        std::mem::replace(&mut *lock(&self.listener), listener)
    }

    /// The port that is (or should be) listened on.
    pub(super) fn listen_port(&self) -> u16 {
        let bound = self.listener().and_then(|listener| match &*listener.state().borrow() {
            kith_listener::ListenerState::Listening { port, .. } => Some(*port),
            _ => None,
        });
        bound.unwrap_or_else(|| self.loaded().settings().listener.port.get())
    }

    /// Whether nobody may call this computer.
    pub(super) fn takes_no_calls(&self) -> bool {
        self.loaded().settings().network.outbound_only
    }

    /// Our addresses inside the network, `ip:port`; none where nobody may call.
    pub(super) fn internal_addresses(&self) -> Vec<String> {
        if self.takes_no_calls() {
            return Vec::new();
        }
        let loaded = self.loaded();
        let bind = &loaded.settings().listener.bind;
        let port = self.listen_port();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in bind.iter().filter(|ip| !ip.is_unspecified()) {
            addresses.push(*ip);
        }
        let local = self.network.snapshot().local_addresses();
        for any in bind.iter().filter(|ip| ip.is_unspecified()) {
            addresses.extend(local.iter().filter(|ip| ip.is_ipv4() == any.is_ipv4()));
        }
        if addresses.is_empty() {
            // A computer without a network can still be paired with another home on the same computer.
            addresses.push(IpAddr::from([127, 0, 0, 1]));
        }
        addresses.dedup();
        addresses.into_iter().map(|ip| SocketAddr::new(ip, port).to_string()).collect()
    }

    /// Our addresses from outside, `host:port`: those a manual forwarding makes reachable, those that routers map for us, and
    /// those under which friends and hubs see us; none where nobody may call.
    pub(super) fn public_addresses(&self) -> Vec<String> {
        if self.takes_no_calls() {
            return Vec::new();
        }
        let loaded = self.loaded();
        let mut public: Vec<String> =
            loaded.settings().listener.advertise.iter().map(ToString::to_string).collect();
        let mut observed = lock(&self.observed).clone();
        // Friends know better than hubs.
        observed.extend(lock(&self.seen_by_hubs).addresses());
        let observed = observed.into_iter().map(|ip| SocketAddr::new(ip, self.outside_port(Family::of(ip))));
        for address in self.mapped_addresses().into_iter().chain(observed) {
            let address = address.to_string();
            if !public.contains(&address) {
                public.push(address);
            }
        }
        public
    }

    /// A friend told us under which IP address he sees us; true if that is news.
    pub(super) fn note_observed(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if kith_peer::is_internal(ip) || ip.is_unspecified() || ip.is_multicast() {
            return false;
        }
        let mut observed = lock(&self.observed);
        let before = observed.len();
        observed.retain(|other| *other != ip);
        let news = observed.len() == before;
        observed.insert(0, ip);
        observed.truncate(MOST_OBSERVED);
        news
    }

    pub(super) async fn save_observed(&self) {
        let observed = lock(&self.observed).clone();
        if let Err(error) = self.db.put(Table::Values, value::OBSERVED, &observed).await {
            warn!(%error, "the addresses under which friends see us were not saved");
        }
    }

    /// Bytes offered to a friend; none when nothing is taken from him.
    pub(super) fn offered_to(&self, friend: &Friend) -> Option<u64> {
        let loaded = self.loaded();
        let vault = &loaded.settings().vault;
        let accepted = match vault.accept {
            Accept::Off => false,
            Accept::Own => friend.own,
            Accept::Friends => true,
        };
        accepted.then(|| friend.quota_bytes.unwrap_or_else(|| vault.default_quota.bytes()))
    }

    /// Puts quotas, the inbound policy and the hold window in force.
    pub(super) fn apply_vault_policy(&self) {
        let days = self.loaded().settings().vault.hold_days.get();
        self.vault.set_hold(Duration::from_secs(u64::from(days) * 24 * 60 * 60));
        let days = u64::from(self.loaded().settings().vault.scrub_days.get());
        self.vault.set_scrub((days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)));
        self.roster.all().iter().for_each(|friend| self.apply_policy_to(friend));
    }

    /// Puts the quota and the inbound policy in force for one friend.
    pub(super) fn apply_policy_to(&self, friend: &Friend) {
        let Ok(owner) = owner(&friend.device_id) else { return };
        let offered = self.offered_to(friend);
        self.vault.set_quota(&owner, offered);
        let accepting = if offered.is_some() && !friend.paused { Accepting::Yes } else { Accepting::No };
        self.vault.set_accepting(&owner, accepting);
    }

    async fn load_kept_states(&self) {
        for friend in self.roster.all() {
            let Ok(owner) = owner(&friend.device_id) else { continue };
            if let Ok(sequences) = self.vault.state_sequences(&owner).await
                && let Some(newest) = sequences.into_iter().max()
            {
                lock(&self.kept_states).insert(friend.device_id, newest);
            }
        }
    }

    /// What we tell a friend about ourselves.
    pub(super) fn report_to(&self, friend: &DeviceId) -> Report {
        let connection = self.peers().and_then(|peers| peers.state(friend)?.connection);
        let family = connection.map_or(Some(Family::V4), |connection| connection.friend_ip().map(Family::of));
        self.report_over(friend, family)
    }

    /// What we tell a friend about ourselves over a link of that family.
    /// Without a family, the friend sees a proxy, and a port of ours would be looked for at its address.
    fn report_over(&self, friend: &DeviceId, family: Option<Family>) -> Report {
        let known = self.roster.get(friend);
        let newest = known.as_ref().and_then(|friend| friend.newest.clone());
        let stored_bytes = owner(friend).map_or(0, |owner| self.vault.usage(&owner).live_bytes);
        Report {
            name: self.loaded().settings().computer_name(),
            internal: self.internal_addresses(),
            public: self.public_addresses(),
            public_port: family.filter(|_| !self.takes_no_calls()).map(|family| self.outside_port(family)),
            offered_bytes: known.and_then(
                |friend| {
                    if friend.paused { None } else { self.offered_to(&friend) }
                },
            ),
            stored_bytes,
            state_sequence: lock(&self.kept_states).get(friend).copied(),
            newest,
            condition: Some(self.condition()),
            damaged: owner(friend).map_or(0, |owner| self.vault.damaged_count(&owner)),
            trouble: self.vault.failure().map(|failure| {
                let mut sentence = format!("its disk failed: it {failure}");
                sentence.truncate(sentence.floor_char_boundary(kith_wire::MOST_SENTENCE_BYTES));
                sentence
            }),
        }
    }

    /// Our hello to a friend who is seen from this IP address.
    pub(super) fn hello_to(&self, friend: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        Hello {
            wire: VersionRange::OURS,
            program: PROGRAM.to_owned(),
            installation: self.installation,
            incarnation: self.incarnation,
            since: self.installed.since,
            proof: self.installed.proof.clone(),
            run: Some(self.run),
            class: None,
            capabilities: self.capabilities(),
            you_are: seen_from.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
            time: Timestamp::now().as_second(),
            report: self.report_over(friend, seen_from.map(Family::of)),
        }
    }
}

/// The vault's name for a computer.
pub(super) fn owner(device: &DeviceId) -> Result<Owner, kith_vault::NameError> {
    Owner::parse(&device.to_string())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
