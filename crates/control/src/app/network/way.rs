//! The way in as a picture: from outside, through the router, to this computer.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::format;
use super::super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{ListenerState, MappingView, ProofState, StatusView};

pub(super) fn section(status: &StatusView, now: Timestamp) -> Markup {
    if status.listener.state != ListenerState::Listening {
        return html! {};
    }
    let many = status.mappings.len() > 1;
    html! {
        section.card aria-labelledby="way-title" {
            h2 #way-title { @if many { "The ways in" } @else { "The way in" } }
            @if status.mappings.is_empty() { (shut(status)) }
            @for mapping in &status.mappings { (open(mapping, status, now)) }
        }
    }
}

/// A port that is open on a router.
fn open(mapping: &MappingView, status: &StatusView, now: Timestamp) -> Markup {
    let by_hand = mapping.protocol.as_deref() == Some("static");
    let ipv6 = mapping.family.as_deref() == Some("ipv6");
    // The second leg ends at this computer, the first at the router: what is wrong is shown where it is.
    let (first, second) = match (mapping.state.as_str(), mapping.proof.state) {
        ("double-nat", _) => (Leg::Shut, Leg::Open),
        ("blocked", _) => (Leg::Open, Leg::Shut),
        (_, ProofState::Proved) => (Leg::Open, Leg::Open),
        (_, ProofState::Failed) => (Leg::Shut, Leg::Unknown),
        (_, ProofState::NotYet) => (Leg::Unknown, Leg::Unknown),
    };
    let outside = mapping.external();
    let internal =
        mapping.internal.as_deref().map_or_else(|| format!("port {}", status.listener.port), str::to_owned);
    html! {
        article.way {
            ol.stations {
                li.station {
                    span.station-name { "Friends elsewhere" }
                    span.muted { "call" }
                    @match (&outside, mapping.external_port) {
                        (Some(outside), _) => (parts::code(outside)),
                        (None, Some(port)) => span { "your address, port " (port) },
                        (None, None) => span.muted { "not known yet" },
                    }
                }
                (leg(first))
                @if !mapping.is_direct() {
                    li.station {
                        span.station-name { @match &mapping.router { Some(router) => (parts::name(router)), None => "Your router" } }
                        span.muted {
                            @if by_hand { "forwards by hand" }
                            @else if ipv6 { "lets the port through" }
                            @else { "forwards the port" }
                            @if !by_hand && let Some(name) = mapping.protocol_name() { ", asked by " (name) }
                        }
                        @if let Some(gateway) = &mapping.gateway { (parts::code(gateway)) }
                    }
                    (leg(second))
                }
                li.station {
                    span.station-name { "This computer" }
                    span.muted { "takes the call at" }
                    (parts::code(&internal))
                }
            }
            p.proof { (proof(mapping, now)) (lease(mapping)) }
        }
    }
}

/// Nothing is open: where the way ends.
fn shut(status: &StatusView) -> Markup {
    let router = status.gateways.first();
    let (leg_in, call) = match status.mapping.state.as_str() {
        "searching" => (Leg::Unknown, "wait for a way in"),
        "off" => (Leg::Unknown, "find no way in that Kith knows of"),
        _ => (Leg::Shut, "find no way in"),
    };
    html! {
        article.way {
            ol.stations {
                li.station { span.station-name { "Friends elsewhere" } span.muted { (call) } }
                (leg(leg_in))
                @match router {
                    Some(router) => li.station {
                        span.station-name { @match &router.model { Some(model) => (parts::name(model)), None => "Your router" } }
                        span.muted { @if status.mapping.state == "searching" { "is being asked" } @else { "keeps the port shut" } }
                        (parts::code(&router.address))
                    },
                    None => li.station {
                        span.station-name { "Your router" }
                        span.muted { @if status.mapping.state == "off" { "is not asked" } @else { "not found" } }
                    },
                }
                (leg(Leg::Unknown))
                li.station {
                    span.station-name { "This computer" }
                    span.muted { "would take calls at" }
                    @match status.internal.first() { Some(address) => (parts::code(address)), None => span { "port " (status.listener.port) } }
                }
            }
            p.proof.muted { "Computers inside the same network reach each other all the same." }
        }
    }
}

/// A part of the way.
#[derive(Clone, Copy)]
enum Leg {
    Open,
    Unknown,
    Shut,
}

fn leg(leg: Leg) -> Markup {
    let (tone, sign, words) = match leg {
        Leg::Open => (Tone::Good, "→", "open"),
        Leg::Unknown => (Tone::Off, "⋯", "not proved"),
        Leg::Shut => (Tone::Bad, "✕", "shut"),
    };
    html! {
        li class={ "leg " (tone.class()) } { span aria-hidden="true" { (sign) } span.visually-hidden { (words) } }
    }
}

fn proof(mapping: &MappingView, now: Timestamp) -> Markup {
    let proof = &mapping.proof;
    let by = html! { @match &proof.by { Some(by) => (parts::name(by)), None => "a friend" } };
    html! {
        @match proof.state {
            ProofState::NotYet if mapping.state == "double-nat" => {
                (parts::state(Tone::Warn, "Not proved"))
                " Calls from the Internet end at another router, before they get to yours."
            }
            ProofState::NotYet => {
                (parts::state(Tone::Busy, "Not yet proved"))
                " A friend’s computer tries it from outside as soon as it is connected; nothing is to be done for that."
            }
            ProofState::Proved => {
                (parts::state(Tone::Good, "Proved"))
                " " (by) " came in this way from outside" @if let Some(at) = proof.at { ", " (parts::time(at, now)) } "."
            }
            ProofState::Failed => {
                (parts::state(Tone::Bad, "Did not work"))
                " " (by) " tried it from outside" @if let Some(at) = proof.at { " " (parts::time(at, now)) }
                @if let Some(why) = &proof.why { ": " (safe(why)) } "."
            }
        }
    }
}

fn lease(mapping: &MappingView) -> Markup {
    html! {
        @if let Some(seconds) = mapping.lease_seconds {
            span.muted { " The router keeps the port open for " (format::duration(std::time::Duration::from_secs(seconds.div_ceil(60) * 60))) "; Kith renews that in time." }
        }
    }
}
