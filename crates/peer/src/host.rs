//! What the program around this crate gives and is told.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::Request;
use kith_identity::{DialInKey, InstallationId};
use kith_wire::{Body, DeviceId, Hello, Report, ServeFuture, Side};

use crate::race::Attempt;

/// The program around this crate. All but [`Host::serve`]'s future must answer from memory.
pub trait Host: Send + Sync + 'static {
    /// What we say of ourselves to this friend, who is seen from this IP address; none if only a proxy is seen.
    fn hello(&self, to: &DeviceId, seen_from: Option<IpAddr>) -> Hello;
    /// The keys by which this friend may recognise our calls, best first: his own, as he told us, and whatever else he may know us
    /// by.
    fn dial_in_keys(&self, friend: &DeviceId) -> Vec<DialInKey>;
    /// What place a connection gets by which a friend said this hello.
    fn standing(&self, friend: &DeviceId, hello: &Hello) -> Standing;
    /// The friend has seen another running copy of this very installation.
    fn twin(&self, friend: &DeviceId);
    /// A friend said hello and the link is up.
    fn linked(&self, friend: &DeviceId, hello: &Hello, connection: &Connection);
    /// The link to a friend is over.
    fn unlinked(&self, friend: &DeviceId, reason: &str);
    /// A friend told of a change.
    fn reported(&self, friend: &DeviceId, report: Report);
    /// The state of a friend changed in a way a person may want to see.
    fn changed(&self, friend: &DeviceId);
    /// Whether this address is outside; a friend is called back at no other, wherever he seems to come from. On a computer with
    /// a network this is [`crate::is_outside`].
    fn is_outside(&self, ip: IpAddr) -> bool;
    /// Answers a friend's request that is not part of the link's own business.
    fn serve(&self, caller: Caller, request: Request<Body>) -> ServeFuture;
}

/// What place a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the link to the friend.
    Link,
    /// It is the link if there is none: it is us who are the older installation, and a newer one may be connected by another
    /// way. Otherwise it is served beside.
    LinkIfNone,
    /// It is served and never the link: an older installation of the friend.
    Guest,
    /// As a guest, and not for long: a computer that recovers, and comes for its state object; or one whose installation is not proved.
    Visitor,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The friend.
    pub friend: DeviceId,
    /// Which installation of his speaks, by its hello.
    pub installation: InstallationId,
    /// See [`Caller::installation`].
    pub incarnation: u64,
    /// What place its connection has.
    pub standing: Standing,
}

/// The connection a link runs over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Which end dialled.
    pub side: Side,
    /// The other end of the TCP connection: the friend's as we see it, or a proxy's.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether a proxy of ours made the connection, so that `remote` says nothing of the friend.
    pub proxied: bool,
    /// The address we dialled, `host:port`; none if we were dialled.
    pub dialled: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// The IP address under which the friend sees us, in his words; none if he sees a proxy.
    pub seen_as: Option<IpAddr>,
    /// What the friend's program can do, by name.
    pub capabilities: Vec<String>,
}

/// How a link gets to the friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Inside one network.
    Lan,
    /// Between public addresses.
    Public,
    /// Made by a proxy, or by a port of a firewall that stands for the friend.
    Proxied,
}

impl PathKind {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Public => "public",
            Self::Proxied => "proxied",
        }
    }
}

impl Connection {
    /// Whether the friend's program can do this.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|can| can == capability)
    }

    /// How the link gets to the friend.
    #[must_use]
    pub fn path(&self) -> PathKind {
        match self.friend_ip() {
            None => PathKind::Proxied,
            Some(ip) if crate::book::is_internal(ip) => PathKind::Lan,
            Some(_) => PathKind::Public,
        }
    }

    /// The friend's IP address, as we see it.
    #[must_use]
    pub fn friend_ip(&self) -> Option<IpAddr> {
        (!self.proxied).then_some(self.remote.ip())
    }
}

/// Where the connection to one friend stands.
#[derive(Clone, Debug, Default)]
pub struct PeerState {
    /// The live link's connection.
    pub connection: Option<Connection>,
    /// The addresses tried in vain in the last race; empty while linked.
    pub attempts: Vec<Attempt>,
    /// Why there is no link, a sentence; none while linked or before the first try.
    pub last_error: Option<String>,
}
