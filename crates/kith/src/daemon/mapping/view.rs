//! Mappings and routers as the API shows them.

use std::net::SocketAddr;
use std::time::SystemTime;

use kith_control::terminal;
use kith_control::view::{GatewayView, MappingView, ProofState, ProofView, ProtocolView};
use kith_nat::{Family, GatewayState, Mapping, MappingState, Proof, State};

use crate::daemon::core::{Core, lock};
use crate::settings::HostPort;

impl Core {
    /// The one mapping that matters most, or why there is none.
    pub(in crate::daemon) fn mapping_view(&self, nat: &State, mappings: &[MappingView]) -> MappingView {
        let by_hand = |mapping: &&MappingView| mapping.protocol.as_deref() == Some("static");
        let best = match nat.verdict {
            MappingState::Mapped => mappings.first(),
            // What a person made by hand does what the router does not do by itself.
            _ => mappings.iter().find(by_hand).or_else(|| mappings.first()),
        };
        best.cloned().unwrap_or_else(|| MappingView {
            next_step: nat.next_step.clone(),
            ..MappingView::new(nat.verdict.as_str(), nat.sentence.clone())
        })
    }

    /// Every mapping: the primary one first, those made by hand last.
    pub(in crate::daemon) fn mapping_views(&self, nat: &State) -> Vec<MappingView> {
        let model = |mapping: &Mapping| {
            let gateway = nat.gateways.iter().find(|gateway| gateway.uplink == mapping.uplink);
            gateway
                .and_then(|gateway| gateway.model.as_deref())
                .map(|model| terminal::safe(model).into_owned())
        };
        let views = nat.mappings.iter().map(|mapping| {
            let primary = nat.primary.as_ref() == Some(mapping);
            MappingView {
                router: model(mapping),
                next_step: primary.then(|| nat.next_step.clone()).flatten(),
                sentence: if primary { nat.sentence.clone() } else { sentence(mapping) },
                ..mapping_view(mapping)
            }
        });
        views.chain(self.static_mappings()).collect()
    }

    /// What a person forwarded by hand and told us of.
    fn static_mappings(&self) -> Vec<MappingView> {
        let loaded = self.loaded();
        let proofs = lock(&self.static_proofs).clone();
        let mapping = |advertised: &HostPort| {
            let address = advertised.ip().map(|ip| SocketAddr::new(ip, advertised.port()));
            let proof = address.and_then(|address| proofs.get(&address)).map(proof_view).unwrap_or_default();
            MappingView {
                protocol: Some("static".to_owned()),
                external_ip: advertised.ip().map(|ip| ip.to_string()),
                external_name: advertised.ip().is_none().then(|| advertised.host().to_owned()),
                external_port: Some(advertised.port()),
                family: advertised.ip().map(|ip| family(Family::of(ip))),
                proved: proof.state == ProofState::Proved,
                proof,
                ..MappingView::new(
                    "mapped",
                    format!("the router was told by hand to forward {advertised} to this computer"),
                )
            }
        };
        loaded.settings().listener.advertise.iter().map(mapping).collect()
    }
}

fn mapping_view(mapping: &Mapping) -> MappingView {
    let left = mapping.expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
    let proof = proof_view(&mapping.proof);
    MappingView {
        // No router in the way is as good as a forwarding made by hand.
        protocol: Some(mapping.protocol.map_or("static", kith_nat::Protocol::as_str).to_owned()),
        external_ip: mapping.external_ip.map(|ip| ip.to_string()),
        external_port: Some(mapping.external_port),
        lease_seconds: left.map(|left| left.as_secs()),
        proved: proof.state == ProofState::Proved,
        proof,
        family: Some(family(mapping.family())),
        gateway: mapping.protocol.map(|_| mapping.uplink.gateway.to_string()),
        internal: Some(mapping.internal.to_string()),
        ..MappingView::new(mapping.state.as_str(), "")
    }
}

fn sentence(mapping: &Mapping) -> String {
    let Mapping { internal, external_port, .. } = mapping;
    match (mapping.protocol, mapping.family()) {
        (None, _) => format!("{internal} can be reached from outside without the help of a router"),
        (Some(protocol), Family::V6) => {
            format!("the router lets TCP {external_port} through to {internal} (asked by {protocol})")
        }
        (Some(protocol), Family::V4) => format!(
            "the router at {} forwards TCP {external_port} to {internal} (asked by {protocol})",
            mapping.uplink.gateway
        ),
    }
}

fn family(family: Family) -> String {
    match family {
        Family::V4 => "ipv4".to_owned(),
        Family::V6 => "ipv6".to_owned(),
    }
}

fn proof_view(proof: &Proof) -> ProofView {
    let (state, by, at, why) = match proof {
        Proof::NotYet => return ProofView::default(),
        Proof::Proved { by, at } => (ProofState::Proved, by, at, None),
        Proof::Failed { by, at, why } => (ProofState::Failed, by, at, Some(why.clone())),
    };
    ProofView { state, by: Some(by.clone()), at: (*at).try_into().ok(), why }
}

/// A router as the API shows it.
pub(in crate::daemon) fn gateway_view(gateway: &GatewayState) -> GatewayView {
    let safe = |text: &String| terminal::safe(text).into_owned();
    GatewayView {
        address: gateway.uplink.gateway.to_string(),
        interface: safe(&gateway.uplink.interface),
        state: gateway.state.as_str().to_owned(),
        model: gateway.model.as_ref().map(safe),
        page: Some(safe(&gateway.page)),
        protocols: gateway
            .protocols
            .iter()
            .map(|(protocol, outcome)| ProtocolView {
                protocol: protocol.as_str().to_owned(),
                outcome: safe(outcome),
            })
            .collect(),
    }
}
