//! What a person may do about a firewall. Kith never does it by itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Access, FirewallFacts, Manager, RemoteAccess, RulePlace, Tool, Way, firewalld};

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// A rule for the port: what is recommended.
    pub port: Exception,
    /// A rule for the program, or why there is none.
    pub program: Exception,
    /// Which of the two outlives what, a sentence.
    pub which: String,
    /// What is said of security software that was found, a sentence each.
    pub security: Vec<String>,
}

/// One way to let connections through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exception {
    /// What to type, in this order; empty: there is no such command.
    pub commands: Vec<String>,
    /// What it does and what it needs, a sentence.
    pub words: String,
}

impl Advice {
    /// The recommended step in one sentence, without a full stop.
    #[must_use]
    pub fn next_step(&self) -> String {
        match self.port.commands.as_slice() {
            [] => self.port.words.trim_end_matches('.').to_owned(),
            commands => {
                let commands: Vec<String> = commands.iter().map(|command| format!("`{command}`")).collect();
                format!("run {}", commands.join(" and then "))
            }
        }
    }
}

/// What may be done about connections that a firewall stops.
///
/// `port` is this computer's for what comes in, and the friend's for what goes out; `program` is the path of Kith's program.
#[must_use]
pub fn advice(facts: &FirewallFacts, way: Way, port: u16, program: &str) -> Advice {
    let places = places(facts, way);
    let found: Vec<Asked<'_>> = match places.as_slice() {
        [] => vec![Asked { facts, manager: facts.manager, way, port, place: None, program }],
        places => places
            .iter()
            .map(|place| Asked {
                facts,
                manager: manager(facts, way, place),
                way,
                port,
                place: Some(place),
                program,
            })
            .collect(),
    };
    Advice {
        port: merged(found.iter().map(for_port)),
        program: merged(found.iter().map(for_program)),
        which: which(found.first().map_or(facts.manager, |asked| asked.manager), way).to_owned(),
        security: facts
            .security
            .iter()
            .take(MOST_SOFTWARE)
            .map(|name| software(name, way, port, program))
            .collect(),
    }
}

/// What advice is for.
struct Asked<'a> {
    facts: &'a FirewallFacts,
    manager: Manager,
    way: Way,
    port: u16,
    /// Where the rule is that stops connections.
    place: Option<&'a RulePlace>,
    program: &'a str,
}

/// Most places of rules for which commands are given: one for IPv4, one for IPv6, and something to spare.
const MOST_PLACES: usize = 3;

/// Where the rules are that stop connections: those for one kind of addresses may be elsewhere than those for the other.
fn places(facts: &FirewallFacts, way: Way) -> Vec<&RulePlace> {
    let access = |remote: &RemoteAccess| if way == Way::In { remote.inbound } else { remote.outbound };
    let place = match way {
        Way::In => facts.inbound_place.as_ref(),
        Way::Out => facts.outbound_place.as_ref(),
    };
    let are_all_closed = facts.remotes.iter().all(|remote| access(remote).is_closed());
    let others = facts.remotes.iter().filter(|_| are_all_closed).filter_map(|remote| match way {
        Way::In => remote.inbound_place.as_ref(),
        Way::Out => remote.outbound_place.as_ref(),
    });
    let mut places: Vec<&RulePlace> = Vec::new();
    for place in place.into_iter().chain(others).filter(|place| is_plain(place)) {
        if places.len() < MOST_PLACES && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// All commands, each once, with what is said of the first.
fn merged(all: impl Iterator<Item = Exception>) -> Exception {
    let mut merged = Exception::default();
    for one in all {
        if merged.words.is_empty() {
            merged.words = one.words;
        }
        for command in one.commands {
            if !merged.commands.contains(&command) {
                merged.commands.push(command);
            }
        }
    }
    merged
}

/// Most security software about which something is said.
const MOST_SOFTWARE: usize = 8;

/// The program to use: the manager, unless the rule that decides is not one of its own.
fn manager(facts: &FirewallFacts, way: Way, place: &RulePlace) -> Manager {
    let access = if way == Way::In { facts.inbound } else { facts.outbound };
    match (facts.manager, place.tool) {
        (Manager::Ufw, _) if is_ufws(place) => Manager::Ufw,
        (Manager::Firewalld, Tool::Nft) if firewalld::is_own(place) => Manager::Firewalld,
        // With its other backend, which ends its chains with a refusal.
        (Manager::Firewalld, tool)
            if tool != Tool::Nft && (place.chain.contains('_') || access == Access::Rejected) =>
        {
            Manager::Firewalld
        }
        (_, Tool::Nft) => Manager::Nftables,
        _ => Manager::Iptables,
    }
}

/// Whether the rule is one of ufw's that give way to `ufw allow`: those of its own chains, but for those that come before what a person
/// allows, and the policy that it sets. What stands in a chain of the system itself somebody else has put there.
fn is_ufws(place: &RulePlace) -> bool {
    // Tables of the older kind beside those that it uses are somebody else's.
    let is_of_iptables = matches!(place.tool, Tool::Iptables | Tool::Ip6tables)
        || place.tool == Tool::Nft && matches!(place.family.as_str(), "ip" | "ip6");
    is_of_iptables
        && place.table == "filter"
        && (place.policy || (is_ufw_chain(place) && !is_early_ufw(place)))
}

fn is_ufw_chain(place: &RulePlace) -> bool {
    place.chain.starts_with("ufw-") || place.chain.starts_with("ufw6-")
}

/// Of /etc/ufw/before.rules and before6.rules.
fn is_early_ufw(place: &RulePlace) -> bool {
    is_ufw_chain(place) && (place.chain.contains("-before-") || place.chain.ends_with("-not-local"))
}

fn for_port(asked: &Asked<'_>) -> Exception {
    let Asked { manager, way, port, place, program, .. } = *asked;
    // Connections are let through, and the answers to them are not.
    let answers = place.is_some_and(|place| place.answers);
    let (commands, words) = match (manager, way) {
        (Manager::Ufw, _) => {
            let direction = if way == Way::In { "" } else { "out " };
            let is_denied = place
                .is_some_and(|place| place.chain.contains("ufw-user-") || place.chain.contains("ufw6-user-"));
            for_ufw(&format!("allow {direction}{port}/tcp"), is_denied)
        }
        (Manager::Firewalld, _) => return firewalld::exception(asked.facts, way, port, place),
        (Manager::Nftables, _) => {
            let what =
                if answers { "ct state established,related".to_owned() } else { format!("tcp dport {port}") };
            (vec![nft(way, &what, place)], keep(asked, KEEP_NFT))
        }
        (Manager::Iptables, _) => {
            let what = if answers {
                "-m conntrack --ctstate ESTABLISHED,RELATED".to_owned()
            } else {
                format!("-p tcp --dport {port}")
            };
            (vec![iptables(way, &what, place)], keep(asked, KEEP_IPTABLES))
        }
        (Manager::MacOs, _) => (
            Vec::new(),
            format!(
                "The firewall of macOS has no rules for ports; it knows programs. In System Settings, Network, Firewall, Options, let {program} accept incoming connections."
            ),
        ),
        (Manager::None, _) => {
            let words = match way {
                Way::In => format!(
                    "Allow incoming connections to TCP port {port} in the firewall or security software."
                ),
                Way::Out => format!(
                    "Allow outgoing connections to TCP port {port} in the firewall or security software."
                ),
            };
            (Vec::new(), words)
        }
    };
    Exception { commands, words }
}

/// The first rule that fits counts. Where a person denied it, ufw has to be told that the rule goes first (`prepend`, since 0.36; `insert 1` fails
/// where there is no rule); and it moves none that it has already, with whatever action: that one is made an allowing one, if it is there, and taken out before.
fn for_ufw(rule: &str, is_denied: bool) -> (Vec<String>, String) {
    let stays = "The rule stays after a restart of the computer.";
    if !is_denied {
        return (vec![format!("sudo ufw {rule}")], stays.to_owned());
    }
    let orders = ["", "delete ", "prepend "].map(|order| format!("sudo ufw {order}{rule}"));
    let words = format!(
        "It needs ufw 0.36 (of 2018) or newer. A rule for this port that ufw has already is taken out, so that the new one can be the first. {stays}"
    );
    (orders.to_vec(), words)
}

const KEEP_NFT: &str = "It counts at once and until the rules are loaded again: to keep it, write the rule into the file from which they are loaded, often /etc/nftables.conf, before the rule that stops the connections.";
const KEEP_IPTABLES: &str = "It counts at once and until the computer restarts: to keep it, save the rules (`sudo netfilter-persistent save`, or `sudo service iptables save`).";
const KEEP_UFW: &str = "It counts at once and until ufw loads its rules again: to keep it, write the rule into /etc/ufw/before.rules, or before6.rules for IPv6, before the one that stops the connections.";

/// How the rule is kept.
fn keep(asked: &Asked<'_>, usual: &str) -> String {
    let is_ufws = asked.facts.manager == Manager::Ufw && asked.place.is_some_and(is_early_ufw);
    if is_ufws { KEEP_UFW } else { usual }.to_owned()
}

/// A rule of nftables right where the one is that decides, and before it.
fn nft(way: Way, what: &str, place: Option<&RulePlace>) -> String {
    let chain = if way == Way::In { "input" } else { "output" };
    let place = place.filter(|place| place.tool == Tool::Nft);
    let (family, table, chain) =
        place.map_or(("inet", "filter", chain), |place| (&place.family, &place.table, &place.chain));
    format!("sudo nft insert rule {family} {table} {chain} {what} accept")
}

fn iptables(way: Way, what: &str, place: Option<&RulePlace>) -> String {
    let chain = if way == Way::In { "INPUT" } else { "OUTPUT" };
    match place.filter(|place| place.tool != Tool::Nft) {
        None => format!("sudo iptables -I {chain} {what} -j ACCEPT"),
        Some(place) => {
            let program = place.tool.program();
            let table = if place.table == "filter" { String::new() } else { format!(" -t {}", place.table) };
            format!("sudo {program}{table} -I {} {what} -j ACCEPT", place.chain)
        }
    }
}

fn for_program(asked: &Asked<'_>) -> Exception {
    let Asked { manager, way, port, place, program, .. } = *asked;
    let (commands, words) = match (manager, way) {
        (Manager::MacOs, _) => {
            let tool = "sudo /usr/libexec/ApplicationFirewall/socketfilterfw";
            let program = quoted(program);
            (
                vec![format!("{tool} --add {program}"), format!("{tool} --unblockapp {program}")],
                "It is for the program as it is now: after an update that is signed by somebody else, or not at all, macOS asks again.".to_owned(),
            )
        }
        (Manager::Nftables | Manager::Iptables, _) if place.is_some_and(|place| place.answers) => (
            Vec::new(),
            "What is stopped are the answers to connections, whichever program they are for.".to_owned(),
        ),
        (Manager::Nftables, Way::Out) => (
            vec![nft(way, &format!("meta skuid \"kith\" tcp dport {port}"), place)],
            format!("It is for everything that the account `kith` runs; write another account if {program} runs as that. A rule for a file there is not."),
        ),
        (Manager::Iptables, Way::Out) => (
            vec![iptables(way, &format!("-m owner --uid-owner kith -p tcp --dport {port}"), place)],
            format!("It is for everything that the account `kith` runs; write another account if {program} runs as that. A rule for a file there is not."),
        ),
        (Manager::Nftables | Manager::Iptables, Way::In) => (
            Vec::new(),
            "This firewall can't tell for which program a new connection is that comes in: a rule for the port is the one there is.".to_owned(),
        ),
        (Manager::Ufw, _) => (
            Vec::new(),
            "The profiles of ufw (/etc/ufw/applications.d) carry a program's name and are lists of ports all the same: a rule for the port is the one there is.".to_owned(),
        ),
        (Manager::Firewalld, _) => (
            Vec::new(),
            "The services of firewalld carry a program's name and are lists of ports all the same: a rule for the port is the one there is.".to_owned(),
        ),
        (Manager::None, _) => (
            Vec::new(),
            format!("In security software that has a list of programs, allow {program}."),
        ),
    };
    Exception { commands, words }
}

const fn which(manager: Manager, way: Way) -> &'static str {
    match (manager, way) {
        (Manager::Nftables | Manager::Iptables, Way::Out) => {
            "Both outlive an update of Kith; the rule for the port also outlives that Kith runs as another account."
        }
        (Manager::Nftables | Manager::Iptables, _) => {
            "The rule for the port outlives updates of Kith, and once it is saved also those of the system."
        }
        (Manager::Ufw | Manager::Firewalld, _) => {
            "The rule for the port outlives updates of Kith and of the system."
        }
        (Manager::MacOs, _) => "An update of Kith or of macOS may undo it; look again after one.",
        (Manager::None, _) => {
            "A rule for the port outlives updates of Kith; one for the program may end with an update, because the file is another one then."
        }
    }
}

/// What is said of one software.
fn software(name: &str, way: Way, port: u16, program: &str) -> String {
    if name.starts_with("SELinux") {
        return format!(
            "{name} is active: it may stop Kith only if a policy confines it. See what it refused with `sudo ausearch -m avc -ts recent`; if port {port} is named there, look which type the refused program may use (`sudo semanage port -l`) and add the port to it (`sudo semanage port -a -t TYPE -p tcp {port}`)"
        );
    }
    if name.starts_with("AppArmor") {
        return format!(
            "{name} has a profile for Kith: see what it refused with `sudo journalctl -k --grep apparmor`, and allow `network inet stream` and `network inet6 stream` in the profile"
        );
    }
    let direction = if way == Way::In { "incoming connections to" } else { "outgoing connections to" };
    format!(
        "{name} runs here and may stop connections by itself: allow {direction} TCP port {port} there, which outlives updates, and {program}, which an update may undo"
    )
}

/// That connections got through before, a sentence without a full stop.
#[must_use]
pub fn worked_until(time: i64) -> String {
    format!(
        "connections got through until {}; since then a rule has changed, perhaps by an update of the system or of security software",
        crate::date(time).unwrap_or_else(|| "a while ago".to_owned())
    )
}

/// Whether names that may have come from another computer are such as firewalls have: they go into commands that people run.
fn is_plain(place: &RulePlace) -> bool {
    [&place.family, &place.table, &place.chain].iter().all(|name| {
        !name.is_empty()
            && name.len() <= 128
            && !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    })
}

/// A path as a word of a shell.
fn quoted(path: &str) -> String {
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if plain && !path.is_empty() { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
