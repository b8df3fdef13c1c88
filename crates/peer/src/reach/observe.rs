//! From where a port of ours is seen: asked over a short connection that comes from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use kith_identity::{DeviceId, tls};
use kith_wire::{Link, LinkError, LinkLimits, Observed, RENDEZVOUS_LIMIT, Side, collect, empty_body, paths};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::port::PunchPort;
use crate::dial::{CONNECT_TIMEOUT, DialError, Dialing, dial_over};
use crate::dial_back::Asker;
use crate::outbound::{FixedPortRefusal, Held, Outbound, SocketPurpose, SocketUse};
use crate::visit::refuse;

/// Between two tries while there is a connection of the same two ends.
const AFTER_COLLISION: Duration = Duration::from_millis(50);
/// How long such a connection is waited for to go: one that was ended a moment ago has gone by then.
const LONGEST_COLLISION: Duration = Duration::from_secs(1);

/// It was not learned from where a port is seen.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The settings forbid such connections.
    #[error("it can't be asked from where port {port} is seen: {refusal}")]
    Refused {
        /// The local port.
        port: u16,
        /// Why.
        #[source]
        refusal: FixedPortRefusal,
    },
    /// The port can't be used.
    #[error("it can't be asked from where port {port} is seen: the port can't be used")]
    Port {
        /// The local port.
        port: u16,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The port has a connection to the same place, which doesn't go away.
    #[error("port {port} has a connection to {at} already")]
    Collision {
        /// The local port.
        port: u16,
        /// Whom it leads to.
        at: SocketAddr,
    },
    /// The connection for the question did not come about.
    #[error("no connection for the question: {0}")]
    Connect(#[from] DialError),
    /// The exchange failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// He doesn't know the question, or can't see us.
    #[error("the other computer can't tell from where this one is seen: {status}")]
    NotTold {
        /// With this.
        status: StatusCode,
    },
    /// No answer in time.
    #[error("no answer to the question from where this computer is seen within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The answer makes no sense.
    #[error("the answer to the question from where this computer is seen makes no sense: {0}")]
    Nonsense(String),
}

/// From where a port is seen. The connection that asked stands until this is dropped, or the other side closes it after some ten seconds:
/// many routers keep a port of theirs for ours only while there is one. Then it is reset, so that nothing keeps the same two ends from meeting again.
#[derive(Debug)]
pub struct Observation {
    address: SocketAddr,
    driver: AbortOnDropHandle<LinkError>,
    _socket: Held,
}

impl Observation {
    /// As the other side said it, who may be wrong or lie: worth a try, and nothing else.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the connection that asked still stands.
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Ends the connection and returns when it is gone.
    pub async fn end(self) {
        self.driver.abort();
        // An aborted task always ends in an error that says so.
        self.driver.await.ok();
    }
}

/// Asks a carrier at one of its addresses from where `port` is seen. Nothing is said there that makes the connection a link.
///
/// # Errors
/// See [`ObserveError`].
pub async fn observe(
    asker: Asker<'_>,
    carrier: DeviceId,
    at: SocketAddr,
    port: &PunchPort,
    patience: Duration,
) -> Result<Observation, ObserveError> {
    let local = port.address();
    let refused = |refusal| ObserveError::Refused { port: local.port(), refusal };
    asker.outbound.allows_from_port(local.port(), at).map_err(refused)?;
    let unusable = |source| ObserveError::Port { port: local.port(), source };
    drop(asker.outbound.socket_at(local).map_err(unusable)?);
    let socket =
        asker.outbound.hold(SocketUse { local, remote: Some(at), purpose: SocketPurpose::Observation });
    let until = Instant::now() + patience;
    let too_late = |_| ObserveError::NoAnswer(patience);
    let dialing = Dialing {
        outbound: asker.outbound.clone(),
        friend: Some(carrier),
        config: tls::client_config(asker.identity, carrier),
        us: asker.identity.device_id(),
        keys: asker.keys.to_vec(),
    };
    let collided = AtomicBool::new(false);
    let dialled = dial_over(&dialing, || connect(asker.outbound, local, at, &collided));
    let stream = timeout_at(until, Box::pin(dialled)).await.map_err(too_late)?.map_err(|error| {
        if collided.load(Ordering::Relaxed) {
            ObserveError::Collision { port: local.port(), at }
        } else {
            error.into()
        }
    })?;
    let (link, driver) = Link::start(Box::new(stream), Side::Dialer, Arc::new(refuse), LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let address = timeout_at(until, ask(&link)).await.map_err(too_late)??;
    Ok(Observation { address, driver, _socket: socket })
}

async fn connect(
    outbound: &Outbound,
    local: SocketAddr,
    at: SocketAddr,
    collided: &AtomicBool,
) -> Result<TcpStream, DialError> {
    let begun = Instant::now();
    loop {
        let socket = outbound.socket_at(local).map_err(|error| DialError::of_connecting(&error))?;
        let error = match timeout_at(begun + CONNECT_TIMEOUT, socket.connect(at)).await {
            Err(_elapsed) => return Err(DialError::NoResponse(CONNECT_TIMEOUT)),
            Ok(Ok(stream)) if stream.local_addr().ok() == Some(at) => return Err(DialError::Myself),
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
        };
        let collides = matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse);
        if !collides || begun.elapsed() >= LONGEST_COLLISION {
            collided.store(collides, Ordering::Relaxed);
            return Err(DialError::of_connecting(&error));
        }
        sleep(AFTER_COLLISION).await;
    }
}

async fn ask(link: &Link) -> Result<SocketAddr, ObserveError> {
    let nonsense = |error: &dyn std::fmt::Display| ObserveError::Nonsense(error.to_string());
    let request = Request::get(paths::OBSERVED).body(empty_body()).map_err(|error| nonsense(&error))?;
    let answer = link.request(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(ObserveError::NotTold { status: answer.status() });
    }
    let body = collect(answer.into_body(), RENDEZVOUS_LIMIT).await.map_err(|error| nonsense(&error))?;
    let observed: Observed = serde_json::from_slice(&body).map_err(|error| nonsense(&error))?;
    observed.address().ok_or_else(|| nonsense(&"it is no address that a connection can come from"))
}
