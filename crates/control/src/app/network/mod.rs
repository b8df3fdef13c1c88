//! The network page: can friends elsewhere reach this computer, by which way, and if not, what to do.
//!
//! For people who never heard of NAT: first the answer, then what to do, then the way in as a picture, and only below it what
//! somebody wants to know who does know.

mod firewall;
mod hubs;
mod page;
mod ports;
mod relay;
mod routers;
mod way;

use std::net::SocketAddrV4;

use maud::{Markup, html};

use super::parts::{self, Tone};
use crate::view::{FirewallView, GatewayView, ListenerState, PortView, ProofState, StatusView};

/// What the page consists of.
pub(super) fn section(
    status: &StatusView,
    ports: &[PortView],
    firewall: &FirewallView,
    now: jiff::Timestamp,
) -> Markup {
    html! {
        (verdict(status))
        (way::section(status, now))
        (routers::section(&status.gateways))
        section.card aria-labelledby="addresses-title" {
            h2 #addresses-title { "Addresses of this computer" }
            p.muted { "Inside: what computers of the same network call. Outside: what friends elsewhere call. Kith tells your friends all of them." }
            dl.facts { (parts::addresses(&status.internal, &status.public, &[], None)) }
        }
        (hubs::section(&status.hubs, now))
        (relay::section(&status.relay))
        (ports::section(ports))
        (firewall::section(firewall))
    }
}

/// What hubs have announced, where the eyes are.
pub(super) fn hub_notices(status: &StatusView) -> Markup {
    hubs::notices(&status.hubs)
}

/// The answer to the first question: can friends elsewhere call this computer?
pub(super) fn judged(status: &StatusView) -> (Tone, &'static str) {
    match status.listener.state {
        ListenerState::Error => return (Tone::Bad, "The port for friends is not open"),
        ListenerState::Off => return (Tone::Off, "This computer takes no calls, it only makes them"),
        ListenerState::Listening => {}
    }
    match (status.mapping.state.as_str(), status.mapping.proof.state) {
        ("mapped", ProofState::Proved) => (Tone::Good, "Friends elsewhere can reach this computer"),
        ("mapped", ProofState::NotYet) => (Tone::Busy, "The way in is open, not yet proved"),
        ("mapped", ProofState::Failed) => {
            (Tone::Warn, "The way in is open, but a friend did not get through")
        }
        ("searching", _) => (Tone::Busy, "Asking the router to let friends in"),
        ("no-router", _) => (Tone::Warn, "No router found"),
        ("router-off", _) => (Tone::Warn, "The router does not let friends in"),
        ("double-nat", _) => (Tone::Warn, "A second router is in the way"),
        ("blocked", _) => (Tone::Bad, "The way in is blocked"),
        ("off", _) => (Tone::Off, "Routers are not asked to let friends in"),
        _ => (Tone::Off, "The way in is not known"),
    }
}

/// Whether friends elsewhere are kept out while this computer can call them.
fn kept_out(status: &StatusView) -> bool {
    let mapping = &status.mapping;
    matches!(mapping.state.as_str(), "router-off" | "double-nat" | "blocked" | "off")
        || mapping.proof.state == ProofState::Failed
}

fn verdict(status: &StatusView) -> Markup {
    let (tone, headline) = judged(status);
    let open = status.listener.state == ListenerState::Listening;
    html! {
        section class={ "verdict " (tone.class()) } aria-labelledby="network-title" {
            (mark(tone))
            div.verdict-text {
                h2.headline #network-title { (headline) }
                @match &status.listener.error {
                    Some(error) => p { (parts::sentence(error)) },
                    None if open => p { (parts::sentence(&status.mapping.sentence)) },
                    None => p { "The settings say so (network.outbound-only). Friends who can be reached are called from here." },
                }
                @if tone == Tone::Bad || tone == Tone::Warn { p { a href="#/doctor" { "Ask the doctor" } } }
            }
        }
        @if open { (next_step(status, true)) }
    }
}

/// What to do, where the eyes are. `whole`: with all that helps to do it.
pub(super) fn next_step(status: &StatusView, whole: bool) -> Markup {
    let mapping = &status.mapping;
    let page = router_page(&status.gateways);
    let at_router = matches!(mapping.state.as_str(), "router-off" | "off");
    html! {
        @if let Some(step) = &mapping.next_step {
            div.next-step role="status" {
                p { strong { "What to do: " } (parts::sentence(step)) }
                // The table below spells out what the step asks for; there are steps that ask for something else.
                @if whole && at_router && step.contains("forward") { (forwarding(status, step)) }
                @if whole && at_router && let Some(page) = &page { p { (page) } }
                @if whole && kept_out(status) {
                    p.muted { "Until then backups work with every friend whose own computer can be reached: it is enough when one of two can call the other." }
                }
            }
        }
    }
}

/// What has to be typed into the router's page.
fn forwarding(status: &StatusView, step: &str) -> Markup {
    let port = status.listener.port;
    // The way a router's page asks for it: an IPv4 address and a port. Of several addresses the one that the step names.
    let inside = status.internal.iter().filter_map(|address| address.parse::<SocketAddrV4>().ok());
    let inside =
        inside.clone().find(|address| step.contains(&address.to_string())).or_else(|| inside.clone().next());
    html! {
        @if let Some(inside) = inside {
            dl.facts.forwarding {
                (parts::row("Called there", &html! { "port forwarding, port sharing or virtual server" }))
                (parts::row("Protocol", &html! { "TCP" }))
                (parts::row("Outer port", &html! { (parts::code(&port.to_string())) }))
                (parts::row("To the device", &html! { (parts::code(&inside.ip().to_string())) }))
                (parts::row("Inner port", &html! { (parts::code(&inside.port().to_string())) }))
            }
        }
    }
}

/// A link to the page of the first router that has one that may be linked to.
pub(super) fn router_page(gateways: &[GatewayView]) -> Option<Markup> {
    let page = gateways.iter().find_map(|gateway| page::link(gateway, gateways))?;
    Some(page::anchor(&page, "Open the router’s page"))
}

/// A sign for those who see, beside the words for all.
pub(super) fn mark(tone: Tone) -> Markup {
    let sign = match tone {
        Tone::Good => "M15 24.5l6 6 12-13",
        Tone::Busy => "M24 14v11l7 5",
        Tone::Warn | Tone::Bad => "M24 13v14M24 34v1",
        Tone::Off => "M15 24h18",
    };
    html! {
        svg.shield viewBox="0 0 48 48" aria-hidden="true" focusable="false" {
            circle.shape cx="24" cy="24" r="21" {}
            path.mark d=(sign) {}
        }
    }
}
