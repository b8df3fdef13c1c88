//! Pinholes of IPv6 at a firewall control service (WANIPv6FirewallControl:1).

use std::net::{IpAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError};

use igd_next::PortMappingProtocol;

use super::control::{Problem, gateway, through};
use super::device::Device;
use super::http::{Transport, nonsense};
use crate::{Answer, Grant, Lifetime, MapRequest, Refusal, RefusalKind, UnmapRequest};

/// Longest time that a pinhole may be asked for, seconds (section 2.3.4); there are no permanent ones.
const LONGEST_LEASE: u32 = 86_400;
/// The firewall is off: everything is open.
const FIREWALL_DISABLED: u16 = 702;
/// There is no pinhole of that number.
const NO_SUCH_ENTRY: u16 = 704;
/// The arguments are wrong. `DeletePinhole` has but the number: `miniupnpd` says so where the one above is meant.
const INVALID_ARGUMENTS: u16 = 402;

/// Most numbers that are remembered; one is in use at a time.
const MOST_GIVEN: usize = 16;

/// The numbers of pinholes that a device gave us. After a restart a router's numbers begin anew, and what was ours may be another
/// computer's; nothing shows whose a pinhole is. So a number counts only at the device that gave it, until that is searched anew:
/// then it gives a number for the same pinhole anew. One that does not count any more goes with its lease.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<Vec<u16>>);

impl Given {
    fn add(&self, number: u16) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.retain(|known| *known != number);
        if numbers.len() >= MOST_GIVEN {
            numbers.remove(0);
        }
        numbers.push(number);
    }

    fn has(&self, number: u16) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    fn remove(&self, number: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != number);
    }
}

/// Makes or renews a pinhole.
pub(super) async fn map(device: &Device, transport: &Transport, request: &MapRequest) -> Answer {
    let lease = match request.lifetime {
        Lifetime::Seconds(seconds) => seconds.clamp(1, LONGEST_LEASE),
        Lifetime::Permanent => LONGEST_LEASE,
    };
    let grant = |pinhole| {
        Answer::Mapped(Grant {
            external_port: request.internal_port,
            external_ip: None,
            lifetime: Lifetime::Seconds(lease),
            epoch: None,
            pinhole,
        })
    };
    if let Some(pinhole) = request.pinhole.filter(|pinhole| device.pinholes.has(*pinhole)) {
        match update(device, transport, pinhole, lease).await {
            Ok(()) => return grant(Some(pinhole)),
            // It is gone; routers find many numbers of errors for that.
            Err(Problem::Refused(refusal)) => {
                device.pinholes.remove(pinhole);
                tracing::debug!(pinhole, ?refusal, "a pinhole can't be renewed");
            }
            Err(problem) => return told(problem),
        }
    }
    if let Err(problem) = allowed(device, transport).await {
        return told(problem);
    }
    match add(device, transport, request.internal_port, lease).await {
        Ok(pinhole) => {
            device.pinholes.add(pinhole);
            grant(Some(pinhole))
        }
        Err(problem) if problem.code() == Some(FIREWALL_DISABLED) => grant(None),
        Err(problem) => told(problem),
    }
}

/// Closes a pinhole, if it is known to be ours.
pub(super) async fn unmap(device: &Device, transport: &Transport, request: &UnmapRequest) -> Answer {
    let ours = request.pinhole.filter(|pinhole| device.pinholes.has(*pinhole));
    let Some(pinhole) = ours else { return Answer::Unmapped };
    let gateway = gateway(device, &device.service);
    match through(transport, &device.service, gateway.remove_pinhole(pinhole)).await {
        Ok(()) => {
            device.pinholes.remove(pinhole);
            Answer::Unmapped
        }
        Err(problem)
            if matches!(problem.code(), Some(NO_SUCH_ENTRY | FIREWALL_DISABLED | INVALID_ARGUMENTS)) =>
        {
            Answer::Unmapped
        }
        Err(problem) => told(problem),
    }
}

/// There are no actions that show pinholes.
pub(super) fn unreadable() -> Answer {
    let words = "pinholes are not shown".to_owned();
    Answer::Refused(Refusal { kind: RefusalKind::Unsupported, code: 401, words })
}

/// Whether the firewall lets itself be opened. What does not say so is tried.
pub(super) async fn allowed(device: &Device, transport: &Transport) -> Result<(), Problem> {
    let gateway = gateway(device, &device.service);
    match through(transport, &device.service, gateway.get_firewall_status()).await {
        Ok(status) if status.firewall_enabled && !status.inbound_pinhole_allowed => {
            let words = "its IPv6 firewall does not let programs open ports".to_owned();
            Err(Problem::Refused(Refusal { kind: RefusalKind::NotAuthorized, code: 703, words }))
        }
        Ok(_) | Err(Problem::Refused(_) | Problem::Odd(_)) => Ok(()),
        Err(problem) => Err(problem),
    }
}

async fn add(device: &Device, transport: &Transport, port: u16, lease: u32) -> Result<u16, Problem> {
    let IpAddr::V6(ip) = transport.local() else {
        return Err(Problem::Failed(nonsense("pinholes are for IPv6")));
    };
    let gateway = gateway(device, &device.service);
    let client = SocketAddrV6::new(ip, port, 0, 0);
    through(transport, &device.service, gateway.add_pinhole(PortMappingProtocol::TCP, client, lease)).await
}

async fn update(device: &Device, transport: &Transport, pinhole: u16, lease: u32) -> Result<(), Problem> {
    let gateway = gateway(device, &device.service);
    through(transport, &device.service, gateway.update_pinhole(pinhole, lease)).await
}

/// This service has numbers of its own for errors (section 2.5).
fn told(problem: Problem) -> Answer {
    let Problem::Refused(mut refusal) = problem else { return problem.into() };
    refusal.kind = match refusal.code {
        701 => RefusalKind::NoResources,
        606 | 703 => RefusalKind::NotAuthorized,
        705 => RefusalKind::Unsupported,
        702 | 704 | 706..=709 => RefusalKind::Other,
        _ => refusal.kind,
    };
    Answer::Refused(refusal)
}
