//! What firewalls must let through, for whoever looks after one.

use maud::{Markup, html};

use super::super::parts;
use crate::terminal::safe;
use crate::view::{FirewallDirection, FirewallRule, FirewallView, MappedPort, ProxyRules};

pub(super) fn section(firewall: &FirewallView) -> Markup {
    html! {
        @if !firewall.mapped.is_empty() { (mapped(&firewall.mapped)) }
        section.card aria-labelledby="firewall-title" {
            h2 #firewall-title { "For a firewall" }
            p.muted { "What must be let through, by the settings in force and the addresses known now. At home there is nothing to do here." }
            @for sentence in &firewall.summary { p { (safe(sentence)) } }
            @if let Some(proxy) = &firewall.proxy { (by_proxy(proxy)) }
            details #firewall-rules {
                summary { "Rules for packet filters" }
                table.ports {
                    thead { tr { th scope="col" { "Other end" } th scope="col" { "Direction" } th scope="col" { "Port here" } th scope="col" { "For" } } }
                    tbody { @for rule in &firewall.rules { (row(rule)) } }
                }
                @for note in &firewall.notes { p.muted { (safe(note)) } }
            }
            @for (id, title, lines) in [("firewall-nft", "Commands for nftables", &firewall.nftables), ("firewall-ufw", "Commands for ufw", &firewall.ufw)] {
                details id=(id) {
                    summary { (title) }
                    pre dir="ltr" { @for line in lines { div { (safe(line)) } } }
                }
            }
        }
    }
}

fn row(rule: &FirewallRule) -> Markup {
    let direction = match (rule.direction, rule.answers) {
        (FirewallDirection::In, false) => "in",
        (FirewallDirection::Out, false) => "out",
        (FirewallDirection::In, true) => "in, answers",
        (FirewallDirection::Out, true) => "out, answers",
    };
    let any = |text: &Option<String>| {
        html! {
            @match text { Some(text) => (parts::code(text)), None => span.muted { "any" } }
        }
    };
    html! {
        tr {
            td data-label="Other end" { div {
                @if let Some(friend) = &rule.friend { (parts::name(friend)) " " }
                (any(&rule.remote))
                @if let Some(ports) = &rule.remote_ports { ", port " (parts::code(ports)) }
            } }
            td data-label="Direction" { div { (direction) " " span.muted { (rule.protocol.as_str().to_uppercase()) } } }
            td data-label="Port here" { div { (any(&rule.local_ports)) } }
            td data-label="For" { div { (safe(&rule.purpose)) @if rule.optional { " " span.tag { "optional" } } } }
        }
    }
}

fn by_proxy(proxy: &ProxyRules) -> Markup {
    html! {
        p { "The proxy " (parts::code(&proxy.address)) " must allow connections to:" }
        @if proxy.destinations.is_empty() { p.muted { "the addresses of friends, as soon as some are known" } }
        ul.addresses {
            @for to in &proxy.destinations {
                li { (parts::code(&to.address)) " " span.muted { @match &to.friend { Some(friend) => (parts::name(friend)), None => (safe(&to.purpose)) } } }
            }
        }
    }
}

fn mapped(ports: &[MappedPort]) -> Markup {
    html! {
        section.card aria-labelledby="mapped-title" {
            h2 #mapped-title { "Ports of the firewall that must lead to friends" }
            dl.facts {
                @for port in ports {
                    (parts::row(port.firewall.as_deref().unwrap_or("none yet"), &html! {
                        @match &port.friend { Some(friend) => (parts::name(friend)), None => (parts::code(&port.destination)) }
                        @if port.firewall.is_none() { " " span.tag { "missing" } }
                        ul.addresses { @for address in &port.forward_to { li { (parts::code(address)) } } }
                    }))
                }
            }
        }
    }
}
