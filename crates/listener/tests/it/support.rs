//! A listener of Alice's that knows Bob, and ways to call on it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls::{self, Admission, Admitted, placeholder_name};
use kith_identity::{DeviceId, Identity, IdentitySeed, InviteSecret, OneTimeKey};
use kith_listener::{Incoming, Listener, ListenerConfig, ListenerState};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

/// What any answer must come within; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Virtual time that only [`advance`] moves. Tokio alone would move it to the next timer whenever no task is ready, also while
/// bytes are under way in the kernel; it doesn't while a blocking task runs.
pub(crate) struct FrozenTime {
    _holds_the_blocking_task: std::sync::mpsc::Sender<()>,
}

pub(crate) fn freeze_time() -> FrozenTime {
    tokio::time::pause();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    // Should a test hang, time begins to run after a minute, and the test's patience ends.
    tokio::task::spawn_blocking(move || receiver.recv_timeout(Duration::from_secs(60)));
    FrozenTime { _holds_the_blocking_task: sender }
}

/// Timers have a resolution of a millisecond: let there be some between a moment and what is expected of it.
pub(crate) async fn advance(milliseconds: u64) {
    tokio::time::advance(Duration::from_millis(milliseconds)).await;
}

struct Guests {
    friends: HashSet<DeviceId>,
    invites: HashSet<DeviceId>,
}

impl Admission for Guests {
    fn friend(&self, id: &DeviceId) -> bool {
        self.friends.contains(id)
    }

    fn invite(&self, one_time_id: &DeviceId) -> bool {
        self.invites.contains(one_time_id)
    }
}

fn identity(byte: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
}

pub(crate) fn alice() -> Identity {
    identity(1)
}

pub(crate) fn bob() -> Identity {
    identity(2)
}

pub(crate) fn mallory() -> Identity {
    identity(3)
}

pub(crate) fn invite_key() -> OneTimeKey {
    OneTimeKey::for_invite(&InviteSecret::from_bytes([7; 16])).unwrap()
}

/// Loopback, and a port that the system chooses.
pub(crate) fn on_loopback() -> ListenerConfig {
    ListenerConfig { port: 0, bind: vec![Ipv4Addr::LOCALHOST.into()], ..ListenerConfig::default() }
}

pub(crate) fn alices_tls() -> Arc<rustls::ServerConfig> {
    let guests =
        Guests { friends: HashSet::from([bob().device_id()]), invites: HashSet::from([invite_key().id()]) };
    tls::server_config(&alice(), Arc::new(guests))
}

pub(crate) struct House {
    pub(crate) listener: Listener,
    pub(crate) links: mpsc::Receiver<Incoming>,
    pub(crate) address: SocketAddr,
}

impl House {
    pub(crate) fn open(config: &ListenerConfig) -> Self {
        let (sender, links) = mpsc::channel(8);
        let listener = Listener::start(config, alices_tls(), sender).unwrap();
        let address = addresses(&listener)[0];
        Self { listener, links, address }
    }

    pub(crate) fn on_loopback() -> Self {
        Self::open(&on_loopback())
    }

    /// The next link that is handed over.
    pub(crate) async fn link(&mut self) -> Incoming {
        timeout(PATIENCE, self.links.recv()).await.unwrap().unwrap()
    }

    pub(crate) fn assert_nobody_was_let_in(&mut self) {
        assert!(self.links.try_recv().is_err());
    }

    /// Bob calls, both say a word, and the listener's end is returned.
    pub(crate) async fn assert_bob_gets_in(&mut self) -> (Incoming, client::TlsStream<TcpStream>) {
        let bob_calls = call(self.address, bobs_config());
        let (mut bobs_end, mut link) = tokio::join!(async { bob_calls.await.unwrap() }, self.link());
        assert_eq!(link.admitted, Admitted::Friend(bob().device_id()));
        assert_words_pass(&mut bobs_end, &mut link.stream).await;
        (link, bobs_end)
    }
}

impl House {
    /// Returns when the listener has taken in everybody who has connected so far: it takes in one after the other.
    pub(crate) async fn has_taken_in_all(&mut self) {
        self.assert_bob_gets_in().await;
    }

    /// Asserts that the listener, having had the occasion, has said nothing and not closed.
    pub(crate) async fn assert_says_nothing(&mut self, stream: &TcpStream) {
        self.has_taken_in_all().await;
        let error = stream.try_read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

pub(crate) fn addresses(listener: &Listener) -> Vec<SocketAddr> {
    match listener.state().borrow().clone() {
        ListenerState::Listening { addresses, port } => {
            assert!(addresses.iter().all(|address| address.port() == port));
            addresses
        }
        state => panic!("{state:?}"),
    }
}

pub(crate) async fn assert_words_pass<A, B>(one: &mut A, other: &mut B)
where
    A: AsyncReadExt + AsyncWriteExt + Unpin,
    B: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let mut word = [0; 4];
    one.write_all(b"ping").await.unwrap();
    one.flush().await.unwrap();
    other.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
    other.write_all(b"pong").await.unwrap();
    other.flush().await.unwrap();
    one.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"pong");
}

pub(crate) fn bobs_config() -> Arc<ClientConfig> {
    tls::client_config(&bob(), alice().device_id())
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

pub(crate) async fn handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(placeholder_name(), stream).await
}

pub(crate) async fn call(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    handshake(connect(address).await, config).await
}

/// All that the other side sends until it closes. A reset is an error.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// The same where the end may be a reset, since nothing is left to be lost.
pub(crate) async fn read_all_or_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().ok();
    bytes
}

/// One line that ends in CRLF, and not a byte more.
pub(crate) async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        assert!(line.len() < kith_listener::limits::MAX_GREETING);
        line.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(line).unwrap()
}

pub(crate) fn greeting_for(stream: &TcpStream) -> String {
    format!("this port is open; you come from {}\r\n", stream.local_addr().unwrap())
}

/// Whether this computer has IPv6 at all; the tests that need it say so and pass without.
pub(crate) fn has_ipv6() -> bool {
    let has = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !has {
        println!("this computer has no IPv6: not tested");
    }
    has
}

pub(crate) fn loopback_v6() -> IpAddr {
    std::net::Ipv6Addr::LOCALHOST.into()
}
