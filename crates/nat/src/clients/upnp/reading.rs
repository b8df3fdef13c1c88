//! What UPnP makes of bytes, each reader from a whole datagram, document or response to what the rest of the program acts on. No
//! network, no clock; takes any bytes. The search and the requests do the same piece by piece; this is where it can be tried.

use std::net::{IpAddr, SocketAddr};

use ::http::Method;
use bytes::Bytes;
use kith_network::Snapshot;
use tokio::io::{AsyncRead, AsyncWrite};

use super::description::{self, Kind};
use super::device;
use super::endpoint::Endpoint;
use super::http;
use super::soap;
use super::ssdp;
use super::xml::Malformed;
use crate::{Answer, Uplink};

/// A place that would be dialled: the address, and what is asked for there.
pub type Place = (SocketAddr, String);

/// What a description comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Maker and model, made printable, at most 64 characters.
    pub model: Option<String>,
    /// The router's own page.
    pub page: Option<String>,
    /// The services for the family of the uplink, the best first; each with one or two guesses where it is.
    pub services: Vec<Vec<(Kind, Place)>>,
}

/// Where the description is fetched if `from` sends this datagram, as long as nothing is known of the network but `uplink`; `None`
/// if nothing is fetched.
#[must_use]
pub fn reply(datagram: &[u8], uplink: &Uplink, from: IpAddr) -> Option<Place> {
    let reply = ssdp::reply(datagram)?;
    let (endpoint, _) = Endpoint::of_location(&reply.location, uplink, &Snapshot::default(), from)?;
    Some((endpoint.address, endpoint.path))
}

/// What a description that was fetched at `place` comes to.
///
/// # Errors
/// If it is no well-formed description within the bounds.
pub fn device(document: &[u8], place: &Place, uplink: &Uplink) -> Result<Device, Malformed> {
    let (address, path) = place.clone();
    let location = Endpoint { address, path };
    let description = description::parse(document)?;
    let page = description.page.as_deref();
    let services = device::services(&description, &location, uplink.family()).into_iter();
    let guesses = |guesses: Vec<device::Service>| {
        let guesses = guesses.into_iter();
        guesses.map(|guess| (guess.kind, (guess.endpoint.address, guess.endpoint.path))).collect()
    };
    Ok(Device {
        model: device::model(&description, None),
        page: page.and_then(|page| location.page(description.base.as_deref(), page)),
        services: services.map(guesses).collect(),
    })
}

/// What `igd_next` gets to see of a response to an action.
///
/// # Errors
/// If it is no well-formed response within the bounds.
pub fn handed_on(document: &[u8]) -> Result<Option<String>, Malformed> {
    soap::response(document).map(|response| match response {
        soap::Response::Done(arguments) => Some(arguments.render()),
        soap::Response::Fault { .. } => None,
    })
}

/// Status and body of the response that a stream brings to a request for a description.
///
/// # Errors
/// The answer that becomes of it instead.
pub async fn response<S>(stream: S) -> Result<(u16, Bytes), Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let to = Endpoint { address: ([192, 168, 1, 1], 5000).into(), path: "/".to_owned() };
    let request = http::request(Method::GET, &to, Bytes::new())?;
    let response = http::over(stream, request, description::LARGEST).await?;
    Ok((response.status.as_u16(), response.body))
}
