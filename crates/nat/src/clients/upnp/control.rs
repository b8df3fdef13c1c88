//! Actions of a device's services.
//!
//! `igd_next` writes the requests and reads the responses of the actions that it has. What it does not do right is done here, in
//! its [`Provider`]: it connects from any address, loses the number of an error whose description is empty, and reads whatever XML
//! comes. So the response is fetched by our [`Transport`], read by [`soap::response`], and handed on written anew: `igd_next` never
//! sees a byte of the device's own. [`own`] are actions that it lacks, and `AddAnyPortMapping`, where it wants a random port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use igd_next::RequestError;
use igd_next::aio::{Gateway, Provider};

use super::device::{Device, Service};
use super::http::{Failure, Transport, nonsense};
use super::printable::printable;
use super::soap::{self, Arguments};
use crate::{Answer, Refusal, RefusalKind};

/// Why an action gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The device said no.
    Refused(Refusal),
    /// There was no answer that can be used.
    Failed(Failure),
    /// It did what was asked, and its answer lacks something.
    Odd(Arguments),
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Refused(refusal) => Self::Refused(refusal),
            Problem::Failed(failure) => failure.into(),
            Problem::Odd(arguments) => {
                Self::Nonsense(format!("{} lacks a value, or has an odd one", printable(&arguments.name, 64)))
            }
        }
    }
}

impl Problem {
    /// The number of the refusal.
    pub(super) const fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Failed(_) | Self::Odd(_) => None,
        }
    }
}

/// What an error of a WAN connection service means (WANIPConnection:2, section 2.5; WANIPv6FirewallControl:1 has its own).
pub(super) fn refusal(code: u16, words: String) -> Refusal {
    let kind = match code {
        718 => RefusalKind::Conflict,
        725 => RefusalKind::OnlyPermanent,
        724 => RefusalKind::SamePort,
        606 => RefusalKind::NotAuthorized,
        728 | 729 => RefusalKind::NoResources,
        401 | 602 => RefusalKind::Unsupported,
        402 | 501 => RefusalKind::Failed,
        // 715, 716, 726 and 727 among them: only wildcards are allowed, or none.
        _ => RefusalKind::Other,
    };
    Refusal { kind, code, words }
}

/// An action with its own envelope.
pub(super) async fn own(
    transport: &Transport,
    service: &Service,
    action: &str,
    arguments: &[(&str, &str)],
) -> Result<Arguments, Problem> {
    let urn = service.kind.urn();
    let body = soap::request(urn, action, arguments);
    match send(transport, service, &format!("\"{urn}#{action}\""), body).await {
        Ok(soap::Response::Done(arguments)) => Ok(arguments),
        Ok(soap::Response::Fault { code, words }) => Err(Problem::Refused(refusal(code, words))),
        Err(failure) => Err(Problem::Failed(failure)),
    }
}

/// An action by `igd_next`: `request` is a call of a [`Gateway`] of this device.
pub(super) async fn through<T, E>(
    transport: &Transport,
    service: &Service,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    let call =
        Arc::new(Call { transport: transport.clone(), service: service.clone(), came: Mutex::default() });
    let result = CALL.scope(Arc::clone(&call), Box::pin(request)).await;
    let came = call.came.lock().unwrap_or_else(PoisonError::into_inner).take();
    result.map_err(|_| match came {
        Some(Ok(soap::Response::Done(arguments))) => Problem::Odd(arguments),
        Some(Ok(soap::Response::Fault { code, words })) => Problem::Refused(refusal(code, words)),
        Some(Err(failure)) => Problem::Failed(failure),
        None => Problem::Failed(nonsense("the request can't be written")),
    })
}

/// The device for `igd_next`. Its addresses are not used: the service is in [`CALL`].
pub(super) fn gateway(device: &Device, service: &Service) -> Gateway<Bounded> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let control_schema = HashMap::from([
        ("AddPortMapping".to_owned(), names(ADD)),
        ("DeletePortMapping".to_owned(), names(&ADD[..3])),
    ]);
    Gateway {
        addr: service.endpoint.address,
        root_url: device.location.path.clone(),
        control_url: "/".to_owned(),
        control_schema_url: String::new(),
        control_schema,
        service_type: service.kind.urn().to_owned(),
        ipv6_firewall_control_url: Some("/".to_owned()),
        provider: Bounded,
    }
}

/// The arguments of `AddPortMapping` in the order of the standard, on which some routers insist. The first three are those that
/// name a mapping.
const ADD: &[&str] = &[
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];

tokio::task_local! {
    /// The call that a [`Bounded`] is made for: `igd_next` asks for a type, not a value.
    static CALL: Arc<Call>;
}

struct Call {
    transport: Transport,
    service: Service,
    came: Mutex<Option<Result<soap::Response, Failure>>>,
}

/// The transport that `igd_next` uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded;

impl Provider for Bounded {
    async fn send_async(_url: &str, action: &str, body: &str) -> Result<String, RequestError> {
        let call = CALL
            .try_with(Arc::clone)
            .map_err(|_| RequestError::InvalidResponse("a request outside of a call".to_owned()))?;
        let came = send(&call.transport, &call.service, action, body.to_owned()).await;
        let result = match &came {
            Ok(soap::Response::Done(arguments)) => Ok(arguments.render()),
            Ok(soap::Response::Fault { code, words }) => Err(RequestError::ErrorCode(*code, words.clone())),
            Err(_) => Err(RequestError::InvalidResponse(String::new())),
        };
        *call.came.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
        result
    }
}

async fn send(
    transport: &Transport,
    service: &Service,
    action: &str,
    body: String,
) -> Result<soap::Response, Failure> {
    let response = transport.post(&service.endpoint, action, body, soap::LARGEST).await?;
    match response.status {
        StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => soap::response(&response.body)
            .map_err(|error| nonsense(&format!("status {}, and {error}", response.status))),
        StatusCode::NOT_FOUND => Err(Failure::Missing),
        status => Err(nonsense(&format!("status {} for a request", status.as_u16()))),
    }
}
