//! The ways to a friend: what a connection runs through, and how candidates are called.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use kith_wire::{Class, DeviceId};

use crate::book::is_internal;

/// What a connection to a friend runs through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Inside one network.
    Lan,
    /// To an address that is on the dialled computer itself.
    Public,
    /// To an address of a router, which lets the call through to the dialled computer.
    Mapped,
    /// Both routers were opened from inside, at the same moment.
    Punched,
    /// This computer passes on what the two say.
    Relayed {
        /// A friend of both, or a hub.
        by: DeviceId,
    },
    /// Made by a proxy of ours, or by a port of a firewall that stands for the friend.
    Proxied,
}

impl Way {
    /// What it counts for against others.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Lan => Class::Lan,
            Self::Public | Self::Mapped | Self::Punched | Self::Proxied => Class::Direct,
            Self::Relayed { .. } => Class::Relayed,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn kind(self) -> PathKind {
        match self {
            Self::Lan => PathKind::Lan,
            Self::Public => PathKind::Public,
            Self::Mapped => PathKind::Mapped,
            Self::Punched => PathKind::Punched,
            Self::Relayed { .. } => PathKind::Relayed,
            Self::Proxied => PathKind::Proxied,
        }
    }

    /// Whether the other end of the TCP connection is the friend, or a router of his, and not a third one.
    #[must_use]
    pub const fn shows_friend(self) -> bool {
        !matches!(self, Self::Relayed { .. } | Self::Proxied)
    }

    /// The way of a connection that we dialled, as far as is known before the friend has spoken: whether an address outside is on
    /// his computer or on his router shows later.
    pub(crate) fn dialled(remote: SocketAddr, place: Place) -> Self {
        match place {
            Place::BehindProxy => Self::Proxied,
            Place::SameNetwork => Self::Lan,
            Place::Router => Self::Mapped,
            Place::Unknown if is_internal(remote.ip()) => Self::Lan,
            Place::Unknown => Self::Public,
        }
    }

    /// The same, when the friend has said which addresses are his own computer's.
    pub(crate) fn refined(self, remote: SocketAddr, his_own: &[String]) -> Self {
        let remote = remote.ip().to_canonical();
        // Nobody puts a router with other addresses before IPv6.
        if self != Self::Public || !remote.is_ipv4() {
            return self;
        }
        let is_his =
            |address: &String| address.parse::<SocketAddr>().is_ok_and(|a| a.ip().to_canonical() == remote);
        if his_own.iter().any(is_his) { Self::Public } else { Self::Mapped }
    }

    /// The way of a connection that came in, and what it counts for. What is known here goes before the class that its dialer names;
    /// where he names none, both show from the addresses. That a punch led to where it comes from is a hint and no more: so may a
    /// dial that came after it.
    pub(crate) fn accepted(
        known: Option<Self>,
        (remote, local): (SocketAddr, SocketAddr),
        named: Option<Class>,
        expected: Expected,
    ) -> (Self, Class) {
        if let Some(known) = known {
            return (known, known.class());
        }
        let (remote, local) = (remote.ip().to_canonical(), local.ip().to_canonical());
        let way = match named {
            Some(Class::Direct) if expected == Expected::Punched => Self::Punched,
            // He may say what he likes; what is shown must be so.
            Some(Class::Lan) if is_internal(remote) || in_one_network(remote, local) => Self::Lan,
            None if is_internal(remote) => Self::Lan,
            // We were called at an address that is not ours: a router passed the call on.
            _ if remote.is_ipv4() && is_internal(local) => Self::Mapped,
            _ => Self::Public,
        };
        (way, named.unwrap_or_else(|| way.class()))
    }
}

/// What is expected from where a connection comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The friend's half of a punch.
    Punched,
    /// Nothing.
    Anything,
}

/// Where an address is, as far as whoever dials it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Somebody else makes the connection.
    BehindProxy,
    /// It was just seen in our network.
    SameNetwork,
    /// A router has it, though it may look like one inside a network.
    Router,
    /// What it looks like decides.
    Unknown,
}

/// How a link gets to the friend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Inside one network.
    Lan,
    /// Between public addresses.
    Public,
    /// Through a router that lets calls through to one of the two.
    Mapped,
    /// Through two routers that were opened from inside.
    Punched,
    /// Passed on by a third computer.
    Relayed,
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
            Self::Mapped => "mapped",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
            Self::Proxied => "proxied",
        }
    }
}

/// What a candidate of a race is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// Just seen in our network.
    Nearby,
    /// Where he was reached last.
    LastGood,
    /// An address inside the friend's network.
    Lan,
    /// Added by hand.
    Static,
    /// From the invite.
    Invited,
    /// From outside, in his words or as others see him.
    Public,
    /// His router's address in a network that is not ours and not the Internet.
    Router,
    /// Both routers opened from inside.
    Punched,
    /// A third computer passes it on.
    Relayed,
}

impl CandidateKind {
    /// Its word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearby | Self::Lan => "lan",
            Self::LastGood => "last-good",
            Self::Static => "static",
            Self::Invited => "invited",
            Self::Public => "public",
            Self::Router => "router",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
        }
    }
}

/// A link came, went, or took another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// When.
    pub when: SystemTime,
    /// How he was linked before; none: not at all.
    pub from: Option<PathKind>,
    /// How he is linked since.
    pub to: Option<PathKind>,
    /// Why, a part of a sentence.
    pub reason: String,
}

/// Whether two IPv6 addresses have the prefix that all computers of a network have (RFC 4291, section 2.5.1).
fn in_one_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

/// The IP address that a friend is told to be seen from; none if a third one is seen in his place.
pub(crate) fn seen_from(way: Way, remote: SocketAddr) -> Option<IpAddr> {
    way.shows_friend().then_some(remote.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn an_address_is_mapped_if_it_is_not_on_the_dialled_computer() {
        let check = |remote: &str, place, own: &[&str], expected: Way| {
            let own: Vec<String> = own.iter().map(|a| (*a).to_owned()).collect();
            assert_eq!(Way::dialled(at(remote), place).refined(at(remote), &own), expected, "{remote}");
        };
        check("192.168.1.5:4242", Place::Unknown, &[], Way::Lan);
        check("11.0.0.1:4242", Place::Unknown, &["192.168.1.5:4242"], Way::Mapped);
        check("11.0.0.1:4242", Place::Unknown, &["11.0.0.1:5000"], Way::Public);
        check("[2001:db8::1]:4242", Place::Unknown, &[], Way::Public);
        check("[2001:db8::1]:4242", Place::SameNetwork, &[], Way::Lan);
        check("10.64.0.7:4242", Place::Router, &[], Way::Mapped);
        check("10.64.0.7:1080", Place::BehindProxy, &[], Way::Proxied);
    }

    #[test]
    fn a_connection_that_came_in_is_of_the_class_its_dialer_names() {
        let check = |remote: &str, local: &str, class, expected: Way| {
            let ends = (at(remote), at(local));
            let (way, counts) = Way::accepted(None, ends, class, Expected::Anything);
            assert_eq!(way, expected, "{remote} {local} {class:?}");
            assert_eq!(counts, class.unwrap_or_else(|| expected.class()));
        };
        check("192.168.1.5:9", "192.168.1.6:4242", None, Way::Lan);
        check("11.0.0.1:9", "192.168.1.6:4242", None, Way::Mapped);
        check("11.0.0.1:9", "11.0.0.2:4242", None, Way::Public);
        check("[2001:db8::1]:9", "[fd00::1]:4242", None, Way::Public);
        // His call went out to our router and came back in by it.
        check("192.168.1.1:9", "192.168.1.6:4242", Some(Class::Direct), Way::Mapped);
        check("[2001:db8::1]:9", "[2001:db8::2]:4242", Some(Class::Lan), Way::Lan);
        // From elsewhere nobody is shown as inside, whatever he says.
        check("[2001:db8::1]:9", "[2001:db8:0:7::2]:4242", Some(Class::Lan), Way::Public);
        check("11.0.0.1:9", "192.168.1.6:4242", Some(Class::Lan), Way::Mapped);
    }

    #[test]
    fn what_comes_from_where_a_punch_led_is_punched_unless_its_dialer_names_another_class() {
        let ends = (at("[2001:db8::1]:9"), at("[2001:db8::2]:4242"));
        for (named, expected) in [
            (Some(Class::Direct), (Way::Punched, Class::Direct)),
            (Some(Class::Lan), (Way::Lan, Class::Lan)),
            (None, (Way::Public, Class::Direct)),
        ] {
            assert_eq!(Way::accepted(None, ends, named, Expected::Punched), expected, "{named:?}");
        }
    }

    #[test]
    fn what_is_known_of_a_connection_goes_before_the_dialers_word() {
        let by = DeviceId::from_bytes([3; 32]);
        for (known, class) in [(Way::Relayed { by }, Class::Relayed), (Way::Punched, Class::Direct)] {
            for named in [None, Some(Class::Lan), Some(Class::Relayed)] {
                let ends = (at("10.0.0.1:9"), at("10.0.0.2:9"));
                let judged = Way::accepted(Some(known), ends, named, Expected::Anything);
                assert_eq!(judged, (known, class));
            }
        }
    }
}
