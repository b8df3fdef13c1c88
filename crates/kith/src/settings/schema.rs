//! Every key of the settings, once: its type, default and help. Errors, listings and the sample file rest on this list.

/// The TOML type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text in quotes.
    Text,
    /// true or false.
    Flag,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// A table of texts.
    TextTable,
    /// `[[set]]` tables.
    Sets,
}

impl Kind {
    /// What a person should write, for errors.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Flag => "true or false",
            Self::Number => "a whole number without quotes",
            Self::Texts => "a list of texts, as in [\"one\", \"two\"]",
            Self::TextTable => "a table of texts, as in { \"one\" = \"two\" }",
            Self::Sets => "[[set]] tables",
        }
    }
}

/// One key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Key {
    /// Its full name, as in `listener.port`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default in TOML.
    pub default: &'static str,
    /// What it does, in one sentence, with the unit and what is allowed.
    pub help: &'static str,
    /// True when the value may hold a password.
    pub secret: bool,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { name, kind, default, help, secret: false }
    }

    /// The environment variable that sets it, as `KITH_CONTROL__APP_PORT`; `None` for sets, which only files hold.
    pub fn variable(&self) -> Option<String> {
        if self.kind == Sets {
            return None;
        }
        Some(format!("KITH_{}", self.name.replace('.', "__").replace('-', "_").to_ascii_uppercase()))
    }
}

use Kind::{Flag, Number, Sets, Text, TextTable, Texts};

/// All keys, in the order of the file.
pub const KEYS: [Key; 41] = [
    Key::new(
        "name",
        Text,
        "\"\"",
        "How friends see this computer: 1 to 64 printable characters; empty: its host name.",
    ),
    Key::new(
        "listener.port",
        Number,
        "4242",
        "The TCP port friends connect to: 1024 to 65535, on a hub also 443.",
    ),
    Key::new(
        "listener.bind",
        Texts,
        "[\"0.0.0.0\", \"::\"]",
        "The local addresses on which the port is open; 0.0.0.0 and :: mean all of IPv4 and of IPv6.",
    ),
    Key::new(
        "listener.advertise",
        Texts,
        "[]",
        "\"host:port\" of every port forwarding made by hand that leads to the port; friends are told.",
    ),
    Key::new(
        "listener.greeting",
        Flag,
        "true",
        "Whether somebody who opens the port by telnet or a browser gets a line that says that it is open.",
    ),
    Key::new(
        "control.port",
        Number,
        "4243",
        "The port of the API, on this computer only: 1024 to 65535; when it is taken, another one is used and logged.",
    ),
    Key::new(
        "control.app-port",
        Number,
        "4244",
        "The port of the app in the browser, on this computer only: 1024 to 65535; when it is taken, another one is used and logged.",
    ),
    Key::new(
        "nat.upnp",
        Flag,
        "true",
        "Whether routers are asked by UPnP, which most routers at home know, to let friends in; off: its mapping is removed at once.",
    ),
    Key::new(
        "nat.nat-pmp",
        Flag,
        "true",
        "Whether routers are asked by NAT-PMP, an older and simpler language than PCP, to let friends in; off: its mapping is removed at once.",
    ),
    Key::new(
        "nat.pcp",
        Flag,
        "true",
        "Whether routers are asked by PCP, which knows IPv6 too, to let friends in; off: its mapping is removed at once.",
    ),
    Key::new(
        "vault.path",
        Text,
        "\"vault\"",
        "The directory for friends' backups; relative paths are relative to the home.",
    ),
    Key::new(
        "vault.accept",
        Text,
        "\"friends\"",
        "From whom backups are accepted: \"off\", \"own\" (my other computers) or \"friends\".",
    ),
    Key::new(
        "vault.default-quota",
        Text,
        "\"100GB\"",
        "How much a new friend may store here: a number with a unit, GB = 10^9 and GiB = 2^30 bytes.",
    ),
    Key::new(
        "vault.hold-days",
        Number,
        "30",
        "For how many days data that a friend deletes can still be brought back: 0 to 3650 days, counted while Kith runs.",
    ),
    Key::new(
        "vault.scrub-days",
        Number,
        "30",
        "In how many days everything kept for friends is read once and compared with its name: 0 (never) to 3650 days.",
    ),
    Key::new(
        "vault.keep-free",
        Text,
        "\"1GiB\"",
        "What must stay free on the vault's disk: a number with a unit; below it friends' uploads are refused.",
    ),
    Key::new(
        "network.outbound-only",
        Flag,
        "false",
        "Whether only this computer opens connections, by TCP alone: the inbound port stays closed, no router is asked, nothing is sent by UDP.",
    ),
    Key {
        secret: true,
        ..Key::new(
            "network.proxy",
            Text,
            "\"\"",
            "The proxy for connections to friends: socks5://user:pass@host:1080 or http://host:3128; empty: none. Nothing goes past it.",
        )
    },
    Key::new(
        "network.allowed-destinations",
        Texts,
        "[]",
        "Where connections may go, as \"10.0.0.0/8:443\", \"host:1024-5000\" or \"*:443\"; empty: anywhere.",
    ),
    Key::new(
        "network.outgoing-ports",
        Text,
        "\"\"",
        "The local ports of outgoing connections, as \"1024-5000\"; empty: the system chooses.",
    ),
    Key::new(
        "network.punch-port-ranges",
        Texts,
        "[\"1024-14500\", \"49000-52000\"]",
        "Source ports that are tried through a router when the listen port itself does not get through.",
    ),
    Key::new(
        "network.hubs",
        Texts,
        "[]",
        "Hubs to register with, as \"kith://DEVICEID@host:port\", or the line of `kith hub invite`.",
    ),
    Key::new(
        "network.relay",
        Flag,
        "true",
        "Whether this computer carries the traffic of friends who can't reach each other, which it can't read.",
    ),
    Key::new(
        "network.relay-rate",
        Text,
        "\"0B\"",
        "How much is carried for friends in a second, for all together and in both directions: a number with a unit; 0B: without a limit.",
    ),
    Key::new(
        "network.relay-daily",
        Text,
        "\"10GB\"",
        "How much is carried for one friend in 24 hours, in both directions: a number with a unit; 0B: without a limit.",
    ),
    Key::new(
        "network.lan-discovery",
        Flag,
        "true",
        "Whether friends in the local network are found by multicast DNS; the network learns neither names nor device ids.",
    ),
    Key::new(
        "network.mapped",
        TextTable,
        "{}",
        "Destinations reached through a port of a firewall: \"DEVICEID or host:port\" = \"firewall:port\".",
    ),
    Key::new(
        "hub.port",
        Number,
        "4287",
        "`kith hub`: the TCP port computers connect to: 1024 to 65535, or 443.",
    ),
    Key::new(
        "hub.bind",
        Texts,
        "[\"0.0.0.0\", \"::\"]",
        "`kith hub`: the local addresses on which its ports are open; 0.0.0.0 and :: mean all of IPv4 and of IPv6.",
    ),
    Key::new(
        "hub.advertise",
        Texts,
        "[]",
        "`kith hub`: \"host:port\" under which it is known; empty: its own addresses with its port.",
    ),
    Key::new(
        "hub.registration",
        Text,
        "\"open\"",
        "`kith hub`: who may register: \"open\" (whoever knows its address) or \"invite\" (whoever was given a line of `kith hub invite`).",
    ),
    Key::new(
        "hub.most-computers",
        Number,
        "10000",
        "`kith hub`: how many computers are served at once: 1 to 100000.",
    ),
    Key::new(
        "hub.relay",
        Flag,
        "true",
        "`kith hub`: whether traffic is carried for computers that can't reach each other.",
    ),
    Key::new(
        "hub.relay-rate",
        Text,
        "\"0B\"",
        "`kith hub`: how much is carried for one computer in a second, both directions together: a number with a unit; 0B: without a limit.",
    ),
    Key::new(
        "hub.relay-daily",
        Text,
        "\"0B\"",
        "`kith hub`: how much is carried for one computer in a day, both directions together: a number with a unit; 0B: without a limit.",
    ),
    Key::new(
        "hub.peers",
        Texts,
        "[]",
        "`kith hub`: other hubs to exchange with, at most 8, as \"kith://DEVICEID@host:4288\"; each must name the other.",
    ),
    Key::new(
        "hub.peer-port",
        Number,
        "4288",
        "`kith hub`: the TCP port other hubs connect to: 1024 to 65535; open only where hub.peers names some.",
    ),
    Key::new(
        "hub.metrics",
        Text,
        "\"127.0.0.1:9187\"",
        "`kith hub`: the address with a port where numbers for Prometheus are read, at /metrics; empty: nowhere.",
    ),
    Key::new(
        "hub.moving.to",
        Texts,
        "[]",
        "`kith hub`: \"host:port\" where it will be; its computers are told ahead.",
    ),
    Key::new(
        "hub.moving.at",
        Text,
        "\"\"",
        "`kith hub`: from when on it will be there, as in 2026-12-24T18:00:00Z.",
    ),
    Key::new(
        "set",
        Sets,
        "[]",
        "The backup sets: name, paths, to (friends), alternate (friends who take over), exclude (glob patterns); see `kith set`.",
    ),
];

/// Keys of one `[[set]]` table.
pub const SET_KEYS: [&str; 5] = ["name", "paths", "to", "alternate", "exclude"];

/// Finds a key by its full name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// True when the name is a section, as `listener`.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The section of a full name, as `listener` of `listener.port`.
fn section_of(name: &'static str) -> Option<&'static str> {
    name.rsplit_once('.').map(|(section, _)| section)
}

/// The known key or section that somebody who wrote `unknown` most likely meant.
pub fn closest(unknown: &str) -> Option<&'static str> {
    let wanted = unknown.to_ascii_lowercase().replace('_', "-");
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let cost = |name: &'static str| {
        let whole = distance(&wanted, name);
        // The right key in the wrong section, or without its section.
        if last(&wanted) == last(name) { whole.min(1) } else { whole.min(1 + distance(&wanted, &last(name))) }
    };
    let sections = KEYS.iter().filter_map(|key| section_of(key.name));
    let sections = sections.map(|section| (section, distance(&wanted, section)));
    nearest(&wanted, KEYS.iter().map(|key| (key.name, cost(key.name))).chain(sections))
}

/// The candidate with the fewest typing errors, when there is one near enough.
pub(super) fn closest_of(wanted: &str, names: &[&'static str]) -> Option<&'static str> {
    nearest(wanted, names.iter().map(|name| (*name, distance(&wanted.to_ascii_lowercase(), name))))
}

fn nearest(wanted: &str, costs: impl Iterator<Item = (&'static str, usize)>) -> Option<&'static str> {
    // The first of equals, so that the answer never depends on anything but the order of the list.
    let (name, cost) = costs.min_by_key(|(_, cost)| *cost)?;
    (cost <= 2.max(wanted.chars().count() / 4)).then_some(name)
}

/// Number of insertions, deletions and replacements between two words (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
