//! Where a device's description and services are, and which of the places that it names are believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use url::{Host, Url};

use crate::Uplink;

/// Longest path with its query, bytes.
const LONGEST_PATH: usize = 1024;

/// A checked `http` URL: the address that is dialled, and what is asked for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Address and port; a link-local IPv6 address has its scope.
    pub(super) address: SocketAddr,
    /// Path and query, beginning with `/`.
    pub(super) path: String,
}

/// How near to the gateway a device is. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It is on the gateway.
    Gateway,
    /// The gateway says where it is (a pair of routers that stand in for each other).
    ByGateway,
    /// Another computer says so.
    Other,
}

impl Endpoint {
    /// Reads and checks the LOCATION in the reply that `from` sent.
    ///
    /// Anybody on the local network can send replies, so a LOCATION is a way to have us ask any web server for any page. Believed
    /// are the gateway itself, the sender, and a near private address; never a public one, and never this computer.
    pub(super) fn of_location(location: &str, uplink: &Uplink, from: IpAddr) -> Option<(Self, Rank)> {
        let url = parse(location)?;
        let ip = match url.host()? {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip).to_canonical(),
            Host::Domain(_) => return None,
        };
        if ip.is_ipv4() != uplink.local.to_canonical().is_ipv4() {
            return None;
        }
        let gateway = uplink.gateway.to_canonical();
        let from = from.to_canonical();
        let ours = uplink.local.to_canonical();
        let believed = ip == gateway
            || (ip != ours && is_local(ip) && ip == from)
            || (ip != ours && is_near(ip, uplink));
        let rank = match () {
            () if ip == gateway => Rank::Gateway,
            () if from == gateway => Rank::ByGateway,
            () => Rank::Other,
        };
        let endpoint =
            Self { address: address(ip, url.port_or_known_default()?, uplink.index), path: path(&url)? };
        (believed && endpoint.address.port() != 0).then_some((endpoint, rank))
    }

    /// Where a service of the device described here is, by the `controlURL` and `URLBase` of the description; the best guess
    /// first, at most two. Always the same host, for which nothing but the port and path are taken from the device.
    pub(super) fn services(&self, base: Option<&str>, reference: &str) -> Vec<Self> {
        let Some(here) = self.url() else { return Vec::new() };
        // A base that leads to another address is a leftover of other settings in some routers: then this one counts.
        let base =
            base.and_then(|base| here.join(&without_zone(base)).ok()).filter(|base| self.is_here(base));
        let base = base.unwrap_or(here);
        let reference = without_zone(reference);
        if reference.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        // Where a slash is missing at the beginning, some mean "below the description" and some "below the root".
        for guess in [reference.clone(), format!("/{reference}")] {
            let service =
                base.join(&guess).ok().filter(|url| self.is_here(url)).and_then(|url| self.sibling(&url));
            found.extend(service.filter(|service| !found.contains(service)));
            if reference.starts_with('/') || reference.contains("://") {
                break;
            }
        }
        found
    }

    /// The value of the header field `Host`.
    pub(super) fn host(&self) -> String {
        match self.address.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", self.address.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", self.address.port()),
        }
    }

    /// The page that a device names as its own, if it is on this host and can be shown to a person.
    pub(super) fn page(&self, base: Option<&str>, reference: &str) -> Option<String> {
        let here = self.url()?;
        let base =
            base.and_then(|base| here.join(base).ok()).filter(|base| self.is_here(base)).unwrap_or(here);
        let url = base.join(reference.trim()).ok()?;
        let same = url.host().map(|host| host.to_string()) == self.url()?.host().map(|host| host.to_string());
        let plain =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        (same && plain && url.port() != Some(0) && url.as_str().len() <= 200).then(|| url.into())
    }

    fn url(&self) -> Option<Url> {
        Url::parse(&format!("http://{}{}", self.host(), self.path)).ok()
    }

    /// Whether a URL can stand for this host: the same address, or a name, which is not looked up.
    fn is_here(&self, url: &Url) -> bool {
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return false,
        };
        is_plain(url) && ip.is_none_or(|ip| ip.to_canonical() == self.address.ip())
    }

    fn sibling(&self, url: &Url) -> Option<Self> {
        let mut address = self.address;
        address.set_port(url.port_or_known_default().filter(|port| *port != 0)?);
        Some(Self { address, path: path(url)? })
    }
}

fn parse(text: &str) -> Option<Url> {
    let url = Url::parse(&without_zone(text.trim())).ok()?;
    is_plain(&url).then_some(url)
}

fn is_plain(url: &Url) -> bool {
    url.scheme() == "http" && url.username().is_empty() && url.password().is_none()
}

fn path(url: &Url) -> Option<String> {
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    (path.starts_with('/') && path.len() <= LONGEST_PATH).then_some(path)
}

/// `http://[fe80::1%25eth0]:80/` without the zone, which `Url` does not know and which means nothing to us.
fn without_zone(text: &str) -> String {
    let text = text.trim();
    if let Some((front, rest)) = text.split_once("//[")
        && let Some((host, rest)) = rest.split_once(']')
        && let Some((ip, _)) = host.split_once('%')
    {
        return format!("{front}//[{ip}]{rest}");
    }
    text.to_owned()
}

/// Whether an address is one of local networks, as far as it tells by itself.
const fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => is_link_local(ip) || ip.is_unique_local(),
    }
}

/// Whether an address is in the same network as ours or the gateway's. How large that is is not known here: the sizes that nearly
/// all homes have. In IPv6 a device has several addresses: one that can't be routed in the Internet is near.
fn is_near(ip: IpAddr, uplink: &Uplink) -> bool {
    let near = |other: IpAddr| match (ip, other.to_canonical()) {
        (IpAddr::V4(v4), IpAddr::V4(other)) => {
            is_local(ip) && v4.octets()[..3] == other.octets()[..3] && is_host(v4)
        }
        (IpAddr::V6(v6), IpAddr::V6(other)) => {
            !v6.is_loopback() && (is_local(ip) || v6.octets()[..8] == other.octets()[..8])
        }
        _ => false,
    };
    near(uplink.local) || near(uplink.gateway)
}

const fn is_host(ip: Ipv4Addr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
}

pub(super) const fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

/// A socket address; with a scope where it needs one.
pub(super) fn address(ip: IpAddr, port: u16, index: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(ip) if is_link_local(ip) || ip.is_multicast() => {
            SocketAddrV6::new(ip, port, 0, index).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}
