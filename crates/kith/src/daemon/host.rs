//! What friends ask of this computer and what their links tell: the glue between listener, peers and vault.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kith_control::Event;
use kith_identity::tls::{self, Admission, Admitted};
use kith_identity::{DeviceId, DialInKey, DialInTag, PairKey};
use kith_listener::{Callers, Incoming};
use kith_peer::{Caller, Connection, Host, PathChange, PathKind, Standing};
use kith_wire::{Body, Hello, Report, ServeFuture, boxed, bytes_body, collect, empty_body, paths};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::core::{Core, lock, owner};
use super::installation::{incarnation, reads_only, state_refusal};
use super::near::Asked;
use super::pairing::Judge;

/// Largest state object taken from a friend.
const MOST_STATE_BYTES: usize = 1024 * 1024;
/// Pairings that are under way at once.
const MOST_PAIRINGS: usize = 16;
/// Of these by the same invite.
const MOST_OF_ONE_INVITE: usize = 2;
/// Connections for meetings with computers nearby at once: more than meetings, so that who asks too much is told so.
const MOST_MEETINGS: usize = 8;
/// Of these from one address.
const MOST_MEETINGS_OF_ONE: usize = 2;
/// Between two reports of one friend that are noted.
const BETWEEN_REPORTS: std::time::Duration = std::time::Duration::from_millis(500);

/// Who may come in.
pub(super) struct Door(pub(super) Weak<Core>);

impl Callers for Door {
    fn recognises(&self, tag: &DialInTag) -> bool {
        self.0.upgrade().is_some_and(|core| core.recognises(tag))
    }

    fn leg(&self, tag: &DialInTag) -> bool {
        self.0.upgrade().is_some_and(|core| core.carrier.awaits_leg(tag))
    }
}

impl Admission for Door {
    fn friend(&self, id: &DeviceId) -> bool {
        self.0.upgrade().is_some_and(|core| core.roster.contains(id))
    }

    fn invite(&self, one_time_id: &DeviceId) -> bool {
        self.0
            .upgrade()
            .is_some_and(|core| core.invites.admits(one_time_id) || core.admits_nearby(one_time_id))
    }
}

/// Hands what the listener authenticated to where it belongs, until the listener ends.
pub(super) async fn receive(core: Arc<Core>, mut incoming: mpsc::Receiver<Incoming>) {
    let mut pairings = JoinSet::new();
    let mut under_way = UnderWay::new(MOST_PAIRINGS, MOST_OF_ONE_INVITE);
    let mut meetings = UnderWay::new(MOST_MEETINGS, MOST_MEETINGS_OF_ONE);
    while let Some(Incoming { admitted, stream, remote, local, .. }) = incoming.recv().await {
        while pairings.try_join_next().is_some() {}
        match admitted {
            Admitted::Friend(friend) => {
                core.note_inbound(remote);
                if let Some(peers) = core.peers() {
                    kith_peer::widen(stream.get_ref().0);
                    peers.accept(&friend, Box::new(stream), remote, local);
                }
            }
            Admitted::Invite(one_time) if core.admits_nearby(&one_time) => {
                let Ok(exporter) = tls::exporter(stream.get_ref().1) else { continue };
                let Some(place) = meetings.begin(remote.ip()) else {
                    warn!(
                        "a meeting was dropped: too many are under way, or too many with the same computer"
                    );
                    continue;
                };
                let asked = Asked::new(core.clone());
                pairings.spawn(async move {
                    kith_peer::meet::serve(stream, exporter, asked).await;
                    drop(place);
                });
            }
            Admitted::Invite(one_time) => match tls::exporter(stream.get_ref().1) {
                Ok(exporter) => {
                    let Some(place) = under_way.begin(one_time) else {
                        warn!(
                            "a pairing was dropped: too many are under way, or too many by the same invite"
                        );
                        continue;
                    };
                    let judge = Arc::new(Judge(core.clone()));
                    pairings.spawn(async move {
                        kith_peer::join::serve(stream, exporter, one_time, judge).await;
                        drop(place);
                    });
                }
                Err(error) => debug!(%error, "a pairing had no finished handshake"),
            },
        }
    }
}

/// The pairings that are under way, by the key of their invite, or by the address of whoever asks: one can't keep out all others.
struct UnderWay<K> {
    places: BTreeMap<K, Arc<()>>,
    most: usize,
    most_of_one: usize,
}

impl<K: Ord> UnderWay<K> {
    const fn new(most: usize, most_of_one: usize) -> Self {
        Self { places: BTreeMap::new(), most, most_of_one }
    }

    /// A place for one more, which is given back when it is dropped.
    fn begin(&mut self, key: K) -> Option<Arc<()>> {
        self.places.retain(|_, places| Arc::strong_count(places) > 1);
        let taken: usize = self.places.values().map(|places| Arc::strong_count(places) - 1).sum();
        if taken >= self.most {
            return None;
        }
        let places = self.places.entry(key).or_default();
        (Arc::strong_count(places) <= self.most_of_one).then(|| places.clone())
    }
}

/// What the peers need of the daemon. Holds the core weakly: the core owns the peers.
pub(super) struct DaemonHost(pub(super) Weak<Core>);

impl Host for DaemonHost {
    fn hello(&self, to: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        match self.0.upgrade() {
            Some(core) => core.hello_to(to, seen_from),
            // Only while the program ends: the link is about to be closed.
            None => Hello {
                wire: kith_wire::VersionRange::OURS,
                program: super::core::PROGRAM.to_owned(),
                installation: kith_identity::InstallationId::from_bytes([0; 16]),
                incarnation: 0,
                since: 0,
                proof: String::new(),
                run: None,
                class: None,
                capabilities: Vec::new(),
                you_are: String::new(),
                time: 0,
                report: Report::default(),
            },
        }
    }

    fn dial_in_keys(&self, friend: &DeviceId) -> Vec<DialInKey> {
        self.0.upgrade().map(|core| core.dial_in_keys(friend)).unwrap_or_default()
    }

    fn pair_key(&self, friend: &DeviceId) -> Option<PairKey> {
        self.0.upgrade()?.pair_key(friend)
    }

    fn standing(&self, friend: &DeviceId, hello: &Hello) -> Standing {
        self.0.upgrade().map_or(Standing::Guest, |core| core.standing(friend, hello))
    }

    fn twin(&self, friend: &DeviceId) {
        if let Some(core) = self.0.upgrade() {
            core.note_twin(friend);
        }
    }

    fn linked(&self, friend: &DeviceId, hello: &Hello, connection: &Connection) {
        let Some(core) = self.0.upgrade() else { return };
        core.note_presence(friend);
        let (friend, hello, connection) = (*friend, hello.clone(), connection.clone());
        tokio::spawn(async move {
            core.note_link(&friend, &hello, &connection).await;
            core.hand_dial_in(&friend).await;
        });
    }

    fn seen_by_hub(&self, hub: &DeviceId, seen_as: IpAddr) {
        if let Some(core) = self.0.upgrade() {
            core.note_seen_by_hub(hub, seen_as);
        }
    }

    fn unlinked(&self, friend: &DeviceId, reason: &str) {
        let Some(core) = self.0.upgrade() else { return };
        if let Some(nat) = core.nat() {
            nat.doubt(reason);
        }
        core.note_presence(friend);
        core.near.look();
        let friend = *friend;
        tokio::spawn(async move {
            let seen = core.roster.change(&friend, |friend| friend.last_seen = Some(Timestamp::now())).await;
            if let Err(error) = seen {
                warn!(%error, "the time of a friend's last link was not saved");
            }
        });
    }

    fn reported(&self, friend: &DeviceId, report: Report) {
        let Some(core) = self.0.upgrade() else { return };
        let friend = *friend;
        // Each one is written to the disk: a flood of them comes down to the newest, now and then.
        if lock(&core.reports).insert(friend, Some(report)).is_some() {
            return;
        }
        tokio::spawn(async move {
            loop {
                let next = {
                    let mut reports = lock(&core.reports);
                    let next = reports.get_mut(&friend).and_then(Option::take);
                    if next.is_none() {
                        reports.remove(&friend);
                    }
                    next
                };
                let Some(report) = next else { return };
                let connection = core.peers().and_then(|peers| peers.state(&friend)?.connection);
                core.note_report(&friend, &report, connection.as_ref()).await;
                tokio::time::sleep(BETWEEN_REPORTS).await;
            }
        });
    }

    fn changed(&self, friend: &DeviceId) {
        if let Some(core) = self.0.upgrade() {
            core.tell(Event::Friend { device_id: *friend });
        }
    }

    fn path_changed(&self, friend: &DeviceId, change: &PathChange) {
        if let Some(core) = self.0.upgrade() {
            let word = |path: Option<PathKind>| path.map(|path| path.as_str().to_owned());
            core.tell(Event::FriendPath {
                device_id: *friend,
                from: word(change.from),
                to: word(change.to),
                reason: change.reason.clone(),
            });
        }
    }

    fn is_outside(&self, ip: IpAddr) -> bool {
        self.0.upgrade().is_some_and(|core| core.is_outside(ip))
    }

    fn serve(&self, caller: Caller, request: Request<Body>) -> ServeFuture {
        let Some(core) = self.0.upgrade() else {
            return Box::pin(std::future::ready(plain(StatusCode::SERVICE_UNAVAILABLE, "the program ends")));
        };
        Box::pin(async move { core.serve_friend(caller, request).await })
    }
}

impl Core {
    /// A friend's link came up.
    async fn note_link(self: &Arc<Self>, friend: &DeviceId, hello: &Hello, connection: &Connection) {
        self.take_writer(friend, hello).await;
        lock(&self.clocks).insert(*friend, hello.time.saturating_sub(Timestamp::now().as_second()));
        if let Some(seen_as) = connection.seen_as {
            if super::mapping::tells_of_us(connection) {
                self.seen_from_outside(seen_as, connection.local.ip(), Instant::now());
            }
            if self.note_observed(seen_as) {
                self.save_observed().await;
                self.tell(Event::Status);
                self.report_to_all();
            }
        }
        let changed = self.roster.change(friend, |friend| {
            friend.last_seen = Some(Timestamp::now());
            friend.program = Some(kith_control::terminal::safe(&hello.program).into_owned());
            friend.installation = Some(hello.installation);
            friend.incarnation = friend.incarnation.max(hello.incarnation);
            if let Some(dialled) = &connection.dialled {
                friend.addresses.last_good = Some(dialled.clone());
            }
        });
        if let Err(error) = changed.await {
            warn!(%error, "what a friend said was not saved");
        }
        self.note_report(friend, &hello.report, Some(connection)).await;
        self.note_kept_state(friend, hello.report.state_sequence).await;
    }

    /// A friend told of himself, over this connection if it is still there.
    async fn note_report(&self, friend: &DeviceId, report: &Report, connection: Option<&Connection>) {
        let remote = connection.and_then(Connection::friend_ip).map(|ip| ip.to_canonical());
        // Whose link is gone was looked at before.
        let beside_us = connection.is_none() || remote.is_some_and(|ip| ip.is_loopback());
        if let Some(newest) = &report.newest {
            self.note_newest(friend, newest);
        }
        if let Some(slept) = report.condition.and_then(|condition| condition.slept) {
            self.history_slept(friend, slept);
        }
        // Sets name their destinations: the name in a set stays with the friend whom the person meant.
        let sets = self.settings().sets;
        let in_a_set =
            |name: &str| sets.iter().any(|set| set.friends().any(|to| to.eq_ignore_ascii_case(name)));
        let changed = self.roster.change(friend, |friend| {
            if !friend.named_here && !report.name.is_empty() && !in_a_set(&friend.name) {
                friend.name = report.name.clone();
            }
            friend.addresses.internal = worth_dialling(&report.internal, beside_us);
            friend.addresses.public = worth_dialling(&report.public, beside_us);
            if let (Some(ip), Some(port)) = (remote, report.public_port)
                && !kith_peer::is_internal(ip)
            {
                let seen = std::net::SocketAddr::new(ip, port).to_string();
                if !friend.addresses.public.contains(&seen) {
                    friend.addresses.public.insert(0, seen);
                }
            }
            friend.offered_bytes = report.offered_bytes;
            friend.stored_there_bytes = Some(report.stored_bytes);
            friend.damaged = report.damaged;
            friend.condition = report.condition;
            friend.trouble = report.trouble.as_deref().map(|t| kith_control::terminal::safe(t).into_owned());
        });
        match changed.await {
            Ok(Some(known)) => {
                if let Some(peers) = self.peers() {
                    peers.set_friend(*friend, known.addresses.book());
                }
                self.forget_unless_friend(friend);
                self.tell(Event::Friend { device_id: *friend });
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "what a friend reported was not saved"),
        }
    }

    /// To be called after addresses were handed to the peers: whoever was removed in that moment would be dialled for ever.
    pub(super) fn forget_unless_friend(&self, friend: &DeviceId) {
        if !self.roster.contains(friend)
            && let Some(peers) = self.peers()
        {
            peers.remove_friend(friend);
        }
    }

    /// Tells every linked friend what has changed with us.
    pub(super) fn report_to_all(&self) {
        let Some(peers) = self.peers() else { return };
        for friend in self.roster.all() {
            let Some(link) = peers.link(&friend.device_id) else { continue };
            let report = self.report_to(&friend.device_id);
            tokio::spawn(async move {
                let request = kith_wire::json_body(&report)
                    .ok()
                    .and_then(|body| Request::post(paths::REPORT).body(body).ok());
                // A friend who does not hear it gets it with the next hello.
                if let Some(request) = request {
                    drop(
                        tokio::time::timeout(std::time::Duration::from_secs(30), link.request(request)).await,
                    );
                }
            });
        }
    }

    /// Asks a friend for his report about us: what he offers and keeps.
    pub(super) async fn fetch_report(&self, friend: &DeviceId) {
        let Some(link) = self.peers().and_then(|peers| peers.link(friend)) else { return };
        let Ok(request) = Request::get(paths::REPORT).body(empty_body()) else { return };
        let answer = tokio::time::timeout(std::time::Duration::from_secs(30), link.request(request)).await;
        let Ok(Ok(answer)) = answer else { return };
        if let Ok(body) = collect(answer.into_body(), kith_wire::MESSAGE_LIMIT).await
            && let Ok(report) = serde_json::from_slice::<Report>(&body)
            && report.check().is_ok()
        {
            let connection = self.peers().and_then(|peers| peers.state(friend)?.connection);
            self.note_report(friend, &report, connection.as_ref()).await;
        }
    }

    async fn serve_friend(self: &Arc<Self>, caller: Caller, request: Request<Body>) -> Response<Body> {
        let friend = caller.friend;
        if !self.roster.contains(&friend) {
            return plain(StatusCode::FORBIDDEN, "this computer is not a friend any more");
        }
        let Ok(owner) = owner(&friend) else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "no place for this device id");
        };
        let path = request.uri().path();
        if path == paths::STATE {
            return self.serve_state(&caller, &owner, request).await;
        }
        if path == paths::DAMAGED && request.method() == Method::GET {
            return self.damaged_answer(&owner, asked(&request, "archive"));
        }
        if path == paths::DIAL_IN {
            // An older installation may have given its key to somebody who was removed since.
            if let Err(refusal) = self.admit_writer(&caller).await {
                return refusal;
            }
            return self.take_dial_in(&friend, request).await;
        }
        if path == paths::DOCTOR && request.method() == Method::GET {
            return match self.roster.get(&friend) {
                Some(friend) => self.answer_doctor(&friend).await,
                None => plain(StatusCode::FORBIDDEN, "this computer is not a friend any more"),
            };
        }
        if path == paths::REPORT && request.method() == Method::GET {
            let report = self.report_to(&friend);
            return kith_wire::json_body(&report).map_or_else(
                |error| plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                Response::new,
            );
        }
        if super::carrier::serves(path) {
            return self.serve_carried(&caller, request).await;
        }
        match below(paths::STORE, request) {
            Some(request) => {
                if !reads_only(request.method())
                    && let Err(refusal) = self.admit_writer(&caller).await
                {
                    return refusal;
                }
                let writer = incarnation(caller.incarnation, &caller.installation);
                self.vault.handle_from(&owner, writer, request).await.map(boxed)
            }
            None => plain(StatusCode::NOT_FOUND, "there is no such service"),
        }
    }

    async fn serve_state(
        &self,
        caller: &Caller,
        owner: &kith_vault::Owner,
        request: Request<Body>,
    ) -> Response<Body> {
        match *request.method() {
            Method::GET => match self.vault.older_state(owner, back(&request)).await {
                Ok(Some((sequence, sealed))) => {
                    let mut response = Response::new(bytes_body(sealed));
                    response.headers_mut().insert(paths::STATE_SEQUENCE_HEADER, sequence.into());
                    response
                }
                Ok(None) => plain(StatusCode::NOT_FOUND, "no state object of this computer is kept here"),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            Method::PUT => {
                if let Err(refusal) = self.admit_writer(caller).await {
                    return refusal;
                }
                let Some(sequence) = paths::state_sequence(request.headers()) else {
                    return plain(StatusCode::BAD_REQUEST, "the state object has no sequence number");
                };
                let Ok(sealed) = collect(request.into_body(), MOST_STATE_BYTES).await else {
                    return plain(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the state object broke off or is too large",
                    );
                };
                let writer = incarnation(caller.incarnation, &caller.installation);
                match self.vault.put_state_from(owner, writer, sequence, sealed).await {
                    Ok(()) => {
                        let mut kept = lock(&self.kept_states);
                        let newest = kept.entry(caller.friend).or_default();
                        *newest = sequence.max(*newest);
                        plain(StatusCode::OK, "kept")
                    }
                    Err(error) => state_refusal(&error),
                }
            }
            _ => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "the state object is read with GET and stored with PUT")
            }
        }
    }
}

/// A parameter of a request.
fn asked<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
}

/// How many newer state objects are to be left out. What makes no sense finds none.
fn back(request: &Request<Body>) -> usize {
    asked(request, "back").map_or(0, |back| back.parse().unwrap_or(usize::MAX))
}

/// The addresses of a report that may be dialled. A friend has no say in what is dialled on this very computer, unless
/// he is on it himself.
fn worth_dialling(addresses: &[String], beside_us: bool) -> Vec<String> {
    let may_be_dialled = |address: &&String| {
        let Ok(parsed) = address.parse::<crate::settings::HostPort>() else { return false };
        match parsed.ip().map(|ip| ip.to_canonical()) {
            Some(ip) if ip.is_unspecified() || ip.is_multicast() => false,
            Some(ip) => beside_us || !ip.is_loopback(),
            None => beside_us || !kith_peer::is_local_name(parsed.host()),
        }
    };
    addresses.iter().filter(may_be_dialled).cloned().collect()
}

/// The request as seen from below a prefix, if it lies there.
fn below(prefix: &str, mut request: Request<Body>) -> Option<Request<Body>> {
    let rest = request.uri().path_and_query()?.as_str().strip_prefix(prefix)?;
    let rest = rest.starts_with('/').then(|| rest.parse().ok()).flatten()?;
    *request.uri_mut() = rest;
    Some(request)
}

pub(super) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(bytes_body(text.to_owned()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_one_invite_keeps_no_other_out() {
        let mut under_way = UnderWay::new(MOST_PAIRINGS, MOST_OF_ONE_INVITE);
        let invite = |n: usize| DeviceId::from_bytes([u8::try_from(n).unwrap(); 32]);
        let mut places = Vec::new();
        for n in 0..MOST_PAIRINGS / MOST_OF_ONE_INVITE {
            for _ in 0..MOST_OF_ONE_INVITE {
                places.push(under_way.begin(invite(n)).unwrap());
            }
            assert!(under_way.begin(invite(n)).is_none());
        }
        assert!(under_way.begin(invite(100)).is_none(), "all places are taken");
        places.remove(0);
        assert!(under_way.begin(invite(1)).is_none());
        places.push(under_way.begin(invite(0)).unwrap());
        places.clear();
        assert!(under_way.begin(invite(100)).is_some());
        assert_eq!(under_way.places.len(), 1, "what has ended is forgotten");
    }

    #[test]
    fn a_friend_elsewhere_can_not_make_us_dial_ourselves() {
        let addresses = [
            "127.0.0.1:22",
            "[::1]:22",
            "localhost:22",
            "LOCALHOST.:22",
            "x.localhost:22",
            "127.1:6379",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "nonsense",
            "10.0.0.7:4242",
        ]
        .map(str::to_owned);
        let from = |ip: [u8; 4]| worth_dialling(&addresses, IpAddr::from(ip).is_loopback());
        assert_eq!(from([11, 0, 0, 1]), ["10.0.0.7:4242"]);
        assert_eq!(from([127, 0, 0, 1]).len(), 6, "another home on this computer may be dialled");
    }
}
