//! The verdict in words for a person who never heard of NAT, and what to do about it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::core::Taken;
use crate::core::address::{is_public, is_shared};
use crate::{Family, GatewayState, Mapping, MappingState, Proof, Protocol, Protocols};

/// How what leaves this computer goes, where no router can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WayOut<'a> {
    /// There is no default route.
    Nowhere,
    /// Through a VPN.
    Tunnel,
    /// Over an interface without a router and without a public address.
    Line(&'a str),
    /// Over a router from which this computer has no address that fits.
    Gateway(IpAddr),
    /// Over an interface that leads to containers or virtual machines on this computer.
    Inside(&'a str),
}

/// What the words are made of.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) verdict: MappingState,
    pub(crate) primary: Option<&'a Mapping>,
    /// The gateway that the words are about.
    pub(crate) gateway: Option<&'a GatewayState>,
    /// The port that shall be reachable.
    pub(crate) port: Option<u16>,
    /// How this installation's mappings are called.
    pub(crate) label: &'a str,
    pub(crate) protocols: Protocols,
    /// There is an interface at all.
    pub(crate) connected: bool,
    /// How what leaves goes.
    pub(crate) way_out: WayOut<'a>,
    /// Protocols that the gateway does not speak.
    pub(crate) unspoken: Vec<Protocol>,
    /// Protocols that it speaks, and what it said.
    pub(crate) refused: Vec<(Protocol, String)>,
    /// Protocols that are switched off here.
    pub(crate) off: Vec<Protocol>,
    /// It says that it has no address on the far side.
    pub(crate) wan_down: bool,
    /// What friends see in place of the external address.
    pub(crate) seen: Option<IpAddr>,
    /// What the router says may as well mean that its table is full.
    pub(crate) no_room: bool,
    /// Who has the router's port of the same number.
    pub(crate) taken: Option<&'a Taken>,
    /// Whether the router's table was read back.
    pub(crate) readable: bool,
    /// The router does not answer at the moment.
    pub(crate) silent: bool,
    /// A gateway that opens nothing for IPv4.
    pub(crate) shut: Option<&'a GatewayState>,
}

/// The verdict in one sentence, without a full stop.
pub(crate) fn sentence(facts: &Facts<'_>) -> String {
    match facts.verdict {
        MappingState::Off if facts.port.is_none() => {
            "this computer takes no connections from friends, so no router is asked to let them in".to_owned()
        }
        MappingState::Off if facts.protocols == Protocols::NONE => {
            format!("no router is asked to let friends in: {} are switched off in Kith's settings", and_all())
        }
        MappingState::Off => "no router is asked to let friends in".to_owned(),
        MappingState::NoRouter if !facts.connected => {
            "this computer is not connected to any network".to_owned()
        }
        MappingState::NoRouter => no_router(facts.way_out),
        MappingState::Searching => match facts.gateway {
            Some(gateway) => format!("asking the router at {} to let friends in", gateway.uplink.gateway),
            None => "looking for the router".to_owned(),
        },
        MappingState::RouterOff => router_off(facts),
        MappingState::Blocked => blocked(facts),
        MappingState::DoubleNat => double_nat(facts),
        MappingState::Mapped => mapped(facts),
    }
}

/// What to do about it, with concrete values; none if there is nothing to do.
pub(crate) fn next_step(facts: &Facts<'_>) -> Option<String> {
    match facts.verdict {
        MappingState::Off if facts.port.is_some() && facts.protocols == Protocols::NONE => Some(format!(
            "switch on nat.upnp, nat.nat-pmp or nat.pcp in the settings{}",
            by_hand(facts, "on").map(|words| format!(", or {words}")).unwrap_or_default()
        )),
        MappingState::Off | MappingState::Searching => None,
        MappingState::Mapped => over_ipv6_only(facts)
            .and_then(|shut| by_hand(&Facts { gateway: Some(shut), ..facts.clone() }, "on")),
        MappingState::NoRouter if !facts.connected => {
            Some("connect this computer to the network, by cable or Wi-Fi".to_owned())
        }
        MappingState::NoRouter => Some(no_router_step(facts.way_out).to_owned()),
        MappingState::RouterOff => router_off_step(facts),
        MappingState::Blocked => blocked_step(facts),
        MappingState::DoubleNat => double_nat_step(facts),
    }
}

fn no_router(way_out: WayOut<'_>) -> String {
    match way_out {
        WayOut::Nowhere => "no router was found: this computer has no default route".to_owned(),
        WayOut::Tunnel => {
            "no router was found: everything from this computer leaves through a VPN".to_owned()
        }
        WayOut::Line(interface) => format!(
            "no router was found: this computer is connected through {interface} without one, and has no public address there"
        ),
        WayOut::Gateway(ip) => {
            format!("the router at {ip} can't let friends in: this computer has no usable address from it")
        }
        WayOut::Inside(interface) => format!(
            "no router was found: everything from this computer leaves through {interface}, which leads to containers or virtual machines"
        ),
    }
}

const fn no_router_step(way_out: WayOut<'_>) -> &'static str {
    match way_out {
        WayOut::Nowhere | WayOut::Inside(_) => {
            "check the network settings: they name no router (default gateway) to the Internet"
        }
        WayOut::Tunnel => {
            "to be reachable from outside, let the VPN leave out the local network, or have the VPN's far end forward a port"
        }
        WayOut::Line(_) => {
            "ask the provider of that connection for a public IPv4 address of your own, or for IPv6"
        }
        WayOut::Gateway(IpAddr::V4(_)) => {
            "check the network settings: this computer needs an address in the router's network, usually by DHCP"
        }
        WayOut::Gateway(IpAddr::V6(_)) => {
            "check the router's settings: it gives this computer neither an IPv4 address nor a global IPv6 one"
        }
    }
}

fn router_off(facts: &Facts<'_>) -> String {
    let Some(gateway) = facts.gateway else { return "the router opens no port".to_owned() };
    let router = router(gateway);
    if facts.wan_down {
        return format!(
            "{router} says that it has no Internet address: its line is down, or another router or the provider's NAT is between it and the Internet"
        );
    }
    let off = match facts.off.as_slice() {
        [] => String::new(),
        off => format!(
            ", and {} {} switched off in Kith's settings",
            listed(off, "and"),
            if off.len() == 1 { "is" } else { "are" }
        ),
    };
    if facts.refused.is_empty() {
        let speaks = match facts.unspoken.as_slice() {
            [] => "it answers nothing".to_owned(),
            [one] => format!("it does not speak {one}"),
            several => format!("it speaks neither {}", listed(several, "nor")),
        };
        return format!("{router} does not open ports by itself: {speaks}{off}");
    }
    let refusals: Vec<String> =
        facts.refused.iter().map(|(protocol, words)| format!("{protocol}: {words}")).collect();
    let port = facts.port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
    format!("{router} does not open {port}: {}{}{off}", refusals.join("; "), taken_aside(facts))
}

fn router_off_step(facts: &Facts<'_>) -> Option<String> {
    let gateway = facts.gateway?;
    if facts.wan_down {
        return Some(format!(
            "check the router's connection to the Internet on its page, usually {}",
            gateway.page
        ));
    }
    if gateway.uplink.family() == Family::V6 {
        return by_hand(facts, "on");
    }
    if !facts.refused.is_empty() {
        return by_hand(facts, "on");
    }
    let switch = match facts.off.contains(&Protocol::Upnp) && facts.off.contains(&Protocol::NatPmp) {
        true => "switch on PCP on the router's page",
        false if facts.off.contains(&Protocol::Upnp) => "switch on NAT-PMP on the router's page",
        false if facts.off.contains(&Protocol::NatPmp) => "switch on UPnP on the router's page",
        false => "switch on UPnP or NAT-PMP on the router's page",
    };
    let forward = forwarding(facts)?;
    Some(format!("{switch}, usually {}, or forward {forward}", gateway.page.trim_end_matches('/')))
}

/// Forwarding by hand, in words: the whole of it.
fn by_hand(facts: &Facts<'_>, on: &str) -> Option<String> {
    let gateway = facts.gateway?;
    let port = facts.port?;
    let page = gateway.page.trim_end_matches('/');
    if gateway.uplink.family() == Family::V6 {
        let local = gateway.uplink.local;
        return Some(format!(
            "allow TCP {port} to {local} in the firewall {on} the router's page, usually {page}"
        ));
    }
    let local = SocketAddr::new(gateway.uplink.local, port);
    Some(format!("forward TCP {port} {on} the router's page, usually {page}, to {local}"))
}

fn forwarding(facts: &Facts<'_>) -> Option<String> {
    let (gateway, port) = (facts.gateway?, facts.port?);
    Some(format!("TCP {port} there to {}", SocketAddr::new(gateway.uplink.local, port)))
}

fn blocked(facts: &Facts<'_>) -> String {
    let Some(mapping) = facts.primary else { return "connections from outside do not arrive".to_owned() };
    let failure = match &mapping.proof {
        Proof::Failed { by, at, why } => format!("{by} could not connect at {} ({why})", moment(*at)),
        _ => "friends could not connect".to_owned(),
    };
    let Some(protocol) = mapping.protocol else {
        return format!(
            "this computer has the public address {} itself, but {failure}: usually a firewall on this computer drops it",
            mapping.internal.ip()
        );
    };
    let port = mapping.external_port;
    let doubt = if facts.readable {
        String::new()
    } else {
        format!(", or the router does not do what it says (it can't be read back by {protocol})")
    };
    format!(
        "{} forwards TCP {port} to this computer, but {failure}: usually a firewall on this computer drops it{doubt}",
        facts.gateway.map_or_else(|| "the router".to_owned(), router)
    )
}

fn blocked_step(facts: &Facts<'_>) -> Option<String> {
    let mapping = facts.primary?;
    let port = mapping.internal.port();
    let allow = format!("allow incoming TCP {port} in the firewall of this computer");
    let page = facts.gateway.map(|gateway| gateway.page.trim_end_matches('/'));
    match page.filter(|_| mapping.protocol.is_some() && !facts.readable) {
        Some(page) => Some(format!(
            "{allow}; if it is allowed already, look on the router's page, usually {page}, whether TCP {} leads to {}",
            mapping.external_port, mapping.internal
        )),
        None => Some(allow),
    }
}

fn double_nat(facts: &Facts<'_>) -> String {
    if let (None, Some(gateway), Some(seen)) = (facts.primary, facts.gateway, facts.seen) {
        if facts.no_room {
            return format!(
                "{} opens no port: its table is full, or it has no public address of its own, and friends see {seen}: perhaps a second router, or the provider's NAT (carrier-grade NAT), is in between",
                router(gateway)
            );
        }
        return format!(
            "{} opens no port: it says that it has no Internet address, but friends see {seen}: a second router, or the provider's NAT (carrier-grade NAT), is in between",
            router(gateway)
        );
    }
    let Some((mapping, external)) = facts.primary.and_then(|mapping| Some((mapping, mapping.external_ip?)))
    else {
        return "the router is not on the Internet itself".to_owned();
    };
    let seen = facts.seen.map(|seen| format!(" (friends see {seen})")).unwrap_or_default();
    let router = facts.gateway.map_or_else(|| "the router".to_owned(), router);
    if is_shared(external) {
        format!(
            "{router} opened port {}, but its own address {external} is not on the Internet{seen}: your provider shares one address among customers (carrier-grade NAT)",
            mapping.external_port
        )
    } else if !is_public(external) {
        format!(
            "{router} opened port {}, but its own address {external} is not on the Internet{seen}: a second router is between it and the Internet",
            mapping.external_port
        )
    } else {
        let seen = facts.seen.map_or_else(|| "another address".to_owned(), |seen| seen.to_string());
        format!(
            "{router} says that its address on the Internet is {external}, but friends see {seen}: another router, or the provider, is in between"
        )
    }
}

fn double_nat_step(facts: &Facts<'_>) -> Option<String> {
    let Some(mapping) = facts.primary else {
        return Some(
            "if there are two routers, switch one of them to bridge mode; else ask the provider for an IPv4 address of your own, or for IPv6"
                .to_owned(),
        );
    };
    let external = mapping.external_ip?;
    let port = mapping.external_port;
    if is_shared(external) {
        return Some("ask the provider for an IPv4 address of your own, or for IPv6".to_owned());
    }
    if is_public(external) {
        return Some(format!(
            "if there is a second router, forward TCP {port} on it to the first one, or switch one of them to bridge mode; else ask the provider for an IPv4 address of your own, or for IPv6"
        ));
    }
    Some(format!(
        "forward TCP {port} on the second router to {} too, or switch one of the two routers to bridge mode",
        SocketAddr::new(external, port)
    ))
}

fn mapped(facts: &Facts<'_>) -> String {
    let Some(mapping) = facts.primary else { return "friends can connect from outside".to_owned() };
    let proof = match &mapping.proof {
        Proof::Proved { by, at } => format!("proved by {by} at {}", moment(*at)),
        Proof::NotYet => "not yet proved: no friend has dialled it from outside".to_owned(),
        Proof::Failed { by, at, .. } => format!("but {by} could not connect at {}", moment(*at)),
    };
    let external = mapping
        .external()
        .map_or_else(|| format!("port {}", mapping.external_port), |external| external.to_string());
    let Some(protocol) = mapping.protocol else {
        return format!(
            "this computer is on the Internet itself, no router is in the way: {external}, {proof}"
        );
    };
    let router = facts.gateway.map_or_else(|| "the router".to_owned(), router);
    let silent = match (facts.silent, facts.wan_down) {
        (true, _) => "; the router does not answer at the moment",
        (false, true) => "; the router has no Internet address at the moment",
        (false, false) => "",
    };
    let opened = match mapping.family() {
        Family::V4 => format!("{router} leads {external} to this computer ({protocol})"),
        Family::V6 => format!("{router} lets connections to {external} through ({protocol})"),
    };
    let only = over_ipv6_only(facts)
        .map(|shut| format!("; over IPv6 only: {} opens nothing for IPv4", self::router(shut)))
        .unwrap_or_default();
    format!("{opened}{}, {proof}{silent}{only}", other_port(facts, mapping))
}

/// The gateway that keeps those friends out who have IPv4 only.
fn over_ipv6_only<'a>(facts: &Facts<'a>) -> Option<&'a GatewayState> {
    facts.shut.filter(|_| facts.primary.is_some_and(|mapping| mapping.family() == Family::V6))
}

/// Why the external port is another than the listen port.
fn other_port(facts: &Facts<'_>, mapping: &Mapping) -> String {
    let (wanted, got) = (mapping.internal.port(), mapping.external_port);
    if wanted == got {
        return String::new();
    }
    match facts.taken.and_then(|taken| holder(facts, taken)) {
        // Nobody asks for that port again while this one works: friends know it.
        Some(holder) => format!("; port {wanted} of the router belonged to {holder}, so {got} leads here"),
        None => format!("; port {wanted} of the router was not to be had, so {got} leads here"),
    }
}

fn taken_aside(facts: &Facts<'_>) -> String {
    match facts.taken.and_then(|taken| holder(facts, taken).map(|holder| (taken.port, holder))) {
        Some((port, holder)) => format!("; port {port} of the router belongs to {holder}"),
        None => String::new(),
    }
}

fn holder(facts: &Facts<'_>, taken: &Taken) -> Option<String> {
    let ip = taken.holder?;
    // Labels are like `Kith 3f9a2c71`: the first word tells the program.
    let program = |label: &str| label.split(' ').next().map(str::to_owned).filter(|word| !word.is_empty());
    if program(&taken.label).is_some() && program(&taken.label) == program(facts.label) {
        Some(format!("{ip} (another Kith: {})", taken.label))
    } else if taken.label.is_empty() {
        Some(ip.to_string())
    } else {
        Some(format!("{ip} ({})", taken.label))
    }
}

fn router(gateway: &GatewayState) -> String {
    format!("the router at {}", gateway.uplink.gateway)
}

fn listed(protocols: &[Protocol], word: &str) -> String {
    // The names that routers' pages show most come first.
    let names: Vec<String> = protocols.iter().rev().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {word} {last}", most.join(", ")),
    }
}

fn and_all() -> String {
    listed(&Protocol::ALL, "and")
}

/// A moment, to the minute; in UTC, since the words may be read elsewhere.
fn moment(at: SystemTime) -> String {
    match jiff::Timestamp::try_from(at) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => "an unknown time".to_owned(),
    }
}
