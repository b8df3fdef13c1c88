//! What the API shows, built from memory only.

use std::net::SocketAddr;

use kith_control::view::{ControlView, FriendView, ListenerState, ListenerView, StatusView, VaultView};
use kith_listener::ListenerState as Listening;
use kith_peer::{Connection, PathKind};
use kith_wire::Side;

use super::core::{Core, lock, owner, value};
use super::db::Table;
use super::mapping::gateway_view;
use super::roster::Friend;
use crate::settings::Accept;

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
            paused_until: self.paused_until(),
            recovery_unseen: !self.recovery_was_shown().await,
            superseded: self.superseded().map(|superseded| superseded.view()),
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

    fn listener_view(&self) -> ListenerView {
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
        let connection = state.connection;
        FriendView {
            name: friend.name.clone(),
            device_id: friend.device_id,
            own: friend.own,
            connected: connection.is_some(),
            path: connection.as_ref().map(|connection| path(connection, friend).to_owned()),
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
            archive: self.archive_view(friend),
        }
    }
}

/// The word of the contract for the way of a link.
fn path(connection: &Connection, friend: &Friend) -> &'static str {
    let kind = connection.path();
    if kind != PathKind::Public || !connection.remote.ip().to_canonical().is_ipv4() {
        return kind.as_str();
    }
    // Who was dialled at an address that is not his own stands behind a router that let the call through.
    let through_router = match connection.side {
        Side::Acceptor => kith_peer::is_internal(connection.local.ip()),
        Side::Dialer => {
            let own = |address: &String| {
                address
                    .parse::<SocketAddr>()
                    .is_ok_and(|own| own.ip() == connection.remote.ip().to_canonical())
            };
            !friend.addresses.internal.iter().any(own)
        }
    };
    if through_router { "mapped" } else { kind.as_str() }
}
