//! How connections leave this computer: to where they may go at all, through what, and from which ports. Everything that this crate
//! dials goes through here.

pub(crate) mod local_port;
mod names;
mod proxy;
mod sockets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use kith_network::{Network, News};
use kith_wire::DeviceId;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::book::is_local_name;
use crate::dial::{CONNECT_TIMEOUT, DialError, split};
use crate::socket::tune;

pub use names::Names;
pub use proxy::{Proxy, ProxyKind};
pub(crate) use sockets::{Held, Sockets};
pub use sockets::{SocketPurpose, SocketUse};

/// What is decided about outgoing connections. Cheap to clone; a change counts for every connection that is begun after it.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    rules: Arc<RwLock<Arc<OutboundRules>>>,
    /// The network, once it is known.
    network: Arc<OnceLock<watch::Receiver<News>>>,
    sockets: Sockets,
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
    /// Whether anybody is to know a port of ours.
    pub inbound: Inbound,
    /// How names are looked up that no proxy resolves.
    pub names: Names,
}

/// Whether others may connect to this computer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inbound {
    /// They may.
    #[default]
    Taken,
    /// Connections are made from here alone, as `network.outbound-only` wants it.
    Never,
}

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The person at this computer: a name may stand for anything.
    Person,
    /// Somebody else, who has no say in what is connected to on this very computer.
    Others,
}

/// Why no connection may be made from a port that is to be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixedPortRefusal {
    /// A proxy makes the connections, from ports of its own.
    #[error("a proxy makes this computer's connections (network.proxy), from ports of its own")]
    Proxied,
    /// A port of a firewall stands for the destination.
    #[error("a port of a firewall stands for {0} (network.mapped)")]
    Mapped(SocketAddr),
    /// The destination is not allowed.
    #[error("no entry of network.allowed-destinations covers {0}")]
    NotAllowed(SocketAddr),
    /// The port is none of those that connections may come from.
    #[error("network.outgoing-ports lets connections come from ports {} to {}, and not from {port}", .ports.start(), .ports.end())]
    OutgoingPorts {
        /// The local port.
        port: u16,
        /// Those that are allowed.
        ports: RangeInclusive<u16>,
    },
    /// Nobody is to connect to this computer.
    #[error("network.outbound-only is set: nobody is to connect to this computer")]
    OutboundOnly,
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
        Self {
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            network: Arc::default(),
            sockets: Sockets::default(),
        }
    }

    /// From now on it is known which addresses are this computer's own.
    pub(crate) fn follow(&self, network: &Network) {
        // Who follows one already knows as much.
        drop(self.network.set(network.watch()));
    }

    /// Whether an address is on this computer, or on none.
    pub(crate) fn is_here(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let is_own = |news: &watch::Receiver<News>| {
            let snapshot = news.borrow().snapshot.clone();
            let mut addresses = snapshot.interfaces.iter().flat_map(|interface| &interface.addresses);
            addresses.any(|address| address.ip.to_canonical() == ip)
        };
        ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || self.network.get().is_some_and(is_own)
    }

    /// Replaces the rules.
    pub fn set(&self, rules: OutboundRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<OutboundRules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ways to `host:port`, each to be tried in turn; `friend` is who is expected there, if that is known. A name that somebody
    /// else `told` leads nowhere on this computer. Of plain addresses that is seen to where they are taken in.
    pub(crate) async fn ways(
        &self,
        friend: Option<&DeviceId>,
        address: &str,
        told: NamedBy,
    ) -> Result<Vec<Way>, DialError> {
        let rules = self.rules();
        if let Some(port) = rules.mapped_port(friend, address) {
            let hops = rules.names.resolve(port).await?;
            return Ok(hops.into_iter().map(|hop| Way { hop, via: Via::Mapped }).collect());
        }
        let (host, port) = split(address)?;
        let ip: Option<IpAddr> = host.parse().ok();
        let name = ip.is_none().then_some(host);
        let is_strange = name.is_some() && told == NamedBy::Others;
        // By a proxy, too, which may be on this computer.
        if is_strange && is_local_name(host) {
            return Err(DialError::Myself);
        }
        if let Some(proxy) = &rules.proxy {
            rules.judge(&Destination { name, ip, port }, address)?;
            let via = Via::Proxy { proxy: proxy.clone(), host: host.to_owned(), port };
            let hops =
                rules.names.resolve(&proxy.address).await.map_err(|error| proxy.unreachable(&error))?;
            return Ok(hops.into_iter().map(|hop| Way { hop, via: via.clone() }).collect());
        }
        let mut found = rules.names.resolve(address).await?;
        if is_strange {
            found.retain(|hop| !self.is_here(hop.ip()));
            if found.is_empty() {
                return Err(DialError::Myself);
            }
        }
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

    /// Makes the connection with segments of at most `bytes` in both directions, which fit through every line.
    pub(crate) async fn connect_short(&self, way: &Way, bytes: u32) -> Result<TcpStream, DialError> {
        let rules = self.rules();
        let shorten = |socket: &TcpSocket| {
            if let Err(error) = SockRef::from(socket).set_tcp_mss(bytes) {
                tracing::debug!(%error, "the length of segments could not be set");
            }
        };
        let made = local_port::connect(way.hop, None, rules.ports.as_ref(), shorten).await;
        let stream = made.map_err(|error| DialError::of_connecting(&error));
        match &way.via {
            Via::Nothing | Via::Mapped => stream,
            Via::Proxy { proxy, host, port } => {
                proxy.ask(stream.map_err(|error| proxy.unreachable(&error))?, host, *port).await
            }
        }
    }

    /// Whether the first place on a way takes connections: the proxy, where there is one.
    pub(crate) async fn reaches_hop(&self, way: &Way) -> bool {
        let rules = self.rules();
        local_port::connect(way.hop, None, rules.ports.as_ref(), |_| {}).await.is_ok()
    }

    /// Whether a connection that proves something by coming straight from here may be made to an address.
    pub(crate) fn allows_directly(&self, to: SocketAddr) -> bool {
        let rules = self.rules();
        let address = to.to_string();
        rules.proxy.is_none()
            && rules.mapped_port(None, &address).is_none()
            && rules.judge(&Destination { name: None, ip: Some(to.ip()), port: to.port() }, &address).is_ok()
    }

    /// Whether a connection may be made to an address from a local port that is to be seen there, or learned from there.
    ///
    /// # Errors
    /// Says what is in the way; see [`FixedPortRefusal`].
    pub fn allows_from_port(&self, port: u16, to: SocketAddr) -> Result<(), FixedPortRefusal> {
        let rules = self.rules();
        let address = to.to_string();
        if rules.inbound == Inbound::Never {
            return Err(FixedPortRefusal::OutboundOnly);
        }
        if rules.proxy.is_some() {
            return Err(FixedPortRefusal::Proxied);
        }
        if rules.mapped_port(None, &address).is_some() {
            return Err(FixedPortRefusal::Mapped(to));
        }
        if let Some(ports) = rules.ports.clone().filter(|ports| !ports.contains(&port)) {
            return Err(FixedPortRefusal::OutgoingPorts { port, ports });
        }
        let destination = Destination { name: None, ip: Some(to.ip()), port: to.port() };
        rules.judge(&destination, &address).map_err(|_| FixedPortRefusal::NotAllowed(to))
    }

    /// The sockets that are no links, or none yet: of observations, of punches, and of relayed connections that wait for the other computer.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketUse> {
        self.sockets.all()
    }

    /// Has a socket told of until the guard is dropped.
    pub(crate) fn hold(&self, used: SocketUse) -> Held {
        self.sockets.hold(used)
    }

    /// A socket for connections to where [`Self::allows_from_port`] says.
    pub(crate) fn socket_at(&self, local: SocketAddr) -> io::Result<TcpSocket> {
        local_port::shared(local)
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
