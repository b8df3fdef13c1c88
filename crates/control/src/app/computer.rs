//! This computer: how friends reach it and what it keeps for them.

use maud::{Markup, html};

use super::format;
use super::fragments::Facts;
use super::parts::{self, Tone};
use crate::terminal::safe;
use crate::view::{ListenerState, ListenerView, MappingView, StatusView};

pub(super) fn section(facts: &Facts) -> Markup {
    let status = &facts.status;
    html! {
        section.card aria-labelledby="computer-title" {
            div.card-head {
                h2 #computer-title { "This computer" }
                @if status.paused_until.is_none() {
                    div.buttons { button.small.quiet type="button" data-dialog="pause" { "Pause" } }
                }
            }
            p.computer-name { (parts::name(&status.name)) }
            (listener(&status.listener))
            dl.facts {
                (parts::addresses(&status.internal, &status.public, &[], None))
                (parts::row("Router", &html! { (mapping(&status.mapping)) }))
                (parts::row("Device id", &html! {
                    div.device-id {
                        details #device-id {
                            summary { (parts::code(&status.device_id.short())) "…" }
                            (parts::code(&status.device_id.to_string()))
                        }
                        button.quiet type="button" data-copy=(status.device_id) { "Copy" }
                    }
                }))
                (parts::row("Kept for friends", &vault(status)))
                (parts::row("Running", &html! { "Kith " (safe(&status.version)) ", started " (parts::time(status.started, facts.now)) }))
            }
        }
    }
}

fn listener(listener: &ListenerView) -> Markup {
    html! {
        p {
            @match listener.state {
                ListenerState::Listening => (parts::state(Tone::Good, &format!("Friends can call on port {}", listener.port))),
                ListenerState::Off => (parts::state(Tone::Off, "Does not take calls; calls friends only")),
                ListenerState::Error => (parts::state(Tone::Bad, &format!("Friends can’t call: port {} is not open", listener.port))),
            }
        }
        @if let Some(error) = &listener.error { p.trouble { (safe(error)) } }
    }
}

/// One sentence that says what the router does for us.
fn mapping(mapping: &MappingView) -> Markup {
    let place = match (&mapping.external_ip, mapping.external_port) {
        (Some(ip), Some(port)) if ip.contains(':') => Some(format!("[{ip}]:{port}")),
        (Some(ip), Some(port)) => Some(format!("{ip}:{port}")),
        (None, Some(port)) => Some(format!("port {port}")),
        _ => None,
    };
    let protocol = match mapping.protocol.as_deref() {
        Some("upnp") => " by UPnP",
        Some("nat-pmp") => " by NAT-PMP",
        Some("pcp") => " by PCP",
        Some("static") => ", set up by hand",
        _ => "",
    };
    html! {
        @match mapping.state.as_str() {
            "off" => "Not asked to open a port",
            "searching" => "Being asked to open a port…",
            "no-router" => "None found that opens ports by itself",
            "router-off" => "Opening ports by programs is switched off in the router",
            "mapped" => {
                "Open" (protocol) @if let Some(place) = place { ": " (parts::code(&place)) }
                @if mapping.proved { ", proved from outside" } @else { span.muted { ", not proved from outside yet" } }
            }
            "double-nat" => "There is a second router behind it: calls from outside don’t get through",
            "blocked" => "A port is open, but calls from outside don’t get through",
            other => (safe(other)),
        }
    }
}

fn vault(status: &StatusView) -> Markup {
    let vault = &status.vault;
    html! {
        (format::bytes(vault.live_bytes))
        @if vault.held_bytes > 0 { " + " (format::bytes(vault.held_bytes)) " held" }
        @if let Some(free) = vault.free_bytes { ", " (format::bytes(free)) " free" }
        " in " (parts::code(&vault.path))
        @match vault.accept.as_str() {
            "off" => span.muted { " (takes nothing new)" },
            "own" => span.muted { " (from my own computers only)" },
            _ => {}
        }
    }
}
