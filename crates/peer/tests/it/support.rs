//! A computer: an identity, its peers, and a port that friends come in by.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kith_identity::tls::{self, Admission, Admitted};
use kith_identity::{DeviceId, DialInKey, Identity, IdentitySeed, InstallationId, PairKey};
use kith_peer::{AddressBook, Caller, Connection, Host, Outbound, Peers, Standing};
use kith_wire::{
    Body, DIAL_BACK_CAPABILITY, Hello, Link, Report, ServeFuture, VISIT_CAPABILITY, VersionRange, empty_body,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What any answer must come within; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Virtual time that only `advance` moves, until this is dropped. Tokio alone would move it to the next timer whenever no task is ready, also
/// while bytes are under way in the kernel; it doesn't while a blocking task runs.
pub(crate) fn freeze_time() -> std::sync::mpsc::Sender<()> {
    tokio::time::pause();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    // Should a test hang, time begins to run after a minute, and the test's patience ends.
    tokio::task::spawn_blocking(move || receiver.recv_timeout(Duration::from_secs(60)));
    sender
}

/// What is due by now is begun: timers have a resolution of a millisecond, and one may follow from the other.
pub(crate) async fn begin_what_is_due() {
    for _ in 0..5 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}

pub(crate) fn identity(byte: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
}

pub(crate) struct Silent;

impl Host for Silent {
    /// All is played on one computer: nothing of it counts as inside.
    fn is_outside(&self, _ip: IpAddr) -> bool {
        true
    }

    fn hello(&self, _to: &DeviceId, seen_from: Option<IpAddr>) -> Hello {
        Hello {
            wire: VersionRange::OURS,
            program: "test".into(),
            installation: InstallationId::from_bytes([0; 16]),
            incarnation: 0,
            capabilities: vec![DIAL_BACK_CAPABILITY.into()],
            you_are: seen_from.map(|ip| ip.to_string()).unwrap_or_default(),
            time: 0,
            report: Report::default(),
            since: 0,
            proof: String::new(),
            run: None,
            class: None,
        }
    }

    /// The doors here know no tags.
    fn dial_in_keys(&self, _friend: &DeviceId) -> Vec<DialInKey> {
        Vec::new()
    }

    fn pair_key(&self, _friend: &DeviceId) -> Option<PairKey> {
        None
    }

    fn standing(&self, _friend: &DeviceId, hello: &Hello) -> Standing {
        if hello.can(VISIT_CAPABILITY) { Standing::Visitor } else { Standing::Link }
    }

    fn twin(&self, _friend: &DeviceId) {}

    fn linked(&self, _friend: &DeviceId, _hello: &Hello, _connection: &Connection) {}
    fn unlinked(&self, _friend: &DeviceId, _reason: &str) {}
    fn reported(&self, _friend: &DeviceId, _report: Report) {}
    fn changed(&self, _friend: &DeviceId) {}

    fn serve(&self, _caller: Caller, _request: Request<Body>) -> ServeFuture {
        let mut response = Response::new(empty_body());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(response))
    }
}

struct Friends(HashSet<DeviceId>);

impl Admission for Friends {
    fn friend(&self, id: &DeviceId) -> bool {
        self.0.contains(id)
    }

    fn invite(&self, _one_time_id: &DeviceId) -> bool {
        false
    }
}

pub(crate) struct Computer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) peers: Peers,
    _doors: Vec<AbortOnDropHandle<()>>,
}

impl Computer {
    pub(crate) fn new(byte: u8) -> Self {
        Self::with(byte, Arc::new(Silent))
    }

    pub(crate) fn with(byte: u8, host: Arc<dyn Host>) -> Self {
        let identity = Arc::new(identity(byte));
        let peers =
            Peers::start(identity.clone(), host, Outbound::default(), &kith_network::Network::start());
        Self { identity, peers, _doors: Vec::new() }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.identity.device_id()
    }

    /// Lets a friend in at this IP address.
    pub(crate) async fn listen(&mut self, ip: &str, friend: DeviceId) -> SocketAddr {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let local = listener.local_addr().unwrap();
        let config = tls::server_config(&self.identity, Arc::new(Friends(HashSet::from([friend]))));
        let (acceptor, peers) = (TlsAcceptor::from(config), self.peers.clone());
        let door = tokio::spawn(async move {
            while let Ok((stream, remote)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                if let Ok(Admitted::Friend(friend)) = tls::admitted(stream.get_ref().1) {
                    peers.accept(&friend, Box::new(stream), remote, local);
                }
            }
        });
        self._doors.push(AbortOnDropHandle::new(door));
        local
    }

    /// Takes another computer for a friend who is to be found there.
    pub(crate) fn befriend(&self, friend: DeviceId, addresses: &[SocketAddr]) {
        let configured = addresses.iter().map(ToString::to_string).collect();
        self.peers.set_friend(friend, AddressBook { configured, ..AddressBook::default() });
    }

    pub(crate) async fn link_to(&self, friend: &Self) -> Link {
        self.peers.wait_for_link(&friend.id(), PATIENCE).await.unwrap()
    }

    pub(crate) fn connection_to(&self, friend: &Self) -> Connection {
        self.peers.state(&friend.id()).unwrap().connection.unwrap()
    }
}

/// Alice and Bob, linked over 127.0.0.1 by a dial of Alice's.
pub(crate) async fn alice_and_bob() -> (Computer, Computer) {
    let (alice, mut bob) = (Computer::new(1), Computer::new(2));
    bob.befriend(alice.id(), &[]);
    let address = bob.listen("127.0.0.1", alice.id()).await;
    alice.befriend(bob.id(), &[address]);
    alice.link_to(&bob).await;
    bob.link_to(&alice).await;
    (alice, bob)
}

/// Whether this computer has IPv6 at all; the tests that need it say so and pass without.
pub(crate) fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("this computer has no IPv6: not tested");
    }
    has
}
