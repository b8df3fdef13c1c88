//! The mapping on the router: wanted as the listener stands, told to friends, kept in mind.

mod view;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use kith_control::Event;
use kith_listener::ListenerState;
use kith_nat::{Family, Mapping, MappingState, Memory, Nat, NatConfig, Protocols, Remembered, State, Wanted};
use tokio::sync::watch;
use tracing::warn;

use super::core::{Core, value};
use super::db::{Db, DbError, Table};
use crate::settings::Settings;

pub(super) use self::view::gateway_view;

/// What the nat crate wants to be kept, until it is written.
pub(super) struct Kept(watch::Sender<Vec<Remembered>>);

impl Memory for Kept {
    fn remember(&self, mappings: Vec<Remembered>) {
        self.0.send_replace(mappings);
    }
}

/// Starts the nat crate, with nothing to map yet, and gives what it wants to be kept.
pub(super) async fn start(core: &Core) -> Result<(Nat, watch::Receiver<Vec<Remembered>>), DbError> {
    let remembered: Vec<Remembered> = core.db.get(Table::Values, value::MAPPINGS).await?.unwrap_or_default();
    let (sender, kept) = watch::channel(remembered.clone());
    let installation = core.installation.as_bytes();
    let (label, seed) = installation.split_at(8);
    let nat = Nat::start(NatConfig {
        protocols: protocols(&core.settings()),
        label: format!("Kith {}", data_encoding::HEXLOWER.encode(&label[..4])),
        seed: seed.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte)),
        remembered,
        memory: Arc::new(Kept(sender)),
        network: core.network.clone(),
    });
    Ok((nat, kept))
}

fn protocols(settings: &Settings) -> Protocols {
    let nat = &settings.nat;
    Protocols { pcp: nat.pcp, nat_pmp: nat.nat_pmp, upnp: nat.upnp }
}

/// Writes what the nat crate wants to be kept, until the daemon ends.
pub(super) async fn keep(db: Db, mut kept: watch::Receiver<Vec<Remembered>>) {
    while kept.changed().await.is_ok() {
        save(&db, &mut kept).await;
    }
}

/// Writes what is to be kept now.
pub(super) async fn save(db: &Db, kept: &mut watch::Receiver<Vec<Remembered>>) {
    let mappings = kept.borrow_and_update().clone();
    if let Err(error) = db.put(Table::Values, value::MAPPINGS, &mappings).await {
        warn!(%error, "the mappings on routers were not saved: after a restart they may stay there until their lease ends");
    }
}

/// Tells friends and the app whenever the mapping changes, until the daemon ends.
pub(super) async fn follow(core: Arc<Core>, nat: Nat) {
    let mut state = nat.state();
    let mut told = external(&state.borrow());
    while state.changed().await.is_ok() {
        let now = external(&state.borrow_and_update());
        core.tell(Event::Status);
        if now != told {
            core.leave_addresses(|ip| {
                told.iter().any(|old| old.ip() == ip) && now.iter().all(|new| new.ip() != ip)
            });
            core.report_to_all();
            told = now;
        }
    }
}

/// The external addresses that can be dialled from the Internet, as far as is known.
fn external(state: &State) -> Vec<SocketAddr> {
    let dialable = |mapping: &&Mapping| matches!(mapping.state, MappingState::Mapped | MappingState::Blocked);
    state.mappings.iter().filter(dialable).filter_map(Mapping::external).collect()
}

impl Core {
    /// What is mapped where. Nothing before the nat crate runs.
    pub(super) fn nat_state(&self) -> State {
        self.nat().map(|nat| nat.state().borrow().clone()).unwrap_or_default()
    }

    /// Ends the links that go out from an address that routers don't have any more: they are dead without a sign. The others
    /// have to prove that they live.
    fn leave_addresses(&self, gone: impl Fn(IpAddr) -> bool) {
        let Some(peers) = self.peers() else { return };
        for friend in self.roster.all() {
            let connection = peers.state(&friend.device_id).and_then(|state| state.connection);
            if connection.and_then(|connection| connection.seen_as).is_some_and(|ip| gone(ip.to_canonical()))
            {
                peers.redial(&friend.device_id, "the router has another address now");
            }
        }
        peers.network_changed();
    }

    /// Has the port mapped that is listened on, by the protocols that the settings allow.
    pub(super) fn apply_nat(&self) {
        let Some(nat) = self.nat() else { return };
        let settings = self.settings();
        let listening = self.listener().and_then(|listener| match &*listener.state().borrow() {
            ListenerState::Listening { port, .. } => NonZeroU16::new(*port),
            _ => None,
        });
        nat.allow(protocols(&settings));
        nat.want(listening.map(|port| Wanted { port, bound: settings.listener.bind }));
    }

    /// The addresses outside that routers lead to us, the best first.
    pub(super) fn mapped_addresses(&self) -> Vec<SocketAddr> {
        external(&self.nat_state())
    }

    /// The port that leads to us from outside, for an address that this computer is seen under there.
    pub(super) fn outside_port(&self, seen: Family) -> u16 {
        let advertised = self.loaded().settings().listener.advertise.first().map(|address| address.port());
        let mapped = || {
            let of_family = |address: &SocketAddr| Family::of(address.ip()) == seen;
            self.mapped_addresses().into_iter().find(of_family).map(|address| address.port())
        };
        advertised.or_else(mapped).unwrap_or_else(|| self.listen_port())
    }

    /// A friend elsewhere sees us come from that address: the router's far side must be the same.
    pub(super) fn seen_from_outside(&self, ip: IpAddr) {
        if let Some(nat) = self.nat() {
            nat.seen_from_outside(ip);
        }
    }
}
