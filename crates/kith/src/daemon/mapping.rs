//! The mapping on the router: wanted as the listener stands, told to friends, kept in mind.

mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_control::Event;
use kith_listener::ListenerState;
use kith_nat::{Family, Mapping, MappingState, Memory, Nat, NatConfig, Protocols, Remembered, State, Wanted};
use kith_peer::{Connection, PathKind};
use kith_wire::Side;
use tokio::sync::watch;
use tracing::warn;

use super::core::{Core, value};
use super::db::{Db, DbError, Table};
use crate::settings::Settings;

pub(super) use self::view::gateway_view;

/// How often it is repeated under which address friends see us: what the router says of itself may come later than they do.
const SIGHTINGS: Duration = Duration::from_secs(30);

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
    let mut far_sides = FarSides::default();
    let mut sightings = tokio::time::interval(SIGHTINGS);
    loop {
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            _ = sightings.tick() => {
                core.repeat_sightings();
                continue;
            }
        }
        let state = state.borrow_and_update().clone();
        core.tell(Event::Status);
        core.repeat_sightings();
        let gone = far_sides.replaced(&state.mappings);
        if !gone.is_empty() {
            core.leave_addresses(&gone);
        }
        let now = external(&state);
        if now != told {
            core.report_to_all();
            told = now;
        }
    }
}

/// Whether the other end of a connection sees from where this computer comes: who dialled us tells only what he dialled, which
/// may be somebody who forwards to us.
pub(super) fn tells_of_us(connection: &Connection) -> bool {
    let is_outside = matches!(connection.path(), PathKind::Public | PathKind::Mapped | PathKind::Punched);
    connection.side == Side::Dialer && is_outside
}

/// The router's IPv4 address on the far side of each of our addresses, as it was known last. A mapping that is lost for a while
/// says nothing about it.
#[derive(Debug, Default)]
struct FarSides(BTreeMap<IpAddr, IpAddr>);

impl FarSides {
    /// Notes the addresses of now; gives those that others took the place of.
    fn replaced(&mut self, mappings: &[Mapping]) -> Vec<IpAddr> {
        let known = mappings.iter().filter(|mapping| mapping.family() == Family::V4);
        let known = known.filter_map(|mapping| Some((mapping.uplink.local, mapping.external_ip?)));
        known
            .filter_map(|(local, external)| {
                self.0.insert(local, external).filter(|before| *before != external)
            })
            .collect()
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

    /// The verdict about the routers, without the rest.
    pub(super) fn nat_verdict(&self) -> MappingState {
        self.nat().map(|nat| nat.state().borrow().verdict).unwrap_or_default()
    }

    /// Ends the links that go out from an address that routers don't have any more: they are dead without a sign. The others
    /// have to prove that they live.
    fn leave_addresses(&self, gone: &[IpAddr]) {
        let Some(peers) = self.peers() else { return };
        for friend in self.roster.all() {
            let connection = peers.state(&friend.device_id).and_then(|state| state.connection);
            let seen_as = connection.and_then(|connection| connection.seen_as);
            if seen_as.is_some_and(|ip| gone.contains(&ip.to_canonical())) {
                peers.redial(&friend.device_id, "the router has another address now");
            }
        }
        peers.network_changed();
    }

    /// Has the port mapped that is listened on, by the protocols that the settings allow.
    pub(super) fn apply_nat(&self) {
        let Some(nat) = self.nat() else { return };
        let settings = self.settings();
        nat.allow(protocols(&settings));
        if settings.network.outbound_only {
            // Not a word to a router, which hears UDP only; but for the one that takes back what it maps.
            nat.rest();
            return;
        }
        let state = self.listener().map(|listener| listener.state().borrow().clone());
        match state {
            Some(ListenerState::Listening { addresses, port }) => {
                let bound = addresses.iter().map(SocketAddr::ip).collect();
                nat.want(NonZeroU16::new(port).map(|port| Wanted { port, bound }));
            }
            // It is open all the same, and takes nobody in for a moment: no reason to give up the way to it.
            Some(ListenerState::Error { .. }) => {}
            Some(ListenerState::Off) | None => nat.want(None),
        }
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

    /// What the friends at living links see of us, once more.
    fn repeat_sightings(&self) {
        let Some(peers) = self.peers() else { return };
        let mut newest: BTreeMap<(IpAddr, IpAddr), Instant> = BTreeMap::new();
        for friend in self.roster.all() {
            let connection = peers.state(&friend.device_id).and_then(|state| state.connection);
            let (Some(connection), Some(link)) = (connection, peers.link(&friend.device_id)) else {
                continue;
            };
            let heard = Instant::now().checked_sub(link.silent_for());
            if let (Some(heard), Some(ip)) = (heard, connection.seen_as.filter(|_| tells_of_us(&connection)))
            {
                let known = newest.entry((ip, connection.local.ip())).or_insert(heard);
                *known = heard.max(*known);
            }
        }
        for ((ip, local), heard) in newest {
            self.seen_from_outside(ip, local, heard);
        }
    }

    /// A friend elsewhere, whom we dialled from `local`, sees us come from that address, or did when his link was last heard: the
    /// far side of the router there must be the same.
    pub(super) fn seen_from_outside(&self, ip: IpAddr, local: IpAddr, heard_at: Instant) {
        if let Some(nat) = self.nat() {
            nat.seen_from_outside(ip, local, heard_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use kith_nat::{Proof, Protocol, Uplink};

    use super::*;

    fn mapping(local: [u8; 4], external: Option<[u8; 4]>) -> Mapping {
        let uplink = Uplink {
            index: 2,
            interface: "eth0".into(),
            gateway: [192, 168, 1, 1].into(),
            local: local.into(),
        };
        Mapping {
            internal: SocketAddr::new(uplink.local, 4242),
            uplink,
            protocol: Some(Protocol::Upnp),
            external_port: 4242,
            external_ip: external.map(IpAddr::from),
            lease: None,
            expires: None,
            state: MappingState::Mapped,
            proof: Proof::NotYet,
        }
    }

    #[test]
    fn only_an_address_that_another_took_the_place_of_is_left() {
        let (home, office) = ([192, 168, 1, 23], [10, 0, 0, 5]);
        let (first, second) = ([11, 0, 113, 5], [11, 0, 113, 6]);
        let mut far_sides = FarSides::default();
        let mut check = |mappings: &[Mapping], expected: &[[u8; 4]]| {
            let expected: Vec<IpAddr> = expected.iter().map(|ip| IpAddr::from(*ip)).collect();
            assert_eq!(far_sides.replaced(mappings), expected);
        };
        check(&[mapping(home, Some(first))], &[]);
        // The router forgot the mapping, made it again, and did not say its address for a while.
        check(&[], &[]);
        check(&[mapping(home, None)], &[]);
        check(&[mapping(home, Some(first))], &[]);
        check(&[mapping(home, Some(second)), mapping(office, Some(first))], &[first]);
    }
}
