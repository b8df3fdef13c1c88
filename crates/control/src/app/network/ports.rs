//! The table of ports: what is open, where, and why.

use maud::{Markup, html};

use super::super::parts;
use crate::terminal::safe;
use crate::view::PortView;

pub(super) fn section(ports: &[PortView]) -> Markup {
    html! {
        section.card aria-labelledby="ports-title" {
            h2 #ports-title { "Ports in use" }
            p.muted { "All that Kith has open at this moment, for whoever looks after a firewall." }
            table.ports {
                thead { tr { th scope="col" { "Here" } th scope="col" { "Direction" } th scope="col" { "Other end" } th scope="col" { "For" } } }
                tbody { @for port in ports { (row(port)) } }
            }
        }
    }
}

fn row(port: &PortView) -> Markup {
    let direction = match port.direction.as_str() {
        "in" => "in",
        "out" => "out",
        "local" => "here only",
        other => other,
    };
    html! {
        tr {
            td data-label="Here" { div { (parts::code(&port.local)) " " span.muted { (safe(&port.protocol.to_uppercase())) } } }
            td data-label="Direction" { div { (safe(direction)) } }
            td.absent[port.remote.is_none() && port.external.is_none()] data-label="Other end" { div {
                @if let Some(friend) = &port.friend { (parts::name(friend)) " " }
                @if let Some(remote) = &port.remote { (parts::code(remote)) }
                @if let Some(external) = &port.external { "everybody, at " (parts::code(external)) }
                @if port.remote.is_none() && port.external.is_none() { span.muted { "–" } }
            } }
            td data-label="For" { div { (safe(&port.purpose)) } }
        }
    }
}
