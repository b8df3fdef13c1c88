//! A listener of Alice's that knows Bob, and ways to call on it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kith_identity::tls::{self, Admission, Admitted, placeholder_name};
use kith_identity::{
    DeviceId, DialInKey, DialInRing, DialInTag, Identity, IdentitySeed, InviteSecret, OneTimeKey,
};
use kith_listener::limits::MAX_STRANGERS;
use kith_listener::{Callers, Faces, Incoming, Leg, Listener, ListenerConfig, ListenerState};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client};

/// Legs that wait to be taken.
pub(crate) const MOST_LEGS: usize = 4;
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

/// What Alice has told Bob.
pub(crate) fn alices_key() -> DialInKey {
    DialInKey::from_bytes([4; 32])
}

/// The keys and the legs that are accepted, to be changed while the listener runs.
#[derive(Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<DialInRing>>, Arc<Mutex<Vec<DialInTag>>>);

impl Keys {
    pub(crate) fn set(&self, keys: &[DialInKey]) {
        *self.0.lock().unwrap() = DialInRing::new(keys);
    }

    /// A leg is promised.
    pub(crate) fn promise(&self) -> DialInTag {
        let tag = DialInTag::made_up();
        self.1.lock().unwrap().push(tag);
        tag
    }
}

impl Callers for Keys {
    fn recognises(&self, tag: &DialInTag) -> bool {
        self.0.lock().unwrap().recognises(tag)
    }

    fn leg(&self, tag: &DialInTag) -> bool {
        self.1.lock().unwrap().contains(tag)
    }
}

pub(crate) fn alices_faces() -> (Faces, Keys) {
    let guests =
        Guests { friends: HashSet::from([bob().device_id()]), invites: HashSet::from([invite_key().id()]) };
    let keys = Keys::default();
    keys.set(&[alices_key(), invite_key().dial_in_key().clone()]);
    let faces = Faces {
        known: tls::server_config(&alice(), Arc::new(guests)),
        unknown: tls::throwaway_server_config(1_790_000_000).unwrap(),
        callers: Arc::new(keys.clone()),
        legs: None,
    };
    (faces, keys)
}

pub(crate) struct House {
    pub(crate) listener: Listener,
    pub(crate) links: mpsc::Receiver<Incoming>,
    pub(crate) legs: mpsc::Receiver<Leg>,
    pub(crate) address: SocketAddr,
    pub(crate) keys: Keys,
}

impl House {
    pub(crate) fn open(config: &ListenerConfig) -> Self {
        let (sender, links) = mpsc::channel(8);
        let (legs_sender, legs) = mpsc::channel(MOST_LEGS);
        let (faces, keys) = alices_faces();
        let faces = Faces { legs: Some(legs_sender), ..faces };
        let listener = Listener::start(config, faces, sender).unwrap();
        let address = addresses(&listener)[0];
        Self { listener, links, legs, address, keys }
    }

    pub(crate) fn on_loopback() -> Self {
        Self::open(&on_loopback())
    }

    /// The next link that is handed over.
    pub(crate) async fn link(&mut self) -> Incoming {
        timeout(PATIENCE, self.links.recv()).await.unwrap().unwrap()
    }

    /// The next leg that is handed over.
    pub(crate) async fn leg(&mut self) -> Leg {
        timeout(PATIENCE, self.legs.recv()).await.unwrap().unwrap()
    }

    pub(crate) fn assert_nobody_was_let_in(&mut self) {
        assert!(self.links.try_recv().is_err());
    }

    /// Bob calls, both say a word, and the listener's end is returned.
    pub(crate) async fn assert_bob_gets_in(&mut self) -> (Incoming, client::TlsStream<TcpStream>) {
        let stream = connect(self.address).await;
        self.assert_bob_gets_in_by(stream).await
    }

    /// The same from an address of its own.
    pub(crate) async fn assert_bob_gets_in_from(&mut self, ip: [u8; 4]) {
        let stream = connect_from(ip, self.address).await;
        self.assert_bob_gets_in_by(stream).await;
    }

    async fn assert_bob_gets_in_by(&mut self, stream: TcpStream) -> (Incoming, client::TlsStream<TcpStream>) {
        let bob_calls = handshake(stream, bobs_config());
        let (mut bobs_end, mut link) = tokio::join!(async { bob_calls.await.unwrap() }, self.link());
        assert_eq!(link.admitted, Admitted::Friend(bob().device_id()));
        assert_words_pass(&mut bobs_end, &mut link.stream).await;
        (link, bobs_end)
    }
}

/// A stranger's ClientHello is answered with a ServerHello.
pub(crate) async fn assert_taken_for_a_stranger(stream: &mut TcpStream) {
    assert_eq!(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(), 0x16);
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

/// Connects from an address of its own, one of many that loopback has.
pub(crate) async fn connect_from(ip: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ip, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// With a tag by which Alice recognises the caller, whoever he is.
pub(crate) async fn handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    handshake_as(alices_key().tag().server_name(), stream, config).await
}

pub(crate) async fn handshake_as(
    name: ServerName<'static>,
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(name, stream).await
}

/// With a tag by which Alice recognises the caller, whoever he is.
pub(crate) async fn call(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    handshake(connect(address).await, config).await
}

/// Without a tag.
pub(crate) async fn call_as_stranger(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    handshake_as(placeholder_name(), connect(address).await, config).await
}

/// A ClientHello, and the client that made it.
pub(crate) fn client_hello(name: ServerName<'static>) -> (ClientConnection, Vec<u8>) {
    let mut client = ClientConnection::new(bobs_config(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    (client, hello)
}

/// Strangers from many places, who begin their handshakes and never go on, until there is no place left.
pub(crate) async fn strangers_everywhere(address: SocketAddr) -> Vec<TcpStream> {
    let mut stalled = Vec::new();
    for number in 0_u16.. {
        let [high, low] = (number / 8 + 256).to_be_bytes();
        let mut stream = connect_from([127, high, low, 1], address).await;
        stream.write_all(&client_hello(placeholder_name()).1).await.unwrap();
        // Who is turned away is reset; the others are answered.
        if matches!(timeout(PATIENCE, stream.read_u8()).await.unwrap(), Ok(0x16)) {
            stalled.push(stream);
            if stalled.len() == MAX_STRANGERS {
                break;
            }
        }
    }
    stalled
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
