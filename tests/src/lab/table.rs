//! What a router really forwards, as its packet filter has it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::Value;

use crate::run;

use super::namespace::Namespace;
use super::rules;

/// One mapping or pinhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// For which packets.
    pub transport: Transport,
    /// The port at the router's far side; of a pinhole the host's own port.
    pub external_port: u16,
    /// Where it leads.
    pub internal: SocketAddr,
}

/// What ports belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }

    const fn from_number(number: u64) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The mappings of a router.
pub(super) fn mappings(namespace: &Namespace) -> Vec<Entry> {
    let rules = list(namespace, rules::MAPPINGS);
    let mut entries: Vec<Entry> = rules
        .iter()
        .map(|rule| mapping(rule).unwrap_or_else(|| panic!("a rule of another form: {rule:#}")))
        .collect();
    entries.sort_unstable();
    entries
}

/// The IPv6 pinholes of a router.
pub(super) fn pinholes(namespace: &Namespace) -> Vec<Entry> {
    let rules = list(namespace, rules::ADMITTED);
    let mut entries: Vec<Entry> = rules.iter().filter_map(pinhole).collect();
    entries.sort_unstable();
    entries
}

/// The expressions of every rule of a chain.
fn list(namespace: &Namespace, chain: &str) -> Vec<Value> {
    let outcome = run(namespace.command("nft").args(["-j", "list", "chain", "inet", "filter", chain]));
    let json = outcome.json();
    let things = json["nftables"].as_array().unwrap();
    things.iter().map(|thing| &thing["rule"]["expr"]).filter(|expr| expr.is_array()).cloned().collect()
}

fn mapping(rule: &Value) -> Option<Entry> {
    let (transport, external_port) = port(rule)?;
    let dnat = find(rule, "dnat")?;
    let address: IpAddr = dnat["addr"].as_str()?.parse().ok()?;
    let port = number(&dnat["port"])?;
    Some(Entry { transport, external_port, internal: SocketAddr::new(address, port) })
}

fn pinhole(rule: &Value) -> Option<Entry> {
    let (transport, external_port) = port(rule)?;
    let address = matches(rule).find_map(|(left, right)| {
        // Bits 192 to 319 of the header, which `nft` gives no name when it doesn't know the family.
        let payload = &left["payload"];
        let address = payload["base"] == "nh" && payload["offset"] == 192 && payload["len"] == 128;
        let digits = right.as_str()?.strip_prefix("0x")?;
        if address { u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits) } else { None }
    })?;
    Some(Entry { transport, external_port, internal: SocketAddr::new(address.into(), external_port) })
}

/// The destination port that a rule is about. `miniupnpd` writes the transport as a match of its own.
fn port(rule: &Value) -> Option<(Transport, u16)> {
    let mut transport = None;
    let mut port = None;
    for (left, right) in matches(rule) {
        let payload = &left["payload"];
        if payload["field"] == "dport" {
            transport = transport.or_else(|| Transport::from_word(payload["protocol"].as_str()?));
            port = number(right);
        } else if is_transport(left) {
            transport = match right {
                Value::String(word) => Transport::from_word(word),
                other => Transport::from_number(other.as_u64()?),
            };
        }
    }
    Some((transport?, port?))
}

/// Whether a match looks at the transport: by name, or at bits 72 to 79 of an IPv4 header or 48 to 55 of an IPv6 header, which
/// `nft` doesn't give names when it doesn't know the family.
fn is_transport(left: &Value) -> bool {
    let payload = &left["payload"];
    let named = payload["field"] == "nexthdr" || payload["field"] == "protocol";
    let raw = payload["base"] == "nh"
        && payload["len"] == 8
        && (payload["offset"] == 72 || payload["offset"] == 48);
    named || raw || left["meta"]["key"] == "l4proto"
}

fn matches(rule: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let expressions = rule.as_array().into_iter().flatten();
    expressions.filter_map(|expression| {
        let wanted = expression.get("match")?;
        Some((&wanted["left"], &wanted["right"]))
    })
}

fn find<'a>(rule: &'a Value, key: &str) -> Option<&'a Value> {
    rule.as_array()?.iter().find_map(|expression| expression.get(key))
}

fn number(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok()
}
