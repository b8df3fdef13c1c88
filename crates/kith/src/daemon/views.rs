//! What the API shows, built from memory only.

use kith_control::terminal::safe;
use kith_control::view::{
    AttemptView, ControlView, FriendView, ListenerState, ListenerView, PathChangeView, StatusView, VaultView,
};
use kith_listener::ListenerState as Listening;
use kith_peer::{Attempt, CandidateKind, Connection, PeerState, Way};
use kith_wire::Side;

use super::advice::{self, Here, Out, Situation};
use super::core::{Core, lock, owner, value};
use super::db::Table;
use super::mapping::gateway_view;
use super::roster::Friend;
use crate::settings::{Accept, Network};

impl Core {
    pub(super) async fn status_view(&self) -> StatusView {
        let loaded = self.loaded();
        let settings = loaded.settings();
        let free_bytes = self.vault.free_bytes().await.ok();
        let (mut live_bytes, mut held_bytes) = (0, 0);
        for owner in self.vault.owners() {
            let usage = self.vault.usage(&owner);
            live_bytes += usage.live_bytes;
            held_bytes += usage.held_bytes;
        }
        let nat = self.nat_state();
        let mappings = self.mapping_views(&nat);
        let bound = self.bound.get();
        StatusView {
            device_id: self.us(),
            name: settings.computer_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            listener: self.listener_view(),
            control: ControlView {
                port: bound.map_or_else(|| settings.control.port.get(), |bound| bound.api_port),
                app_port: bound.map_or_else(|| settings.control.app_port.get(), |bound| bound.app_port),
            },
            mapping: self.mapping_view(&nat, &mappings),
            mappings,
            gateways: nat.gateways.iter().map(gateway_view).collect(),
            internal: self.internal_addresses(),
            public: self.public_addresses(),
            vault: VaultView {
                path: self.home.path_of(&settings.vault.path).display().to_string(),
                accept: match settings.vault.accept {
                    Accept::Off => "off",
                    Accept::Own => "own",
                    Accept::Friends => "friends",
                }
                .to_owned(),
                live_bytes,
                held_bytes,
                free_bytes,
                failure: self.vault.failure(),
                scrub: self.scrub_view(),
            },
            relay: self.relay_view(),
            hubs: self.hub_views(),
            paused_until: self.paused_until(),
            recovery_unseen: !self.recovery_was_shown().await,
            superseded: self.superseded().map(|superseded| superseded.view()),
            notices: self.notice_views(),
            jobs: self.jobs.current(),
            friends: self.friend_views(),
        }
    }

    /// The words are shown by another process, which leaves a note in the database.
    async fn recovery_was_shown(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        if !self.recovery_shown.load(Relaxed)
            && let Ok(Some(true)) = self.db.get(Table::Values, value::RECOVERY_SHOWN).await
        {
            self.recovery_shown.store(true, Relaxed);
        }
        self.recovery_shown.load(Relaxed)
    }

    pub(super) fn listener_view(&self) -> ListenerView {
        let wanted = self.loaded().settings().listener.port.get();
        let state = self.listener().map(|listener| listener.state().borrow().clone());
        let (port, state, error, addresses) = match state {
            Some(Listening::Listening { addresses, port }) => {
                let addresses = addresses.iter().map(ToString::to_string).collect();
                (port, ListenerState::Listening, None, addresses)
            }
            Some(Listening::Error { message }) => (wanted, ListenerState::Error, Some(message), Vec::new()),
            Some(Listening::Off) => (wanted, ListenerState::Off, None, Vec::new()),
            None => match lock(&self.listener_error).clone() {
                Some(message) => (wanted, ListenerState::Error, Some(message), Vec::new()),
                None => (wanted, ListenerState::Off, None, Vec::new()),
            },
        };
        ListenerView { port, state, error, addresses }
    }

    pub(super) fn friend_views(&self) -> Vec<FriendView> {
        self.roster.all().iter().map(|friend| self.friend_view(friend)).collect()
    }

    pub(super) fn friend_view(&self, friend: &Friend) -> FriendView {
        let state = self.peers().and_then(|peers| peers.state(&friend.device_id)).unwrap_or_default();
        let usage = owner(&friend.device_id).ok().map(|owner| self.vault.usage(&owner));
        let better = self.better(friend, &state);
        let connection = state.connection;
        FriendView {
            dialled: connection.as_ref().map(|connection| connection.side == Side::Dialer),
            relayed_by: connection.as_ref().and_then(|connection| self.relay_name(connection.way)),
            path_since: state.path_since.and_then(|since| since.try_into().ok()),
            round_trip_ms: state.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            last_change: state.last_change.and_then(|change| {
                Some(PathChangeView {
                    at: change.when.try_into().ok()?,
                    from: change.from.map(|path| path.as_str().to_owned()),
                    to: change.to.map(|path| path.as_str().to_owned()),
                    reason: safe(&change.reason).into_owned(),
                })
            }),
            attempts: state.attempts.iter().filter_map(attempt_view).collect(),
            better,
            name: friend.name.clone(),
            device_id: friend.device_id,
            own: friend.own,
            connected: connection.is_some(),
            path: connection.as_ref().map(|connection| connection.path().as_str().to_owned()),
            address: connection.as_ref().map(|connection| connection.remote.to_string()),
            connected_since: connection.as_ref().and_then(|connection| connection.since.try_into().ok()),
            last_seen: if connection.is_some() { Some(jiff::Timestamp::now()) } else { friend.last_seen },
            internal: friend.addresses.internal.clone(),
            public: friend.addresses.public.clone(),
            configured: friend.addresses.configured.clone(),
            last_error: if connection.is_some() { None } else { state.last_error },
            paused: friend.paused,
            quota_bytes: friend.quota_bytes,
            stored_here_bytes: usage.map_or(0, |usage| usage.live_bytes),
            held_here_bytes: usage.map_or(0, |usage| usage.held_bytes),
            offered_bytes: friend.offered_bytes,
            stored_there_bytes: friend.stored_there_bytes,
            safety_words: friend.safety_words.clone(),
            version: friend.program.clone(),
            clock_ahead_seconds: lock(&self.clocks).get(&friend.device_id).copied(),
            damaged_here: owner(&friend.device_id).map_or(0, |owner| self.vault.damaged_count(&owner)),
            damaged_there: self.damaged_there(friend),
            recovered: friend.recovered,
            trouble: friend.trouble.clone(),
            last_backup: self.jobs.last_complete(None, Some(&friend.device_id)),
            condition: friend.condition.as_ref().map(super::condition::view),
            reachability: self.reachability(&friend.device_id),
            archive: self.archive_view(friend),
        }
    }
}

impl Core {
    /// What would make the way to a friend better.
    fn better(&self, friend: &Friend, state: &PeerState) -> Option<String> {
        let loaded = self.loaded();
        let network = &loaded.settings().network;
        let name = safe(&friend.name);
        let known = &friend.addresses;
        let outside = |address: &String| {
            address.parse::<std::net::SocketAddr>().map_or(true, |a| !kith_peer::is_internal(a.ip()))
        };
        let others = [&known.configured, &known.internal, &known.invited];
        advice::better(&Situation {
            friend: &name,
            path: state.connection.as_ref().map(Connection::path),
            here: Here {
                calls_only: network.outbound_only,
                proxied: network.proxy.is_some() || !network.mapped.is_empty(),
                out: self.way_out(network),
                router: self.nat_verdict(),
                port: self.listen_port(),
            },
            calls_only_there: friend.condition.is_some_and(|condition| condition.outbound_only),
            known_outside: known.public.iter().chain(&known.configured).any(outside),
            any_address: !known.public.is_empty()
                || known.last_good.is_some()
                || others.iter().any(|list| !list.is_empty()),
            failures: state.attempts.iter().filter(was_dialled).map(|attempt| &attempt.error).collect(),
            helped: self.somebody_helps(friend),
        })
    }

    /// How far connections get from here: by the settings, or by which ports all get out that lead out at all.
    fn way_out(&self, network: &Network) -> Out {
        let allowed = &network.allowed_destinations;
        if !allowed.is_empty() {
            let all_443 = allowed.iter().all(|entry| entry.ports().as_deref() == Some("443"));
            return if all_443 { Out::Only443 } else { Out::Limited };
        }
        let Some(peers) = self.peers() else { return Out::Anywhere };
        let friends = self.roster.all().into_iter().filter_map(|friend| peers.state(&friend.device_id));
        let states = friends.chain(peers.hubs().into_iter().map(|(_, state)| state));
        by_ports(states.filter_map(|state| state.connection))
    }

    /// Whether all that gets out of this network goes to port 443, as far as is known.
    pub(super) fn only_443(&self, network: &Network) -> bool {
        matches!(self.way_out(network), Out::Only443 | Out::Perhaps443)
    }

    /// Whether another friend is linked, who may know this one, too, or a hub is set.
    pub(super) fn somebody_helps(&self, friend: &Friend) -> bool {
        let linked = |other: &Friend| {
            other.device_id != friend.device_id
                && self.peers().is_some_and(|peers| peers.link(&other.device_id).is_some())
        };
        !self.loaded().settings().network.hubs.is_empty() || self.roster.all().iter().any(linked)
    }

    /// Who passes on what is said over a link of this way.
    pub(super) fn relay_name(&self, way: Way) -> Option<String> {
        let Way::Relayed { by } = way else { return None };
        Some(self.carrier_name(&by))
    }
}

/// Perhaps only to the port of web sites, if that is where every connection leads that leaves the network.
fn by_ports(connections: impl Iterator<Item = Connection>) -> Out {
    let leads_out = |connection: &Connection| {
        connection.side == Side::Dialer && !kith_peer::is_internal(connection.remote.ip().to_canonical())
    };
    let ports: Vec<u16> = connections.filter(leads_out).map(|connection| connection.remote.port()).collect();
    if !ports.is_empty() && ports.iter().all(|port| *port == 443) { Out::Perhaps443 } else { Out::Anywhere }
}

/// Whether an address was dialled; what became of a call by the help of others says less about what is in the way.
fn was_dialled(attempt: &&Attempt) -> bool {
    !matches!(attempt.kind, CandidateKind::Punched | CandidateKind::Relayed)
}

fn attempt_view(attempt: &Attempt) -> Option<AttemptView> {
    // Where nobody helped there is nobody to name.
    let tried = match (attempt.address.as_str(), attempt.kind) {
        ("", CandidateKind::Punched) => "punching",
        ("", _) => "by the help of others",
        (address, _) => address,
    };
    Some(AttemptView {
        address: safe(tried).into_owned(),
        kind: attempt.kind.as_str().to_owned(),
        error: safe(&attempt.error.to_string()).into_owned(),
        at: attempt.when.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use kith_peer::DialError;
    use kith_wire::Class;

    use super::*;

    fn dialled(remote: &str) -> Connection {
        Connection {
            side: Side::Dialer,
            remote: remote.parse().unwrap(),
            local: "192.168.1.5:40000".parse().unwrap(),
            way: Way::Public,
            class: Class::Direct,
            dialled: Some(remote.to_owned()),
            since: SystemTime::now(),
            seen_as: None,
            capabilities: Vec::new(),
        }
    }

    #[test]
    fn where_all_that_leads_out_has_port_443_perhaps_no_other_gets_out() {
        let out = |remotes: &[&str]| by_ports(remotes.iter().map(|remote| dialled(remote)));
        assert_eq!(
            out(&["11.0.0.1:443", "192.168.1.9:4242"]),
            Out::Perhaps443,
            "what stays inside says nothing"
        );
        assert_eq!(out(&["11.0.0.1:443", "11.0.0.2:4242"]), Out::Anywhere);
        assert_eq!(out(&["192.168.1.9:443"]), Out::Anywhere);
        assert_eq!(out(&[]), Out::Anywhere);
        let came_in = Connection { side: Side::Acceptor, ..dialled("11.0.0.2:50000") };
        assert_eq!(by_ports([came_in, dialled("11.0.0.1:443")].into_iter()), Out::Perhaps443);
    }

    #[test]
    fn what_was_tried_is_named_in_words_also_where_nobody_helped() {
        let named = |address: &str, kind| {
            let attempt =
                Attempt::now(address.to_owned(), kind, DialError::Helped("nobody is there".to_owned()));
            attempt_view(&attempt).unwrap().address
        };
        assert_eq!(named("carol", CandidateKind::Relayed), "carol");
        assert_eq!(named("", CandidateKind::Relayed), "by the help of others");
        assert_eq!(named("", CandidateKind::Punched), "punching");
        assert_eq!(named("11.0.0.1:4242", CandidateKind::Public), "11.0.0.1:4242");
    }
}
