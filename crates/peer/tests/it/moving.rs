//! A link that takes one way after the other, in memory and in virtual time.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kith_identity::{DeviceId, DialBackNonce, DialInKey, PairKey};
use kith_network::{Network, News, Snapshot};
use kith_peer::{
    AddressBook, Attempt, Caller, Calls, CandidateKind, Connection, DialError, Dialed, Host, Outbound,
    PathChange, PathKind, Peers, Standing, Way, WeakPeers, ask_dial_back,
};
use kith_wire::{
    Body, BodyError, Class, DialBackOutcome, Hello, HubAddress, Link, Post, Report, ServeFuture, bytes_body,
    collect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Silent, identity};

/// Counts what is sent to it, and remembers how it was linked.
#[derive(Default)]
struct Counting {
    changes: Mutex<Vec<PathChange>>,
    unlinked: AtomicUsize,
}

impl Host for Counting {
    fn is_outside(&self, ip: IpAddr) -> bool {
        Silent.is_outside(ip)
    }
    fn hello(&self, to: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        Silent.hello(to, seen_from)
    }
    fn dial_in_keys(&self, _friend: &DeviceId) -> Vec<DialInKey> {
        Vec::new()
    }
    fn pair_key(&self, _friend: &DeviceId) -> Option<PairKey> {
        None
    }
    fn standing(&self, _friend: &DeviceId, _hello: &Hello) -> Standing {
        Standing::Link
    }
    fn twin(&self, _friend: &DeviceId) {}
    fn linked(&self, _friend: &DeviceId, _hello: &Hello, _connection: &Connection) {}
    fn unlinked(&self, _friend: &DeviceId, _reason: &str) {
        self.unlinked.fetch_add(1, Ordering::SeqCst);
    }
    fn reported(&self, _friend: &DeviceId, _report: Report) {}
    fn changed(&self, _friend: &DeviceId) {}
    fn path_changed(&self, _friend: &DeviceId, change: &PathChange) {
        self.changes.lock().unwrap().push(change.clone());
    }
    fn serve(&self, _caller: Caller, request: Request<Body>) -> ServeFuture {
        Box::pin(async move {
            let body = collect(request.into_body(), 64 << 20).await.unwrap_or_default();
            Response::new(bytes_body(body.len().to_string()))
        })
    }
}

/// A line between two computers that may take its time, and that may be cut: then nothing passes and nobody is told.
fn line(cut: watch::Receiver<bool>, delay: Duration) -> (DuplexStream, DuplexStream) {
    let (ours, left) = tokio::io::duplex(64 * 1024);
    let (theirs, right) = tokio::io::duplex(64 * 1024);
    let (left_in, left_out) = tokio::io::split(left);
    let (right_in, right_out) = tokio::io::split(right);
    tokio::spawn(pass(left_in, right_out, cut.clone(), delay));
    tokio::spawn(pass(right_in, left_out, cut, delay));
    (ours, theirs)
}

async fn pass(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
    mut cut: watch::Receiver<bool>,
    delay: Duration,
) {
    let mut piece = [0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            () = is_cut(&mut cut) => std::future::pending().await,
            read = from.read(&mut piece) => match read {
                Ok(length) if length > 0 => {
                    sleep(delay).await;
                    if to.write_all(&piece[..length]).await.is_err() {
                        return;
                    }
                }
                _ => break,
            },
        }
    }
    to.shutdown().await.ok();
}

async fn is_cut(cut: &mut watch::Receiver<bool>) {
    if cut.wait_for(|cut| *cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Reaches the other computer over lines in memory: by a relay whenever it is asked for, by punching once that works.
struct Lines {
    other: WeakPeers,
    us: DeviceId,
    relay: DeviceId,
    relay_cut: watch::Receiver<bool>,
    punch_cut: watch::Receiver<bool>,
    punches: AtomicBool,
    asked: Mutex<Vec<(Instant, Class)>>,
}

impl Calls for Lines {
    fn call(&self, _friend: DeviceId, worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>> {
        self.asked.lock().unwrap().push((Instant::now(), worst));
        let punches = self.punches.load(Ordering::SeqCst);
        let way = if punches { Way::Punched } else { Way::Relayed { by: self.relay } };
        let (other, us, cut) = (self.other.clone(), self.us, self.relay_cut.clone());
        let punch_cut = self.punch_cut.clone();
        Box::pin(async move {
            if way.class() > worst {
                let error = DialError::Helped("the routers did not let it through".into());
                return Err(vec![Attempt::now("bert".into(), CandidateKind::Punched, error)]);
            }
            let remote: SocketAddr = "11.0.0.9:7".parse().unwrap();
            let local: SocketAddr = "192.168.1.5:8".parse().unwrap();
            // What was punched stays when the relay is cut.
            let (cut, delay) = match way {
                Way::Punched => (punch_cut, Duration::ZERO),
                _ => (cut, Duration::from_millis(20)),
            };
            let (ours, theirs) = line(cut, delay);
            other.upgrade().unwrap().arrive(&us, Box::new(theirs), remote, local, way);
            Ok(Dialed { stream: Box::new(ours), remote, local, way })
        })
    }

    fn posted(&self, _carrier: DeviceId, _post: Post, _handed_by: Option<HubAddress>) -> bool {
        false
    }
}

struct One {
    id: DeviceId,
    peers: Peers,
    host: Arc<Counting>,
    news: watch::Sender<News>,
}

impl One {
    fn new(byte: u8) -> Self {
        let (network, news) = Network::played(Snapshot::default());
        let (identity, host) = (Arc::new(identity(byte)), Arc::new(Counting::default()));
        let id = identity.device_id();
        let peers = Peers::start(identity, host.clone(), Outbound::default(), &network);
        Self { id, peers, host, news }
    }

    fn path(&self, friend: &Self) -> Option<PathKind> {
        self.peers.state(&friend.id).unwrap().connection.map(|connection| connection.path())
    }

    fn changes(&self) -> Vec<(Option<PathKind>, Option<PathKind>)> {
        self.host.changes.lock().unwrap().iter().map(|change| (change.from, change.to)).collect()
    }
}

struct Two {
    anna: One,
    bert: One,
    lines: Arc<Lines>,
    relay_cut: watch::Sender<bool>,
    punch_cut: watch::Sender<bool>,
}

/// Anna calls bert by the help of others; neither has an address of the other.
async fn relayed() -> Two {
    let (anna, bert) = (One::new(1), One::new(2));
    let (relay_cut, cut) = watch::channel(false);
    let (punch_cut, cut_punch) = watch::channel(false);
    let lines = Arc::new(Lines {
        other: bert.peers.downgrade(),
        us: anna.id,
        relay: identity(3).device_id(),
        relay_cut: cut,
        punch_cut: cut_punch,
        punches: AtomicBool::new(false),
        asked: Mutex::default(),
    });
    bert.peers.set_friend(anna.id, AddressBook::default());
    anna.peers.set_calls(lines.clone());
    anna.peers.set_friend(bert.id, AddressBook::default());
    anna.peers.wait_for_link(&bert.id, Duration::from_secs(1)).await.unwrap();
    bert.peers.wait_for_link(&anna.id, Duration::from_secs(1)).await.unwrap();
    Two { anna, bert, lines, relay_cut, punch_cut }
}

/// Asks bert how much a body has, which is sent in so many pieces, one in a second.
async fn upload(link: Link, pieces: usize) -> Result<usize, String> {
    let body = futures::stream::unfold(pieces, async |left| {
        sleep(Duration::from_secs(1)).await;
        let left = left.checked_sub(1)?;
        Some((Ok::<_, BodyError>(Frame::data(Bytes::from(vec![7; 64 * 1024]))), left))
    });
    let request = Request::post("/x").body(StreamBody::new(body).boxed_unsync()).unwrap();
    let answer = link.request(request).await;
    let answer = collect(answer.map_err(|error| error.to_string())?.into_body(), 100).await;
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(answer.to_vec()).unwrap().parse().unwrap())
}

async fn until(what: &str, within: u64, mut is_so: impl FnMut() -> bool) {
    let waited = timeout(Duration::from_secs(within), async {
        while !is_so() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// Waits for news of a punch with whoever comes, wherever he comes from.
struct Expecting;

impl Calls for Expecting {
    fn call(&self, _friend: DeviceId, _worst: Class) -> BoxFuture<'static, Result<Dialed, Vec<Attempt>>> {
        Box::pin(std::future::ready(Err(Vec::new())))
    }

    fn posted(&self, _carrier: DeviceId, _post: Post, _handed_by: Option<HubAddress>) -> bool {
        false
    }

    fn punched(&self, _friend: &DeviceId, _remote: SocketAddr) -> bool {
        true
    }
}

const RELAYED: Option<PathKind> = Some(PathKind::Relayed);
const PUNCHED: Option<PathKind> = Some(PathKind::Punched);

#[tokio::test(start_paused = true)]
async fn a_relayed_link_becomes_a_direct_one_and_what_runs_on_it_is_not_disturbed() {
    let Two { anna, bert, lines, .. } = relayed().await;
    assert_eq!((anna.path(&bert), bert.path(&anna)), (RELAYED, RELAYED));
    let old = anna.peers.link(&bert.id).unwrap();
    let uploading = tokio::spawn(upload(old.clone(), 100));
    let back = tokio::spawn(upload(bert.peers.link(&anna.id).unwrap(), 60));
    sleep(Duration::from_secs(10)).await;
    lines.punches.store(true, Ordering::SeqCst);
    until("a direct link", 70, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
    let new = anna.peers.link(&bert.id).unwrap();
    assert!(!old.is_over(), "something runs on it");
    // Whoever still has the old link goes on over the new one.
    assert_eq!(upload(old.clone(), 1).await, Ok(64 * 1024));
    assert_eq!(uploading.await.unwrap(), Ok(100 * 64 * 1024));
    assert_eq!(back.await.unwrap(), Ok(60 * 64 * 1024));
    assert!(new.traffic().sent < 200_000, "nothing was sent again: {:?}", new.traffic());
    timeout(Duration::from_secs(10), old.ended()).await.expect("when all is done, it ends");
    assert_eq!((anna.path(&bert), bert.path(&anna)), (PUNCHED, PUNCHED));
    for (one, other) in [(&anna, &bert), (&bert, &anna)] {
        assert_eq!(one.changes(), [(None, RELAYED), (RELAYED, PUNCHED)]);
        assert_eq!(one.host.unlinked.load(Ordering::SeqCst), 0, "it was linked all the time");
        let state = one.peers.state(&other.id).unwrap();
        let change = state.last_change.unwrap();
        assert!(change.reason.ends_with("this way is better"), "{change:?}");
        assert_eq!(state.path_since, Some(change.when));
        assert!(state.round_trip.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn tries_for_a_better_way_come_once_a_minute_and_at_once_with_news_and_disturb_nothing() {
    let Two { anna, bert, lines, .. } = relayed().await;
    let since = anna.peers.state(&bert.id).unwrap().connection.unwrap().since;
    sleep(Duration::from_secs(300)).await;
    {
        let asked = lines.asked.lock().unwrap();
        assert_eq!(asked[0].1, Class::Relayed, "the first call may be relayed");
        let tries = &asked[1..];
        assert!((5..=8).contains(&tries.len()), "{tries:?}");
        assert!(tries.iter().all(|(_, worst)| *worst == Class::Direct));
        let pauses: Vec<_> = tries.windows(2).map(|two| (two[1].0 - two[0].0).as_secs()).collect();
        assert!(pauses.iter().all(|pause| (45..=61).contains(pause)), "{pauses:?}");
    }
    let before = lines.asked.lock().unwrap().len();
    anna.news.send_modify(|news| news.changes += 1);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(lines.asked.lock().unwrap().len(), before + 1, "at once");
    let state = anna.peers.state(&bert.id).unwrap();
    assert_eq!(state.connection.unwrap().since, since, "the same link");
    assert_eq!(state.last_error, None);
    let [attempt] = &state.attempts[..] else { panic!("{:?}", state.attempts) };
    assert_eq!(
        (attempt.kind, attempt.error.to_string()),
        (CandidateKind::Punched, "the routers did not let it through".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_dies_is_noticed_and_replaced_without_a_hand() {
    let Two { anna, bert, lines, relay_cut, .. } = relayed().await;
    let began = Instant::now();
    relay_cut.send_replace(true);
    lines.punches.store(true, Ordering::SeqCst);
    until("another link", 40, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
    assert!(began.elapsed() <= Duration::from_secs(36), "{:?}", began.elapsed());
    // The relay was cut in the moment in which a better way was looked for, or before it.
    assert_eq!(upload(anna.peers.link(&bert.id).unwrap(), 1).await, Ok(64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn with_the_cable_out_the_link_dies_in_seconds_and_comes_back_with_the_cable() {
    let Two { anna, bert, lines, relay_cut, .. } = relayed().await;
    relay_cut.send_replace(true);
    anna.news.send_modify(|news| news.changes += 1);
    until("the end of the link", 10, || anna.path(&bert).is_none()).await;
    let state = anna.peers.state(&bert.id).unwrap();
    assert!(state.last_error.is_some());
    assert_eq!(state.last_change.map(|change| (change.from, change.to)), Some((RELAYED, None)));
    let before = lines.asked.lock().unwrap().len();
    sleep(Duration::from_secs(60)).await;
    assert!(lines.asked.lock().unwrap().len() > before, "it is tried all the time");
    assert_eq!(anna.path(&bert), None);
    relay_cut.send_replace(false);
    anna.news.send_modify(|news| news.changes += 1);
    until("the link", 5, || anna.path(&bert) == RELAYED && bert.path(&anna) == RELAYED).await;
}

#[tokio::test(start_paused = true)]
async fn a_worse_way_than_the_link_has_is_turned_away_and_leaves_it_in_its_place() {
    let Two { anna, bert, lines, .. } = relayed().await;
    lines.punches.store(true, Ordering::SeqCst);
    until("a direct link", 70, || bert.path(&anna) == PUNCHED).await;
    let before = anna.peers.state(&bert.id).unwrap().connection;
    lines.punches.store(false, Ordering::SeqCst);
    // One that came about too late.
    let late = lines.call(bert.id, Class::Relayed).await.unwrap();
    anna.peers.offer(&bert.id, late);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(anna.peers.state(&bert.id).unwrap().connection, before);
    assert_eq!(bert.path(&anna), PUNCHED);
    assert_eq!(upload(anna.peers.link(&bert.id).unwrap(), 1).await, Ok(64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn who_rings_although_there_is_a_link_is_reached_as_soon_as_that_has_proved_dead() {
    let Two { anna, bert, lines, punch_cut, .. } = relayed().await;
    lines.punches.store(true, Ordering::SeqCst);
    until("a direct link", 70, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
    sleep(Duration::from_secs(20)).await;
    // Bert comes into another network, and knows soon that the link is dead. Anna does not.
    lines.punches.store(false, Ordering::SeqCst);
    punch_cut.send_replace(true);
    bert.news.send_modify(|news| news.changes += 1);
    until("the end of bert's link", 10, || bert.path(&anna).is_none()).await;
    assert_eq!(anna.path(&bert), PUNCHED);
    // There is the one connection that his ring brings, and no other.
    anna.peers.set_calls(Arc::new(Expecting));
    anna.peers.doubt(&bert.id);
    let relayed = lines.call(bert.id, Class::Relayed).await.unwrap();
    anna.peers.offer(&bert.id, relayed);
    until("a relayed link", 8, || anna.path(&bert) == RELAYED && bert.path(&anna) == RELAYED).await;
    assert_eq!(upload(anna.peers.link(&bert.id).unwrap(), 1).await, Ok(64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_in_doubt_and_lives_stays_in_its_place() {
    let Two { anna, bert, lines, .. } = relayed().await;
    lines.punches.store(true, Ordering::SeqCst);
    until("a direct link", 70, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
    sleep(Duration::from_secs(20)).await;
    lines.punches.store(false, Ordering::SeqCst);
    let before = anna.peers.state(&bert.id).unwrap().connection;
    let uploading = tokio::spawn(upload(anna.peers.link(&bert.id).unwrap(), 30));
    anna.peers.doubt(&bert.id);
    let relayed = lines.call(bert.id, Class::Relayed).await.unwrap();
    anna.peers.offer(&bert.id, relayed);
    assert_eq!(uploading.await.unwrap(), Ok(30 * 64 * 1024));
    assert_eq!(anna.peers.state(&bert.id).unwrap().connection, before);
    assert_eq!(bert.path(&anna), PUNCHED);
}

#[tokio::test(start_paused = true)]
async fn a_dial_inside_the_network_soon_after_a_punch_moves_the_link_and_disturbs_nothing() {
    let Two { anna, bert, lines, .. } = relayed().await;
    bert.peers.set_calls(Arc::new(Expecting));
    lines.punches.store(true, Ordering::SeqCst);
    until("a direct link", 70, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
    let uploading = tokio::spawn(upload(anna.peers.link(&bert.id).unwrap(), 20));
    sleep(Duration::from_secs(5)).await;
    let (ours, theirs) = line(watch::Sender::new(false).subscribe(), Duration::ZERO);
    let (at_anna, at_bert) = ("[2001:db8::1]:50000".parse().unwrap(), "[2001:db8::2]:4242".parse().unwrap());
    bert.peers.accept(&anna.id, Box::new(theirs), at_anna, at_bert);
    let dialed = Dialed { stream: Box::new(ours), remote: at_bert, local: at_anna, way: Way::Lan };
    anna.peers.offer(&bert.id, dialed);
    let lan = Some(PathKind::Lan);
    until("the way inside", 5, || anna.path(&bert) == lan && bert.path(&anna) == lan).await;
    assert_eq!(uploading.await.unwrap(), Ok(20 * 64 * 1024), "it runs on over the old one");
}

#[tokio::test(start_paused = true)]
async fn a_better_way_that_came_about_after_the_race_is_taken() {
    let Two { anna, bert, lines, .. } = relayed().await;
    lines.punches.store(true, Ordering::SeqCst);
    let late = lines.call(bert.id, Class::Direct).await.unwrap();
    anna.peers.offer(&bert.id, late);
    until("a direct link", 2, || anna.path(&bert) == PUNCHED && bert.path(&anna) == PUNCHED).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_by_a_relay_has_nobody_called_back_and_is_told_no_address() {
    let Two { anna, bert, .. } = relayed().await;
    let relay = anna.peers.state(&bert.id).unwrap().connection.unwrap().remote;
    for (one, other) in [(&anna, &bert), (&bert, &anna)] {
        let state = one.peers.state(&other.id).unwrap().connection.unwrap();
        assert_eq!((state.seen_as, state.friend_ip()), (None, None), "only the relay is seen");
        let link = one.peers.link(&other.id).unwrap();
        let addresses = [SocketAddr::new(relay.ip(), 4242)];
        let asked = ask_dial_back(&link, &addresses, DialBackNonce::generate(), Duration::from_secs(5)).await;
        let outcomes: Vec<_> = asked.unwrap().results.iter().map(|result| result.outcome).collect();
        assert_eq!(outcomes, [DialBackOutcome::NotAllowed]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_anybody_who_helps_the_person_is_told_what_is_missing() {
    let anna = One::new(1);
    let friend = identity(2).device_id();
    anna.peers.set_friend(friend, AddressBook::default());
    sleep(Duration::from_secs(1)).await;
    let state = anna.peers.state(&friend).unwrap();
    assert!(state.last_error.unwrap().starts_with("no address of this computer is known"));
    assert!(state.attempts.is_empty() && state.path_since.is_none());
}
