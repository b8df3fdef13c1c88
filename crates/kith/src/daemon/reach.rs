//! What reaching friends by the help of others needs of the daemon, and what it remembers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_control::Event;
use kith_identity::tls::Admitted;
use kith_identity::{DeviceId, DialInTag, InviteHub, MOST_INVITE_HUBS, PairKey};
use kith_listener::{Incoming, Listener, ListenerState};
use kith_peer::is_internal;
use kith_peer::reach::{
    HubMemory, HubStanding, Invited, OpenInvite, PunchPorts, PunchTable, Reach, ReachHost, ReachMemory,
    Whereabouts,
};
use kith_wire::{HubAddress, HubInvite};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, watch};
use tracing::warn;

use super::core::{Core, value};
use super::db::{Db, DbError, Table};
use super::host::DaemonHost;

/// Changes within this time are looked at together.
const SETTLE: Duration = Duration::from_millis(300);

/// Begins to reach friends by the help of others, and gives what is to be remembered.
pub(super) async fn start(
    core: &Arc<Core>,
    host: Arc<DaemonHost>,
) -> Result<(Option<Reach>, watch::Receiver<ReachMemory>), DbError> {
    let memory: ReachMemory = core.db.get(Table::Values, value::REACH).await?.unwrap_or_default();
    // The number of the own record counts, whatever else it was.
    core.reach_memory.send_replace(memory.clone());
    let mut remembered = core.reach_memory.subscribe();
    remembered.mark_unchanged();
    let reach = core.peers().map(|peers| {
        let (identity, outbound) = (core.identity.clone(), core.outbound.clone());
        Reach::start(host, memory, identity, outbound, (peers, &core.network))
    });
    Ok((reach, remembered))
}

/// Writes down what is to be remembered, until the daemon ends.
pub(super) async fn keep(db: Db, mut remembered: watch::Receiver<ReachMemory>) {
    while remembered.changed().await.is_ok() {
        save(&db, &mut remembered).await;
        tokio::time::sleep(SETTLE).await;
    }
}

/// Writes what is to be remembered now.
pub(super) async fn save(db: &Db, remembered: &mut watch::Receiver<ReachMemory>) {
    let memory = remembered.borrow_and_update().clone();
    if let Err(error) = db.put(Table::Values, value::REACH, &memory).await {
        warn!(%error, "what is known of reaching friends was not saved");
    }
}

/// Has friends and addresses looked at whenever they may have changed, until the daemon ends.
pub(super) async fn follow(core: Arc<Core>, reach: Reach) {
    let mut events = core.events.subscribe();
    loop {
        match events.recv().await {
            Ok(Event::Status | Event::Friend { .. } | Event::Friends)
            | Err(broadcast::error::RecvError::Lagged(_)) => {
                reach.changed();
                tokio::time::sleep(SETTLE).await;
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// The listener, as punching needs it.
struct Gate(Listener);

impl PunchTable for Gate {
    fn await_punch(
        &self,
        from: SocketAddr,
        to: mpsc::Sender<(TcpStream, SocketAddr)>,
    ) -> Option<Box<dyn Send + Sync>> {
        match self.0.await_punch(from, to) {
            Ok(guard) => Some(Box::new(guard)),
            Err(error) => {
                warn!(%error, "a friend's half of a punch is not waited for");
                None
            }
        }
    }
}

impl ReachHost for DaemonHost {
    fn pairs(&self) -> Vec<(DeviceId, PairKey)> {
        let Some(core) = self.0.upgrade() else { return Vec::new() };
        let friends = core.roster.all();
        friends
            .iter()
            .filter_map(|friend| Some((friend.device_id, core.pair_key(&friend.device_id)?)))
            .collect()
    }

    fn whereabouts(&self) -> Whereabouts {
        let Some(core) = self.0.upgrade() else { return Whereabouts::default() };
        let outbound_only = core.loaded().settings().network.outbound_only;
        if outbound_only {
            return Whereabouts { hubs: core.hub_lines(), outbound_only, ..Whereabouts::default() };
        }
        let public = core.public_addresses();
        let wan = core.router_addresses().into_iter().filter(|address| !public.contains(address)).collect();
        Whereabouts {
            internal: core.internal_addresses().into_iter().filter(|address| !is_loopback(address)).collect(),
            public,
            wan,
            hubs: core.hub_lines(),
            outbound_only,
        }
    }

    fn punch_ports(&self) -> PunchPorts {
        let Some(core) = self.0.upgrade() else { return PunchPorts::default() };
        let loaded = core.loaded();
        let network = &loaded.settings().network;
        // Others would see the proxy's ports.
        if network.outbound_only || network.proxy.is_some() {
            return PunchPorts::default();
        }
        let listening = core.listener().and_then(|listener| match &*listener.state().borrow() {
            ListenerState::Listening { addresses, .. } => Some(addresses.clone()),
            _ => None,
        });
        PunchPorts {
            listen: listening.map(|bound| one_of_each_family(&bound)).unwrap_or_default(),
            ranges: network.punch_port_ranges.iter().map(|range| range.first()..=range.last()).collect(),
        }
    }

    fn punch_table(&self) -> Option<Arc<dyn PunchTable>> {
        Some(Arc::new(Gate(self.0.upgrade()?.listener()?)))
    }

    fn sought(&self, friend: &DeviceId, sought: kith_peer::reach::Sought) {
        if let Some(core) = self.0.upgrade() {
            core.note_sought(friend, sought);
        }
    }

    fn recognises(&self, tag: &DialInTag) -> bool {
        self.0
            .upgrade()
            .is_some_and(|core| first_use(core.listener().as_ref(), tag, |tag| core.recognises(tag)))
    }

    fn open_invites(&self) -> Vec<OpenInvite> {
        let Some(core) = self.0.upgrade() else { return Vec::new() };
        let open = core.invites.open_at_hubs().into_iter();
        let open = open.map(|(ends, one_time, invite)| OpenInvite {
            one_time,
            pair: PairKey::of_invite(invite.secret()),
            ends: u64::try_from(ends).unwrap_or_default(),
        });
        open.collect()
    }

    fn invited(&self, arrived: Invited) {
        let Some(core) = self.0.upgrade() else { return };
        let Invited { one_time, stream, remote, local } = arrived;
        let admitted = Admitted::Invite(one_time);
        if core.incoming.try_send(Incoming { admitted, stream, remote, local }).is_err() {
            warn!("a pairing was dropped: too many are under way, or too many by the same invite");
        }
    }

    fn hubs(&self) -> Vec<HubInvite> {
        let Some(core) = self.0.upgrade() else { return Vec::new() };
        let loaded = core.loaded();
        let hubs = loaded.settings().network.hubs.iter().map(|hub| HubInvite {
            hub: HubAddress { id: hub.device_id(), at: hub.address().to_string() },
            token: hub.token().cloned(),
        });
        hubs.collect()
    }

    fn called(&self, carrier: &DeviceId) -> String {
        self.0.upgrade().map_or_else(|| carrier.short(), |core| core.carrier_name(carrier))
    }

    fn hubs_changed(&self, hubs: Vec<HubStanding>) {
        if let Some(core) = self.0.upgrade() {
            core.take_hubs(hubs);
        }
    }

    fn remember(&self, memory: ReachMemory) {
        if let Some(core) = self.0.upgrade() {
            core.reach_memory.send_replace(memory);
        }
    }
}

impl Core {
    /// The hubs at which whoever holds an invite of ours meets us.
    pub(super) fn hubs_for_invites(&self) -> Vec<InviteHub> {
        let hubs = self.hub_lines().into_iter().filter_map(|line| line.parse::<HubAddress>().ok());
        let hubs = hubs.map(|hub| InviteHub { id: hub.id, address: hub.at });
        hubs.take(MOST_INVITE_HUBS).collect()
    }

    /// The hubs by which friends find this computer: those that were assigned, or else those that were chosen, where they are now.
    fn hub_lines(&self) -> Vec<String> {
        let HubMemory { assigned, moves } = self.reach_memory.borrow().hubs.clone();
        let loaded = self.loaded();
        let chosen = &loaded.settings().network.hubs;
        let used: Vec<HubAddress> = if chosen.is_empty() || assigned.is_empty() {
            chosen
                .iter()
                .map(|hub| HubAddress { id: hub.device_id(), at: hub.address().to_string() })
                .collect()
        } else {
            assigned
        };
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let moved = |hub: HubAddress| {
            let to = moves.get(&hub.id).filter(|moves| moves.at <= now).and_then(|moves| moves.to.first());
            to.map_or_else(|| hub.clone(), |to| HubAddress { id: hub.id, at: to.clone() })
        };
        used.into_iter().map(moved).map(|hub| hub.to_string()).collect()
    }

    /// What routers have mapped at addresses of theirs that are not public: who is in the same network behind them gets there.
    fn router_addresses(&self) -> Vec<String> {
        let state = self.nat_state();
        let external = state.mappings.iter().filter_map(kith_nat::Mapping::external);
        external.filter(|address| !is_public(address.ip())).map(|address| address.to_string()).collect()
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// Whether an address of a router is one of the Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 (RFC 6598) is the carriers'.
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !is_shared && !ip.is_unspecified() && !is_internal(ip.into())
        }
        IpAddr::V6(_) => true,
    }
}

/// Whether a tag is recognised, and was not used before. Where nothing listens there is no door that it could be brought to as well.
fn first_use(
    listener: Option<&Listener>,
    tag: &DialInTag,
    recognises: impl FnOnce(&DialInTag) -> bool,
) -> bool {
    listener.map_or_else(|| recognises(tag), |listener| listener.recognises(tag))
}

/// Packets of a family leave from one address.
fn one_of_each_family(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = |v4: bool| bound.iter().find(|address| address.is_ipv4() == v4).copied();
    [first(true), first(false)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use kith_identity::{Identity, IdentitySeed, tls};
    use kith_listener::{Callers, Faces, ListenerConfig};

    use super::*;

    #[test]
    fn the_addresses_of_routers_that_are_not_public_are_told_apart() {
        for (ip, public) in [
            ("11.0.0.1", true),
            ("100.63.0.1", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.1", true),
            ("10.0.0.1", false),
            ("192.168.1.1", false),
            ("0.0.0.0", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }

    struct Nobody;

    impl tls::Admission for Nobody {
        fn friend(&self, _id: &DeviceId) -> bool {
            false
        }

        fn invite(&self, _one_time_id: &DeviceId) -> bool {
            false
        }
    }

    struct Everybody;

    impl Callers for Everybody {
        fn recognises(&self, _tag: &DialInTag) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_tag_that_a_relay_has_seen_is_used_up_at_the_port() {
        let identity = Identity::from_seed(&IdentitySeed::from_bytes([1; 32])).unwrap();
        let faces = Faces {
            known: tls::server_config(&identity, Arc::new(Nobody)),
            unknown: tls::throwaway_server_config(0).unwrap(),
            callers: Arc::new(Everybody),
            legs: None,
        };
        let at = ListenerConfig { port: 0, bind: vec![[127, 0, 0, 1].into()], ..ListenerConfig::default() };
        let listener = Listener::start(&at, faces, mpsc::channel(1).0).unwrap();
        let tag = DialInTag::made_up();
        let by_relay = |listener| first_use(listener, &tag, |_tag| true);
        assert!(by_relay(Some(&listener)));
        assert!(!listener.recognises(&tag), "whoever brings it to the port is a stranger");
        assert!(!by_relay(Some(&listener)), "and by another relay, too");
        assert!(by_relay(None), "where nothing listens, it can be brought nowhere");
    }

    #[test]
    fn one_address_of_each_family_is_punched_from() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let bound = [at("10.0.0.1:4242"), at("10.0.1.1:4242"), at("[::]:4242")];
        assert_eq!(one_of_each_family(&bound), [bound[0], bound[2]]);
        assert_eq!(one_of_each_family(&[]), []);
    }
}
