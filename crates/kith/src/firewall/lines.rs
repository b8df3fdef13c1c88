//! Rules as commands for the packet filters of Linux.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kith_control::view::{FirewallDirection, FirewallRule};

/// Longest comment that nft takes is 128 bytes.
const LONGEST_COMMENT: usize = 100;

/// Commands for nftables, into the chains `input` and `output` of a table `inet filter`.
pub(super) fn nftables(rules: &[FirewallRule]) -> Vec<String> {
    let mut lines = vec![
        "nft add rule inet filter input ct state established,related accept".to_owned(),
        "nft add rule inet filter output ct state established,related accept".to_owned(),
    ];
    lines.extend(distinct(rules.iter().filter(|rule| !rule.answers).map(nft)));
    lines
}

/// Commands for ufw, which lets answers through by itself.
pub(super) fn ufw(rules: &[FirewallRule]) -> Vec<String> {
    distinct(rules.iter().filter(|rule| !rule.answers).map(ufw_line))
}

fn distinct(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    lines.filter(|line| seen.insert(line.clone())).collect()
}

/// How the other end is written: as an address or a network, or not at all, because a filter takes no names.
enum Remote<'a> {
    Any,
    Network(&'a str, bool),
    Name(&'a str),
}

fn remote(rule: &FirewallRule) -> Remote<'_> {
    let Some(text) = rule.remote.as_deref() else { return Remote::Any };
    match text.split('/').next().unwrap_or_default().parse::<IpAddr>() {
        Ok(ip) => Remote::Network(text, ip.is_ipv6()),
        Err(_) => Remote::Name(text),
    }
}

fn nft(rule: &FirewallRule) -> String {
    let inbound = rule.direction == FirewallDirection::In;
    let (chain, there, local, remote_port) =
        if inbound { ("input", "saddr", "dport", "sport") } else { ("output", "daddr", "sport", "dport") };
    let protocol = rule.protocol.as_str();
    let mut line = format!("nft add rule inet filter {chain}");
    match remote(rule) {
        Remote::Any => {}
        Remote::Network(network, false) => line += &format!(" ip {there} {network}"),
        Remote::Network(network, true) => line += &format!(" ip6 {there} {network}"),
        Remote::Name(name) => return for_name(name, rule),
    }
    if rule.local_ports.is_none() && rule.remote_ports.is_none() {
        line += &format!(" meta l4proto {protocol}");
    }
    for (ports, side) in [(&rule.local_ports, local), (&rule.remote_ports, remote_port)] {
        if let Some(ports) = ports {
            line += &format!(" {protocol} {side} {ports}");
        }
    }
    line + &format!(" accept comment '\"{}\"'", comment(rule))
}

fn ufw_line(rule: &FirewallRule) -> String {
    let direction = rule.direction.as_str();
    let address = match remote(rule) {
        Remote::Any => "any",
        Remote::Network(network, _) => network,
        Remote::Name(name) => return for_name(name, rule),
    };
    let ports = |ports: &Option<String>| match ports {
        Some(ports) => format!(" port {}", ports.replace('-', ":")),
        None => String::new(),
    };
    let (local, remote) = (ports(&rule.local_ports), ports(&rule.remote_ports));
    let (from, to) = match rule.direction {
        FirewallDirection::In => (format!("{address}{remote}"), format!("any{local}")),
        FirewallDirection::Out => (format!("any{local}"), format!("{address}{remote}")),
    };
    format!(
        "ufw allow {direction} proto {} from {from} to {to} comment '{}'",
        rule.protocol.as_str(),
        comment(rule)
    )
}

/// A line that is none: whoever sets the rules looks up the name.
fn for_name(name: &str, rule: &FirewallRule) -> String {
    let ports = rule.remote_ports.as_deref().unwrap_or("any");
    format!(
        "# {} to {name}, port {ports}: packet filters take addresses only, look up the name and allow what it stands for",
        rule.protocol.as_str()
    )
}

/// What a rule is for, in letters that are nothing to a shell.
fn comment(rule: &FirewallRule) -> String {
    let friend = rule.friend.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let text = format!("Kith: {}{friend}", rule.purpose);
    let harmless = |c: char| if c.is_ascii_alphanumeric() || " .,:()-".contains(c) { c } else { '_' };
    text.chars().take(LONGEST_COMMENT).map(harmless).collect()
}
