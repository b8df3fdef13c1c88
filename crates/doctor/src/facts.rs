//! What is known of two computers and of the way between them. Everything is data: gathered by `kith`, told over a link, or pasted.
//!
//! Of what is not known nothing is said: fields are null, lists are empty. A fact that is missing never accuses anybody.

use serde::{Deserialize, Serialize};

use crate::firewall::FirewallFacts;

/// Most tests of addresses of one computer.
pub const MOST_TESTS: usize = 16;

/// Everything that a verdict follows from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// This computer.
    pub here: Side,
    /// The friend in question; none: this computer alone is looked at.
    pub friend: Option<Pair>,
    /// The friend's computer as it says itself; none: it could not be asked.
    pub there: Option<There>,
}

/// What the other end said, and by which way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct There {
    /// What it said of itself.
    pub side: Side,
    /// How it was told.
    pub source: Source,
}

/// By which way the other end's facts came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Over the link, a moment ago.
    #[default]
    Link,
    /// A report code that a person pasted.
    Code,
}

/// How one computer is, as it says itself. It is what goes to a friend who asks, and into a report code: no names of files, no keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Side {
    /// When this was said, Unix seconds by its own clock.
    pub time: i64,
    /// Version of the program.
    pub version: String,
    /// Where the program is, for firewalls that tell programs apart.
    pub program: Option<String>,
    /// By how many seconds others' clocks are ahead of its own: friends and hubs, without the other of the pair.
    pub clocks: Vec<i64>,
    /// Whether the system says that its clock is kept right by a time service; null: not known.
    pub clock_synchronised: Option<bool>,
    /// The inbound port.
    pub listener: Listener,
    /// It only makes calls (`network.outbound-only`).
    pub outbound_only: bool,
    /// The proxy that everything goes by, `host:port`.
    pub proxy: Option<String>,
    /// Ports of a firewall stand for friends (`network.mapped`).
    pub mapped_ports: bool,
    /// Its addresses inside its network, `ip:port`.
    pub internal: Vec<String>,
    /// Its addresses from outside, `host:port`.
    pub public: Vec<String>,
    /// How it is connected.
    pub network: Network,
    /// The way in through its router.
    pub mapping: Mapping,
    /// Whether its router keeps source ports (false: a symmetric NAT); null: not observed.
    pub keeps_ports: Option<bool>,
    /// Its own firewall.
    pub firewall: FirewallFacts,
    /// Whether names can be looked up; null: nothing needs a name, or it was not tried.
    pub names: Option<Names>,
    /// The hubs it uses.
    pub hubs: Vec<Hub>,
    /// Other computers, beside the other of the pair, with which it is connected over the Internet now.
    pub others_linked: u32,
    /// Others with which it should be connected over the Internet, and is not.
    pub others_away: u32,
    /// What the port test of each address of the other computer came to, from this one, a moment ago.
    pub tests: Vec<Test>,
    /// When somebody from another computer got in at the port last, Unix seconds.
    pub last_inbound: Option<i64>,
    /// When it woke from sleep last, Unix seconds; null: not since Kith was started.
    pub woken: Option<i64>,
    /// How long it slept then, seconds.
    pub slept: Option<u64>,
    /// What it keeps for the one who asks; null: it was not asked by a friend.
    pub keeps: Option<Keeps>,
}

/// The inbound port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// The port that is, or should be, listened on.
    pub port: u16,
    /// How it stands.
    pub state: ListenerState,
    /// Why it can't be had, a sentence.
    pub error: Option<String>,
    /// Which program holds it instead.
    pub taken_by: Option<String>,
    /// A port that is free.
    pub free_port: Option<u16>,
    /// Where other computers of the same network listen at the same port, `ip:port`.
    pub shared_with: Vec<String>,
}

/// See [`Listener::state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerState {
    /// Connections are taken.
    Listening,
    /// Closed by the settings.
    #[default]
    Off,
    /// It could not be bound.
    Error,
}

/// How a computer is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The router that its packets to elsewhere go to; null: there is none.
    pub gateway: Option<String>,
    /// Whether that router answers at all; null: not known.
    pub gateway_answers: Option<bool>,
    /// Whether it has an IPv4 address that is no loopback.
    pub v4: bool,
    /// Whether it has an IPv6 address for the Internet and a way there.
    pub v6: bool,
    /// Whether the system knows any way to the Internet, by a router or without; null: not known.
    pub way_out: Option<bool>,
    /// Largest packet of the interface, bytes.
    pub mtu: Option<u32>,
    /// Whether all that gets out of its network goes to port 443, as far as it was seen or the settings say so.
    pub only_443: bool,
}

/// The way in through the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mapping {
    /// `off`, `searching`, `no-router`, `router-off`, `mapped`, `double-nat` or `blocked`.
    pub state: String,
    /// `upnp`, `nat-pmp`, `pcp`, `static`; null: no mapping. `static`: forwarded by hand, or no router in the way.
    pub protocol: Option<String>,
    /// The address outside, `host:port`.
    pub external: Option<String>,
    /// Whether no router is in the way: the address outside is the computer's own.
    pub direct: bool,
    /// Whether a friend came through from outside.
    pub proved: bool,
    /// What a friend met who tried in vain, after the last success.
    pub failed: Option<String>,
    /// When a friend came through last, Unix seconds, at any time before.
    pub worked: Option<i64>,
    /// What each way of asking the router came to: (`upnp`, `no answer`).
    pub protocols: Vec<(String, String)>,
    /// What the router calls itself.
    pub router: Option<String>,
    /// Its own page.
    pub page: Option<String>,
}

/// Looking up names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Whether the name below was found, or any answer came.
    pub works: bool,
    /// A name that was looked up.
    pub name: String,
    /// Why not, a sentence.
    pub error: Option<String>,
}

/// A hub that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hub {
    /// Where it is, `host:port`.
    pub at: String,
    /// Whether it does its work for this computer.
    pub works: bool,
    /// Why not, a sentence.
    pub error: Option<String>,
}

/// The port test of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Test {
    /// `host:port`.
    pub address: String,
    /// Where it leads.
    pub place: Place,
    /// What came of it.
    pub result: TestResult,
    /// The reason in words.
    pub detail: Option<String>,
    /// Until the connection stood, or the test ended, milliseconds.
    pub ms: u64,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Inside a network that both are in, or may be.
    Internal,
    /// From outside.
    #[default]
    Public,
}

/// What a port test came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestResult {
    /// The friend's Kith answers and proves that it is his.
    Friend,
    /// A Kith answers, of another device, or one that says nothing.
    OtherDevice,
    /// This very computer answers.
    Myself,
    /// Something answers that is no Kith.
    NotKith,
    /// What answers is a page of a web server, or a certificate that is no Kith's: something between looks into connections.
    Intercepted,
    /// A connection stands, a short greeting comes, and nothing long gets through: with small packets it works.
    BlackHole,
    /// A connection stands, and nothing comes.
    Silent,
    /// A RST came back.
    Refused,
    /// Nothing came back.
    NoResponse,
    /// The network or the system said no, and which of them is in `detail`.
    #[default]
    Unreachable,
    /// This computer's own firewall said no.
    ForbiddenHere,
    /// The settings don't allow the connection.
    NotAllowed,
    /// The proxy is not there, or says nothing.
    ProxyDown,
    /// The proxy said no.
    ProxyRefuses,
    /// The name has no address.
    NameNotFound,
    /// The friend's Kith answers, and does not know this computer any more.
    RefusedUs,
    /// The two programs have no version in common.
    OtherVersion,
    /// It is not in a network that this computer is in: not tried.
    Elsewhere,
}

/// What a computer keeps for a friend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keeps {
    /// Whether it takes backups of this friend at all.
    pub accepts: bool,
    /// Bytes it offers.
    pub offered: Option<u64>,
    /// Bytes it keeps.
    pub stored: u64,
    /// Free bytes of the disk beyond what must stay free.
    pub free: Option<u64>,
    /// What failed on that disk.
    pub trouble: Option<String>,
}

/// The friend, as this computer knows him.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pair {
    /// His name here.
    pub name: String,
    /// The link, if there is one.
    pub link: Option<LinkFacts>,
    /// When there was a link last, Unix seconds.
    pub last_seen: Option<i64>,
    /// When he was last seen alive by anybody, Unix seconds: his newest address record, or a computer that both know.
    pub alive: Option<i64>,
    /// The same in words: `carol is connected with him`, `his computer renewed its addresses at a hub`.
    pub alive_by: Option<String>,
    /// When he last answered a call that somebody passed on, or called that way himself, Unix seconds.
    pub answered: Option<i64>,
    /// When a call that others passed on was last not answered, or none of them was connected with him, Unix seconds.
    pub unanswered: Option<i64>,
    /// What calls by the help of others came to last, a sentence.
    pub help_error: Option<String>,
    /// On how many of the last days his computer slept at this time of the day; null: no day is known.
    pub habit: Option<Habit>,
    /// Whether any address of his is known.
    pub any_address: bool,
    /// He only takes no calls: known from what he told.
    pub calls_only: bool,
    /// Why he stores nothing, in his words, as of the last link.
    pub trouble: Option<String>,
    /// By how many seconds his clock is ahead of ours.
    pub clock_ahead: Option<i64>,
    /// Bytes he offers us and keeps of ours, as of the last link.
    pub offered: Option<u64>,
    /// See [`Self::offered`].
    pub stored: Option<u64>,
}

/// When a computer usually sleeps, as it told itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habit {
    /// Days on which it slept at this time.
    pub asleep: u32,
    /// Days of which it is known how it was at this time.
    pub of: u32,
}

/// The link to a friend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFacts {
    /// `lan`, `public`, `mapped`, `punched`, `relayed`, `proxied`.
    pub path: String,
    /// Who relays.
    pub relayed_by: Option<String>,
    /// Whether this computer made the connection.
    pub dialled: bool,
    /// Since when, Unix seconds.
    pub since: Option<i64>,
    /// Where it goes.
    pub remote: String,
}
