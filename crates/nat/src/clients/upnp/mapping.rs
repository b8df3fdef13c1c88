//! Mappings of IPv4 at a WAN connection service.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use igd_next::{PortMappingEntry, PortMappingProtocol};

use super::control::{Problem, gateway, own, through};
use super::device::Device;
use super::http::{Failure, Transport, nonsense};
use super::printable::printable;
use super::soap::Arguments;
use crate::{Answer, Entry, Grant, Lifetime, MapRequest, Refusal, RefusalKind, UnmapRequest};

/// Most entries of a table that are looked at.
const MOST_ENTRIES: u32 = 128;
/// Longest label that is kept, characters.
const LONGEST_LABEL: usize = 64;
/// Ports below this one are the router's own, or other programs'.
const FIRST_PORT: u16 = 1024;

const TCP: PortMappingProtocol = PortMappingProtocol::TCP;

/// Makes or renews a mapping.
pub(super) async fn map(device: &Device, transport: &Transport, request: &MapRequest) -> Answer {
    let port = match add(device, transport, request).await {
        Ok(port) => port,
        Err(problem) => return problem.into(),
    };
    let internal = SocketAddr::new(transport.local(), request.internal_port);
    // The answer says neither how long it lasts nor where it leads. Some routers grant less than was asked, some grant it for
    // ever, and some say yes and make another mapping, or none.
    let lifetime = match specific(device, transport, port).await {
        Ok(Some(entry)) if entry.internal == internal => granted(&entry, request.lifetime),
        Ok(Some(entry)) => return instead(device, transport, request, &entry).await,
        // What can't be read back is believed. What is not there is told when the core looks again: some are slow.
        Ok(None) | Err(_) => request.lifetime,
    };
    Answer::Mapped(Grant { external_port: port, external_ip: None, lifetime, epoch: None, pinhole: None })
}

/// Removes a mapping, if it leads where it is expected to: else it is somebody else's.
pub(super) async fn unmap(device: &Device, transport: &Transport, request: &UnmapRequest) -> Answer {
    let ours = request.former.unwrap_or_else(|| SocketAddr::new(transport.local(), request.internal_port));
    // In between the router may have given the port to another computer, and many delete for anybody. Another program on this
    // computer may have it too, and nothing but this keeps its mapping from us.
    if let Ok(Some(entry)) = specific(device, transport, request.external_port).await
        && entry.internal != ours
    {
        return Answer::Unmapped;
    }
    match delete(device, transport, request.external_port).await {
        Ok(()) => Answer::Unmapped,
        Err(problem) if matches!(problem.code(), Some(713 | 714)) => Answer::Unmapped,
        Err(problem) => problem.into(),
    }
}

/// What the router holds for a port.
pub(super) async fn read_back(device: &Device, transport: &Transport, external_port: u16) -> Answer {
    if !device.readable() {
        let words = "it does not show its mappings".to_owned();
        return Answer::Refused(Refusal { kind: RefusalKind::Unsupported, code: 401, words });
    }
    match specific(device, transport, external_port).await {
        Ok(entry) => Answer::Entry(entry),
        Err(problem) => problem.into(),
    }
}

/// All entries for TCP whose label begins like that. A table that was not read to its end is no answer: what is missing would be
/// taken for gone.
pub(super) async fn entries(device: &Device, transport: &Transport, label: &str) -> Answer {
    let gateway = gateway(device, &device.service);
    let mut entries = Vec::new();
    for index in 0..MOST_ENTRIES {
        match through(transport, &device.service, gateway.get_generic_port_mapping_entry(index)).await {
            Ok(entry) => entries.extend(generic(&entry).filter(|entry| entry.label.starts_with(label))),
            // One odd entry of somebody else's does not hide ours.
            Err(Problem::Odd(_)) => {}
            // Routers find many numbers for "there are no more".
            Err(Problem::Refused(refusal)) if index > 0 || matches!(refusal.code, 713 | 714) => {
                return Answer::Entries(entries);
            }
            // It has answered before: it is no reason to search it anew.
            Err(Problem::Failed(Failure::Closed | Failure::Missing)) if index > 0 => {
                return Answer::Nonsense(format!("its table of mappings breaks off after {index} entries"));
            }
            Err(problem) => return problem.into(),
        }
    }
    Answer::Nonsense(format!("its table of mappings has {MOST_ENTRIES} entries or more"))
}

/// Asks for the mapping; the port that it is on.
async fn add(device: &Device, transport: &Transport, request: &MapRequest) -> Result<u16, Problem> {
    let lease = match request.lifetime {
        Lifetime::Seconds(seconds) => seconds,
        Lifetime::Permanent => 0,
    };
    if request.any_port && device.any_port() {
        match add_any(device, transport, request, lease).await {
            Err(problem) if matches!(problem.code(), Some(401 | 602)) => {
                device.any_port.store(false, Ordering::Relaxed);
            }
            // It may be only this action that fails; what the older one says then counts.
            Err(problem) if matches!(problem.code(), Some(402 | 501)) => {}
            result => return result,
        }
    }
    let internal = SocketAddr::new(transport.local(), request.internal_port);
    let gateway = gateway(device, &device.service);
    let add = gateway.add_port(TCP, request.external_port, internal, lease, &request.label);
    through(transport, &device.service, add).await?;
    Ok(request.external_port)
}

/// `AddAnyPortMapping` with the port that we wish; `igd_next` would ask for a random one.
async fn add_any(
    device: &Device,
    transport: &Transport,
    request: &MapRequest,
    lease: u32,
) -> Result<u16, Problem> {
    let arguments = [
        ("NewRemoteHost", ""),
        ("NewExternalPort", &request.external_port.to_string()),
        ("NewProtocol", "TCP"),
        ("NewInternalPort", &request.internal_port.to_string()),
        ("NewInternalClient", &transport.local().to_string()),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", &request.label),
        ("NewLeaseDuration", &lease.to_string()),
    ];
    let done = own(transport, &device.service, "AddAnyPortMapping", &arguments).await?;
    match done.number::<u16>("NewReservedPort") {
        Some(port) if port >= FIRST_PORT || (port != 0 && port == request.external_port) => Ok(port),
        Some(port) if port != 0 => {
            let internal = SocketAddr::new(transport.local(), request.internal_port);
            if let Ok(Some(entry)) = specific(device, transport, port).await
                && entry.internal == internal
            {
                let deleted = delete(device, transport, port).await;
                tracing::debug!(port, ?deleted, "a mapping on a port that is not ours to use is removed");
            }
            let words = format!("the router chose port {port}, which is not for programs");
            Err(Problem::Refused(Refusal { kind: RefusalKind::Other, code: 0, words }))
        }
        _ => Err(Problem::Odd(done)),
    }
}

/// `GetSpecificPortMappingEntry`, which `igd_next` lacks; `None`: the router holds nothing there.
async fn specific(device: &Device, transport: &Transport, port: u16) -> Result<Option<Entry>, Problem> {
    if !device.readable() {
        return Err(Problem::Failed(nonsense("it does not show its mappings")));
    }
    let arguments = [("NewRemoteHost", ""), ("NewExternalPort", &port.to_string()), ("NewProtocol", "TCP")];
    match own(transport, &device.service, "GetSpecificPortMappingEntry", &arguments).await {
        Ok(done) => match entry(&done, port) {
            Some(entry) => Ok(Some(entry)),
            None => Err(Problem::Odd(done)),
        },
        Err(problem) if matches!(problem.code(), Some(713 | 714)) => Ok(None),
        Err(problem) => {
            if matches!(problem.code(), Some(401 | 602)) {
                device.readable.store(false, Ordering::Relaxed);
            }
            Err(problem)
        }
    }
}

async fn delete(device: &Device, transport: &Transport, port: u16) -> Result<(), Problem> {
    let gateway = gateway(device, &device.service);
    through(transport, &device.service, gateway.remove_port(TCP, port)).await
}

/// The router holds something else than was asked for: what of it we made is removed.
async fn instead(device: &Device, transport: &Transport, request: &MapRequest, entry: &Entry) -> Answer {
    let here = entry.internal.ip() == transport.local();
    // Labels may be cut off. One that is not ours belongs to somebody else, be it another program on this computer.
    let label = printable(&request.label, LONGEST_LABEL);
    let ours = !entry.label.is_empty() && label.starts_with(&entry.label);
    let kind = match () {
        () if here && entry.internal.port() == entry.external_port => RefusalKind::SamePort,
        () if !here && !ours => RefusalKind::Conflict,
        // Also what the router led to another computer on our behalf: on the next port it would do the same.
        () => RefusalKind::Other,
    };
    if ours {
        let deleted = delete(device, transport, entry.external_port).await;
        tracing::debug!(port = entry.external_port, ?deleted, "a mapping that leads elsewhere is removed");
    }
    let words = format!("the router mapped {} to {} instead", entry.external_port, entry.internal);
    Answer::Refused(Refusal { kind, code: 0, words })
}

/// How long an entry lasts. 0 stands for "for ever" and, in some routers, for "I don't say".
fn granted(entry: &Entry, asked: Lifetime) -> Lifetime {
    let left = entry.left.and_then(|left| u32::try_from(left.as_secs()).ok()).filter(|left| *left != 0);
    left.map_or(asked, Lifetime::Seconds)
}

fn entry(done: &Arguments, external_port: u16) -> Option<Entry> {
    Some(Entry {
        external_port,
        internal: SocketAddr::new(
            done.value("NewInternalClient")?.parse::<IpAddr>().ok()?,
            done.number("NewInternalPort")?,
        ),
        left: left(done.number("NewLeaseDuration").unwrap_or(0)),
        label: printable(done.value("NewPortMappingDescription").unwrap_or_default(), LONGEST_LABEL),
        enabled: done.truth("NewEnabled").unwrap_or(true),
    })
}

fn generic(entry: &PortMappingEntry) -> Option<Entry> {
    if entry.protocol != TCP {
        return None;
    }
    Some(Entry {
        external_port: entry.external_port,
        internal: SocketAddr::new(entry.internal_client.parse().ok()?, entry.internal_port),
        left: left(entry.lease_duration),
        label: printable(&entry.port_mapping_description, LONGEST_LABEL),
        enabled: entry.enabled,
    })
}

fn left(seconds: u32) -> Option<Duration> {
    (seconds != 0).then(|| Duration::from_secs(seconds.into()))
}
