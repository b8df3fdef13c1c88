//! SSDP: the datagrams by which UPnP devices are found and announce themselves (UPnP Device Architecture 1.1, section 1).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// The port of SSDP.
pub(super) const PORT: u16 = 1900;
/// Longest datagram that is looked at, bytes. Real ones have 300 to 600.
pub(super) const LONGEST: usize = 4096;
/// Longest value of a header field that is kept, bytes.
const LONGEST_VALUE: usize = 1024;
/// Most header fields that are looked at.
const MOST_FIELDS: usize = 48;

/// What is searched for to reach IPv4 mappings, one after another: some routers answer only to one of them.
pub(super) const TARGETS_V4: &[&str] = &[
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];
/// The same for IPv6 pinholes.
pub(super) const TARGETS_V6: &[&str] = &[
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1",
];

/// The datagram that asks for `target`; it is sent to `place`.
pub(super) fn search(place: SocketAddr, target: &str) -> String {
    // The zone of a link-local address is nobody's business but ours.
    let host = match place.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = place.port();
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {host}:{port}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
    )
}

/// An answer to a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `LOCATION`: where the description is. Not checked.
    pub location: String,
    /// Whether it speaks of a gateway, by `ST` or `USN`.
    pub gateway: bool,
}

/// Reads an answer to a search; `None` for anything else.
#[must_use]
pub fn reply(datagram: &[u8]) -> Option<Reply> {
    let text = text(datagram)?;
    let mut lines = lines(&text);
    let mut status = lines.next()?.split_ascii_whitespace();
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let (mut location, mut gateway) = (None, false);
    for (name, value) in fields(lines) {
        match name.to_ascii_lowercase().as_str() {
            "location" => location = location.or_else(|| Some(value.to_owned())),
            "st" | "usn" => gateway |= is_gateway(value),
            _ => {}
        }
    }
    Some(Reply { location: location?, gateway })
}

/// What a device announces of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum News {
    /// It is there.
    Alive,
    /// It goes.
    ByeBye,
    /// It changed.
    Update,
}

/// An announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// What it says.
    pub news: News,
    /// Whether it speaks of a gateway, by `NT` or `USN`.
    pub gateway: bool,
}

/// Reads an announcement; `None` for anything else.
#[must_use]
pub fn notify(datagram: &[u8]) -> Option<Notify> {
    let text = text(datagram)?;
    let mut lines = lines(&text);
    let mut request = lines.next()?.split_ascii_whitespace();
    if request.next()? != "NOTIFY" || request.next()? != "*" || !request.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let (mut news, mut gateway) = (None, false);
    for (name, value) in fields(lines) {
        match name.to_ascii_lowercase().as_str() {
            "nts" => {
                news = match value.to_ascii_lowercase().as_str() {
                    "ssdp:alive" => Some(News::Alive),
                    "ssdp:byebye" => Some(News::ByeBye),
                    "ssdp:update" => Some(News::Update),
                    _ => return None,
                }
            }
            "nt" | "usn" => gateway |= is_gateway(value),
            _ => {}
        }
    }
    Some(Notify { news: news?, gateway })
}

/// Whether a type of device or service belongs to a gateway: itself, `WANDevice`, `WANIPConnection` and so on.
fn is_gateway(kind: &str) -> bool {
    kind.contains(":InternetGatewayDevice:") || kind.contains(":WAN")
}

fn text(datagram: &[u8]) -> Option<Cow<'_, str>> {
    (datagram.len() <= LONGEST).then(|| String::from_utf8_lossy(datagram))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line))
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (&'a str, &'a str)> {
    lines
        .take_while(|line| !line.is_empty())
        .take(MOST_FIELDS)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(_, value)| value.len() <= LONGEST_VALUE)
}
