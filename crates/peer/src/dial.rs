//! One address, from name to authenticated stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kith_identity::tls::{self, TlsRefusal};
use kith_identity::{DeviceId, DialInKey, DialInTag};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::calls::Dialed;
use crate::greeting::{NotTls, SkipGreeting};
use crate::outbound::{self, NamedBy, Outbound};
use crate::socket::widen;
use crate::way::{Place, Way};

/// Longest wait for the TCP connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Tags tried at one address, each with a connection of its own.
const MOST_TAGS: usize = 3;

/// The stream of an authenticated outgoing connection.
pub(crate) type Stream = TlsStream<SkipGreeting<TcpStream>>;

/// Why one address did not lead to the friend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The address makes no sense.
    #[error("{0:?} is not an address of the form HOST:PORT")]
    BadAddress(String),
    /// The name has no address.
    #[error("the name was not found: {0}")]
    NameNotFound(String),
    /// A RST came back.
    #[error("refused: the computer answers, but nothing listens on this port")]
    Refused,
    /// Nothing came back.
    #[error("no response within {} s: a firewall or router drops the packets, or the computer is off", .0.as_secs())]
    NoResponse(Duration),
    /// The network said no.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The settings don't allow it.
    #[error(
        "the settings don't allow connections to {0}: no entry of network.allowed-destinations covers it"
    )]
    NotAllowed(String),
    /// The proxy did not do what it was asked for; a sentence.
    #[error("{1}")]
    Proxy(ProxyFault, String),
    /// Something else answers there.
    #[error("another program answers there: {0}")]
    NotKith(String),
    /// A connection stands, and nothing came by it.
    #[error("another program answers there: it accepted the connection, but did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Something answers there that doesn't show us who it is, as a Kith does to those whom it doesn't know.
    #[error(
        "what answers there does not recognise this computer: it was removed as a friend there, or the invite is not open any \
         more; or it is another program"
    )]
    NotRecognised,
    /// Another Kith answers there.
    #[error("another computer answers there, with device id {found}")]
    OtherDevice {
        /// Which.
        found: DeviceId,
    },
    /// We reached ourselves.
    #[error("this address leads back to this computer")]
    Myself,
    /// The connection ended in the handshake, by a reset or without a word.
    #[error(
        "it closed the connection in the middle of the handshake: it may have too many callers at the moment, or it is another \
         program"
    )]
    BrokenOff,
    /// The other side does not know us (any more).
    #[error("the other computer refused this one: {0}")]
    RefusedUs(String),
    /// The other side speaks no common version, or says what no version does; a sentence.
    #[error("{0}")]
    OtherVersion(String),
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The link broke before it was up.
    #[error("the connection broke before it was up: {0}")]
    Broken(String),
    /// The friend keeps the connection that he dialled himself.
    #[error("the other computer keeps the connection that it dialled itself")]
    Duplicate,
    /// There is a link, and this way is no better.
    #[error("there is a link, and this way is no better")]
    NoBetter,
    /// What was to be reached by the help of others was not; a sentence.
    #[error("{0}")]
    Helped(String),
    /// An installation of the friend answers that has been replaced by a newer one.
    #[error("an older installation of this computer answers there; it was recovered elsewhere")]
    OlderInstallation,
}

/// Why a proxy did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// It is not there, or says nothing.
    Down,
    /// It answers, and does not connect us.
    Refuses,
}

impl DialError {
    /// What the system said of a TCP connection that did not come about.
    pub(crate) fn of_connecting(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Self::Refused,
            std::io::ErrorKind::TimedOut => Self::NoResponse(CONNECT_TIMEOUT),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

/// How somebody is dialled.
#[derive(Clone)]
pub(crate) struct Dialing {
    /// How connections leave this computer.
    pub(crate) outbound: Outbound,
    /// Who is expected, if that is known beforehand.
    pub(crate) friend: Option<DeviceId>,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) us: DeviceId,
    /// By which he may recognise us, best first.
    pub(crate) keys: Vec<DialInKey>,
}

impl Dialing {
    /// A fresh tag of each key. Without a key it is one that nobody recognises: whoever watches shall not see the difference.
    fn tags(&self) -> Vec<DialInTag> {
        if self.keys.is_empty() {
            return vec![DialInTag::made_up()];
        }
        self.keys.iter().take(MOST_TAGS).map(DialInKey::tag).collect()
    }
}

/// A connection to an address, whose other end was proved.
pub(crate) struct Made {
    pub(crate) stream: Stream,
    /// The other end of the TCP connection.
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Whether that is a proxy's.
    pub(crate) proxied: bool,
}

impl Made {
    /// The connection to an address that is in this place.
    pub(crate) fn dialed(self, place: Place) -> Dialed {
        let Self { stream, remote, local, proxied } = self;
        let way = Way::dialled(remote, if proxied { Place::BehindProxy } else { place });
        Dialed { stream: Box::new(stream), remote, local, way }
    }
}

/// Splits `host:port`, `ip:port` or `[v6]:port`.
pub(crate) fn split(address: &str) -> Result<(&str, u16), DialError> {
    let bad = || DialError::BadAddress(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err(bad()) } else { Ok((host, port)) }
}

/// Name, TCP, TLS: tries each way to the address in turn.
pub(crate) async fn dial(address: &str, told: NamedBy, dialing: &Dialing) -> Result<Made, DialError> {
    let mut last = None;
    for way in dialing.outbound.ways(dialing.friend.as_ref(), address, told).await? {
        match dial_by(&way, dialing).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| DialError::NameNotFound(address.to_owned())))
}

async fn dial_by(way: &outbound::Way, dialing: &Dialing) -> Result<Made, DialError> {
    let stream = dial_over(dialing, || async {
        let stream = dialing.outbound.connect(way).await?;
        // TCP's simultaneous open with oneself: a dial from an ephemeral port to that same port.
        if local(&stream)? == way.hop { Err(DialError::Myself) } else { Ok(stream) }
    });
    let stream = stream.await?;
    let socket = stream.get_ref().0.get_ref();
    widen(socket);
    let local = local(socket)?;
    Ok(Made { stream, remote: way.hop, local, proxied: way.is_proxied() })
}

fn local(stream: &TcpStream) -> Result<SocketAddr, DialError> {
    stream.local_addr().map_err(|error| DialError::Unreachable(error.to_string()))
}

/// Makes a connection and shakes hands over it, with one tag after the other while none is recognised. Whoever isn't recognised is a
/// stranger, and a Kith that has no place for strangers at the moment closes without a word: that, too, is a reason for the next tag.
pub(crate) async fn dial_over<F, Fut>(dialing: &Dialing, connect: F) -> Result<Stream, DialError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<TcpStream, DialError>>,
{
    let mut broken_off = false;
    for tag in dialing.tags() {
        match handshake(connect().await?, dialing, &tag).await {
            Err(DialError::NotRecognised) => {}
            Err(DialError::BrokenOff) => broken_off = true,
            // That it is somebody else is no reason to show another tag, nor is a network that fails.
            decided => return decided,
        }
    }
    // A tag that was not looked at may have been the right one.
    Err(if broken_off { DialError::BrokenOff } else { DialError::NotRecognised })
}

/// Shakes hands over a connection, with this tag.
pub(crate) async fn handshake(
    stream: TcpStream,
    dialing: &Dialing,
    tag: &DialInTag,
) -> Result<Stream, DialError> {
    let connector = TlsConnector::from(dialing.config.clone());
    let connecting = connector.connect(tag.server_name(), SkipGreeting::new(stream));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Err(_elapsed) => Err(DialError::Silent(HANDSHAKE_TIMEOUT)),
        Ok(Ok(stream)) => match tls::protocol_agreed(stream.get_ref().1) {
            Ok(()) => Ok(stream),
            Err(refusal) => Err(DialError::NotKith(refusal.to_string())),
        },
        Ok(Err(error)) => Err(explain(&error, dialing.us)),
    }
}

/// Says what a failed handshake means.
pub(crate) fn explain(error: &std::io::Error, us: DeviceId) -> DialError {
    let inner = error.get_ref();
    if let Some(not_tls) = inner.and_then(|inner| inner.downcast_ref::<NotTls>()) {
        return DialError::NotKith(format!("it says {:?}", not_tls.text));
    }
    match tls::explain_io(error) {
        Some(TlsRefusal::OtherDevice { found, .. }) if found == us => return DialError::Myself,
        Some(TlsRefusal::OtherDevice { found, .. }) => return DialError::OtherDevice { found },
        Some(refusal @ TlsRefusal::RefusedByPeer) => return DialError::RefusedUs(refusal.to_string()),
        Some(TlsRefusal::NotKith) => return DialError::NotRecognised,
        Some(refusal @ (TlsRefusal::NotTls | TlsRefusal::NoCommonTls | TlsRefusal::NoCommonProtocol)) => {
            return DialError::NotKith(refusal.to_string());
        }
        Some(refusal) => return DialError::Tls(refusal.to_string()),
        None => {}
    }
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof
        | std::io::ErrorKind::ConnectionReset
        | std::io::ErrorKind::ConnectionAborted
        | std::io::ErrorKind::BrokenPipe => DialError::BrokenOff,
        _ => DialError::Tls(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use kith_identity::tls::Admission;
    use kith_identity::{DialInRing, Identity, IdentitySeed};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio_rustls::LazyConfigAcceptor;

    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes([byte; 32])).unwrap()
    }

    struct Everybody;

    impl Admission for Everybody {
        fn friend(&self, _id: &DeviceId) -> bool {
            true
        }

        fn invite(&self, _one_time_id: &DeviceId) -> bool {
            true
        }
    }

    /// Dials a friend who recognises the second of two keys and closes to whoever calls by another one.
    async fn dial_a_busy_friend(reads_first: bool) -> Result<Stream, DialError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = vec![DialInKey::from_bytes([1; 32]), DialInKey::from_bytes([2; 32])];
        let ring = DialInRing::new([&keys[1]]);
        let closed = AtomicBool::new(false);
        let answer = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut hello = [0; 4096];
                let length = stream.peek(&mut hello).await.unwrap();
                if !closed.swap(true, Ordering::Relaxed) {
                    if reads_first {
                        stream.read_exact(&mut hello[..length]).await.unwrap();
                    }
                    // With unread bytes in it, a reset; else an end.
                    continue;
                }
                let start = LazyConfigAcceptor::new(Default::default(), stream).await.unwrap();
                let tag = DialInTag::from_server_name(start.client_hello().server_name().unwrap()).unwrap();
                assert!(ring.recognises(&tag));
                let config = tls::server_config(&identity(2), Arc::new(Everybody));
                return start.into_stream(config).await.unwrap();
            }
        };
        let dialing = Dialing {
            outbound: Outbound::default(),
            friend: None,
            config: tls::client_config(&identity(1), identity(2).device_id()),
            us: identity(1).device_id(),
            keys: keys.clone(),
        };
        let (outbound, way) = (Outbound::default(), outbound::Way::direct(address));
        let connecting = || outbound.connect(&way);
        let (dialled, _answered) = tokio::join!(dial_over(&dialing, connecting), answer);
        dialled
    }

    #[tokio::test]
    async fn where_a_stranger_is_closed_to_the_next_key_is_tried() {
        dial_a_busy_friend(false).await.unwrap();
        dial_a_busy_friend(true).await.unwrap();
    }

    #[tokio::test]
    async fn what_closes_in_every_handshake_is_neither_another_program_nor_a_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = [1, 2].map(|byte| DialInKey::from_bytes([byte; 32])).to_vec();
        let dialing = Dialing {
            outbound: Outbound::default(),
            friend: None,
            config: tls::client_config(&identity(1), identity(2).device_id()),
            us: identity(1).device_id(),
            keys,
        };
        let way = outbound::Way::direct(address);
        let close = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.peek(&mut [0]).await.unwrap();
            }
        };
        tokio::select! {
            dialled = dial_over(&dialing, || dialing.outbound.connect(&way)) => {
                assert_eq!(dialled.map(drop).unwrap_err(), DialError::BrokenOff);
            }
            () = close => {}
        }
    }

    #[test]
    fn addresses_split_into_host_and_port() {
        assert_eq!(split("host:4242"), Ok(("host", 4242)));
        assert_eq!(split("10.0.0.1:1"), Ok(("10.0.0.1", 1)));
        assert_eq!(split("[::1]:4242"), Ok(("::1", 4242)));
        for bad in ["host", "host:", ":1", "host:0", "host:65536", "[]:1"] {
            assert_eq!(split(bad), Err(DialError::BadAddress(bad.into())), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_apart_from_a_text_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let connected = Outbound::default().connect(&outbound::Way::direct(closed)).await;
        assert_eq!(connected.unwrap_err(), DialError::Refused);
    }
}
