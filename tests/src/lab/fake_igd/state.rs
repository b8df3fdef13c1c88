//! What the router holds, and what becomes of a request for more.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::lab::{IgdVersion, Router, ip, rules};

use super::script::{Effect, Leases, Listing, ReadBack};
use super::{Request, Script};

/// Requests that are remembered: more than any test makes.
const MOST_REQUESTS: usize = 10_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) script: Script,
    pub(super) entries: Vec<Held>,
    pub(super) requests: Vec<Request>,
}

/// A mapping that was asked for, and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    protocol: String,
    asked_port: u16,
    asked_client: Ipv4Addr,
    internal_port: u16,
    description: String,
    lease: u32,
    ends: Option<Instant>,
    /// The port and the client of the rule; none: there is no rule.
    real: Option<(u16, Ipv4Addr)>,
}

/// What an action answers: its arguments, or an error.
pub(super) type Answer = Result<Vec<(&'static str, String)>, u16>;

impl State {
    pub(super) const fn new(script: Script) -> Self {
        Self { script, entries: Vec::new(), requests: Vec::new() }
    }

    pub(super) fn note(&mut self, request: Request) {
        if self.requests.len() < MOST_REQUESTS {
            self.requests.push(request);
        }
    }

    /// Drops what has expired; says whether there was any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.ends.is_none_or(|ends| ends > now));
        before != self.entries.len()
    }

    /// Makes the packet filter of the router hold what is mapped.
    pub(super) fn apply(&self, router: &Router) {
        let chain = rules::MAPPINGS;
        let mut script = format!("flush chain inet filter {chain}\n");
        for entry in &self.entries {
            if let Some((port, client)) = entry.real {
                let protocol = entry.protocol.to_lowercase();
                let to = SocketAddr::new(client.into(), entry.internal_port);
                writeln!(
                    script,
                    "add rule inet filter {chain} iifname \"wan\" {protocol} dport {port} dnat ip to {to}"
                )
                .expect("a String takes what is written to it");
            }
        }
        ip::nft(router.namespace(), &script);
    }

    /// Does an action for somebody.
    pub(super) fn act(&mut self, router: &Router, from: IpAddr, action: &str, ask: &Ask<'_>) -> Answer {
        match action {
            "GetExternalIPAddress" => {
                let real = || router.wan_address().to_string();
                let address = self.script.external_address.clone().unwrap_or_else(real);
                Ok(vec![("NewExternalIPAddress", address)])
            }
            "GetStatusInfo" => Ok(vec![
                ("NewConnectionStatus", "Connected".to_owned()),
                ("NewLastConnectionError", "ERROR_NONE".to_owned()),
                ("NewUptime", "86400".to_owned()),
            ]),
            "GetConnectionTypeInfo" => Ok(vec![
                ("NewConnectionType", "IP_Routed".to_owned()),
                ("NewPossibleConnectionTypes", "IP_Routed".to_owned()),
            ]),
            "AddPortMapping" => {
                self.add(router, from, ask, ask.port("NewExternalPort")?)?;
                Ok(Vec::new())
            }
            "AddAnyPortMapping" if self.script.version == IgdVersion::Two => {
                let mut port = ask.port("NewExternalPort")?;
                while self.is_taken(ask, port) {
                    port = port.checked_add(1).ok_or(728_u16)?;
                }
                self.add(router, from, ask, port)?;
                Ok(vec![("NewReservedPort", port.to_string())])
            }
            "DeletePortMapping" => {
                let found = self.position(ask)?;
                self.entries.remove(found);
                self.apply(router);
                Ok(Vec::new())
            }
            "GetSpecificPortMappingEntry" if self.script.read_back == ReadBack::Offered => {
                let found = self.position(ask)?;
                let shown = self.shown(&self.entries[found]);
                // The arguments that were asked with are not repeated.
                Ok(shown.into_iter().skip(3).collect())
            }
            "GetGenericPortMappingEntry" => {
                let index: usize = ask.text("NewPortMappingIndex").parse().map_err(|_| 402_u16)?;
                Ok(self.shown(self.entries.get(index).ok_or(713_u16)?))
            }
            _ => Err(401),
        }
    }

    fn add(&mut self, router: &Router, from: IpAddr, ask: &Ask<'_>, port: u16) -> Result<(), u16> {
        if let Some(code) = self.script.refuses {
            return Err(code);
        }
        let client: Ipv4Addr = ask.text("NewInternalClient").parse().map_err(|_| 402_u16)?;
        if self.script.secure && from != IpAddr::V4(client) {
            return Err(606);
        }
        let lease: u32 = ask.text("NewLeaseDuration").parse().map_err(|_| 402_u16)?;
        match self.script.leases {
            Leases::OnlyPermanent if lease != 0 => return Err(725),
            Leases::OnlyPermanentSays402 if lease != 0 => return Err(402),
            Leases::OnlyPermanentSays501 if lease != 0 => return Err(501),
            Leases::NoPermanent if lease == 0 => return Err(402),
            _ => {}
        }
        let internal_port = ask.port("NewInternalPort")?;
        if self.script.same_ports_only && port != internal_port {
            return Err(724);
        }
        if self.is_taken(ask, port) {
            return Err(718);
        }
        let protocol = ask.text("NewProtocol").to_owned();
        self.entries.retain(|entry| entry.asked_port != port || entry.protocol != protocol);
        if self.script.leases == Leases::LimitedVanish && lease != 0 {
            self.apply(router);
            return Ok(());
        }
        let real = match self.script.effect {
            Effect::Real => Some((port, client)),
            Effect::SamePort if self.script.taken.contains(&internal_port) => None,
            Effect::SamePort => Some((internal_port, client)),
            Effect::Nothing => None,
            Effect::OtherHost(other) => Some((port, other)),
        };
        let ends = (lease != 0).then(|| Instant::now() + Duration::from_secs(lease.into()));
        self.entries.push(Held {
            protocol,
            asked_port: port,
            asked_client: client,
            internal_port,
            description: ask.text("NewPortMappingDescription").to_owned(),
            lease,
            ends,
            real,
        });
        self.apply(router);
        Ok(())
    }

    /// Whether somebody else has the port.
    fn is_taken(&self, ask: &Ask<'_>, port: u16) -> bool {
        let client = ask.text("NewInternalClient");
        let protocol = ask.text("NewProtocol");
        let held = |entry: &Held| {
            entry.asked_port == port && entry.protocol == protocol && entry.asked_client.to_string() != client
        };
        self.script.taken.contains(&port) || self.entries.iter().any(held)
    }

    /// Which entry is asked for, as far as the list tells.
    fn position(&self, ask: &Ask<'_>) -> Result<usize, u16> {
        let port = ask.port("NewExternalPort")?;
        let protocol = ask.text("NewProtocol");
        let found = self.entries.iter().position(|entry| {
            entry.protocol == protocol && self.listed(entry).is_some_and(|(listed, _)| listed == port)
        });
        found.ok_or(714)
    }

    /// The external port and the client of an entry as the list has them.
    const fn listed(&self, entry: &Held) -> Option<(u16, Ipv4Addr)> {
        match self.script.listing {
            Listing::Real => entry.real,
            Listing::AsAsked => Some((entry.asked_port, entry.asked_client)),
        }
    }

    fn shown(&self, entry: &Held) -> Vec<(&'static str, String)> {
        let (port, client) = self.listed(entry).unwrap_or((entry.asked_port, Ipv4Addr::UNSPECIFIED));
        let left = entry.ends.map_or(0, |ends| ends.saturating_duration_since(Instant::now()).as_secs());
        vec![
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", port.to_string()),
            ("NewProtocol", entry.protocol.clone()),
            ("NewInternalPort", entry.internal_port.to_string()),
            ("NewInternalClient", client.to_string()),
            ("NewEnabled", "1".to_owned()),
            ("NewPortMappingDescription", entry.description.clone()),
            ("NewLeaseDuration", left.min(entry.lease.into()).to_string()),
        ]
    }
}

/// The arguments of an action.
#[derive(Debug)]
pub(super) struct Ask<'a>(pub(super) &'a [(String, String)]);

impl Ask<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn port(&self, name: &str) -> Result<u16, u16> {
        self.text(name).parse().map_err(|_| 402)
    }
}
