//! How connections leave this computer: to where they may go at all, through what, and from which ports. Everything that this crate
//! dials goes through here.

pub(crate) mod local_port;
mod proxy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

use kith_wire::DeviceId;
use tokio::net::TcpStream;

use crate::dial::{CONNECT_TIMEOUT, DialError, resolve, split};
use crate::socket::tune;

pub use proxy::{Proxy, ProxyKind};

/// What is decided about outgoing connections. Cheap to clone; a change counts for every connection that is begun after it.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    rules: Arc<RwLock<Arc<OutboundRules>>>,
}

/// See [`Outbound`]. Without anything set, connections go directly to wherever a friend is said to be.
#[derive(Debug, Default)]
pub struct OutboundRules {
    /// Every connection is made by this proxy.
    pub proxy: Option<Proxy>,
    /// Ports of a firewall, `host:port`, each of which leads to one destination. They go before the proxy.
    pub mapped: Vec<(Mapped, String)>,
    /// To where connections may lead; without it, anywhere. The proxy and the mapped ports are allowed by being named.
    pub allowed: Option<Allowed>,
    /// The local ports of connections; without it, the system chooses.
    pub ports: Option<RangeInclusive<u16>>,
}

/// What a port of a firewall leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// This friend, wherever he is.
    Friend(DeviceId),
    /// This address, `host:port`.
    Address(String),
}

/// Says whether a connection may be made.
#[derive(Clone)]
pub struct Allowed(Arc<dyn Fn(&Destination<'_>) -> bool + Send + Sync>);

impl Allowed {
    /// By this judgement.
    pub fn new(judge: impl Fn(&Destination<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Allowed")
    }
}

/// Where a connection shall lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The name it is called by, unless that is an IP address.
    pub name: Option<&'a str>,
    /// The IP address; none while only a proxy will know it.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// One way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// What is connected to by TCP.
    pub(crate) hop: SocketAddr,
    via: Via,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Via {
    Nothing,
    Mapped,
    Proxy { proxy: Proxy, host: String, port: u16 },
}

impl Way {
    /// Straight to an IP address.
    #[cfg(test)]
    pub(crate) const fn direct(hop: SocketAddr) -> Self {
        Self { hop, via: Via::Nothing }
    }

    /// Whether somebody in between makes the connection, so that its addresses say nothing of the friend's.
    pub(crate) const fn is_proxied(&self) -> bool {
        !matches!(self.via, Via::Nothing)
    }
}

impl Outbound {
    /// With these rules.
    #[must_use]
    pub fn new(rules: OutboundRules) -> Self {
        Self { rules: Arc::new(RwLock::new(Arc::new(rules))) }
    }

    /// Replaces the rules.
    pub fn set(&self, rules: OutboundRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<OutboundRules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ways to `host:port`, each to be tried in turn; `friend` is who is expected there, if that is known.
    pub(crate) async fn ways(&self, friend: Option<&DeviceId>, address: &str) -> Result<Vec<Way>, DialError> {
        let rules = self.rules();
        if let Some(port) = rules.mapped_port(friend, address) {
            let hops = resolve(port).await?;
            return Ok(hops.into_iter().map(|hop| Way { hop, via: Via::Mapped }).collect());
        }
        let (host, port) = split(address)?;
        let ip: Option<IpAddr> = host.parse().ok();
        let name = ip.is_none().then_some(host);
        if let Some(proxy) = &rules.proxy {
            rules.judge(&Destination { name, ip, port }, address)?;
            let via = Via::Proxy { proxy: proxy.clone(), host: host.to_owned(), port };
            let hops = resolve(&proxy.address).await.map_err(|error| proxy.unreachable(&error))?;
            return Ok(hops.into_iter().map(|hop| Way { hop, via: via.clone() }).collect());
        }
        let found = resolve(address).await?;
        let allowed =
            |hop: &&SocketAddr| rules.judge(&Destination { name, ip: Some(hop.ip()), port }, address).is_ok();
        let ways: Vec<_> = found.iter().filter(allowed).map(|&hop| Way { hop, via: Via::Nothing }).collect();
        if ways.is_empty() { Err(DialError::NotAllowed(address.to_owned())) } else { Ok(ways) }
    }

    /// Makes the connection.
    pub(crate) async fn connect(&self, way: &Way) -> Result<TcpStream, DialError> {
        let rules = self.rules();
        let made = tokio::time::timeout(
            CONNECT_TIMEOUT,
            local_port::connect(way.hop, None, rules.ports.as_ref(), |_| {}),
        );
        let stream = match made.await {
            Err(_elapsed) => Err(DialError::NoResponse(CONNECT_TIMEOUT)),
            Ok(made) => made.map_err(|error| DialError::of_connecting(&error)),
        };
        match &way.via {
            Via::Nothing | Via::Mapped => stream.inspect(tune),
            Via::Proxy { proxy, host, port } => {
                let stream = stream.map_err(|error| proxy.unreachable(&error))?;
                tune(&stream);
                proxy.ask(stream, host, *port).await
            }
        }
    }

    /// Whether a connection that proves something by coming straight from here may be made to an address.
    pub(crate) fn allows_directly(&self, to: SocketAddr) -> bool {
        let rules = self.rules();
        let address = to.to_string();
        rules.proxy.is_none()
            && rules.mapped_port(None, &address).is_none()
            && rules.judge(&Destination { name: None, ip: Some(to.ip()), port: to.port() }, &address).is_ok()
    }

    /// The local ports to use.
    pub(crate) fn ports(&self) -> Option<RangeInclusive<u16>> {
        self.rules().ports.clone()
    }
}

impl OutboundRules {
    /// The port of a firewall that stands for a destination.
    fn mapped_port(&self, friend: Option<&DeviceId>, address: &str) -> Option<&String> {
        let leads_there = |mapped: &Mapped| match mapped {
            Mapped::Friend(id) => friend == Some(id),
            Mapped::Address(named) => named.eq_ignore_ascii_case(address),
        };
        self.mapped.iter().find(|(mapped, _)| leads_there(mapped)).map(|(_, port)| port)
    }

    fn judge(&self, destination: &Destination<'_>, address: &str) -> Result<(), DialError> {
        match &self.allowed {
            Some(Allowed(judge)) if !judge(destination) => Err(DialError::NotAllowed(address.to_owned())),
            _ => Ok(()),
        }
    }
}
