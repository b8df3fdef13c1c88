//! By which way two kinds of sites are expected to connect. Pure.
//!
//! LAN goes before what can be dialled from outside, that before a punched connection, and that before a relay.

use std::fmt;

use super::kind::{Arrival, Kind, Leaves, Ports, Refuses, Traits};

/// What is expected of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How the two are connected in the end.
    pub way: Way,
    /// Why not better.
    pub because: Because,
}

/// How two friends are connected in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Inside one network.
    Lan,
    /// One of them was dialled at an address of his own.
    Public,
    /// One of them was dialled at a port of his router.
    Mapped,
    /// Either: both can be dialled, and who is first doesn't matter.
    PublicOrMapped,
    /// The first one dialled the other by a proxy. He is told so; the other one sees somebody who came to his own address.
    FirstByProxyToPublic,
    /// The first one dialled the other by a proxy. He is told so; the other one sees somebody who came by his router's port.
    FirstByProxyToMapped,
    /// As [`Self::FirstByProxyToPublic`], the other way round.
    SecondByProxyToPublic,
    /// As [`Self::FirstByProxyToMapped`], the other way round.
    SecondByProxyToMapped,
    /// Both opened the way at the same time.
    Punched,
    /// Both routers answer with resets: without a delay on the line that is too fast for most tries, and a relay does it.
    PunchedOrRelayed,
    /// By the helper.
    Relayed,
    /// Not at all.
    None,
}

/// Why a pair is connected as it is, and not better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Because {
    /// They are in one network.
    OneNetwork,
    /// Their routers meet in the carrier's network, where each maps a port.
    OneCarrier,
    /// Both can be dialled from outside.
    BothCanBeDialled,
    /// One of them can be dialled from outside.
    OneCanBeDialled,
    /// One of them can be dialled from outside, and the other one's proxy does that.
    OnesProxyDials,
    /// Neither can be dialled; what a carrier sees of both is what each sees of the other.
    PortsAreKept,
    /// The same, over IPv6.
    NothingIsTranslated,
    /// The same as `PortsAreKept`, but both routers answer the first packet with a reset.
    BothReject,
    /// Neither can be dialled, and the port of one of them is not the one that a carrier sees.
    PortsAreUnknown,
    /// There is no family of addresses that both have.
    NoCommonFamily,
    /// The connections of one of them leave to places only where the other one is not.
    LeavesElsewhereOnly,
    /// One of them is told to open connections to others only, and nobody can be dialled.
    OutboundOnly,
}

/// What two kinds of sites are expected to do. `helped`: both can reach a computer that serves as a meeting point and relay, which
/// has public addresses of both families and the ports 443 and 4287.
#[must_use]
pub fn expected(first: Kind, second: Kind, helped: bool) -> Expected {
    if first == second {
        match first {
            Kind::SameLan => return Expected { way: Way::Lan, because: Because::OneNetwork },
            Kind::SameCarrier => return Expected { way: Way::Mapped, because: Because::OneCarrier },
            _ => {}
        }
    }
    let (one, two) = (first.traits(), second.traits());
    if let Some(expected) = dialled(one, two) {
        return expected;
    }
    let because = match punched(one, two) {
        Ok(because) if helped => {
            let way = if because == Because::BothReject { Way::PunchedOrRelayed } else { Way::Punched };
            return Expected { way, because };
        }
        Ok(because) | Err(because) => because,
    };
    Expected { way: if helped { Way::Relayed } else { Way::None }, because }
}

/// What it means that one of them can be dialled by the other; none if neither can.
fn dialled(one: Traits, two: Traits) -> Option<Expected> {
    let because = Because::OneCanBeDialled;
    let plain = |to: Reached| if to == Reached::Public { Way::Public } else { Way::Mapped };
    let found = match (reaches(two, one), reaches(one, two)) {
        (None, None) => return None,
        (Some((Caller::Itself, a)), Some((Caller::Itself, b))) => {
            let way = if a == b { plain(a) } else { Way::PublicOrMapped };
            Expected { way, because: Because::BothCanBeDialled }
        }
        // Nobody who needs a proxy can be dialled, so there is one direction at most.
        (Some((Caller::Itself, to)), _) | (_, Some((Caller::Itself, to))) => {
            Expected { way: plain(to), because }
        }
        (_, Some((Caller::Proxy, to))) => {
            let public = to == Reached::Public;
            let way = if public { Way::FirstByProxyToPublic } else { Way::FirstByProxyToMapped };
            Expected { way, because: Because::OnesProxyDials }
        }
        (Some((Caller::Proxy, to)), None) => {
            let public = to == Reached::Public;
            let way = if public { Way::SecondByProxyToPublic } else { Way::SecondByProxyToMapped };
            Expected { way, because: Because::OnesProxyDials }
        }
    };
    Some(found)
}

/// Who makes the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Itself,
    Proxy,
}

/// At which address it arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Public,
    Mapped,
}

/// Whether `from` can dial `to`, who has not asked for it.
fn reaches(from: Traits, to: Traits) -> Option<(Caller, Reached)> {
    let at = match to.arrival {
        _ if !to.listens => return None,
        Arrival::Never => return None,
        Arrival::Public => Reached::Public,
        Arrival::Mapped => Reached::Mapped,
    };
    let caller = match from.leaves {
        Leaves::Anywhere => Caller::Itself,
        Leaves::ByProxy => Caller::Proxy,
        // Friends are at port 4242.
        Leaves::Port443 | Leaves::OnlyToTheHelper => return None,
    };
    have_common_family(from, to).then_some((caller, at))
}

const fn have_common_family(one: Traits, two: Traits) -> bool {
    (one.v4 && two.v4) || (one.v6 && two.v6)
}

/// Whether connections that both open at the same time meet, and why not.
fn punched(one: Traits, two: Traits) -> Result<Because, Because> {
    if one.leaves != Leaves::Anywhere || two.leaves != Leaves::Anywhere {
        return Err(Because::LeavesElsewhereOnly);
    }
    if !have_common_family(one, two) {
        return Err(Because::NoCommonFamily);
    }
    if !one.listens || !two.listens {
        return Err(Because::OutboundOnly);
    }
    if one.v6 && two.v6 {
        return Ok(Because::NothingIsTranslated);
    }
    match (one.ports, two.ports) {
        (Ports::Kept, Ports::Kept)
            if one.refuses == Refuses::WithReset && two.refuses == Refuses::WithReset =>
        {
            Ok(Because::BothReject)
        }
        (Ports::Kept, Ports::Kept) => Ok(Because::PortsAreKept),
        // Each lets in only what comes from where it has sent something.
        _ => Err(Because::PortsAreUnknown),
    }
}

impl Way {
    /// The words of the `path` of a friend that the first and the second may show.
    #[must_use]
    pub const fn words(self) -> [&'static [&'static str]; 2] {
        match self {
            Self::Lan => [&["lan"]; 2],
            Self::Public => [&["public"]; 2],
            Self::Mapped => [&["mapped"]; 2],
            Self::PublicOrMapped => [&["public", "mapped"]; 2],
            Self::FirstByProxyToPublic => [&["proxied"], &["public"]],
            Self::FirstByProxyToMapped => [&["proxied"], &["mapped"]],
            Self::SecondByProxyToPublic => [&["public"], &["proxied"]],
            Self::SecondByProxyToMapped => [&["mapped"], &["proxied"]],
            Self::Punched => [&["punched"]; 2],
            Self::PunchedOrRelayed => [&["punched", "relayed"]; 2],
            Self::Relayed => [&["relayed"]; 2],
            Self::None => [&[]; 2],
        }
    }

    /// Whether the two show what they may, and the same where both tell of the same way.
    #[must_use]
    pub fn allows(self, first: &str, second: &str) -> bool {
        let [mine, his] = self.words();
        let one_way = mine != his || first == second;
        mine.contains(&first) && his.contains(&second) && one_way
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.words().map(|words| words.join("/"));
        match (first.as_str(), second.as_str()) {
            ("", _) => f.pad("none"),
            (first, second) if first == second => f.pad(first),
            (first, second) => f.pad(&format!("{first}>{second}")),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneNetwork => "one network",
            Self::OneCarrier => "their routers meet in the carrier's network",
            Self::BothCanBeDialled => "both can be dialled",
            Self::OneCanBeDialled => "one can be dialled",
            Self::OnesProxyDials => "one can be dialled, by the other's proxy",
            Self::PortsAreKept => "nobody can be dialled, ports are kept",
            Self::NothingIsTranslated => "nobody can be dialled, nothing is translated",
            Self::BothReject => "nobody can be dialled, both routers reject",
            Self::PortsAreUnknown => "nobody can be dialled, one's port is unknown",
            Self::NoCommonFamily => "no common family of addresses",
            Self::LeavesElsewhereOnly => "one may not go where the other is",
            Self::OutboundOnly => "one only calls, nobody can be dialled",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[track_caller]
    fn check(first: Kind, second: Kind, way: Way) {
        assert_eq!(expected(first, second, true).way, way, "{first} x {second}");
    }

    #[test]
    fn the_nearest_way_is_expected_first() {
        check(Kind::SameLan, Kind::SameLan, Way::Lan);
        check(Kind::SameCarrier, Kind::SameCarrier, Way::Mapped);
        check(Kind::Upnp, Kind::Upnp, Way::Mapped);
        check(Kind::Public, Kind::Public, Way::Public);
        check(Kind::Public, Kind::Pcp, Way::PublicOrMapped);
        check(Kind::Public, Kind::Plain, Way::Public);
        check(Kind::NatPmp, Kind::Symmetric, Way::Mapped);
        check(Kind::Plain, Kind::Plain, Way::Punched);
        check(Kind::Rejecting, Kind::Rejecting, Way::PunchedOrRelayed);
        check(Kind::Plain, Kind::Rejecting, Way::Punched);
        check(Kind::Plain, Kind::Symmetric, Way::Relayed);
    }

    #[test]
    fn neighbours_are_strangers_to_all_other_kinds() {
        check(Kind::SameLan, Kind::Plain, Way::Punched);
        check(Kind::SameLan, Kind::SameCarrier, Way::Punched);
        check(Kind::SameCarrier, Kind::Carrier, Way::Punched);
        check(Kind::Carrier, Kind::Carrier, Way::Punched);
        check(Kind::SymmetricCarrier, Kind::Carrier, Way::Relayed);
        check(Kind::HostFirewall, Kind::HostFirewall, Way::Punched);
    }

    #[test]
    fn families_decide_who_can_be_met() {
        check(Kind::Ipv6Only, Kind::Public, Way::Public);
        check(Kind::Public, Kind::DualStack, Way::Public);
        check(Kind::Ipv6Only, Kind::Upnp, Way::Relayed);
        check(Kind::Ipv6Only, Kind::DualStack, Way::Punched);
        check(Kind::DualStack, Kind::Plain, Way::Punched);
        check(Kind::DualStack, Kind::Symmetric, Way::Relayed);
        check(Kind::DualStack, Kind::Upnp, Way::Mapped);
    }

    #[test]
    fn who_has_a_proxy_dials_who_can_be_dialled_and_is_relayed_to_all_others() {
        check(Kind::Socks, Kind::Public, Way::FirstByProxyToPublic);
        check(Kind::Public, Kind::Connect, Way::SecondByProxyToPublic);
        check(Kind::Upnp, Kind::Socks, Way::SecondByProxyToMapped);
        check(Kind::Connect, Kind::Pcp, Way::FirstByProxyToMapped);
        check(Kind::Socks, Kind::Plain, Way::Relayed);
        check(Kind::Socks, Kind::Connect, Way::Relayed);
        check(Kind::Ipv6Only, Kind::Socks, Way::Relayed);
        for kind in Kind::ALL {
            check(Kind::MappedProxy, kind, Way::Relayed);
            check(kind, Kind::Only443, Way::Relayed);
        }
    }

    #[test]
    fn who_only_calls_is_relayed_to_all_who_can_not_be_dialled() {
        check(Kind::OutboundOnly, Kind::Upnp, Way::Mapped);
        check(Kind::Public, Kind::OutboundOnly, Way::Public);
        check(Kind::OutboundOnly, Kind::Plain, Way::Relayed);
        check(Kind::OutboundOnly, Kind::OutboundOnly, Way::Relayed);
    }

    #[test]
    fn without_a_helper_only_those_connect_who_can_be_dialled() {
        for (first, second) in Kind::pairs() {
            let (alone, helped) = (expected(first, second, false), expected(first, second, true));
            let needs_help = matches!(helped.way, Way::Punched | Way::PunchedOrRelayed | Way::Relayed);
            assert_eq!(alone.way == Way::None, needs_help, "{first} x {second}");
            assert_eq!(alone.because, helped.because, "{first} x {second}");
        }
    }

    #[test]
    fn everybody_connects_with_a_helper_and_the_order_of_the_two_does_not_matter() {
        assert_eq!(Kind::pairs().count(), 190);
        for (first, second) in Kind::pairs() {
            let (one, other) = (expected(first, second, true), expected(second, first, true));
            assert_ne!(one.way, Way::None, "{first} x {second}");
            assert_eq!(one.because, other.because, "{first} x {second}");
            let [mine, his] = one.way.words();
            assert_eq!(other.way.words(), [his, mine], "{first} x {second}");
        }
        let reasons: BTreeSet<Because> =
            Kind::pairs().map(|(first, second)| expected(first, second, true).because).collect();
        assert_eq!(reasons.len(), 12, "every reason has a pair: {reasons:?}");
    }

    #[test]
    fn two_ends_of_one_way_show_the_same_word() {
        assert!(Way::PublicOrMapped.allows("mapped", "mapped"));
        assert!(!Way::PublicOrMapped.allows("mapped", "public"));
        assert!(Way::FirstByProxyToMapped.allows("proxied", "mapped"));
        assert!(!Way::FirstByProxyToMapped.allows("mapped", "proxied"));
        assert!(!Way::Punched.allows("punched", "relayed"));
        assert!(!Way::None.allows("", ""));
    }
}
