//! `kith ports --firewall`: what whoever looks after a firewall must set.

use kith_control::Client;
use kith_control::view::{FirewallRule, FirewallView, ProxyRules};

use super::args::Json;
use super::error::CliResult;
use super::output::{json, line, safe, table};

pub(super) async fn show(client: &Client, Json { json: as_json }: Json) -> CliResult {
    print(&client.firewall().await?, as_json)
}

pub(super) fn print(view: &FirewallView, as_json: bool) -> CliResult {
    if as_json {
        return json(view);
    }
    for sentence in &view.summary {
        line(safe(sentence));
    }
    title("Packet filters");
    table(&rule_rows(&view.rules));
    if let Some(proxy) = &view.proxy {
        title("The proxy");
        show_proxy(proxy);
    }
    if !view.mapped.is_empty() {
        title("Ports of the firewall that must be mapped");
        table(&mapped_rows(view));
    }
    for (name, lines) in
        [("nftables, on this computer", &view.nftables), ("ufw, on this computer", &view.ufw)]
    {
        title(name);
        lines.iter().for_each(|text| line(safe(text)));
    }
    line("");
    for note in &view.notes {
        line(safe(note));
    }
    Ok(())
}

fn title(text: &str) {
    line("");
    line(text);
}

fn rule_rows(rules: &[FirewallRule]) -> Vec<Vec<String>> {
    let head = ["", "DIRECTION", "PROTOCOL", "PORT HERE", "OTHER END", "ITS PORT", "FRIEND", "FOR"];
    let any = |text: &Option<String>| text.as_deref().map_or_else(|| "any".to_owned(), safe);
    let rows = rules.iter().map(|rule| {
        vec![
            if rule.optional { "may" } else { "must" }.to_owned(),
            rule.direction.as_str().to_owned(),
            if rule.answers {
                format!("{}, answers", rule.protocol.as_str())
            } else {
                rule.protocol.as_str().to_owned()
            },
            any(&rule.local_ports),
            any(&rule.remote),
            any(&rule.remote_ports),
            rule.friend.as_deref().map_or_else(|| "-".to_owned(), safe),
            safe(&rule.purpose),
        ]
    });
    std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect()
}

fn show_proxy(proxy: &ProxyRules) {
    let kind = if proxy.kind == "socks5" { "SOCKS 5" } else { "HTTP CONNECT" };
    let login = if proxy.login { "it is told a user name and a password" } else { "it is told no password" };
    line(format!("{kind} at {}; {login}. It must allow connections to:", safe(&proxy.address)));
    let rows: Vec<Vec<String>> = proxy
        .destinations
        .iter()
        .map(|to| vec![format!("  {}", safe(&to.address)), safe(to.friend.as_deref().unwrap_or(&to.purpose))])
        .collect();
    if rows.is_empty() {
        line("  the addresses of friends, as soon as some are known");
    }
    table(&rows);
}

fn mapped_rows(view: &FirewallView) -> Vec<Vec<String>> {
    let head = ["PORT OF THE FIREWALL", "LEADS TO", "FOR"].map(str::to_owned).to_vec();
    let rows = view.mapped.iter().map(|port| {
        let to =
            if port.forward_to.is_empty() { "not known yet".to_owned() } else { port.forward_to.join(", ") };
        let missing = || "MISSING: map one, and name it under [network.mapped]".to_owned();
        vec![
            port.firewall.as_deref().map_or_else(missing, safe),
            safe(&to),
            safe(port.friend.as_deref().unwrap_or(&port.destination)),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}
