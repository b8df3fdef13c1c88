//! Packet filters of routers and hosts.

use std::fmt::Write as _;

use super::host::Firewall;
use super::kind::{Inbound, Leaves, SiteKind, SourcePorts, Speaks};

/// The chain with the mappings, as `miniupnpd` calls it.
pub(super) const MAPPINGS: &str = "prerouting_miniupnpd";
/// The chain with what mappings and pinholes let through.
pub(super) const ADMITTED: &str = "miniupnpd";
/// Where `miniupnpd` rewrites the source of what mapped hosts send.
pub(super) const REWRITTEN: &str = "postrouting_miniupnpd";
/// The chain with forwardings that the router's owner made by hand.
pub(super) const BY_HAND: &str = "by_hand";

/// All rules of a router. They replace what was there.
pub(super) fn router(kind: &SiteKind) -> String {
    let versions = versions(kind.speaks);
    let refuse = match kind.inbound {
        Inbound::Dropped => "drop",
        Inbound::Rejected => "meta l4proto tcp reject with tcp reset\n    reject",
    };
    let random = match kind.source_ports {
        SourcePorts::Kept => "",
        SourcePorts::Random => " fully-random",
    };
    let leaves = match kind.leaves {
        Leaves::Everything => "iifname \"lan\" accept".to_owned(),
        Leaves::Port(port) => format!("iifname \"lan\" tcp dport {port} accept\n    iifname \"lan\" drop"),
        Leaves::Nothing => "iifname \"lan\" ct status dnat accept\n    iifname \"lan\" drop".to_owned(),
    };
    // `ct status dnat accept`: miniupnpd 2.3.1 that deletes the mapping of a TCP port deletes the accepting rule of the UDP
    // port of that number.
    format!(
        "flush ruleset
table inet filter {{
  chain {ADMITTED} {{
  }}
  chain {MAPPINGS} {{
  }}
  chain {REWRITTEN} {{
  }}
  chain {BY_HAND} {{
  }}
  chain input {{
    type filter hook input priority 0; policy accept;
    {versions}
    iifname != \"wan\" accept
    ct state established,related accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    {refuse}
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    {leaves}
    meta l4proto ipv6-icmp accept
    iifname \"wan\" ct status dnat accept
    jump {ADMITTED}
    {refuse}
  }}
  chain prerouting {{
    type nat hook prerouting priority -100;
    jump {BY_HAND}
    jump {MAPPINGS}
  }}
  chain postrouting {{
    type nat hook postrouting priority 100;
    jump {REWRITTEN}
    meta nfproto ipv4 oifname \"wan\" masquerade{random}
  }}
}}
"
    )
}

/// `miniupnpd` answers NAT-PMP and PCP on one port, and PCP over IPv6 even if it is told to speak neither: what is too much is
/// kept from it. The first byte behind the UDP header is the version.
fn versions(speaks: Speaks) -> &'static str {
    match (speaks.nat_pmp, speaks.pcp) {
        (true, false) => "iifname \"lan\" udp dport 5351 @th,64,8 != 0 drop",
        (false, true) => "iifname \"lan\" udp dport 5351 @th,64,8 != 2 drop",
        (false, false) => "iifname \"lan\" udp dport 5351 reject",
        (true, true) => "",
    }
}

/// What a router forgets when it loses its mappings.
pub(super) fn without_mappings() -> String {
    [MAPPINGS, ADMITTED, REWRITTEN].map(|chain| format!("flush chain inet filter {chain}\n")).concat()
}

/// The rules of a firewall on a host. They replace what was there.
pub(super) fn host(firewall: Firewall) -> String {
    let mut rules = String::from("table inet firewall {\n}\ndelete table inet firewall\n");
    let inner = match firewall {
        Firewall::Off => return rules,
        Firewall::DropPort(port) => format!("tcp dport {port} drop"),
        Firewall::RejectPort(port) => format!("tcp dport {port} reject with tcp reset"),
        Firewall::DropInbound => "iifname \"lo\" accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    drop"
            .to_owned(),
    };
    write!(
        rules,
        "table inet firewall {{
  chain input {{
    type filter hook input priority 0; policy accept;
    {inner}
  }}
}}
"
    )
    .expect("a String takes what is written to it");
    rules
}

/// The rule of a host that leads what comes to a TCP port to another one of its own, of both families.
pub(super) fn redirect(from: u16, to: u16) -> String {
    format!(
        "table inet redirected {{
  chain prerouting {{
    type nat hook prerouting priority -100;
    tcp dport {from} redirect to :{to}
  }}
}}
"
    )
}
