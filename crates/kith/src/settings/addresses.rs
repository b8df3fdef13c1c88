//! Addresses as the settings write them: hosts with ports, destinations, proxies, hubs.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use kith_identity::{DeviceId, HubToken};

use super::text::deserialize_from_text;

/// A host name or address with a port, as `host:port`, `192.0.2.1:4242` or `[2001:db8::1]:4242`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write it as \"host:port\", and IPv6 as \"[2001:db8::1]:port\"";
        let (host, port) = split_port(text).map_err(|problem| format!("{text:?} {problem}; {wanted}"))?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| {
            format!("{text:?} has no port between 1 and 65535 after its last colon; {wanted}")
        })?;
        let host = check_host(host).map_err(|problem| format!("{text:?} {problem}; {wanted}"))?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

deserialize_from_text!(HostPort);

/// Splits "host:port" and "[v6]:port"; the host comes without brackets.
fn split_port(text: &str) -> Result<(&str, &str), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("has an opening bracket without a closing one")?;
        let port = rest.strip_prefix(':').ok_or("has no port")?;
        return Ok((host, port));
    }
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    if host.contains(':') {
        return Err("is an IPv6 address without brackets");
    }
    Ok((host, port))
}

/// A host name (letters, digits, `-`, `_`, dots) or an address.
fn check_host(host: &str) -> Result<String, &'static str> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host.to_owned());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() {
        return Err("has no host");
    }
    // All digits and dots, but no address: a typing error, never a name.
    let like_address = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if like_address || name.len() > 253 || !name.split('.').all(label) {
        return Err("has a host that is neither a name nor an address");
    }
    Ok(name.to_ascii_lowercase())
}

/// Where outgoing connections may go: `10.0.0.0/8:443`, `[2001:db8::/32]:*`, `host.example:4242`, `*:443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    host: DestinationHost,
    ports: Option<(u16, u16)>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum DestinationHost {
    Any,
    Net(IpAddr, u8),
    Name(String),
}

impl Destination {
    /// True when a connection to this address, called by this name or none, is allowed by this entry. The address of a name that only
    /// a proxy resolves is not known.
    pub fn allows(&self, name: Option<&str>, address: Option<IpAddr>, port: u16) -> bool {
        let port_fits = self.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
        port_fits
            && match &self.host {
                DestinationHost::Any => true,
                DestinationHost::Net(net, prefix) => {
                    address.is_some_and(|address| in_net(address.to_canonical(), *net, *prefix))
                }
                DestinationHost::Name(allowed) => name.is_some_and(|name| name.eq_ignore_ascii_case(allowed)),
            }
    }
}

impl Destination {
    /// The host as text: a network, an address or a name; none if any is allowed.
    pub fn host(&self) -> Option<String> {
        match &self.host {
            DestinationHost::Any => None,
            DestinationHost::Net(net @ IpAddr::V4(_), 32)
            | DestinationHost::Net(net @ IpAddr::V6(_), 128) => Some(net.to_string()),
            DestinationHost::Net(net, prefix) => Some(format!("{net}/{prefix}")),
            DestinationHost::Name(name) => Some(name.clone()),
        }
    }

    /// True when this entry may allow a connection to an address: a name may stand for an address of any network.
    pub fn may_allow(&self, to: &HostPort) -> bool {
        match &self.host {
            DestinationHost::Net(..) if to.ip().is_none() => {
                self.ports.is_none_or(|(first, last)| (first..=last).contains(&to.port()))
            }
            _ => self.allows(to.ip().is_none().then(|| to.host()), to.ip(), to.port()),
        }
    }

    /// The ports as text, `443` or `1024-5000`; none if any is allowed.
    pub fn ports(&self) -> Option<String> {
        let (first, last) = self.ports?;
        Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| {
            format!(
                "{text:?} {problem}; write it as \"10.0.0.0/8:443\", \"[2001:db8::/32]:443\", \"host:1024-5000\" or \"*:443\""
            )
        };
        let (host, ports) = split_port(text).map_err(refuse)?;
        let ports = match ports {
            "*" => None,
            ports => Some(
                port_span(ports)
                    .ok_or_else(|| refuse("has no port, range of ports or * after its last colon"))?,
            ),
        };
        let host = match host.split_once('/') {
            _ if host == "*" => DestinationHost::Any,
            Some((net, prefix)) => {
                let net: IpAddr = net.parse().map_err(|_| refuse("has no address before the slash"))?;
                let longest = if net.is_ipv4() { 32 } else { 128 };
                let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest);
                DestinationHost::Net(
                    net,
                    prefix.ok_or_else(|| refuse("has a prefix length that is too long or no number"))?,
                )
            }
            None => match host.parse::<IpAddr>() {
                Ok(address) => DestinationHost::Net(address, if address.is_ipv4() { 32 } else { 128 }),
                Err(_) => DestinationHost::Name(check_host(host).map_err(refuse)?),
            },
        };
        Ok(Self { host, ports, text: text.to_owned() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

deserialize_from_text!(Destination);

fn port_span(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first != 0 && first <= last).then_some((first, last))
}

fn in_net(address: IpAddr, net: IpAddr, prefix: u8) -> bool {
    let same = |address: u128, net: u128, bits: u32| {
        let shift = bits - u32::from(prefix);
        // A shift by the full width would overflow: /0 contains everything.
        address.checked_shr(shift).unwrap_or(0) == net.checked_shr(shift).unwrap_or(0)
    };
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => same(u32::from(address).into(), u32::from(net).into(), 32),
        (IpAddr::V6(address), IpAddr::V6(net)) => same(address.into(), net.into(), 128),
        _ => false,
    }
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS version 5 (RFC 1928).
    Socks5,
    /// HTTP CONNECT (RFC 9110, section 9.3.6).
    HttpConnect,
}

/// A proxy for outgoing connections. `Debug` hides the password; there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    kind: ProxyKind,
    address: HostPort,
    login: Option<(String, String)>,
}

impl ProxyUrl {
    /// How it is spoken to.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Where it is.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// User name and password, when given.
    pub fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// The URL with the password replaced by stars.
    pub fn redacted(&self) -> String {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::HttpConnect => "http",
        };
        match &self.login {
            Some((user, _)) => format!("{scheme}://{user}:***@{}", self.address),
            None => format!("{scheme}://{}", self.address),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({})", self.redacted())
    }
}

impl FromStr for ProxyUrl {
    type Err = String;

    /// The error never repeats the text: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| {
            format!(
                "the proxy URL {problem}; write it as socks5://user:password@host:1080 or http://host:3128"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("has no scheme"))?;
        let kind = match scheme {
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "http" => ProxyKind::HttpConnect,
            _ => return Err(refuse("has a scheme that is neither socks5 nor http")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, rest),
        };
        let address = address.parse().map_err(|_| refuse("has no host and port"))?;
        let login = match login {
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let decoded = percent_decode(user).zip(percent_decode(password));
                Some(decoded.ok_or_else(|| refuse("has a user name or password with a broken % escape"))?)
            }
            None => None,
        };
        // RFC 1929 has one byte for each length.
        let fits =
            |(user, password): &(String, String)| (1..=255).contains(&user.len()) && password.len() <= 255;
        if !login.as_ref().is_none_or(fits) {
            return Err(refuse("has an empty user name, or one or a password of more than 255 bytes"));
        }
        Ok(Self { kind, address, login })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
    }
    String::from_utf8(bytes).ok()
}

/// A hub: `kith://DEVICEID@host:port`, or `kith://DEVICEID:TOKEN@host:port` for one that lets in whom its owner chose. Neither `Debug` nor
/// `Display` shows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    device_id: DeviceId,
    token: Option<HubToken>,
    address: HostPort,
}

impl HubAddress {
    /// The hub's device id.
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// Where it is.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// What lets this computer in there.
    pub fn token(&self) -> Option<&HubToken> {
        self.token.as_ref()
    }
}

impl FromStr for HubAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What has a colon before the @ may hold a token, and is not repeated.
        let secret = text.strip_prefix("kith://").and_then(|rest| rest.split_once('@'));
        let secret = secret.and_then(|(who, _)| who.split_once(':'));
        let shown = if secret.is_some() { "a hub with a token".to_owned() } else { format!("{text:?}") };
        let refuse = |problem: &str| format!("{shown} {problem}; write a hub as kith://DEVICEID@host:port");
        let rest = text.strip_prefix("kith://").ok_or_else(|| refuse("does not begin with kith://"))?;
        let (id, address) = rest.split_once('@').ok_or_else(|| refuse("names no device id before an @"))?;
        let (id, token) = match secret {
            Some((id, token)) => {
                let token = token.parse().map_err(|_| {
                    refuse("has something else than a token between the device id and the @; give the line as `kith hub invite` printed it")
                })?;
                (id, Some(token))
            }
            None => (id, None),
        };
        let device_id =
            id.parse().map_err(|error| refuse(&format!("has no device id before the @ ({error})")))?;
        let address = address.parse().map_err(|_| refuse("has no host and port after the @"))?;
        Ok(Self { device_id, token, address })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kith://{}@{}", self.device_id, self.address)
    }
}

deserialize_from_text!(HubAddress);

/// What a mapped proxy stands for: a friend's device id, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappedDestination {
    /// All connections to this friend.
    Device(DeviceId),
    /// Connections to this address.
    Address(HostPort),
}

impl FromStr for MappedDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Device(id));
        }
        text.parse().map(Self::Address).map_err(|_| {
            format!("{text:?} is neither a device id nor \"host:port\"; write \"DEVICEID\" = \"firewall:port\" or \"host:port\" = \"firewall:port\"")
        })
    }
}

impl fmt::Display for MappedDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => id.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

deserialize_from_text!(MappedDestination);
