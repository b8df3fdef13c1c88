//! Where a device's description and services are, and which of the places that it names are believed.

use std::net::{IpAddr, SocketAddr};

use kith_network::Snapshot;
use url::{Host, Url};

use crate::Uplink;
use crate::clients::sockets::scoped;

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
    /// It is on the gateway, which says so itself.
    Gateway,
    /// The gateway says where it is: one of a pair of routers that stand in for each other, or in IPv6 another of its addresses.
    ByGateway,
    /// Another computer says that it is one.
    Other,
}

impl Endpoint {
    /// Reads and checks the LOCATION in the reply that `from` sent; `snapshot` is the network as it is now.
    ///
    /// Anybody on the local network can send replies, so a LOCATION is a way to have us ask a web server for a page, from our
    /// address. Heard is who is on the link of the uplink, or its gateway. Believed is the gateway about itself and about others on
    /// that link (see [`Rank::ByGateway`]), and everybody else about himself alone; never a place out of the link, and never this
    /// computer by any of its addresses.
    pub(super) fn of_location(
        location: &str,
        uplink: &Uplink,
        snapshot: &Snapshot,
        from: IpAddr,
    ) -> Option<(Self, Rank)> {
        let url = parse(location)?;
        let ip = match url.host()? {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip).to_canonical(),
            Host::Domain(_) => return None,
        };
        let (from, gateway) = (from.to_canonical(), uplink.gateway.to_canonical());
        if ip.is_ipv4() != uplink.local.to_canonical().is_ipv4() || is_this_computer(ip, snapshot) {
            return None;
        }
        let rank = match () {
            () if ip == gateway => (from == gateway).then_some(Rank::Gateway),
            () if ip == uplink.local.to_canonical() || !is_near(ip, uplink, snapshot) => None,
            () if from == gateway => Some(Rank::ByGateway),
            () => (from == ip).then_some(Rank::Other),
        }?;
        let endpoint =
            Self { address: scoped(ip, url.port_or_known_default()?, uplink.index), path: path(&url)? };
        (endpoint.address.port() != 0).then_some((endpoint, rank))
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

/// Whether an address is one of ours, at any interface.
pub(super) fn is_this_computer(ip: IpAddr, snapshot: &Snapshot) -> bool {
    let mut ours = snapshot.interfaces.iter().flat_map(|interface| &interface.addresses);
    ours.any(|address| address.ip.to_canonical() == ip)
}

/// Whether a device on the link of the uplink can have that address.
fn is_near(ip: IpAddr, uplink: &Uplink, snapshot: &Snapshot) -> bool {
    let interface = snapshot.interface(uplink.index);
    let addresses = interface.map_or(&[][..], |interface| &interface.addresses);
    let covered = addresses.iter().any(|address| address.covers(ip));
    match (ip, uplink.local.to_canonical()) {
        // Clouds keep what their computers are trusted with at such an address.
        (IpAddr::V4(ip), IpAddr::V4(local)) if ip.is_link_local() && !local.is_link_local() => false,
        (IpAddr::V4(ip), IpAddr::V4(local)) => {
            let known = addresses.iter().any(|address| address.ip.is_ipv4());
            // How large the network is is not known: the size that nearly all homes have.
            let covered = if known { covered } else { ip.octets()[..3] == local.octets()[..3] };
            covered && (ip.is_private() || ip.is_link_local())
        }
        // Addresses that DHCP gives out don't tell how large the network is, which is always the same on a link.
        (IpAddr::V6(ip), IpAddr::V6(local)) => {
            let same_network = ip.octets()[..8] == local.octets()[..8];
            let special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
            !special && (ip.is_unicast_link_local() || covered || same_network)
        }
        _ => false,
    }
}
