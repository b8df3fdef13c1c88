//! From this hub to another: TCP, TLS with both device ids pinned, hello.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use kith_identity::{DeviceId, DialInKey, tls};
use kith_wire::{
    Body, HUBS_LIMIT, HubHello, Link, LinkError, LinkLimits, ServeFuture, Side, Spoken, collect, empty_body,
    json_body, paths,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::hub::core::Hub;

/// Longest time for the name and the TCP connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// Longest time for the handshake, and for the hello.
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// Why another hub is not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// Somebody else, or he doesn't know us.
    #[error("the handshake failed, as it does where this hub is not named in the other's hub.peers: {0}")]
    Handshake(std::io::Error),
    /// Too slow.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The link broke.
    #[error("the link broke: {0}")]
    Link(#[from] LinkError),
    /// It said something that is no hello, or of another version.
    #[error("its hello makes no sense: {0}")]
    Hello(String),
}

/// A link to another hub, its driver, and what it said of itself.
pub(super) type Dialed = (Link, AbortOnDropHandle<LinkError>, HubHello);

/// Dials another hub.
///
/// # Errors
/// See [`PeerError`].
pub(super) async fn dial(hub: &Hub, id: &DeviceId, at: &str) -> Result<Dialed, PeerError> {
    let connecting = timeout(CONNECTED_WITHIN, TcpStream::connect(at)).await;
    let stream = connecting.map_err(|_| PeerError::Slow(CONNECTED_WITHIN))?.map_err(PeerError::Connect)?;
    // Without it all is as it should be, only slower.
    drop(stream.set_nodelay(true));
    let connector = TlsConnector::from(tls::client_config(hub.identity(), *id));
    let name = DialInKey::of_hub(id).tag().server_name();
    let shaking = timeout(DONE_WITHIN, connector.connect(name, stream)).await;
    let stream = shaking.map_err(|_| PeerError::Slow(DONE_WITHIN))?.map_err(PeerError::Handshake)?;
    // What the other hub asks, it asks over a link of its own.
    let nothing = Arc::new(|_request: Request<Body>| -> ServeFuture {
        let mut answer = Response::new(empty_body());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(answer))
    });
    let (link, driver) = Link::start(Box::new(stream), Side::Dialer, nothing, LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let told =
        timeout(DONE_WITHIN, say_hello(&link, hub)).await.map_err(|_| PeerError::Slow(DONE_WITHIN))??;
    Ok((link, driver, told))
}

pub(super) async fn say_hello(link: &Link, hub: &Hub) -> Result<HubHello, PeerError> {
    let broken = |error: &dyn std::fmt::Display| PeerError::Hello(error.to_string());
    let body = json_body(&super::hello(hub)).map_err(|error| broken(&error))?;
    let request = Request::post(paths::HUB_HELLO).header(header::CONTENT_TYPE, "application/json");
    let answer = link.request(request.body(body).map_err(|error| broken(&error))?).await?;
    let status = answer.status();
    let body = collect(answer.into_body(), HUBS_LIMIT).await.map_err(|error| broken(&error))?;
    Spoken::check_hello(&body).map_err(|error| broken(&error))?;
    if status != StatusCode::OK {
        return Err(PeerError::Hello(format!("it answered {status}")));
    }
    let told: HubHello = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
    told.check().map_err(|error| broken(&error))?;
    Ok(told)
}
