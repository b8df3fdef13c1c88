//! The way in from outside, as `kith status` and `kith ports` tell it.

use jiff::Timestamp;
use kith_control::view::{GatewayView, HubView, PortView, StatusView};

use super::output::{safe, time};

/// The rows about the router: what is, every open port with its proof, what to do.
pub(super) fn router_rows(status: &StatusView, now: Timestamp) -> Vec<Vec<String>> {
    let mapping = &status.mapping;
    let mut lines = vec![safe(&mapping.sentence)];
    lines.extend(status.mappings.iter().filter_map(|mapping| Some(safe(&mapping.line(now)?))));
    if mapping.next_step.is_some() {
        lines.extend(status.gateways.iter().map(gateway));
    }
    let mut rows: Vec<_> =
        (0..).zip(lines).map(|(at, line)| row(if at == 0 { "router" } else { "" }, line)).collect();
    if let Some(step) = &mapping.next_step {
        rows.push(row("what to do", safe(step)));
    }
    rows
}

fn row(head: &str, text: String) -> Vec<String> {
    vec![head.to_owned(), text]
}

/// `FRITZ!Box 7590 at 192.168.1.1 (eth0): PCP no answer, NAT-PMP closed, UPnP refused`.
fn gateway(gateway: &GatewayView) -> String {
    let model = gateway.model.as_deref().unwrap_or("router");
    let asked: Vec<_> = gateway
        .protocols
        .iter()
        .map(|asked| format!("{} {}", protocol(&asked.protocol), asked.outcome))
        .collect();
    let outcomes = if asked.is_empty() { String::new() } else { format!(": {}", asked.join(", ")) };
    safe(&format!("{model} at {} ({}){outcomes}", gateway.address, gateway.interface))
}

fn protocol(word: &str) -> &str {
    match word {
        "upnp" => "UPnP",
        "nat-pmp" => "NAT-PMP",
        "pcp" => "PCP",
        other => other,
    }
}

/// A row for each hub, and one for each move that was announced.
pub(super) fn hub_rows(hubs: &[HubView]) -> Vec<Vec<String>> {
    let lines = hubs.iter().map(|hub| {
        let at = hub.addresses.join(", ");
        safe(&format!("{at} ({}): {}", hub.role_words(), hub.state_words()))
    });
    let mut rows: Vec<_> =
        (0..).zip(lines).map(|(at, line)| row(if at == 0 { "hubs" } else { "" }, line)).collect();
    let notices = hubs.iter().filter_map(|hub| hub.notice(time));
    rows.extend(notices.map(|notice| row("notice", safe(&notice))));
    rows
}

/// The port table with its head.
pub(super) fn port_rows(ports: &[PortView]) -> Vec<Vec<String>> {
    let head =
        ["LOCAL", "PROTOCOL", "DIRECTION", "REMOTE", "FRIEND", "STATE", "FOR"].map(str::to_owned).to_vec();
    let dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), safe);
    let rows = ports.iter().map(|port| {
        vec![
            port.local.clone(),
            port.protocol.clone(),
            port.direction.clone(),
            dash(&port.remote),
            dash(&port.friend),
            port.state.as_str().to_owned(),
            // A friend's name may be in it.
            safe(&port.purpose),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests;
