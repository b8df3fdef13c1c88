//! A visit to a computer whose identity is not known beforehand: how a blank computer asks for its state object.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use kith_identity::{DeviceId, DialInKey, Identity, tls};
use kith_wire::{Body, Hello, HelloAnswer, Link, LinkLimits, ServeFuture, Side, empty_body};
use tokio_util::task::AbortOnDropHandle;

use crate::dial::{DialError, Dialing, dial};
use crate::outbound::{NamedBy, Outbound};
use crate::session::{HELLO_TIMEOUT, judge_answer, say_hello};

/// A link to a computer that has proved its key, though we did not know which to expect. It ends when this is dropped.
pub struct Visit {
    /// Carries requests; what the other side asks is refused.
    pub link: Link,
    /// Who it is.
    pub device: DeviceId,
    /// What it said of itself.
    pub hello: Hello,
    /// Under which address it answered.
    pub address: String,
    _driver: AbortOnDropHandle<kith_wire::LinkError>,
}

/// Dials `host:port` with our identity and asks for a link. The other side recognises us by one of `keys`, the likeliest first, of which
/// at most three are tried.
///
/// # Errors
/// See [`DialError`].
pub async fn visit(
    outbound: &Outbound,
    address: &str,
    identity: &Identity,
    keys: &[DialInKey],
    hello: &Hello,
) -> Result<Visit, DialError> {
    let dialing = Dialing {
        outbound: outbound.clone(),
        friend: None,
        config: tls::client_config_any(identity),
        us: identity.device_id(),
        keys: keys.to_vec(),
    };
    let made = dial(address, NamedBy::Person, &dialing).await?;
    let connection = made.stream.get_ref().1;
    let device = tls::peer_device_id(connection)
        .ok_or_else(|| DialError::NotKith("it shows no certificate of a Kith".into()))?;
    if device == identity.device_id() {
        return Err(DialError::Myself);
    }
    let (link, driver) =
        Link::start(Box::new(made.stream), Side::Dialer, Arc::new(refuse), LinkLimits::default());
    let driver = AbortOnDropHandle::new(tokio::spawn(driver));
    let answer: HelloAnswer = match tokio::time::timeout(HELLO_TIMEOUT, say_hello(&link, hello)).await {
        Ok(answer) => judge_answer(answer?)?,
        Err(_elapsed) => return Err(DialError::Broken("no answer to our hello".into())),
    };
    Ok(Visit { link, device, hello: answer.hello, address: address.to_owned(), _driver: driver })
}

/// A visitor serves nothing.
pub(crate) fn refuse(_request: Request<Body>) -> ServeFuture {
    let mut response = Response::new(empty_body());
    *response.status_mut() = StatusCode::FORBIDDEN;
    Box::pin(std::future::ready(response))
}
