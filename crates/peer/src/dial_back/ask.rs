//! The asker's half.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, header};
use kith_identity::{DialInKey, Identity, tls};
use kith_wire::{
    DIAL_BACK_LIMIT, DeviceId, DialBackAnswer, DialBackNonce, DialBackOrder, DialBackRefusal, Link,
    LinkError, LinkLimits, Side, collect, json_body, paths,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{DialError, Dialing, dial_over};
use crate::outbound::{Outbound, local_port};
use crate::visit::refuse;

/// How long the goodbye of a connection that was made for the question may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a friend did not say what he met.
#[derive(Debug, thiserror::Error)]
pub enum AskDialBackError {
    /// What should be asked is nothing that can be asked.
    #[error(transparent)]
    Order(#[from] DialBackRefusal),
    /// The connection for the question did not come about.
    #[error("no connection for the question: {0}")]
    Connect(#[from] DialError),
    /// The link is over, or the exchange failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// He doesn't know the question.
    #[error("the other computer's program calls nobody back: it is older")]
    NotSpoken,
    /// He won't.
    #[error("the other computer refused to call back: {status}")]
    Refused {
        /// With this.
        status: StatusCode,
    },
    /// No answer in time.
    #[error("no answer to the request for a call within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The answer makes no sense.
    #[error("the answer to the request for a call makes no sense: {0}")]
    Nonsense(String),
}

/// Who asks, and by which keys the friend may recognise him.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// See [`Host::dial_in_keys`](crate::Host::dial_in_keys).
    pub keys: &'a [DialInKey],
    /// How connections leave this computer.
    pub outbound: &'a Outbound,
}

/// Asks the friend at the other end of a link to call at these addresses, one of each family at most, and to bring this nonce.
///
/// He calls only at an IP address from which we have a connection to him, and takes up to eight seconds for it. His answer explains; proof
/// is the nonce at the listener alone, which must wait for it before this is called.
///
/// # Errors
/// If there is no answer; see [`AskDialBackError`].
pub async fn ask_dial_back(
    link: &Link,
    addresses: &[SocketAddr],
    nonce: DialBackNonce,
    patience: Duration,
) -> Result<DialBackAnswer, AskDialBackError> {
    let order = DialBackOrder::new(addresses, nonce)?;
    tokio::time::timeout(patience, ask(link, &order))
        .await
        .unwrap_or(Err(AskDialBackError::NoAnswer(patience)))
}

/// The same over a connection that is made for this question and closed after it: from our address `from`, or one that the system chooses, to
/// the friend at `to`. It is for addresses from which the link does not come: those of the other family, or another one of this
/// computer. What the link's address allows may be asked for in the same request.
///
/// # Errors
/// If there is no connection, or no answer; see [`AskDialBackError`].
pub async fn ask_dial_back_from(
    asker: Asker<'_>,
    friend: DeviceId,
    to: SocketAddr,
    from: Option<IpAddr>,
    addresses: &[SocketAddr],
    nonce: DialBackNonce,
    patience: Duration,
) -> Result<DialBackAnswer, AskDialBackError> {
    let order = DialBackOrder::new(addresses, nonce)?;
    let until = Instant::now() + patience;
    let too_late = |_| AskDialBackError::NoAnswer(patience);
    let dialing = Dialing {
        outbound: asker.outbound.clone(),
        friend: Some(friend),
        config: tls::client_config(asker.identity, friend),
        us: asker.identity.device_id(),
        keys: asker.keys.to_vec(),
    };
    let stream = timeout_at(until, dial_over(&dialing, || connect(asker.outbound, to, from)))
        .await
        .map_err(too_late)??;
    let (link, driver) = Link::start(Box::new(stream), Side::Dialer, Arc::new(refuse), LinkLimits::default());
    let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let answer = timeout_at(until, ask(&link, &order)).await.map_err(too_late);
    link.close("the question was answered");
    drop(tokio::time::timeout(GOODBYE, link.ended()).await);
    answer?
}

async fn connect(outbound: &Outbound, to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, DialError> {
    if !outbound.allows_directly(to) {
        return Err(DialError::NotAllowed(to.to_string()));
    }
    let connected = local_port::connect(to, from, outbound.ports().as_ref(), |_| {}).await;
    connected.map_err(|error| DialError::of_connecting(&error))
}

async fn ask(link: &Link, order: &DialBackOrder) -> Result<DialBackAnswer, AskDialBackError> {
    let nonsense = |error: &dyn std::fmt::Display| AskDialBackError::Nonsense(error.to_string());
    let body = json_body(&order.request()).map_err(|error| nonsense(&error))?;
    let request = Request::post(paths::DIAL_BACK)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| nonsense(&error))?;
    let answer = link.request(request).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(AskDialBackError::NotSpoken),
        status => return Err(AskDialBackError::Refused { status }),
    }
    let body = collect(answer.into_body(), DIAL_BACK_LIMIT).await.map_err(|error| nonsense(&error))?;
    let answer: DialBackAnswer = serde_json::from_slice(&body).map_err(|error| nonsense(&error))?;
    answer.check().map_err(|error| nonsense(&error))?;
    Ok(answer)
}
