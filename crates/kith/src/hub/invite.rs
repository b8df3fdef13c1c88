//! The lines by which a hub is known, with a token or without.

use std::net::IpAddr;
use std::time::Duration;

use kith_identity::DeviceId;
use kith_network::Snapshot;
use kith_wire::{HubAddress, HubInvite};

use crate::daemon::keys;
use crate::home::Home;
use crate::settings;

/// Under which addresses a hub is known, best first: what is advertised, else the addresses that it is bound to.
pub(crate) fn known_as(us: DeviceId, settings: &settings::Hub, snapshot: &Snapshot) -> Vec<HubAddress> {
    let advertised = settings.advertise.iter().map(ToString::to_string);
    let all = snapshot.local_addresses();
    let port = settings.port.get();
    let bound = settings.bind.iter().flat_map(|bind| match bind {
        ip if ip.is_unspecified() => {
            all.iter().copied().filter(|own| own.is_ipv4() == ip.is_ipv4()).collect::<Vec<IpAddr>>()
        }
        ip => vec![*ip],
    });
    let at: Vec<String> = if settings.advertise.is_empty() {
        bound.map(|ip| std::net::SocketAddr::new(ip, port).to_string()).collect()
    } else {
        advertised.collect()
    };
    at.into_iter().map(|at| HubAddress { id: us, at }).collect()
}

/// A line that lets one computer in at the hub of this home; it can be used for so long. Blocks.
///
/// # Errors
/// If the home has no hub, or there is no address to put into it.
pub(crate) fn token_line(
    home: &Home,
    settings: &settings::Hub,
    open_for: Duration,
    now: u64,
) -> anyhow::Result<String> {
    let keys = keys::load(home)?;
    let us = keys.identity.device_id();
    let hub = known_as(us, settings, &Snapshot::take()).into_iter().next().ok_or_else(|| {
        anyhow::anyhow!("this computer has no address under which the hub could be known: set hub.advertise")
    })?;
    let token = keys.dial_in.hub_token_key().token(now.saturating_add(open_for.as_secs()));
    Ok(HubInvite { hub, token: Some(token) }.reveal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_known_by_what_is_advertised_else_by_what_it_is_bound_to() {
        let us = DeviceId::from_bytes([1; 32]);
        let hub = settings::Hub { bind: vec!["127.0.0.1".parse().unwrap()], ..settings::Hub::default() };
        let shown = |hub: &settings::Hub| {
            known_as(us, hub, &Snapshot::default()).iter().map(|hub| hub.at.clone()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&hub), ["127.0.0.1:4287"]);
        let hub = settings::Hub { advertise: vec!["hub.example.org:443".parse().unwrap()], ..hub };
        assert_eq!(shown(&hub), ["hub.example.org:443"]);
        assert_eq!(shown(&settings::Hub::default()), Vec::<String>::new(), "no interface, no address");
    }
}
