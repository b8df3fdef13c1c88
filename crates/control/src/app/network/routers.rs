//! The routers, and what asking them came to.

use maud::{Markup, html};

use super::super::parts::{self, Tone};
use super::page;
use crate::terminal::safe;
use crate::view::GatewayView;

pub(super) fn section(gateways: &[GatewayView]) -> Markup {
    html! {
        @if !gateways.is_empty() {
            section.card aria-labelledby="routers-title" {
                h2 #routers-title { @if gateways.len() == 1 { "Router" } @else { "Routers" } }
                @for gateway in gateways { (router(gateway, gateways)) }
                details #protocols-explained {
                    summary { "What do these names mean?" }
                    p {
                        "PCP, NAT-PMP and UPnP are three languages in which a program can ask a router to open a port. "
                        "Kith speaks all of them and uses what the router understands; one is enough. "
                        "UPnP is the one that most routers at home know, often under “allow programs to open ports”. "
                        "Each can be switched off in the options; what was opened by it is closed at once."
                    }
                }
            }
        }
    }
}

fn router(gateway: &GatewayView, gateways: &[GatewayView]) -> Markup {
    let (tone, word) = match gateway.state.as_str() {
        // A computer with an address of the Internet asks its router for nothing.
        "mapped" if gateway.protocols.is_empty() => (Tone::Good, "Not in the way"),
        "mapped" => (Tone::Good, "Port open"),
        "searching" => (Tone::Busy, "Being asked"),
        "double-nat" => (Tone::Warn, "Behind another router"),
        "blocked" => (Tone::Bad, "Port open, but blocked"),
        "router-off" => (Tone::Warn, "Opens no port"),
        "no-router" => (Tone::Off, "Not there"),
        "off" => (Tone::Off, "Not asked"),
        _ => (Tone::Off, "Not known"),
    };
    html! {
        article.router {
            div.friend-head {
                h3 { @match &gateway.model { Some(model) => (parts::name(model)), None => "Router" } }
                (parts::state(tone, word))
                @if let Some(link) = page::link(gateway, gateways) {
                    span.router-page { (page::anchor(&link, "Its page")) }
                }
            }
            p.muted { "At " (parts::code(&gateway.address)) ", by the interface " (parts::code(&gateway.interface)) }
            ul.outcomes {
                @for asked in &gateway.protocols {
                    li { span.muted { (name(&asked.protocol)) } ": " (safe(&asked.outcome)) }
                }
            }
        }
    }
}

fn name(protocol: &str) -> Markup {
    html! {
        @match protocol {
            "upnp" => "UPnP",
            "nat-pmp" => "NAT-PMP",
            "pcp" => "PCP",
            other => (safe(other)),
        }
    }
}
