//! What is broken on purpose, and what must be said of it: the table that was there first. Pure.

use kith_doctor::Code;

use super::cause::{Cause, View};
use super::place::{Help, Place, Scene, Side};

macro_rules! faults {
    ($($variant:ident $name:literal $what:literal)*) => {
        /// Something that is broken on purpose, at the side of one of the two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $what] $variant,)*
        }

        impl Fault {
            /// All.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in tables and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How it is done.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

faults! {
    FirewallInDrop "firewall-in-drop" "nft on the computer drops TCP 4242 in"
    FirewallInReject "firewall-in-reject" "nft on the computer resets TCP 4242 in"
    FirewallOutDrop "firewall-out-drop" "nft on the computer drops TCP out to the friend"
    FirewallOutReject "firewall-out-reject" "nft on the computer rejects all TCP out to 4242"
    ServiceStopped "service-stopped" "Kith is stopped, the computer is on"
    ServiceKilled "service-killed" "Kith is killed, the router's mapping stays"
    ComputerOff "computer-off" "the interface of the computer goes down"
    ForwardedElsewhere "forwarded-elsewhere" "the forwarding by hand leads to a port where nothing is"
    ForwardedToOther "forwarded-to-other" "the forwarding by hand leads to the Kith of another computer of the house"
    Moved "moved" "Kith listens at another port, which the friend is not told"
    MappingOff "mapping-off" "miniupnpd is ended and its rules are flushed"
    MappingLost "mapping-lost" "the router's rules are flushed, miniupnpd says that they are there"
    RouterReset "router-reset" "the router restarts without UPnP"
    MappingBlocked "mapping-blocked" "the router's firewall drops what its mapping should let in"
    RouterLies "router-lies" "the router grants a mapping and makes none (from the start)"
    CarrierNat "carrier-nat" "the router's outer address is the carrier's (from the start)"
    DoubleNat "double-nat" "the router's outer address is private (from the start)"
    BothSymmetric "both-symmetric" "both routers give every connection another port (from the start)"
    BothOnlyCall "both-only-call" "both have network.outbound-only (from the start)"
    NamesDead "names-dead" "the name server drops everything"
    NameUnknown "name-unknown" "the name server says that there is no such name"
    ProxyRefuses "proxy-refuses" "the proxy answers 403"
    ProxyDead "proxy-dead" "nothing listens at the proxy's port"
    ProxyPassword "proxy-password" "the password for the proxy is wrong"
    ClockAhead "clock-ahead" "the daemon's clock is a day ahead (libfaketime)"
    LongPacketsLost "long-packets-lost" "MTU 1300 at the router's line, its ICMP messages dropped"
    OtherKith "other-kith" "another Kith answers at the address"
    Removed "removed" "the friend has removed this computer"
    Recreated "recreated" "the friend's Kith was made anew with other words"
    WebServer "web-server" "a web server has the address and port"
    OtherService "other-service" "a service with a greeting of its own has the address and port"
    Portal "portal" "the router leads all TCP to a web page"
    TlsPortal "tls-portal" "the router leads all TCP to a TLS server of its own"
    PortClash "port-clash" "another program holds 4242 before Kith starts"
    Only443 "only-443" "the router lets out TCP 443 only"
    NothingOut "nothing-out" "the router lets out nothing"
    QuotaFull "quota-full" "a backup stopped at the quota"
    DiskFull "disk-full" "a backup stopped where the disk may not get fuller (vault.keep-free)"
    Paused "paused" "storing for the friend is paused"
    AcceptOff "accept-off" "vault.accept is off"
    RouterDead "router-dead" "the inner side of the router goes down"
    NoNetwork "no-network" "the cable of the computer is pulled"
    LineDead "line-dead" "the line of the router drops everything, the router answers"
    NotAllowed "not-allowed" "network.allowed-destinations has the helper only"
    HubDead "hub-dead" "the hub is ended"
    Ipv6Broken "ipv6-broken" "the router drops IPv6"
}

/// What becomes of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It stays.
    Stays,
    /// A relay takes over, where there is one.
    ByHelp,
    /// There is none.
    Not,
}

impl Fault {
    /// What must be named in a scene, any of these, by who looks from `view`. The fault is at `side`.
    #[must_use]
    pub fn causes(self, scene: Scene, side: Side, view: View) -> Vec<Cause> {
        let own =
            |codes: &[Code]| -> Vec<Cause> { codes.iter().map(|code| Cause::of_side(*code, view)).collect() };
        let usual = |codes: &[Code]| -> Vec<Cause> { codes.iter().map(|code| Cause::usual(*code)).collect() };
        // Of a computer that has gone from the net nobody else sees more than that.
        let gone = |code: Code| match (view, scene.help) {
            (View::Here, _) => own(&[code]),
            (View::There, Help::Nobody) => usual(&[Code::Offline, Code::Unknown]),
            (View::There, _) => usual(&[Code::Offline]),
        };
        match self {
            Self::FirewallInDrop | Self::FirewallInReject => own(&[Code::FirewallIn]),
            Self::FirewallOutDrop | Self::FirewallOutReject => own(&[Code::FirewallOut]),
            Self::ServiceStopped | Self::ServiceKilled => match view {
                View::Here => own(&[Code::ServiceDown]),
                View::There => usual(&[Code::NotRunning]),
            },
            Self::ComputerOff | Self::NoNetwork => gone(Code::NoNetwork),
            Self::RouterDead => gone(Code::RouterSilent),
            Self::LineDead => gone(Code::NoInternet),
            Self::ForwardedElsewhere => own(&[Code::MappingOff, Code::MappingLost, Code::MappingLies]),
            // A Kith tells strangers neither who it is nor why they are strangers.
            Self::ForwardedToOther | Self::OtherKith => usual(&[Code::WrongDevice, Code::NotRecognised]),
            Self::Moved => usual(&[Code::Moved, Code::NotRunning]),
            Self::MappingOff | Self::RouterReset => own(&[Code::MappingOff, Code::MappingLost]),
            Self::MappingLost | Self::MappingBlocked => own(&[Code::MappingLost, Code::MappingLies]),
            Self::RouterLies => own(&[Code::MappingLies]),
            Self::CarrierNat => own(&[Code::CarrierNat]),
            Self::DoubleNat => own(&[Code::DoubleNat]),
            Self::BothSymmetric if scene.is_linked() => usual(&[Code::Relayed]),
            Self::BothSymmetric => {
                let codes = [Code::MappingOff, Code::PortsScrambled];
                let views = [View::Here, View::There];
                views.iter().flat_map(|view| codes.map(|code| Cause::of_side(code, *view))).collect()
            }
            Self::BothOnlyCall => usual(&[Code::NoCallsAtAll]),
            Self::NamesDead => usual(&[Code::NamesFail]),
            Self::NameUnknown => usual(&[Code::NameWrong]),
            Self::ProxyRefuses | Self::ProxyPassword => usual(&[Code::ProxyRefuses]),
            Self::ProxyDead => usual(&[Code::ProxyDown]),
            Self::ClockAhead => own(&[Code::ClockWrong]),
            Self::LongPacketsLost => usual(&[Code::BlackHole]),
            Self::Removed => usual(&[Code::IdentityChanged, Code::NotRecognised]),
            Self::Recreated => usual(&[Code::IdentityChanged, Code::WrongDevice, Code::NotRecognised]),
            Self::WebServer | Self::OtherService => usual(&[Code::ForeignService]),
            Self::Portal | Self::TlsPortal => usual(&[Code::Intercepted]),
            Self::PortClash => own(&[Code::PortTaken]),
            Self::Only443 => own(&[Code::NetworkBlocksOut]),
            Self::NothingOut => {
                own(&[Code::NetworkBlocksOut]).into_iter().chain(gone(Code::NoInternet)).collect()
            }
            Self::QuotaFull => usual(&[Code::QuotaFull]),
            Self::DiskFull => usual(&[Code::DiskFull]),
            Self::Paused | Self::AcceptOff => usual(&[Code::NothingAccepted]),
            Self::NotAllowed => own(&[Code::SettingsForbid]),
            Self::HubDead => usual(&[Code::HubUnreachable]),
            Self::Ipv6Broken => usual(&[Code::Works, Code::Ipv6Broken]),
        }
        .into_iter()
        .chain(self.also(scene.of(side), view))
        .collect()
    }

    /// What is as right, because of where it happens.
    fn also(self, place: Place, view: View) -> Option<Cause> {
        match (self, place, view) {
            // It takes its mapping with it, and then nothing answers.
            (Self::ServiceStopped, Place::Upnp, View::There) => Some(Cause::usual(Code::Offline)),
            _ => None,
        }
    }

    /// Whether something is broken, rather than less good.
    #[must_use]
    pub const fn is_fault(self, scene: Scene) -> bool {
        match self {
            Self::Ipv6Broken => false,
            Self::BothSymmetric => !scene.is_linked(),
            _ => true,
        }
    }

    /// What becomes of a link that needs this side.
    #[must_use]
    pub const fn leaves(self) -> Linked {
        match self {
            Self::QuotaFull
            | Self::DiskFull
            | Self::Paused
            | Self::AcceptOff
            | Self::ClockAhead
            | Self::Ipv6Broken
            | Self::RouterLies
            | Self::CarrierNat
            | Self::DoubleNat
            | Self::BothSymmetric
            | Self::BothOnlyCall => Linked::Stays,
            Self::FirewallInDrop
            | Self::FirewallInReject
            | Self::FirewallOutDrop
            | Self::ForwardedElsewhere
            | Self::ForwardedToOther
            | Self::MappingOff
            | Self::MappingLost
            | Self::RouterReset
            | Self::MappingBlocked
            | Self::NamesDead
            | Self::NameUnknown
            | Self::PortClash
            | Self::Only443
            | Self::NotAllowed => Linked::ByHelp,
            _ => Linked::Not,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_something_that_must_be_said() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        let scene = Scene { anna: Place::OnlyCalls, bert: Place::Public, help: Help::Relay };
        for fault in Fault::ALL {
            for view in [View::Here, View::There] {
                assert!(!fault.causes(scene, Side::Bert, view).is_empty(), "{}", fault.name());
            }
        }
    }
}
