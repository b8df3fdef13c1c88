//! The doctor's test of one address: does the friend answer there, and if not, what comes instead?
//!
//! Unlike [`probe`](crate::probe()) it is meant for one friend, is over within seconds, and tells apart what a person would do different
//! things about: silence, a login page, packets that are too long for the way.

use std::time::{Duration, Instant};

use kith_identity::{DeviceId, DialInKey, DialInTag, Identity, tls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dial::{DialError, ProxyFault, explain};
use crate::greeting::SkipGreeting;
use crate::outbound::{NamedBy, Outbound, Way};

/// Longest wait for a TCP connection.
const CONNECT: Duration = Duration::from_millis(3500);
/// Longest wait for a connection to the proxy itself.
const HOP: Duration = Duration::from_millis(1000);
/// Longest wait for the TLS handshake. It begins with more bytes than fit into one packet.
const HANDSHAKE: Duration = Duration::from_millis(4500);
/// After this long without a word of the handshake it is tried in short packets as well.
const STALL: Duration = Duration::from_millis(1800);
/// Longest handshake in short packets.
const SHORT_HANDSHAKE: Duration = Duration::from_millis(2600);
/// Bytes of data in a short packet: what every line must carry (RFC 9293, 3.7.1: the default of IPv4).
const SHORT_SEGMENT: u32 = 536;

/// What came of the test of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The friend's Kith, which has proved that it is.
    Friend,
    /// A Kith of another device; none: one that shows nothing to those whom it doesn't know.
    OtherDevice(Option<DeviceId>),
    /// This very computer.
    Myself,
    /// Another program.
    NotKith(String),
    /// A page of a web server, or a certificate that no Kith has: somebody in between looks into connections.
    Intercepted(String),
    /// Only what is short gets through.
    BlackHole,
    /// A connection stands, and nothing comes.
    Silent,
    /// A RST came back.
    Refused,
    /// Nothing came back.
    NoResponse,
    /// The network or the system said no.
    Unreachable(String),
    /// This computer's own firewall said no.
    ForbiddenHere(String),
    /// The settings say no.
    NotAllowed(String),
    /// The proxy said no, or is not there.
    Proxy(ProxyFault, String),
    /// The name has no address.
    NameNotFound(String),
}

/// The test of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// `host:port`, as it is known.
    pub address: String,
    /// What came of it; of a name with several addresses the best.
    pub answer: Answer,
    /// How long it took.
    pub took: Duration,
}

/// Tests `host:port`, where this friend should be. `made_for_it` is shown to whatever answers: an identity that was made for the test.
/// Takes at most about ten seconds, seldom more than four.
pub async fn examine(
    outbound: &Outbound,
    address: &str,
    friend: DeviceId,
    made_for_it: &Identity,
    key: Option<&DialInKey>,
) -> Examined {
    let begun = Instant::now();
    let answer = match outbound.ways(Some(&friend), address, NamedBy::Person).await {
        Err(error) => Answer::of_dialling(error),
        Ok(ways) => {
            let tests = ways.iter().map(|way| examine_way(outbound, way, friend, made_for_it, key));
            let answers = futures::future::join_all(tests).await;
            answers.into_iter().min_by_key(rank).unwrap_or(Answer::NoResponse)
        }
    };
    Examined { address: address.to_owned(), answer, took: begun.elapsed() }
}

/// Which of several answers says most.
const fn rank(answer: &Answer) -> u8 {
    match answer {
        Answer::Friend => 0,
        Answer::BlackHole => 1,
        Answer::Intercepted(_) => 2,
        Answer::OtherDevice(_) | Answer::Myself => 3,
        Answer::NotKith(_) => 4,
        Answer::Silent => 5,
        Answer::ForbiddenHere(_) | Answer::Proxy(..) | Answer::NotAllowed(_) => 6,
        Answer::Refused => 7,
        Answer::NoResponse => 8,
        Answer::Unreachable(_) | Answer::NameNotFound(_) => 9,
    }
}

impl Answer {
    /// What a dial in vain says of the address; none if it says nothing of it: a call by the help of others, or a link that was there already.
    #[must_use]
    pub fn of(error: DialError) -> Option<Self> {
        Some(match error {
            DialError::Refused => Self::Refused,
            DialError::NoResponse(_) => Self::NoResponse,
            DialError::NameNotFound(why) => Self::NameNotFound(why),
            DialError::NotAllowed(what) => Self::NotAllowed(what),
            DialError::Proxy(fault, why) => Self::Proxy(fault, why),
            DialError::Myself => Self::Myself,
            DialError::Unreachable(why) if is_forbidden(&why) => Self::ForbiddenHere(why),
            DialError::Silent(_) => Self::Silent,
            DialError::NotRecognised => Self::OtherDevice(None),
            DialError::OtherDevice { found } => Self::OtherDevice(Some(found)),
            DialError::NotKith(said) if is_of_the_web(&said) => Self::Intercepted(said),
            DialError::NotKith(said) | DialError::Tls(said) => Self::NotKith(said),
            DialError::BrokenOff => {
                Self::NotKith("it closed the connection in the middle of the handshake".to_owned())
            }
            // Whoever says so has proved who he is.
            DialError::RefusedUs(_) | DialError::OtherVersion(_) | DialError::Broken(_) => Self::Friend,
            error @ (DialError::Unreachable(_) | DialError::BadAddress(_) | DialError::OlderInstallation) => {
                Self::Unreachable(error.to_string())
            }
            DialError::Duplicate | DialError::NoBetter | DialError::Helped(_) => return None,
        })
    }

    /// Of a dial to this very address, which always says something of it.
    fn of_dialling(error: DialError) -> Self {
        let words = error.to_string();
        Self::of(error).unwrap_or(Self::Unreachable(words))
    }
}

/// EPERM comes from this computer's own rules and from nobody else; what routers forbid is EACCES or EHOSTUNREACH.
fn is_forbidden(why: &str) -> bool {
    why.contains(&format!("(os error {})", nix::errno::Errno::EPERM as i32))
}

async fn examine_way(
    outbound: &Outbound,
    way: &Way,
    friend: DeviceId,
    made_for_it: &Identity,
    key: Option<&DialInKey>,
) -> Answer {
    let stream = match connect(outbound, way).await {
        Ok(stream) => stream,
        Err(answer) => return answer,
    };
    if stream.local_addr().is_ok_and(|local| local == way.hop) {
        return Answer::Myself;
    }
    let mut long = std::pin::pin!(shake_hands(stream, friend, made_for_it, key, HANDSHAKE));
    let stalled = tokio::select! {
        answer = &mut long => return answer,
        () = tokio::time::sleep(STALL) => in_short_packets(outbound, way, friend, made_for_it, key),
    };
    match tokio::join!(long, stalled) {
        // What was only slow is no fault.
        (Answer::Silent, Some(Answer::Friend)) => Answer::BlackHole,
        (Answer::Silent, Some(other)) if other != Answer::Silent => other,
        (answer, _) => answer,
    }
}

async fn connect(outbound: &Outbound, way: &Way) -> Result<TcpStream, Answer> {
    match tokio::time::timeout(CONNECT, outbound.connect(way)).await {
        // One that is there waits itself, for whom it was asked to call.
        Err(_elapsed) if way.is_proxied() && !is_there(outbound, way).await => {
            Err(Answer::Proxy(ProxyFault::Down, "the proxy did not answer".to_owned()))
        }
        Err(_elapsed) => Err(Answer::NoResponse),
        Ok(made) => made.map_err(Answer::of_dialling),
    }
}

/// Whether the proxy takes connections.
async fn is_there(outbound: &Outbound, way: &Way) -> bool {
    tokio::time::timeout(HOP, outbound.reaches_hop(way)).await.unwrap_or(false)
}

/// The same in packets that fit through everything.
async fn in_short_packets(
    outbound: &Outbound,
    way: &Way,
    friend: DeviceId,
    made_for_it: &Identity,
    key: Option<&DialInKey>,
) -> Option<Answer> {
    let made = tokio::time::timeout(SHORT_HANDSHAKE, outbound.connect_short(way, SHORT_SEGMENT)).await;
    let stream = made.ok()?.ok()?;
    Some(shake_hands(stream, friend, made_for_it, key, SHORT_HANDSHAKE).await)
}

async fn shake_hands(
    stream: TcpStream,
    friend: DeviceId,
    made_for_it: &Identity,
    key: Option<&DialInKey>,
    patience: Duration,
) -> Answer {
    let tag = key.map_or_else(DialInTag::made_up, DialInKey::tag);
    let connector = TlsConnector::from(tls::probe_client_config(made_for_it));
    let handshake = connector.connect(tag.server_name(), SkipGreeting::new(stream));
    match tokio::time::timeout(patience, handshake).await {
        Err(_elapsed) => Answer::Silent,
        Ok(Ok(stream)) if tls::protocol_agreed(stream.get_ref().1).is_err() => {
            Answer::Intercepted("it speaks TLS, and not Kith's protocol".to_owned())
        }
        Ok(Ok(stream)) => match tls::peer_device_id(stream.get_ref().1) {
            Some(found) if found == friend => Answer::Friend,
            found => Answer::OtherDevice(found),
        },
        Ok(Err(error)) => match explain(&error, made_for_it.device_id()) {
            // It refuses the stranger that was made for the test.
            refused @ DialError::RefusedUs(_) => Answer::NotKith(refused.to_string()),
            other => Answer::of_dialling(other),
        },
    }
}

/// A login page answers what is no HTTP with an error of HTTP.
fn is_of_the_web(said: &str) -> bool {
    said.contains("HTTP/1.") || said.to_ascii_lowercase().contains("<html")
}
