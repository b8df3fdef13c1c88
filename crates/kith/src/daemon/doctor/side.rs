//! What this computer says of itself to the doctor: here, to a friend who asks, and in a report code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use kith_control::view::ProofState;
use kith_doctor::facts::{
    Hub, Keeps, Listener, ListenerState, Mapping, Names, Network, Side, Test, TestResult,
};
use kith_doctor::firewall::{Access, FirewallFacts};
use kith_doctor::gateway::Call;
use kith_identity::DeviceId;
use kith_network::Snapshot;
use kith_peer::reach::HubRole;
use kith_peer::{Connection, PathKind};
use tokio::sync::OnceCell;

use super::super::core::{Core, lock, owner};
use super::super::roster::Friend;
use super::firewall::{Rules, remotes};
use super::gateway::{self, Patience};
use crate::settings::Accept;

/// Longest look at the gateway.
const GATEWAY: Duration = Duration::from_secs(9);
/// Longest wait for a friend who dials the router's promise.
const PROOF: Duration = Duration::from_millis(6000);
/// Friends who were lost within this time were perhaps lost by what has happened here.
const LOST: Duration = Duration::from_secs(600);
/// Most computers of this network that are named for having the same port.
const MOST_NEIGHBOURS: usize = 8;
/// Most other computers that are witnesses of the time.
const MOST_CLOCKS: usize = 16;

/// The rules, read once for all who ask.
async fn read(rules: &OnceCell<Rules>) -> &Rules {
    rules.get_or_init(|| Box::pin(Rules::read())).await
}

/// What of a side takes a while to find out.
pub(super) struct Gathered {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) firewall: FirewallFacts,
    pub(super) gateway: Option<gateway::Gateway>,
    pub(super) listener: Listener,
    pub(super) keeps_ports: Option<bool>,
    pub(super) tests: Vec<Test>,
}

impl Core {
    /// All that this computer knows of itself, told about `friend` or to him, with the tests of his addresses.
    pub(super) async fn side(self: &Arc<Self>, friend: Option<&Friend>, patience: Patience) -> Side {
        let id = friend.map(|friend| friend.device_id);
        let apart = id.is_some_and(|id| !self.is_linked_directly(&id));
        let ports = async { if apart { self.keeps_ports().await } else { None } };
        let tests = async {
            match friend {
                Some(friend) => self.test_addresses(friend).await,
                None => Vec::new(),
            }
        };
        // What the daemon has seen of it may be a second old.
        let snapshot = tokio::task::spawn_blocking(Snapshot::take).await;
        let snapshot = snapshot.map_or_else(|_| self.network.snapshot(), Arc::new);
        let proof = async {
            if apart && patience == Patience::Long {
                self.wait_for_proof(PROOF).await;
            }
        };
        let rules = OnceCell::new();
        let (firewall, gateway, listener, keeps_ports, tests, ()) = tokio::join!(
            async { self.firewall_by(read(&rules).await, friend).await },
            self.look_at_gateway(&snapshot, patience, &rules),
            self.listener_facts(),
            ports,
            tests,
            proof
        );
        self.side_of(friend, Gathered { snapshot, firewall, gateway, listener, keeps_ports, tests })
    }

    /// The same, of what was looked at already: it waits for nothing.
    pub(super) fn side_of(&self, friend: Option<&Friend>, gathered: Gathered) -> Side {
        let Gathered { snapshot, firewall, gateway, listener, keeps_ports, tests } = gathered;
        let id = friend.map(|friend| friend.device_id);
        let loaded = self.loaded();
        let network = &loaded.settings().network;
        let (linked, away) = self.others(id.as_ref());
        let mapping = self.mapping_facts(gateway.as_ref());
        let names = names(&tests);
        let slept = self.histories.last_sleep();
        Side {
            time: Timestamp::now().as_second(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: std::env::current_exe().ok().map(|path| path.display().to_string()),
            clocks: self.witnesses_of_time(id.as_ref()),
            clock_synchronised: gateway::clock_is_synchronised(),
            listener,
            outbound_only: network.outbound_only,
            proxy: network.proxy.as_ref().map(|proxy| proxy.address().to_string()),
            mapped_ports: !network.mapped.is_empty(),
            internal: self.internal_addresses(),
            public: self.public_addresses(),
            network: self.network_facts(&snapshot, gateway.as_ref(), network),
            mapping,
            keeps_ports,
            firewall,
            names,
            hubs: self.hub_facts(),
            others_linked: linked,
            others_away: away,
            tests,
            last_inbound: self.last_inbound(),
            woken: slept.map(|slept| slept.to),
            slept: slept.map(|slept| slept.to.abs_diff(slept.from)),
            keeps: None,
        }
    }

    fn last_inbound(&self) -> Option<i64> {
        self.doctor_memory().inbound_at(Timestamp::now().as_second())
    }

    /// The same for a friend who asks: with what is kept for him.
    pub(super) async fn side_for(self: &Arc<Self>, friend: &Friend) -> Side {
        let keeps = self.keeps_for(friend).await;
        Side { keeps, ..self.side(Some(friend), Patience::Short).await.told() }
    }

    /// What these rules do with connections to this computer, and between it and the friend's.
    pub(super) async fn firewall_by(&self, rules: &Rules, friend: Option<&Friend>) -> FirewallFacts {
        let facts = rules.facts(self.listen_port(), remotes(friend)).await;
        FirewallFacts { worked: self.last_inbound(), ..facts }
    }

    pub(super) async fn listener_facts(&self) -> Listener {
        let view = self.listener_view();
        let state = match view.state {
            kith_control::view::ListenerState::Listening => ListenerState::Listening,
            kith_control::view::ListenerState::Off => ListenerState::Off,
            kith_control::view::ListenerState::Error => ListenerState::Error,
        };
        let port = view.port;
        let taken_by = match state {
            ListenerState::Error => {
                let holder = tokio::task::spawn_blocking(move || kith_listener::port_holder(port)).await;
                let holder = holder.ok().flatten().filter(|holder| holder.pid != std::process::id());
                holder.map(|holder| format!("{} (process {})", holder.program, holder.pid))
            }
            _ => None,
        };
        // The sentence names a port that is free.
        let free_port = view.error.as_deref().and_then(|error| {
            let (_, rest) = error.rsplit_once("; port ")?;
            rest.strip_suffix(" is free")?.parse().ok()
        });
        let shared_with = self.at_the_same_port(port);
        let free_port = match free_port {
            None if !shared_with.is_empty() => {
                let any = [SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))];
                tokio::task::spawn_blocking(move || kith_listener::propose(port, &any)).await.ok().flatten()
            }
            free => free,
        };
        Listener { port, state, error: view.error, taken_by, free_port, shared_with }
    }

    /// Friends' computers in our network that listen at the same port.
    fn at_the_same_port(&self, port: u16) -> Vec<String> {
        let Some(peers) = self.peers() else { return Vec::new() };
        let snapshot = self.network.snapshot();
        let near = self.roster.all().into_iter().filter(|friend| {
            let state = peers.state(&friend.device_id);
            state.and_then(|state| state.connection).is_some_and(|link| link.path() == PathKind::Lan)
        });
        let addresses = near.flat_map(|friend| friend.addresses.internal);
        let addresses = addresses.filter_map(|address| address.parse::<SocketAddr>().ok());
        let same = addresses
            .filter(|at| at.port() == port && !at.ip().is_loopback() && snapshot.is_on_link(at.ip()));
        same.map(|at| at.to_string()).take(MOST_NEIGHBOURS).collect()
    }

    pub(super) async fn look_at_gateway(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        patience: Patience,
        rules: &OnceCell<Rules>,
    ) -> Option<gateway::Gateway> {
        let first = snapshot.gateways.first()?;
        let patience = if self.is_anybody_outside_linked() { Patience::Short } else { patience };
        Some(self.hear(first, patience, rules).await)
    }

    /// Calls the router at the port of its page, if connections may go to anywhere. One that has always answered and does not now is silent.
    /// A computer that only makes calls to friends and hubs does it only where a person asks and nobody else answers.
    pub(super) async fn hear(
        self: &Arc<Self>,
        known: &kith_network::Gateway,
        patience: Patience,
        rules: &OnceCell<Rules>,
    ) -> gateway::Gateway {
        let network = &self.settings().network;
        let is_reserved = network.outbound_only && patience == Patience::Short;
        if is_reserved || network.proxy.is_some() || !network.allowed_destinations.is_empty() {
            return gateway::Gateway::of(known);
        }
        let hardware = gateway::hardware(known);
        let was_heard = self.doctor_memory().has_heard(hardware.as_deref(), Timestamp::now().as_second());
        let is_missed = was_heard && patience == Patience::Long;
        let is_let_out = async || gateway::rules_for(known, read(rules).await).await == Access::Open;
        let enough = async {
            // Who answered before does so at once; of who never did, the system alone says in its time whether he is there.
            tokio::time::sleep(gateway::ANSWER).await;
            if patience == Patience::Long && !(is_missed && is_let_out().await) {
                tokio::time::sleep(gateway::DOUBT - gateway::ANSWER).await;
            }
        };
        let called = tokio::time::timeout(GATEWAY, gateway::call(known, patience, enough)).await;
        let call = called.unwrap_or(Call::Silent);
        let access = match call {
            // Something here may have refused it, or stopped it.
            Call::Refused => gateway::rules_for(known, read(rules).await).await,
            Call::Silent if is_missed => gateway::rules_for(known, read(rules).await).await,
            _ => Access::Unknown,
        };
        let found = gateway::Gateway::seen(known, call, access, is_missed);
        if let (Some(true), Some(hardware)) = (found.answers, &found.hardware) {
            self.note_heard(hardware);
        }
        found
    }

    fn network_facts(
        &self,
        snapshot: &Snapshot,
        gateway: Option<&gateway::Gateway>,
        settings: &crate::settings::Network,
    ) -> Network {
        let addresses = || snapshot.interfaces.iter().flat_map(|interface| &interface.addresses);
        let leaves = &snapshot.leaves_by;
        Network {
            gateway: gateway.map(|gateway| gateway.address.to_string()),
            gateway_answers: gateway.and_then(|gateway| gateway.answers),
            v4: addresses().any(|address| address.ip.is_ipv4()),
            v6: leaves.v6.is_some()
                && addresses().any(|address| address.ip.is_ipv6() && self.is_of_the_internet(address.ip)),
            way_out: Some(leaves.v4.is_some() || leaves.v6.is_some() || !snapshot.gateways.is_empty()),
            mtu: gateway.and_then(|gateway| gateway.mtu),
            only_443: self.only_443(settings),
        }
    }

    fn mapping_facts(&self, gateway: Option<&gateway::Gateway>) -> Mapping {
        let nat = self.nat_state();
        let views = self.mapping_views(&nat);
        let view = self.mapping_view(&nat, &views);
        let home = nat.gateways.first();
        let hardware = gateway.and_then(|gateway| gateway.hardware.clone());
        Mapping {
            direct: view.is_direct(),
            external: view.external(),
            proved: view.proof.state == ProofState::Proved,
            failed: (view.proof.state == ProofState::Failed)
                .then(|| format!("a friend dialled it: {}", view.proof.why.as_deref().unwrap_or("in vain"))),
            worked: self.doctor_memory().mapped_at(hardware.as_deref(), Timestamp::now().as_second()),
            protocols: home
                .map(super::super::mapping::gateway_view)
                .map(|view| view.protocols.into_iter().map(|one| (one.protocol, one.outcome)).collect())
                .unwrap_or_default(),
            router: view.router.clone(),
            page: home.map(super::super::mapping::gateway_view).and_then(|view| view.page),
            state: view.state,
            protocol: view.protocol,
        }
    }

    fn hub_facts(&self) -> Vec<Hub> {
        let hubs = lock(&self.hubs).clone();
        let used = hubs.into_iter().filter(|hub| hub.is_wanted && hub.role != HubRole::Borrowed);
        used.map(|hub| {
            let state = self.peers().and_then(|peers| {
                peers.hubs().into_iter().find(|(id, _)| *id == hub.id).map(|(_, state)| state)
            });
            Hub {
                at: hub.at.first().cloned().unwrap_or_else(|| hub.id.short()),
                works: hub.is_linked && hub.is_registered,
                error: hub.refusal.or_else(|| state.and_then(|state| state.last_error)),
            }
        })
        .collect()
    }

    /// Whether some link leads out of this computer's networks, and so through a router.
    fn is_anybody_outside_linked(&self) -> bool {
        self.others(None).0 > 0
    }

    fn is_linked_directly(&self, friend: &DeviceId) -> bool {
        let state = self.peers().and_then(|peers| peers.state(friend));
        let connection = state.and_then(|state| state.connection);
        connection.is_some_and(|connection| connection.path() != PathKind::Relayed)
    }

    /// Others over the Internet, friends and hubs: how many are linked, and how many should be.
    fn others(&self, but: Option<&DeviceId>) -> (u32, u32) {
        let Some(peers) = self.peers() else { return (0, 0) };
        // Who was lost at the same time as he was lost by the same thing, however long ago that is.
        let his = but.and_then(|id| peers.state(id)).filter(|state| state.connection.is_none());
        let his = his.and_then(|state| state.path_since);
        let now = SystemTime::now();
        let is_near = |one: SystemTime, other: SystemTime| {
            let apart = one.duration_since(other).or_else(|_| other.duration_since(one));
            apart.is_ok_and(|apart| apart < LOST)
        };
        let friends = self.roster.all().into_iter().filter(|friend| Some(&friend.device_id) != but);
        let friends = friends.filter_map(|friend| peers.state(&friend.device_id));
        let (mut linked, mut away) = (0, 0);
        for state in friends {
            match state.connection.as_ref().map(Connection::path) {
                Some(PathKind::Lan) => {}
                Some(_) => linked += 1,
                // Who has been away for long may be off.
                None if state.path_since.is_some_and(|since| {
                    is_near(since, now) || his.is_some_and(|his| is_near(since, his))
                }) =>
                {
                    away += 1;
                }
                None => {}
            }
        }
        for (_, state) in peers.hubs() {
            if state.connection.is_some() { linked += 1 } else { away += 1 }
        }
        (linked, away)
    }

    fn witnesses_of_time(&self, but: Option<&DeviceId>) -> Vec<i64> {
        let clocks = lock(&self.clocks);
        clocks.iter().filter(|(id, _)| Some(*id) != but).map(|(_, ahead)| *ahead).take(MOST_CLOCKS).collect()
    }

    async fn keeps_for(&self, friend: &Friend) -> Option<Keeps> {
        let usage = self.vault.usage(&owner(&friend.device_id).ok()?);
        let loaded = self.loaded();
        let settings = &loaded.settings().vault;
        let accepts = match settings.accept {
            Accept::Off => false,
            Accept::Own => friend.own,
            Accept::Friends => true,
        };
        let free = self.vault.free_bytes().await.ok();
        let floor = settings.keep_free.bytes();
        Some(Keeps {
            accepts: accepts && !friend.paused,
            offered: Some(friend.quota_bytes.unwrap_or_else(|| settings.default_quota.bytes())),
            stored: usage.live_bytes,
            free: free.map(|free| free.saturating_sub(floor)),
            trouble: self.vault.failure(),
        })
    }
}

/// What the tests of addresses say about names: none of them needed one, or some answer came.
fn names(tests: &[Test]) -> Option<Names> {
    let is_name = |test: &&Test| {
        let host = test.address.rsplit_once(':').map_or(test.address.as_str(), |(host, _)| host);
        host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
    };
    let test = tests.iter().find(is_name)?;
    let error = test.detail.clone().filter(|_| test.result == TestResult::NameNotFound);
    // That there is no such name is an answer; that none came in time is not.
    let answered = error.as_deref().is_none_or(|error| !is_silence(error));
    Some(Names { works: answered, name: test.address.clone(), error })
}

/// EAI_AGAIN and our own limit, in the words of the C library.
fn is_silence(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["temporary failure", "try again", "no answer", "within", "timed out"]
        .iter()
        .any(|word| error.contains(word))
}
