//! What this computer does for its friends so that they find and reach each other: keeps their records, hands over their messages, joins
//! their connections.

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use kith_control::view::{PortState, PortView, RelayView, RelayedView};
use kith_hub::{Courier, RelayRules, Rendezvous, Rules};
use kith_identity::DeviceId;
use kith_listener::Leg;
use kith_peer::{Caller, Standing};
use kith_wire::{
    Body, DIAL_BACK_CAPABILITY, Post, RELAY_CAPABILITY, RENDEZVOUS_CAPABILITY, RENDEZVOUS_LIMIT, Refused,
    collect, json_body, paths,
};
use tokio::sync::mpsc;
use tracing::warn;

use super::core::{Core, value};
use super::db::Table;
use super::host::plain;
use crate::settings::Settings;

/// Longest time for a friend to take a message. It is worth nothing later.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How often it is written down what was relayed today, if that has changed.
const NOTE: Duration = Duration::from_secs(60);
/// How often, in seconds, if only the day has gone on.
const NOTE_TIME: u64 = 60 * 60;
/// How often it is looked who is linked, whatever was heard of it meanwhile.
const LOOK: Duration = Duration::from_secs(5 * 60);

/// What the settings allow.
pub(super) fn rules(settings: &Settings) -> Rules {
    let network = &settings.network;
    // Without the port nobody can come to be joined.
    let relays = network.relay && !network.outbound_only;
    let relay = relays.then(|| RelayRules {
        bytes_per_second: NonZeroU64::new(network.relay_rate.bytes()),
        user_bytes_per_day: NonZeroU64::new(network.relay_daily.bytes()),
        ..RelayRules::of_friend()
    });
    Rules { relay, ..Rules::of_friend() }
}

/// Gets to friends by their links.
pub(super) struct ByLink(pub(super) Weak<Core>);

impl Courier for ByLink {
    fn carry(&self, to: &DeviceId, post: Post) -> BoxFuture<'static, bool> {
        let link = self.0.upgrade().and_then(|core| core.peers()?.link(to));
        Box::pin(async move {
            let request = json_body(&post).ok().and_then(|body| Request::post(paths::POSTED).body(body).ok());
            let (Some(link), Some(request)) = (link, request) else { return false };
            let taken = async {
                let answer = link.request(request).await.ok()?;
                let status = answer.status();
                // Read, so that the stream ends by itself.
                collect(answer.into_body(), RENDEZVOUS_LIMIT).await.ok()?;
                Some(status.is_success())
            };
            matches!(tokio::time::timeout(HAND_OVER, taken).await, Ok(Some(true)))
        })
    }
}

/// Takes the connections that are to be joined, until the listener ends.
pub(super) async fn join(core: Arc<Core>, mut legs: mpsc::Receiver<Leg>) {
    while let Some(Leg { tag, stream, .. }) = legs.recv().await {
        core.carrier.take_leg(&tag, stream);
    }
}

/// Notes what was relayed today, so that a restart brings nobody a new volume.
pub(super) async fn note(core: Arc<Core>) {
    let mut noted = core.carrier.counted();
    loop {
        tokio::time::sleep(NOTE).await;
        let counted = core.carrier.counted();
        let goes_on = !counted.bytes.is_empty() && counted.seconds.abs_diff(noted.seconds) >= NOTE_TIME;
        if counted.bytes != noted.bytes || goes_on {
            save(&core).await;
            noted = counted;
        }
    }
}

/// Writes down what was relayed today.
pub(super) async fn save(core: &Core) {
    if let Err(error) = core.db.put(Table::Values, value::RELAYED, &core.carrier.counted()).await {
        warn!(%error, "what was relayed today was not written down");
    }
}

/// Sees to it that the carrier knows who is linked. It is told at once of each link; this is for whatever was told out of turn.
pub(super) async fn keep(core: Arc<Core>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for friend in core.roster.all() {
            core.note_presence(&friend.device_id);
        }
    }
}

impl Core {
    /// What we tell friends we can do, beside what is in every Kith.
    pub(super) fn capabilities(&self) -> Vec<String> {
        let loaded = self.loaded();
        let network = &loaded.settings().network;
        let mut can = vec![DIAL_BACK_CAPABILITY];
        if !network.outbound_only {
            can.push(RENDEZVOUS_CAPABILITY);
            if network.relay {
                can.push(RELAY_CAPABILITY);
            }
        }
        can.into_iter().map(str::to_owned).collect()
    }

    /// Puts other settings in force, for what is joined already too.
    pub(super) fn apply_carrier(&self) {
        self.carrier.set_rules(rules(self.loaded().settings()));
    }

    /// Tells the carrier whether there is a link to a friend.
    pub(super) fn note_presence(&self, friend: &DeviceId) {
        let is_linked = self.peers().is_some_and(|peers| peers.link(friend).is_some());
        if is_linked && self.roster.contains(friend) {
            self.carrier.connected(*friend, None);
        } else {
            self.carrier.disconnected(friend);
        }
    }

    /// Answers what a friend asks of his carrier.
    pub(super) async fn serve_carried(&self, caller: &Caller, request: Request<Body>) -> Response<Body> {
        // Who is no link may be an old copy of the friend, or a thief of his 24 words.
        if !matches!(caller.standing, Standing::Link | Standing::LinkIfNone) {
            let reason =
                "this computer carries nothing for a connection that is not the friend's link".to_owned();
            let mut answer = json_body(&Refused { reason }).map_or_else(
                |error| plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                Response::new,
            );
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return answer;
        }
        self.carrier.serve(caller.friend, request).await
    }

    /// What is relayed, for the API.
    pub(super) fn relay_view(&self) -> RelayView {
        let status = self.carrier.status();
        let rules = status.relay.rules.as_ref();
        let friends = self.carrier.relayed_for().into_iter().filter_map(|relayed| {
            Some(RelayedView {
                name: self.roster.get(&relayed.who)?.name,
                device_id: relayed.who,
                sessions: relayed.sessions,
                bytes_today: relayed.bytes_today,
            })
        });
        RelayView {
            allowed: rules.is_some(),
            rate: rules.and_then(|rules| rules.bytes_per_second).map(NonZeroU64::get),
            daily: rules.and_then(|rules| rules.user_bytes_per_day).map(NonZeroU64::get),
            sessions: status.relay.sessions,
            friends: friends.collect(),
        }
    }

    /// The relayed connections, for the table of ports.
    pub(super) fn relayed_ports(&self) -> Vec<PortView> {
        let name = |who: &DeviceId| self.roster.get(who).map(|friend| friend.name);
        let port = |leg: kith_hub::JoinedLeg| PortView {
            local: leg.local.to_string(),
            protocol: "tcp".into(),
            direction: "in".into(),
            remote: Some(leg.remote.to_string()),
            friend: name(&leg.who),
            purpose: match name(&leg.with) {
                Some(other) => format!("relayed to {other}, unread"),
                None => "relayed to another friend, unread".into(),
            },
            external: None,
            state: PortState::Connected,
        };
        self.carrier.joined().into_iter().map(port).collect()
    }
}

/// Whether a path is the carrier's.
pub(super) fn serves(path: &str) -> bool {
    Rendezvous::serves(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_become_the_bounds_of_what_is_relayed_for_friends() {
        let relays = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            rules(&settings).relay
        };
        let limits =
            |rules: Option<RelayRules>| rules.map(|rules| (rules.bytes_per_second, rules.user_bytes_per_day));
        assert_eq!(limits(relays(|_| {})), Some((None, NonZeroU64::new(10_000_000_000))));
        let limited = relays(|settings| {
            settings.network.relay_rate = crate::settings::ByteSize::from_bytes(500_000);
            settings.network.relay_daily = crate::settings::ByteSize::from_bytes(0);
        });
        assert_eq!(limits(limited), Some((NonZeroU64::new(500_000), None)));
        assert_eq!(relays(|settings| settings.network.relay = false), None);
        // Nobody can come to be joined.
        assert_eq!(relays(|settings| settings.network.outbound_only = true), None);
    }
}
