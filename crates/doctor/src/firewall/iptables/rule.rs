//! One rule of iptables for one packet.

use std::net::IpAddr;

use crate::firewall::chains::{Action, Step};
use crate::firewall::packet::{Earlier, Family, Packet, Port, Stage, Truth, Way, flag};

/// Most words of a rule.
const MOST_WORDS: usize = 256;
/// Stands where the words of a rule were cut off: it is not understood. No program prints an option like this one.
const CUT_OFF: &str = "--more words";

/// The words of a line; in double quotes a backslash stands before quotes and backslashes.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(letters.next()),
            ' ' | '\t' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
        if words.len() >= MOST_WORDS {
            // What is left makes the rule one that is not understood.
            return words.into_iter().chain([CUT_OFF.to_owned()]).collect();
        }
    }
    words.extend(word);
    words
}

/// Words as a line.
pub(super) fn quoted(words: &[String]) -> String {
    let quoted = words.iter().map(|word| match word.contains([' ', '"', '\\']) || word.is_empty() {
        true => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// To which port a rule leads connections, if it leads them anywhere.
pub(super) fn redirected(words: &[String]) -> Option<Option<u16>> {
    let after = |options: &[&str]| {
        let at = words.iter().position(|word| options.contains(&word.as_str()))?;
        words.get(at + 1)
    };
    let to = match after(&["-j", "-g"])?.as_str() {
        "REDIRECT" => after(&["--to-ports"]),
        "DNAT" => after(&["--to-destination"]),
        _ => return None,
    };
    Some(to.and_then(|to| to.rsplit(':').next()?.parse().ok()))
}

/// Whether a rule takes connections out of the kernel's sight.
pub(super) fn untracks(words: &[String]) -> bool {
    words.iter().any(|word| word == "--notrack" || word == "NOTRACK")
}

/// What a rule does with the packet; none: nothing.
pub(super) fn step(
    rule: usize,
    words: &[String],
    packet: &Packet,
    earlier: Earlier,
    target: &dyn Fn(&str) -> Option<usize>,
) -> Option<Step> {
    let unknown = Step { matches: Truth::Unknown, action: Action::Unknown, rule };
    let mut matches = Truth::Yes;
    let mut words = Words { words, at: 0 };
    let mut action = None;
    let mut extension = Extension::default();
    while let Some(option) = words.next() {
        let (option, negated) = match option {
            "!" => match words.next() {
                Some(option) => (option, true),
                None => return Some(unknown),
            },
            option => (option, false),
        };
        match option {
            "-j" | "-g" => {
                let name = words.next().unwrap_or_default();
                action = acts(name, option == "-g", target);
                break;
            }
            CUT_OFF => return Some(unknown),
            // Its options follow, and say what it asks for.
            "-m" => {
                matches = matches.and(extension.asks_for());
                extension = Extension::named(words.next().unwrap_or_default());
            }
            // The packet comes from where answers go to; a computer with several ways out may differ, and it is not said to be stopped.
            "--invert" if extension.name == "rpfilter" => matches = Truth::No,
            "--loose" | "--validmark" | "--accept-local" if extension.name == "rpfilter" => {}
            _ => {
                let one = asks(option, &mut words, packet, earlier);
                extension.has_options |= option.starts_with("--");
                matches = matches.and(if negated { one.not() } else { one });
            }
        }
    }
    matches = matches.and(extension.asks_for());
    Some(Step { matches, action: action.filter(|_| matches != Truth::No)?, rule })
}

/// An extension that a rule names (`-m`), as far as its options were come by.
#[derive(Default)]
struct Extension<'a> {
    name: &'a str,
    has_options: bool,
}

impl<'a> Extension<'a> {
    const fn named(name: &'a str) -> Self {
        Self { name, has_options: false }
    }

    /// What naming it asks for by itself, beside its options.
    fn asks_for(&self) -> Truth {
        match self.name {
            // They say of which kind the packet is, which `-p` says, too, or nothing.
            "" | "tcp" | "comment" | "rpfilter" => Truth::Yes,
            "udp" | "udplite" | "icmp" | "icmp6" | "icmpv6" | "sctp" | "dccp" | "esp" | "ah" => Truth::No,
            // All that they ask for is in their options, each of which was judged.
            "multiport" | "conntrack" | "state" | "addrtype" | "pkttype" | "iprange" | "rt"
                if self.has_options =>
            {
                Truth::Yes
            }
            // Without options they ask for something all the same: that a socket is there, that a header is.
            _ => Truth::Unknown,
        }
    }
}

struct Words<'a> {
    words: &'a [String],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Passes over the values of an option that is not known.
    fn skip_values(&mut self) {
        while self.words.get(self.at).is_some_and(|word| !word.starts_with('-') && word != "!") {
            self.at += 1;
        }
    }
}

fn acts(name: &str, to_stay: bool, target: &dyn Fn(&str) -> Option<usize>) -> Option<Action> {
    if let Some(chain) = target(name) {
        return Some(if to_stay { Action::Goto(chain) } else { Action::Jump(chain) });
    }
    Some(match name {
        "ACCEPT" | "SNAT" | "MASQUERADE" => Action::Accept,
        "DROP" => Action::Drop,
        "REJECT" => Action::Reject,
        "RETURN" => Action::Return,
        "DNAT" | "REDIRECT" | "TPROXY" => Action::Redirect,
        // They do something to the packet or write it down, and the next rule follows.
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CT" | "NOTRACK" | "TRACE"
        | "CHECKSUM" | "CLASSIFY" | "DSCP" | "TOS" | "TTL" | "HL" | "SET" | "AUDIT" | "SECMARK"
        | "CONNSECMARK" | "TCPOPTSTRIP" | "LED" | "TEE" => return None,
        _ => Action::Unknown,
    })
}

/// Whether the packet has what an option asks for.
fn asks(option: &str, words: &mut Words<'_>, packet: &Packet, earlier: Earlier) -> Truth {
    let mut value = || words.next().unwrap_or_default();
    match option {
        "-p" => match value() {
            "tcp" | "6" | "all" => Truth::Yes,
            "udp" | "icmp" | "icmpv6" | "ipv6-icmp" | "udplite" | "esp" | "ah" | "sctp" | "dccp" | "gre"
            | "igmp" | "ipv6" | "ipencap" | "ospf" | "pim" | "vrrp" => Truth::No,
            other => other.parse::<u8>().map_or(Truth::Unknown, |number| Truth::from(number == 6)),
        },
        "-s" => network(packet, packet.source(), value()),
        "-d" => network(packet, packet.destination(), value()),
        "-i" if packet.way == Way::In => interface(packet, value()),
        "-o" if packet.way == Way::Out => interface(packet, value()),
        "--dport" => ports(packet.destination_port(), value()),
        "--sport" => ports(packet.source_port(), value()),
        "--dports" => any_port(packet.destination_port(), value()),
        "--sports" => any_port(packet.source_port(), value()),
        "--ports" => {
            let list = value();
            any_port(packet.destination_port(), list).or(any_port(packet.source_port(), list))
        }
        "--ctstate" | "--state" => {
            if earlier.untracked {
                words.next();
                return Truth::Unknown;
            }
            let state = if packet.stage == Stage::New { "NEW" } else { "ESTABLISHED" };
            let states = value();
            // DNAT is no state of its own: the packet may have been to another address before.
            let led_here = earlier.redirected && states.split(',').any(|one| one == "DNAT");
            let led_here = if led_here { Truth::Unknown } else { Truth::No };
            Truth::from(states.split(',').any(|one| one == state)).or(led_here)
        }
        // What is in the first packets is in one piece each.
        "-f" => Truth::No,
        "--comment" => {
            value();
            Truth::Yes
        }
        "--syn" => Truth::from(packet.stage == Stage::New),
        "--tcp-flags" => match (bits(value()), bits(value())) {
            (Some(mask), Some(asked)) => Truth::from(packet.flags() & mask == asked),
            _ => Truth::Unknown,
        },
        "--dst-type" => match (value(), packet.way) {
            (kinds, Way::In) => Truth::from(kinds.split(',').any(|kind| kind == "LOCAL")),
            ("BROADCAST" | "MULTICAST" | "ANYCAST" | "BLACKHOLE", Way::Out) => Truth::No,
            _ => Truth::Unknown,
        },
        "--pkt-type" => match (value(), packet.way) {
            ("broadcast" | "multicast", Way::In) => Truth::No,
            _ => Truth::Unknown,
        },
        // Packets of friends carry no such header.
        "--rt-type" => {
            value();
            Truth::No
        }
        "--src-range" => range(packet, packet.source(), value()),
        "--dst-range" => range(packet, packet.destination(), value()),
        _ => {
            words.skip_values();
            Truth::Unknown
        }
    }
}

fn bits(names: &str) -> Option<u64> {
    match names {
        "NONE" => Some(0),
        "ALL" => Some(63),
        _ => names.split(',').try_fold(0, |bits, name| Some(bits | flag(name)?)),
    }
}

fn interface(packet: &Packet, name: &str) -> Truth {
    match (name, packet.is_loopback()) {
        ("lo", is_loopback) => Truth::from(is_loopback),
        ("+", _) => Truth::Yes,
        (name, true) if !name.ends_with('+') => Truth::No,
        _ => Truth::Unknown,
    }
}

fn network(packet: &Packet, address: Option<IpAddr>, value: &str) -> Truth {
    let (network, length) = value.split_once('/').unwrap_or((value, ""));
    let Ok(network) = network.parse::<IpAddr>() else { return Truth::Unknown };
    let all = if Family::of(network) == Family::V4 { 32 } else { 128 };
    let length = match (length, length.parse::<IpAddr>()) {
        ("", _) => Some(all),
        (_, Ok(IpAddr::V4(mask))) if all == 32 => {
            let ones = u32::from(mask).leading_ones();
            (u32::from(mask).count_ones() == ones).then_some(ones)
        }
        (number, _) => number.parse().ok().filter(|length| *length <= all),
    };
    length.map_or(Truth::Unknown, |length| packet.within(address, network, length))
}

fn range(packet: &Packet, address: Option<IpAddr>, value: &str) -> Truth {
    let ends =
        value.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let (Some(address), Some((first, last))) = (address, ends) else { return Truth::Unknown };
    let first: IpAddr = first;
    let last: IpAddr = last;
    Truth::from(Family::of(first) == packet.family && (first..=last).contains(&address))
}

/// `4242`, `4000:4100`, `:1023` or `1024:`.
fn ports(port: Port, value: &str) -> Truth {
    let (first, last) = value.split_once(':').unwrap_or((value, value));
    let first = if first.is_empty() { Ok(0) } else { first.parse::<u16>() };
    let last = if last.is_empty() { Ok(u16::MAX) } else { last.parse::<u16>() };
    match (first, last) {
        (Ok(first), Ok(last)) if !value.is_empty() => port.within(first.into(), last.into()),
        _ => Truth::Unknown,
    }
}

fn any_port(port: Port, list: &str) -> Truth {
    Truth::any(list.split(',').map(|value| ports(port, value)))
}
