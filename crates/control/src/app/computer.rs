//! This computer: how friends reach it and what it keeps for them.

use maud::{Markup, html};

use super::fragments::Facts;
use super::parts::{self, Tone};
use super::{format, network};
use crate::terminal::safe;
use crate::view::{ListenerState, StatusView};

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
            (listener(status))
            @if status.listener.state == ListenerState::Listening { (network::next_step(status, false)) }
            (network::hub_notices(status))
            dl.facts {
                (parts::addresses(&status.internal, &status.public, &[], None))
                (parts::row("From outside", &router(status)))
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

fn listener(status: &StatusView) -> Markup {
    let listener = &status.listener;
    // Green words must not promise what the router does not keep.
    let open = match network::judged(status).0 {
        Tone::Good => format!("Friends can call on port {}", listener.port),
        _ => format!("Port {} is open on this computer", listener.port),
    };
    html! {
        p {
            @match listener.state {
                ListenerState::Listening => (parts::state(Tone::Good, &open)),
                ListenerState::Off => (parts::state(Tone::Off, "Does not take calls; calls friends only")),
                ListenerState::Error => (parts::state(Tone::Bad, &format!("Friends can’t call: port {} is not open", listener.port))),
            }
        }
        @if let Some(error) = &listener.error { p.trouble { (safe(error)) } }
    }
}

/// What the router does for us, shortly; the network page has the rest.
fn router(status: &StatusView) -> Markup {
    let (tone, words) = network::judged(status);
    html! {
        (parts::state(tone, words))
        @if status.listener.state == ListenerState::Listening && tone != Tone::Good {
            p { (parts::sentence(&status.mapping.sentence)) }
        }
        a href="#/network" { "More about the network" }
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
