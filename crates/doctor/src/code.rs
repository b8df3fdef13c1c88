//! The table of verdicts: what can be wrong, where, and what that means. `docs/troubleshooting.md` and `kith explain` are made of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of the way from this computer to the friend's, in the order in which a picture shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// This computer: its Kith, its clock, its settings.
    ThisComputer,
    /// The firewall and security software of this computer.
    FirewallHere,
    /// The router of this computer's network, and the carrier behind it.
    RouterHere,
    /// What is between the two networks: lines, proxies, hubs, names.
    Internet,
    /// The router of the friend's network.
    RouterThere,
    /// The firewall and security software of the friend's computer.
    FirewallThere,
    /// The friend's computer.
    Friend,
}

impl Part {
    /// All, from here to there.
    pub const ALL: [Self; 7] = [
        Self::ThisComputer,
        Self::FirewallHere,
        Self::RouterHere,
        Self::Internet,
        Self::RouterThere,
        Self::FirewallThere,
        Self::Friend,
    ];

    /// The same part at the other end.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::ThisComputer => Self::Friend,
            Self::FirewallHere => Self::FirewallThere,
            Self::RouterHere => Self::RouterThere,
            Self::Internet => Self::Internet,
            Self::RouterThere => Self::RouterHere,
            Self::FirewallThere => Self::FirewallHere,
            Self::Friend => Self::ThisComputer,
        }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Nothing is wrong.
    Fine,
    /// It works, and could be better.
    Note,
    /// Something is broken.
    Fault,
}

macro_rules! codes {
    ($($variant:ident, $code:literal, $weight:ident, $part:ident, $title:literal, $meaning:literal, $step:literal;)*) => {
        /// A stable code of what was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All, in the order in which the docs have them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code itself.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// How much it matters.
            #[must_use]
            pub const fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)* }
            }

            /// Which part is meant when it is this computer's side; the other end's is [`Part::mirrored`].
            #[must_use]
            pub const fn part(self) -> Part {
                match self { $(Self::$variant => Part::$part,)* }
            }

            /// In a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What it means, for somebody who has never heard of it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do, in general. A verdict says it with concrete values.
            #[must_use]
            pub const fn step(self) -> &'static str {
                match self { $(Self::$variant => $step,)* }
            }
        }
    };
}

codes! {
    Works, "works", Fine, ThisComputer, "everything works",
        "The two computers are connected, and nothing is in the way.",
        "Nothing.";
    Relayed, "relayed", Note, Internet, "everything works, by way of another computer, and slower",
        "Neither computer lets the other one in, so that a third one, a friend of both or a hub, passes on what they say. It can't read any of it. Backups are complete and safe, and slower than they could be.",
        "Nothing has to be done. To make it faster, forward the port of one of the two computers on its router, or switch on UPnP there.";
    ServiceDown, "service-down", Fault, ThisComputer, "Kith does not run on this computer",
        "The app and the command line talk to a service that runs in the background. It is not there.",
        "Start it: `kith daemon`, or the service (`systemctl --user start kith`, `sudo systemctl start kith`).";
    LocalPortBlocked, "local-port-blocked", Fault, FirewallHere, "the app can't reach Kith on this very computer",
        "Kith runs, and something on this computer stops the connection between the app and it, which never leaves the computer.",
        "Allow TCP 4243 and 4244 from 127.0.0.1 to 127.0.0.1 and from ::1 to ::1 in the security software.";
    NoNetwork, "no-network", Fault, ThisComputer, "the computer is not in any network",
        "There is no network connection: no cable, no Wi-Fi, or no address was given to the computer.",
        "Connect it, and look at the network settings of the system.";
    ClockWrong, "clock-wrong", Fault, ThisComputer, "the computer's clock is wrong",
        "Friends tell each other their addresses in notes with a date, and nobody believes notes of another day. A wrong clock also spoils schedules and the dates of backups.",
        "Set the clock, and let the system keep it right: `timedatectl set-ntp true`.";
    SettingsForbid, "settings-forbid", Fault, ThisComputer, "the settings forbid the connection",
        "`network.allowed-destinations` says where this computer may connect to, and the friend's address is not among them.",
        "Add the friend's address to that setting.";
    NoCallsAtAll, "no-calls-at-all", Fault, ThisComputer, "neither of the two computers takes calls",
        "Both are set to make connections and never to take any (`network.outbound-only`), so that none comes about between them alone.",
        "Let one of the two take calls, or name a hub in `network.hubs` on both.";
    PortTaken, "port-taken", Fault, ThisComputer, "another program has the port",
        "Friends call this computer at one port, and another program holds it. Kith does not move to another port by itself, because forwardings on a router would then lead nowhere.",
        "End that program, or give Kith another port: `kith settings set listener.port PORT`.";
    PortClosed, "port-closed", Fault, ThisComputer, "the port can't be opened",
        "The system does not let Kith open the port at which friends call.",
        "Read the reason, and correct `listener.port` or `listener.bind`.";
    PortShared, "port-shared", Fault, ThisComputer, "two computers of one network use the same port",
        "A router forwards one port to one computer. Where two computers of a house listen at the same port, and the forwarding was made by hand, friends reach one of them only.",
        "Give one of the two another port (`kith settings set listener.port PORT`), and forward that one to it as well.";
    FirewallOut, "firewall-out", Fault, FirewallHere, "the computer's own firewall lets nothing out",
        "A firewall or security software on the computer stops connections to friends before they leave it.",
        "Allow outgoing TCP connections to the friends' port in that firewall.";
    FirewallIn, "firewall-in", Fault, FirewallHere, "the computer's own firewall does not let friends in",
        "A firewall or security software on the computer stops friends' connections just before they reach Kith.",
        "Allow incoming TCP connections to the port in that firewall. A rule for the port survives updates; one for the program may not.";
    RouterSilent, "router-silent", Fault, RouterHere, "the router does not answer",
        "The computer is in a network, and the router that should lead to the Internet does not answer.",
        "See whether the router is on and its cables are in; switch it off and on.";
    NetworkBlocksOut, "network-blocks-out", Fault, RouterHere, "the network lets out no connections to friends",
        "A firewall of the network, often a company's or a hotel's, lets connections to web sites out, and none to the friends' port.",
        "Ask its administrator for the rules that `kith ports --firewall` prints, or use a hub at port 443.";
    MappingOff, "mapping-off", Fault, RouterHere, "the router does not let friends in",
        "A router lets nobody in whom nobody inside has called, unless it is told to. Kith asks it by UPnP, NAT-PMP and PCP, and this one understands none of them or they are switched off.",
        "Switch on UPnP on the router's page, or forward the port there by hand.";
    MappingLost, "mapping-lost", Fault, RouterHere, "the router has stopped letting friends in",
        "The router let friends in before, and does not any more: it was replaced or reset, or UPnP was switched off.",
        "Switch UPnP on again on the router's page, or forward the port there by hand.";
    Isolated, "isolated", Fault, RouterHere, "the network keeps its computers apart",
        "Two computers are in one network, and what one of them sends never reaches the other. Guest networks and many Wi-Fi routers do that on purpose (client isolation, AP isolation). By the router's outer address it does not work either, as few routers lead such calls back inside (hairpin).",
        "Switch off the isolation of computers on the router's page, or put both computers into the main network.";
    MappingLies, "mapping-lies", Fault, RouterHere, "the router says that it lets friends in, and does not",
        "The router granted the port, and connections from outside do not arrive: its firewall drops them, it forwards to another computer, or the provider filters them.",
        "Restart the router; if that does not help, forward the port by hand on its page.";
    DoubleNat, "double-nat", Fault, RouterHere, "there is a second router between this one and the Internet",
        "The router that Kith talks to is itself behind another one, often the provider's box. What is let in by the first never arrives, because the second stops it.",
        "Switch the second router to bridge mode, or forward the port on it to the first one.";
    CarrierNat, "carrier-nat", Fault, RouterHere, "the provider gives this connection no address of its own",
        "Many homes share one address (carrier-grade NAT). Nobody can call in, whatever the router does.",
        "Ask the provider for a public IPv4 address or IPv6, let the friend's side be the one that takes calls, or use a hub.";
    PortsScrambled, "ports-scrambled", Note, RouterHere, "the router gives every connection another port",
        "Two computers behind such routers (symmetric NAT) can't open a way to each other at the same moment, because nobody knows in advance by which port.",
        "Switch on UPnP on the router, or forward the port.";
    NamesFail, "names-fail", Fault, Internet, "names can't be looked up",
        "The friend is known by a name like home.example.org, and the name service (DNS) gives no answer.",
        "See to the name server of this network, or add the friend's address in numbers: `kith friend address NAME IP:PORT`.";
    NameWrong, "name-wrong", Fault, Internet, "the friend's name leads to no address",
        "The name service answers, and says that there is no such name.",
        "Correct it: `kith friend address NAME HOST:PORT`.";
    ProxyDown, "proxy-down", Fault, Internet, "the proxy can't be reached",
        "All connections are set to go by a proxy, and it is not there.",
        "Correct `network.proxy`, or ask who runs the proxy.";
    ProxyRefuses, "proxy-refuses", Fault, Internet, "the proxy does not allow the connection",
        "All connections are set to go by a proxy, and it refuses to connect to the friend or does not accept the password.",
        "Ask who runs the proxy to allow the friend's address and port, or correct the password in `network.proxy`.";
    Intercepted, "intercepted", Fault, Internet, "something in between opens connections and answers itself",
        "A login page of a hotel or train, or security software that looks into encrypted connections, answers in the friend's place.",
        "Log in to that network with a browser, or except the friend's port from inspection.";
    Ipv6Broken, "ipv6-broken", Note, Internet, "IPv6 is offered here and does not work",
        "The network gives the computer addresses of the newer kind, and what is sent by them does not arrive.",
        "Nothing has to be done while IPv4 works. See to IPv6 on the router, or switch it off.";
    BlackHole, "black-hole", Fault, Internet, "long packets get lost on the way",
        "Short packets arrive and long ones do not: somewhere on the way is a line for shorter packets only (a tunnel, a VPN), and the message that says so is blocked.",
        "Lower the MTU of the computer's network interface, or let ICMP messages of the type \"fragmentation needed\" through.";
    HubUnreachable, "hub-unreachable", Fault, Internet, "the hub can't be reached",
        "A hub is named in the settings, and does not answer or does nothing for this computer.",
        "Look at `kith status`, which says what the hub answered; ask who runs it.";
    NoInternet, "no-internet", Fault, Internet, "nothing outside of this network answers",
        "The router answers, and nobody beyond it does: neither friends nor hubs.",
        "See whether other programs get to the Internet; ask the provider.";
    NoAddress, "no-address", Fault, Friend, "no address of the friend's computer is known",
        "Kith does not know where to call.",
        "`kith friend address NAME HOST:PORT`, or pair again.";
    Offline, "offline", Fault, Friend, "the friend's computer is off or asleep",
        "Nobody has seen it for a while, and nothing answers where it was.",
        "Ask your friend whether the computer is on and has a network. Backups go on by themselves when it is back.";
    Asleep, "asleep", Note, Friend, "the friend's computer is probably asleep",
        "It went silent, and on most of the last days it slept at this time of the day, as it told afterwards itself.",
        "Nothing. Backups go on by themselves when it wakes up; if they should run at this time, let your friend keep that computer from sleeping.";
    JustWoken, "just-woken", Note, ThisComputer, "the computer has just woken from sleep",
        "While a computer sleeps all its connections end. For a moment after it has woken its network is not there yet, and Kith connects anew.",
        "Wait a minute, and look again.";
    NotRunning, "not-running", Fault, Friend, "Kith does not run on the friend's computer",
        "The computer answers, and says that nothing listens at the port.",
        "Ask your friend to start Kith there, and to look at `kith status`.";
    Moved, "moved", Fault, Friend, "the friend's Kith listens at another port now",
        "Nothing listens at the address that is known here, and the friend's computer says that it has another one.",
        "Nothing, Kith has learnt the new one; a forwarding made by hand must be changed on the router there.";
    WrongDevice, "wrong-device", Fault, RouterThere, "another computer answers at the friend's address",
        "A Kith answers, and it is not the friend's: the address belongs to somebody else now, or a forwarding leads to the wrong computer of that house.",
        "Correct the forwarding there; two computers of one house need two ports.";
    ForeignService, "foreign-service", Fault, RouterThere, "another program answers at the friend's address",
        "Something answers that is no Kith: the router's own page, or another program that has the port.",
        "Correct the forwarding on the router there, or the address: `kith friend address NAME HOST:PORT`.";
    IdentityChanged, "identity-changed", Fault, Friend, "the friend's computer does not know this one any more",
        "It answers, and says that this computer is no friend of its: you were removed there, or that Kith was set up anew with other words.",
        "Pair again: `kith invite` there, `kith join` here.";
    NotRecognised, "not-recognised", Fault, Friend, "a Kith answers at the friend's address and does not know this computer",
        "A Kith shows to its friends only who it is. This one takes this computer for a stranger: it was removed as a friend there, that Kith was set up anew with other words, or another computer has the address now.",
        "Ask the friend whether this computer is in `kith friends` there. If not, pair again; if it is, the address or the forwarding leads to another computer.";
    VersionTooOld, "version-too-old", Fault, Friend, "the two programs are too far apart in age",
        "One of the two runs a Kith that is too old to talk to the other.",
        "Install the newer Kith where the older one runs.";
    QuotaFull, "quota-full", Fault, Friend, "the room that the friend offers is used up",
        "The connection is fine. No more of this computer's backups fits into what the friend has set aside.",
        "Ask for more room: `kith friend quota YOU SIZE` over there.";
    DiskFull, "disk-full", Fault, Friend, "the friend's disk is full",
        "The connection is fine. There is no room left on the disk that keeps the backups.",
        "Room must be made on that disk; nothing that is stored is lost.";
    DiskFailed, "disk-failed", Fault, Friend, "the friend's disk has a fault",
        "The connection is fine. A write failed on the disk that keeps the backups, and nothing more is stored there until somebody has looked at it.",
        "Look at that disk, then `kith restart` there.";
    NothingAccepted, "nothing-accepted", Fault, Friend, "the friend takes no backups at present",
        "The connection is fine. Storing is paused for this computer, or switched off.",
        "Ask for it: `kith friend resume YOU`, or `kith settings set vault.accept friends` over there.";
    Unknown, "unknown", Fault, Internet, "the cause can't be seen from this end alone",
        "Nothing answers at the friend's addresses, and nobody who could ask the other computer is connected with it. It may be off, or something on the way there stops connections.",
        "Ask your friend to run `kith doctor --code` and to send you the line; `kith doctor FRIEND --with LINE` then looks at both ends.";
}

/// There is no such code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no code {0}")]
pub struct NoSuchCode(pub String);

impl FromStr for Code {
    type Err = NoSuchCode;

    fn from_str(text: &str) -> Result<Self, NoSuchCode> {
        let text = text.trim().to_ascii_lowercase();
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(NoSuchCode(text))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
