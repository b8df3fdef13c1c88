//! What the program around this crate gives and is told.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::Request;
use kith_identity::{DialInKey, InstallationId, PairKey};
use kith_wire::{Body, Class, DeviceId, Hello, Report, ServeFuture, Side};

use crate::race::Attempt;
use crate::way::{PathChange, PathKind, Way};

/// The program around this crate. All but [`Host::serve`]'s future must answer from memory.
pub trait Host: Send + Sync + 'static {
    /// What we say of ourselves to this friend, who is seen from this IP address; none if only a proxy is seen.
    fn hello(&self, to: &DeviceId, seen_from: Option<IpAddr>) -> Hello;
    /// The keys by which this friend may recognise our calls, best first: his own, as he told us, and whatever else he may know us
    /// by.
    fn dial_in_keys(&self, friend: &DeviceId) -> Vec<DialInKey>;
    /// What we and this friend know and nobody else; none while one of the two has not told his half.
    fn pair_key(&self, friend: &DeviceId) -> Option<PairKey>;
    /// What place a connection gets by which a friend said this hello.
    fn standing(&self, friend: &DeviceId, hello: &Hello) -> Standing;
    /// The friend has seen another running copy of this very installation.
    fn twin(&self, friend: &DeviceId);
    /// A friend said hello and the link is up.
    fn linked(&self, friend: &DeviceId, hello: &Hello, connection: &Connection);
    /// A hub, whose link is up, says that we come from this IP address. It may be wrong, or lie.
    fn seen_by_hub(&self, hub: &DeviceId, seen_as: IpAddr) {
        let _by_nobody = (hub, seen_as);
    }
    /// The link to a friend is over.
    fn unlinked(&self, friend: &DeviceId, reason: &str);
    /// A friend told of a change.
    fn reported(&self, friend: &DeviceId, report: Report);
    /// The state of a friend changed in a way a person may want to see.
    fn changed(&self, friend: &DeviceId);
    /// A link to a friend came, went, or took another way.
    fn path_changed(&self, friend: &DeviceId, change: &PathChange) {
        let _by_nobody = (friend, change);
    }
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
    /// The other end of the TCP connection: the friend's as we see it, a proxy's, or a relay's.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// What it runs through.
    pub way: Way,
    /// What it counts for against others, by the word of the one who dialled; that of [`way`](Self::way) but where the two see it
    /// differently.
    pub class: Class,
    /// The address we dialled, `host:port`; none if we were dialled, or it came about by the help of others.
    pub dialled: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// The IP address under which the friend sees us, in his words; none if he sees another in our place.
    pub seen_as: Option<IpAddr>,
    /// What the friend's program can do, by name.
    pub capabilities: Vec<String>,
}

impl Connection {
    /// Whether the friend's program can do this.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|can| can == capability)
    }

    /// How the link gets to the friend.
    #[must_use]
    pub const fn path(&self) -> PathKind {
        self.way.kind()
    }

    /// The friend's IP address, as we see it; none if a third one is seen in his place.
    #[must_use]
    pub fn friend_ip(&self) -> Option<IpAddr> {
        crate::way::seen_from(self.way, self.remote)
    }
}

/// Where the connection to one friend stands.
#[derive(Clone, Debug, Default)]
pub struct PeerState {
    /// The live link's connection.
    pub connection: Option<Connection>,
    /// Since when the link takes this way, or there is none; none before the first one.
    pub path_since: Option<SystemTime>,
    /// The latest change of the way.
    pub last_change: Option<PathChange>,
    /// How long he takes to answer over the link, smoothed; none while that is not known.
    pub round_trip: Option<Duration>,
    /// What was tried in vain since it last led to him: the newest failure of each candidate, at most 24, the newest last. They
    /// stay while linked.
    pub attempts: Vec<Attempt>,
    /// Why there is no link, a sentence; none while linked or before the first try.
    pub last_error: Option<String>,
}
