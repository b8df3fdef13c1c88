//! The router of one end, by what that computer says of it: the same checks here and there.

use crate::code::{Code, Part};
use crate::date;
use crate::diagnosis::Outcome;
use crate::facts::{ListenerState, Side};
use crate::firewall::Access;

use super::Found;
use super::end::{Matters, suspects};
use super::words::Whose;

/// What the router does for calls from outside.
pub(super) fn of(side: &Side, whose: Whose<'_>, matters: Matters) -> Vec<Found> {
    let part = whose.part(Part::RouterHere);
    let mapping = &side.mapping;
    let (router, port) = (whose.router(side), side.listener.port);
    let external = mapping.external.clone().unwrap_or_else(|| format!("port {port}"));
    if side.outbound_only {
        let said = format!("{} takes no calls (network.outbound-only)", whose.computer());
        return vec![Found::new(Code::MappingOff, part, Outcome::Skipped, said)];
    }
    let worked = mapping.worked.and_then(date);
    let asked = mapping.protocols.iter().map(|(protocol, came)| format!("{protocol}: {came}"));
    let found = match mapping.state.as_str() {
        "mapped" => match &mapping.failed {
            None if mapping.direct => {
                Found::ok(Code::MappingOff, part, format!("no router is in the way of {}", whose.computer()))
            }
            None if mapping.proved => Found::ok(
                Code::MappingOff,
                part,
                format!("{router} lets friends in at {external}, which was tried"),
            ),
            None => Found::ok(
                Code::MappingOff,
                part,
                format!("{router} says that it lets friends in at {external}"),
            ),
            // A computer of its own, and nothing of ours stops it: the carrier's, or a filter on the way.
            Some(why) => lies(side, whose, &external, why),
        },
        "blocked" => {
            lies(side, whose, &external, mapping.failed.as_deref().unwrap_or("nobody comes through"))
        }
        "double-nat" => limit(double_nat(side, whose), matters),
        "router-off" | "no-router" if worked.is_some() && !mapping.direct => Found::failed(
            Code::MappingLost,
            part,
            format!("{router} has stopped letting friends in"),
            format!("{}, or forward TCP port {port} to {} by hand", switch_on(side), inside(side, whose)),
        )
        .because(worked.map(|date| format!("friends came in by it until {date}")).into_iter().chain(asked)),
        "router-off" => limit(off(side, whose), matters),
        "no-router" | "off" => Found::new(
            Code::MappingOff,
            part,
            Outcome::Skipped,
            format!("no router is asked to let friends in to {}", whose.computer()),
        ),
        _ => Found::unknown(
            Code::MappingOff,
            part,
            format!("{router} was asked to let friends in, and has not answered yet"),
        ),
    };
    shared(side, whose).into_iter().chain([found]).collect()
}

/// Two computers of one network at the same port, where a person forwards it: one of them is never reached.
fn shared(side: &Side, whose: Whose<'_>) -> Option<Found> {
    let (listener, part) = (&side.listener, whose.part(Part::ThisComputer));
    let other = listener.shared_with.first()?;
    let said =
        format!("another computer of the network of {}, {other}, listens at the same port", whose.computer());
    let mapping = &side.mapping;
    let outside = mapping.external.as_deref().and_then(|at| at.rsplit_once(':')?.1.parse().ok());
    // Where each has a port of its own outside, they are not in each other's way.
    let by_hand =
        mapping.protocol.as_deref() == Some("static") && !mapping.direct && outside == Some(listener.port);
    let is_stopped = side.firewall.inbound.is_closed() || listener.state != ListenerState::Listening;
    if !by_hand || mapping.failed.is_none() || is_stopped {
        return Some(Found::new(Code::PortShared, part, Outcome::Skipped, said));
    }
    let step = match listener.free_port {
        Some(free) => format!(
            "{}`kith settings set listener.port {free}`, and forward TCP port {free} on the router to {} as well",
            whose.on(),
            inside(side, whose)
                .rsplit_once(':')
                .map_or_else(|| whose.computer(), |(host, _)| format!("{host}:{free}")),
        ),
        None => format!(
            "{}give it another port (listener.port), and forward that one on the router as well",
            whose.on()
        ),
    };
    let forwarded = format!("a router forwards port {} to one computer only", listener.port);
    Some(Found::failed(Code::PortShared, part, said, step).because([forwarded]))
}

/// What is not there and was never: no fault by itself.
fn limit(found: Found, matters: Matters) -> Found {
    match matters {
        Matters::Always => found.noted(),
        Matters::IfBroken | Matters::IfNothingElse => {
            let detail = found.detail.clone();
            Found::new(found.code, found.part, Outcome::Skipped, detail)
        }
    }
}

/// The router makes no mapping.
pub(super) fn off(side: &Side, whose: Whose<'_>) -> Found {
    let port = side.listener.port;
    let asked = side.mapping.protocols.iter().map(|(protocol, came)| format!("{protocol}: {came}"));
    Found::failed(
        Code::MappingOff,
        whose.part(Part::RouterHere),
        format!("{} lets in nobody whom nobody inside has called", whose.router(side)),
        format!("{}, or forward TCP port {port} to {} by hand", switch_on(side), inside(side, whose)),
    )
    .because(asked)
}

/// A second router, of the house or of the provider.
pub(super) fn double_nat(side: &Side, whose: Whose<'_>) -> Found {
    let part = whose.part(Part::RouterHere);
    let external = side.mapping.external.as_deref().unwrap_or_default();
    let (router, port) = (whose.router(side), side.listener.port);
    if is_carriers(external) {
        return Found::failed(
            Code::CarrierNat,
            part,
            format!("the provider of {} gives its line no address of its own", whose.computer()),
            "ask the provider for a public IPv4 address, or for IPv6; or let the other side be the one that takes calls",
        )
        .because([format!("{router} has the address {external}, which providers share among many homes (RFC 6598)")]);
    }
    Found::failed(
        Code::DoubleNat,
        part,
        format!("there is a second router between {router} and the Internet"),
        format!(
            "switch that second router to bridge mode, or forward TCP port {port} on it to the first one"
        ),
    )
    .because([format!("{router} has the address {external}, which is none of the Internet")])
}

/// 100.64.0.0/10, the shared address space of RFC 6598.
fn is_carriers(external: &str) -> bool {
    let host = external.rsplit_once(':').map_or(external, |(host, _)| host);
    host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| {
        let [a, b, ..] = ip.octets();
        a == 100 && (64..128).contains(&b)
    })
}

/// The mapping stands, by what the router said last, and the other computer has just tried it in vain.
pub(super) fn lets_nobody_in(side: &Side, whose: Whose<'_>) -> Found {
    let external = side.mapping.external.clone().unwrap_or_default();
    let asked = side.mapping.protocol.as_deref().is_some_and(|protocol| protocol != "static");
    if asked && side.mapping.proved {
        let port = side.listener.port;
        return Found::failed(
            Code::MappingLost,
            whose.part(Part::RouterHere),
            format!("{} has stopped letting friends in at {external}", whose.router(side)),
            format!("{}, or forward TCP port {port} to {} by hand", switch_on(side), inside(side, whose)),
        )
        .because(["a friend came in by it before".to_owned()]);
    }
    lies(side, whose, &external, "no connection came through")
}

fn lies(side: &Side, whose: Whose<'_>, external: &str, why: &str) -> Found {
    let part = whose.part(Part::RouterHere);
    let (router, port) = (whose.router(side), side.listener.port);
    // Then it was the computer's own firewall, and that is said already.
    if side.firewall.inbound.is_closed() || side.listener.state == ListenerState::Error {
        return Found::new(
            Code::MappingLies,
            part,
            Outcome::Skipped,
            format!("what comes by {external} is stopped on the computer itself"),
        );
    }
    let by_hand = side.mapping.protocol.as_deref() == Some("static");
    let (sentence, step) = match (side.mapping.direct, by_hand) {
        (true, _) => (
            format!("nobody gets through to {external}, although no router is in the way"),
            format!("let TCP port {port} through in the network's firewall before {}", whose.computer()),
        ),
        (false, true) => (
            format!("the forwarding made by hand on {router} leads nobody to {}", whose.computer()),
            format!(
                "correct it on the router's page: external port of {external} to {}",
                inside(side, whose)
            ),
        ),
        (false, false) => (
            format!("{router} says that it lets friends in at {external}, and does not"),
            format!(
                "restart that router; if that does not help, forward TCP port {port} to {} by hand on its page",
                inside(side, whose)
            ),
        ),
    };
    let worked = side.mapping.worked.and_then(date).map(|date| format!("it worked until {date}"));
    let rules = (side.firewall.inbound == Access::Unknown).then(|| {
        format!("the rules of the firewall of {} could not be read: it may be that one", whose.computer())
    });
    Found::failed(Code::MappingLies, part, sentence, step)
        .because(std::iter::once(format!("a friend who tried met: {why}")).chain(worked).chain(rules))
        .because(suspects(&side.firewall, port))
}

/// How a mapping is switched on.
fn switch_on(side: &Side) -> String {
    match &side.mapping.page {
        Some(page) => format!("switch on UPnP on the router's page ({page})"),
        None => match &side.network.gateway {
            Some(gateway) => format!("switch on UPnP on the router's page (http://{gateway}/)"),
            None => "switch on UPnP on the router".to_owned(),
        },
    }
}

/// Where a forwarding is to lead.
fn inside(side: &Side, whose: Whose<'_>) -> String {
    side.internal.first().cloned().unwrap_or_else(|| whose.computer())
}
