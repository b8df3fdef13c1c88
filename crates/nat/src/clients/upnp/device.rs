//! A gateway device: found, described, and ready to be asked.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use http::StatusCode;
use tokio::time::{Instant, timeout_at};

use super::control::{Problem, gateway, own, through};
use super::description::{self, Description, Kind};
use super::endpoint::Endpoint;
use super::http::{Failure, Transport, nonsense};
use super::printable::printable;
use super::{mapping, pinhole};
use crate::clients::udp::far_side;
use crate::{Answer, Family, Found, Request, Uplink};

/// Longest name of a model, characters.
const LONGEST_MODEL: usize = 64;
/// Most connection services that are asked which of them is connected.
const MOST_ASKED: usize = 4;
/// How long a connection service that is up waits for better kinds of the same device.
const GRACE: Duration = Duration::from_millis(600);

/// A service of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// What it is.
    pub(super) kind: Kind,
    /// Where it takes requests.
    pub(super) endpoint: Endpoint,
}

/// A device that was found.
#[derive(Debug)]
pub(super) struct Device {
    /// Where its description is.
    pub(super) location: Endpoint,
    /// What makes mappings: of IPv4 a WAN connection, of IPv6 a firewall control.
    pub(super) service: Service,
    /// Whether it has `AddAnyPortMapping`, as far as is known.
    pub(super) any_port: AtomicBool,
    /// Whether it shows its mappings, as far as is known.
    pub(super) readable: AtomicBool,
    /// The pinholes that it gave us since it was found.
    pub(super) pinholes: pinhole::Given,
}

/// How much a connection service is worth. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It is connected and has an address.
    Up,
    /// It has an address.
    Addressed,
    /// It answers.
    There,
    /// It does not.
    Dead,
}

impl Device {
    /// Fetches and reads the description, and asks the service something harmless: `Err` if there is no device that can be used,
    /// else what came of the question.
    pub(super) async fn open(
        location: Endpoint,
        uplink: &Uplink,
        transport: &Transport,
    ) -> Result<(Self, Answer), Failure> {
        let response = transport.get(&location, description::LARGEST).await?;
        match response.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::Missing),
            status => return Err(nonsense(&format!("status {} for its description", status.as_u16()))),
        }
        let description = description::parse(&response.body).map_err(|error| nonsense(&error.to_string()))?;
        let family = uplink.family();
        let services = services(&description, &location, family);
        let service = Self::choose(services, transport).await?;
        let device = Self {
            any_port: AtomicBool::new(service.kind == Kind::Ip2),
            readable: AtomicBool::new(family == Family::V4),
            pinholes: pinhole::Given::default(),
            location,
            service,
        };
        let answer = device.greet(transport).await?;
        let answer = match answer {
            Answer::Found(found) => {
                // In IPv6 a router has several addresses: which of them are the gateway's is not known.
                let elsewhere =
                    family == Family::V4 && device.location.address.ip() != uplink.gateway.to_canonical();
                let page = description.page.as_deref().filter(|_| !elsewhere && family == Family::V4);
                let page = page.and_then(|page| device.location.page(description.base.as_deref(), page));
                let model = model(&description, Some(device.location.address.ip()).filter(|_| elsewhere));
                Answer::Found(Found { model, page, ..found })
            }
            answer => answer,
        };
        Ok((device, answer))
    }

    /// Answers anything but [`Request::Discover`].
    pub(super) async fn answer(&self, transport: &Transport, request: &Request) -> Answer {
        match (request, self.service.kind) {
            (Request::Discover, _) => Answer::Nonsense("a device that is known is not searched".to_owned()),
            (Request::Map(request), Kind::Firewall) => pinhole::map(self, transport, request).await,
            (Request::Unmap(request), Kind::Firewall) => pinhole::unmap(self, transport, request).await,
            (Request::ReadBack { .. } | Request::Entries { .. }, Kind::Firewall) => pinhole::unreadable(),
            (Request::Map(request), _) => mapping::map(self, transport, request).await,
            (Request::Unmap(request), _) => mapping::unmap(self, transport, request).await,
            (Request::ReadBack { external_port }, _) => {
                mapping::read_back(self, transport, *external_port).await
            }
            (Request::Entries { label }, _) => mapping::entries(self, transport, label).await,
        }
    }

    /// Whether `AddAnyPortMapping` is worth a try.
    pub(super) fn any_port(&self) -> bool {
        self.any_port.load(Ordering::Relaxed)
    }

    /// Whether `GetSpecificPortMappingEntry` is worth a try.
    pub(super) fn readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    /// Takes over what was learned about the same device before; not the pinholes, for it may have been restarted in between.
    pub(super) fn learn(&self, before: &Self) {
        if self.location == before.location && self.service == before.service {
            self.any_port.fetch_and(before.any_port(), Ordering::Relaxed);
            self.readable.fetch_and(before.readable(), Ordering::Relaxed);
        }
    }

    /// Which of several services to use: one that is connected, else the best by its kind. `services` are in that order, each
    /// with the guesses where it is.
    async fn choose(mut services: Vec<Vec<Service>>, transport: &Transport) -> Result<Service, Failure> {
        if services.is_empty() {
            return Err(nonsense("the device has no service that makes mappings"));
        }
        if services.len() > 1 {
            let best = best(&services, transport).await;
            services.swap(0, best);
        }
        let mut guesses = services.swap_remove(0).into_iter();
        let (first, second) = (guesses.next(), guesses.next());
        match (first, second) {
            (Some(first), Some(second)) => {
                // The description can be read in two ways: the first counts unless nothing is there.
                let status = own(transport, &first, "GetStatusInfo", &[]).await;
                Ok(if status == Err(Problem::Failed(Failure::Missing)) { second } else { first })
            }
            (Some(only), None) => Ok(only),
            _ => Err(nonsense("the services of the device have no addresses")),
        }
    }

    async fn greet(&self, transport: &Transport) -> Result<Answer, Failure> {
        let outcome = if self.service.kind == Kind::Firewall {
            pinhole::allowed(self, transport).await.map(|()| None)
        } else {
            let gateway = gateway(self, &self.service);
            let asked = through(transport, &self.service, gateway.get_external_ip()).await;
            match asked {
                Ok(ip) => Ok(Some(ip).filter(IpAddr::is_ipv4).and_then(far_side)),
                // Without an address of its own a router leaves it empty, or writes something into it.
                Err(Problem::Odd(_)) => Ok(None),
                Err(problem) => Err(problem),
            }
        };
        match outcome {
            Ok(external_ip) => Ok(Answer::Found(Found { external_ip, ..Found::default() })),
            Err(Problem::Failed(failure)) => Err(failure),
            Err(problem) => Ok(problem.into()),
        }
    }
}

/// Which of several services is worth most; of equal ones the first. They are asked side by side: one that is dead holds up none.
async fn best(services: &[Vec<Service>], transport: &Transport) -> usize {
    let firsts = services.iter().enumerate().take(MOST_ASKED);
    let firsts = firsts.filter_map(|(number, guesses)| Some((number, guesses.first()?)));
    let mut asked: FuturesUnordered<_> =
        firsts.map(async |(number, service)| (worth(service, transport).await, number)).collect();
    let (mut best, mut until) = ((Worth::Dead, 0), transport.deadline());
    while let Ok(Some(found)) = timeout_at(until, asked.next()).await {
        best = best.min(found);
        if best.0 == Worth::Up {
            until = until.min(Instant::now() + GRACE);
        }
    }
    best.1
}

async fn worth(service: &Service, transport: &Transport) -> Worth {
    let status = own(transport, service, "GetStatusInfo", &[]).await;
    if let Err(Problem::Failed(Failure::Silent | Failure::Closed)) = status {
        return Worth::Dead;
    }
    let connected = status.is_ok_and(|status| {
        status.value("NewConnectionStatus").is_some_and(|status| status.eq_ignore_ascii_case("connected"))
    });
    let address = match own(transport, service, "GetExternalIPAddress", &[]).await {
        Ok(address) => address.value("NewExternalIPAddress").and_then(|ip| ip.trim().parse::<IpAddr>().ok()),
        Err(Problem::Refused(_) | Problem::Odd(_)) => None,
        Err(Problem::Failed(_)) => return Worth::Dead,
    };
    match address.filter(IpAddr::is_ipv4).and_then(far_side) {
        Some(_) if connected => Worth::Up,
        Some(_) => Worth::Addressed,
        None => Worth::There,
    }
}

/// The services for a family of addresses, the best kinds first.
pub(super) fn services(description: &Description, location: &Endpoint, family: Family) -> Vec<Vec<Service>> {
    let wanted = |kind: Kind| (kind == Kind::Firewall) == (family == Family::V6);
    let mut services: Vec<Vec<Service>> = Vec::new();
    for described in description.services.iter().filter(|described| wanted(described.kind)) {
        let guesses = location.services(description.base.as_deref(), &described.control).into_iter();
        let guesses: Vec<_> = guesses.map(|endpoint| Service { kind: described.kind, endpoint }).collect();
        if !guesses.is_empty() && !services.contains(&guesses) {
            services.push(guesses);
        }
    }
    services.sort_by_key(|guesses| guesses.first().map(|service| service.kind));
    services
}

/// Maker and model in one, without saying the maker twice; and the address of a device that is not where one expects it.
pub(super) fn model(description: &Description, elsewhere: Option<IpAddr>) -> Option<String> {
    let maker = description.maker.as_deref().unwrap_or_default().trim();
    let model = description.model.as_deref().unwrap_or_default().trim();
    let whole = if model.to_lowercase().starts_with(&maker.to_lowercase()) {
        model.to_owned()
    } else {
        format!("{maker} {model}")
    };
    let whole = match elsewhere.map(|ip| format!(" at {ip}")) {
        Some(place) => match printable(&whole, LONGEST_MODEL - place.len()) {
            nameless if nameless.is_empty() => format!("a device{place}"),
            name => name + &place,
        },
        None => printable(&whole, LONGEST_MODEL),
    };
    (!whole.is_empty()).then_some(whole)
}
