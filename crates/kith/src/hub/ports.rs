//! The ports of a hub, for whoever looks after its computer. Pure.

use kith_control::view::{PortState, PortView};
use std::net::SocketAddr;

use crate::settings::Hub;

/// What a hub with these settings has open, or opens when it is started.
pub(crate) fn ports(hub: &Hub, is_running: bool) -> Vec<PortView> {
    let open = |local: SocketAddr, direction: &str, purpose: &str| PortView {
        local: local.to_string(),
        protocol: "tcp".into(),
        direction: direction.into(),
        remote: None,
        friend: None,
        purpose: purpose.into(),
        external: None,
        state: if is_running { PortState::Open } else { PortState::Closed },
    };
    let everywhere = |port: u16| hub.bind.iter().map(move |ip| SocketAddr::new(*ip, port));
    let mut ports: Vec<PortView> = everywhere(hub.port.get())
        .map(|at| {
            open(at, "in", "computers connect here, and are joined by the relay; let it through firewalls")
        })
        .collect();
    if !hub.peers.is_empty() {
        let for_peers = "other hubs connect here; let it through firewalls, for them alone";
        ports.extend(everywhere(hub.peer_port.get()).map(|at| open(at, "in", for_peers)));
    }
    ports.extend(hub.peers.iter().map(|peer| PortView {
        local: "*:*".into(),
        direction: "out".into(),
        remote: Some(peer.address().to_string()),
        ..open(SocketAddr::from(([0, 0, 0, 0], 0)), "out", "link to another hub, which is exchanged with")
    }));
    if let Some(metrics) = hub.metrics.map(|metrics| metrics.get()) {
        let direction = if metrics.ip().is_loopback() { "local" } else { "in" };
        ports.push(open(metrics, direction, "numbers for Prometheus"));
    }
    ports
}

#[cfg(test)]
mod tests {
    use kith_identity::DeviceId;

    use super::*;

    #[test]
    fn a_hub_tells_of_each_port_that_it_opens_and_whether_it_is_open() {
        let peer = DeviceId::from_bytes([8; 32]);
        let settings = format!("bind = [\"0.0.0.0\"]\nport = 443\npeers = [\"kith://{peer}@11.0.0.8:4288\"]");
        let told = |is_running| -> Vec<_> {
            let all = ports(&toml::from_str(&settings).unwrap(), is_running);
            all.into_iter()
                .map(|port| (port.local, port.direction, port.remote, port.state.as_str()))
                .collect()
        };
        let row = |local: &str, direction: &str, remote: Option<&str>, state| {
            (local.to_owned(), direction.to_owned(), remote.map(str::to_owned), state)
        };
        assert_eq!(
            told(true),
            [
                row("0.0.0.0:443", "in", None, "open"),
                row("0.0.0.0:4288", "in", None, "open"),
                row("*:*", "out", Some("11.0.0.8:4288"), "open"),
                row("127.0.0.1:9187", "local", None, "open"),
            ]
        );
        assert!(told(false).iter().all(|(.., state)| *state == "closed"));
        let alone = ports(&Hub::default(), true);
        assert!(
            alone.iter().all(|port| !port.local.contains("4288")),
            "no port for hubs without others: {alone:?}"
        );
    }
}
