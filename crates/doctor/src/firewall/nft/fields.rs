//! Expressions of nftables for one packet.

use std::net::IpAddr;

use serde_json::Value;

use super::Ruleset;
use crate::firewall::chains::{Action, Step};
use crate::firewall::effort::Effort;
use crate::firewall::packet::{Earlier, Family, Packet, Port, Stage, Truth, Way, flag};

/// Deepest that values are looked into.
const DEEPEST: usize = 8;

/// Reads the rules of a table for a packet.
pub(super) struct Reader<'a> {
    pub(super) rules: &'a Ruleset,
    pub(super) family: &'a str,
    pub(super) table: &'a str,
    pub(super) packet: &'a Packet,
    pub(super) effort: &'a Effort,
    /// What may have become of the packet before.
    pub(super) earlier: Earlier,
}

/// What a field of the packet is.
enum Seen {
    /// The packet has no such field: the rule doesn't match, whatever it is compared with.
    Absent,
    Unknown,
    Port(Port),
    Address(Option<IpAddr>),
    /// One of several words, also known by a number.
    Word(&'static str, Option<u64>),
    /// A word that is not known, and none of these.
    NotAny(&'static [&'static str]),
    /// The name of the interface: of the one to itself, or any other.
    Interface(Truth),
    /// Flags of TCP of which those of the mask are looked at; without one, all are.
    Flags(Option<u64>),
    /// Whether there is a way back to the sender.
    WayBack,
    Several(Vec<Self>),
}

/// To which port a statement leads connections, if it leads them anywhere.
pub(super) fn redirected(expression: &Value) -> Option<Option<u16>> {
    let extension = expression.get("xt").and_then(|extension| extension.get("name")).and_then(Value::as_str);
    if matches!(extension, Some("DNAT" | "REDIRECT")) {
        return Some(None);
    }
    let to = expression.get("redirect").or_else(|| expression.get("dnat"))?;
    Some(to.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()))
}

/// Whether a statement takes connections out of the kernel's sight.
pub(super) fn untracks(expression: &Value) -> bool {
    let extension = expression.get("xt").and_then(|extension| extension.get("name"));
    let extension = extension.and_then(Value::as_str);
    expression.get("notrack").is_some() || matches!(extension, Some("CT" | "NOTRACK"))
}

impl Reader<'_> {
    /// What a rule does.
    pub(super) fn steps(&self, rule: usize, written: &[Value]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut matches = Truth::Yes;
        if !self.effort.spend(1 + written.len()) {
            return vec![Step { matches: Truth::Unknown, action: Action::Unknown, rule }];
        }
        for expression in written {
            if matches == Truth::No {
                break;
            }
            let Some((kind, body)) = expression.as_object().and_then(|object| object.iter().next()) else {
                steps.push(Step { matches: Truth::Unknown, action: Action::Unknown, rule });
                matches = Truth::Unknown;
                continue;
            };
            match kind.as_str() {
                "match" => matches = matches.and(self.matches(body)),
                // The packet is another one from here on.
                "mangle" if leads_elsewhere(body) => {
                    steps.push(Step { matches, action: Action::Redirect, rule });
                    break;
                }
                "counter" | "log" | "mangle" | "notrack" | "last" | "ct helper" | "ct timeout"
                | "ct expectation" | "dup" | "continue" | "comment" => {}
                "limit" | "quota" | "ct count" | "meter" | "set" | "map" => {
                    matches = matches.and(Truth::Unknown);
                }
                // A match of an extension; what an extension does as a target nobody prints.
                "xt" if body.get("type").and_then(Value::as_str) == Some("match") => {
                    matches = matches.and(Truth::Unknown);
                }
                // What stands behind it is come to only by the verdict to continue.
                "vmap" => {
                    steps.extend(self.verdicts(rule, matches, body));
                    matches = matches.and(Truth::Unknown);
                }
                _ => {
                    let action = self.action(kind, body);
                    match action {
                        Some(action) => {
                            steps.push(Step { matches, action, rule });
                            break;
                        }
                        None => {
                            matches = matches.and(Truth::Unknown);
                            steps.push(Step { matches, action: Action::Unknown, rule });
                        }
                    }
                }
            }
        }
        steps
    }

    fn action(&self, kind: &str, body: &Value) -> Option<Action> {
        let target = || {
            let name = body.get("target").and_then(Value::as_str)?;
            self.rules.names.get(&(self.family.to_owned(), self.table.to_owned(), name.to_owned())).copied()
        };
        Some(match kind {
            "accept" | "masquerade" | "snat" => Action::Accept,
            "drop" => Action::Drop,
            "reject" => Action::Reject,
            "return" => Action::Return,
            "jump" => target().map_or(Action::Unknown, Action::Jump),
            "goto" => target().map_or(Action::Unknown, Action::Goto),
            "redirect" | "dnat" => Action::Redirect,
            "queue" | "fwd" | "synproxy" | "tproxy" => Action::Unknown,
            _ => return None,
        })
    }

    /// The steps of a map of verdicts: no more than one of them can match.
    fn verdicts(&self, rule: usize, matches: Truth, body: &Value) -> Vec<Step> {
        let unknown = vec![Step { matches: Truth::Unknown, action: Action::Unknown, rule }];
        let (Some(key), Some(data)) = (body.get("key"), body.get("data")) else { return unknown };
        let entries = match data {
            Value::String(name) => self.named(name),
            _ => data.get("set").and_then(Value::as_array),
        };
        let Some(entries) = entries else { return unknown };
        let seen = self.seen(key, 0);
        if matches!(seen, Seen::Absent) {
            return Vec::new();
        }
        let mut steps = Vec::new();
        let (mut found, mut otherwise) = (Truth::No, None);
        for entry in entries {
            let Some([key, verdict]) = entry.as_array().map(Vec::as_slice) else { return unknown };
            if is_catch_all(key) {
                otherwise = Some(verdict);
                continue;
            }
            let is = self.is(&seen, key, 0);
            found = found.or(is);
            if is == Truth::Yes {
                // Keys don't overlap: those that may have been it were not.
                return self.verdict(rule, matches, verdict).into_iter().collect();
            }
            if is == Truth::Unknown {
                steps.extend(self.verdict(rule, Truth::Unknown, verdict));
            }
        }
        // It is for what no other key is for, wherever it stands.
        steps.extend(otherwise.and_then(|verdict| self.verdict(rule, matches.and(found.not()), verdict)));
        steps
    }

    fn verdict(&self, rule: usize, matches: Truth, verdict: &Value) -> Option<Step> {
        let (kind, body) = match verdict.as_object().and_then(|verdict| verdict.iter().next()) {
            Some((kind, _)) if kind == "continue" => return None,
            Some((kind, body)) => (kind.as_str(), body),
            None => ("", &Value::Null),
        };
        Some(Step { matches, action: self.action(kind, body).unwrap_or(Action::Unknown), rule })
    }

    fn named(&self, name: &str) -> Option<&Vec<Value>> {
        let name = name.strip_prefix('@')?.to_owned();
        self.rules.sets.get(&(self.family.to_owned(), self.table.to_owned(), name))
    }

    fn matches(&self, body: &Value) -> Truth {
        let (Some(left), Some(right)) = (body.get("left"), body.get("right")) else { return Truth::Unknown };
        let seen = self.seen(left, 0);
        if matches!(seen, Seen::Absent) {
            return Truth::No;
        }
        let operator = body.get("op").and_then(Value::as_str).unwrap_or("==");
        // Without a mask "in" asks for any of the flags, and "==" for all of the header's, of which not all are known.
        if let Seen::Flags(None) = seen {
            let asked = bits(right, 0);
            return match (operator, asked) {
                ("in", Some(asked)) => Truth::from(self.packet.flags() & asked != 0),
                _ => Truth::Unknown,
            };
        }
        // Flags of a word, as `ct state`, are written so, too: one of them is asked for.
        let right = match right.get("|") {
            Some(alternatives) if matches!(seen, Seen::Word(..)) => alternatives,
            _ => right,
        };
        let than = match seen {
            Seen::Port(port) => right.as_u64().map(|than| (port, than)),
            _ => None,
        };
        match (operator, than) {
            ("==" | "in", _) => self.is(&seen, right, 0),
            ("!=", _) => self.is(&seen, right, 0).not(),
            ("<", Some((port, than))) => port.within(than, u64::MAX).not(),
            (">", Some((port, than))) => port.within(0, than).not(),
            ("<=", Some((port, than))) => port.within(0, than),
            (">=", Some((port, than))) => port.within(than, u64::MAX),
            _ => Truth::Unknown,
        }
    }

    /// What the packet has there.
    fn seen(&self, left: &Value, depth: usize) -> Seen {
        let Some((kind, body)) = left.as_object().and_then(|left| left.iter().next()) else {
            return Seen::Unknown;
        };
        let word = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        match kind.as_str() {
            "payload" => self.payload(word("protocol"), word("field")),
            "meta" => self.meta(word("key")),
            "ct" => match (word("key"), self.packet.stage) {
                ("state", _) if self.earlier.untracked => Seen::Unknown,
                ("state", Stage::New) => Seen::Word("new", None),
                ("state", Stage::Established) => Seen::Word("established", None),
                ("direction", Stage::New) => Seen::Word("original", Some(0)),
                ("direction", Stage::Established) => Seen::Word("reply", Some(1)),
                ("status", _) if !self.earlier.redirected => Seen::NotAny(&["dnat", "dying", "expected"]),
                _ => Seen::Unknown,
            },
            "fib" => self.fib(body),
            // Packets of friends carry none of these headers.
            "exthdr" if body.get("field").is_some() => Seen::Absent,
            "concat" if depth == 0 => {
                let parts = body.as_array().into_iter().flatten();
                let parts: Vec<Seen> = parts.map(|part| self.seen(part, depth + 1)).collect();
                if parts.iter().any(|part| matches!(part, Seen::Absent)) {
                    return Seen::Absent;
                }
                Seen::Several(parts)
            }
            "&" => match body.as_array().map(Vec::as_slice) {
                Some([of, mask]) if depth < DEEPEST => match (self.seen(of, depth + 1), bits(mask, 0)) {
                    (Seen::Flags(None), Some(mask)) => Seen::Flags(Some(mask)),
                    (Seen::Absent, _) => Seen::Absent,
                    _ => Seen::Unknown,
                },
                _ => Seen::Unknown,
            },
            _ => Seen::Unknown,
        }
    }

    fn payload(&self, protocol: &str, field: &str) -> Seen {
        let packet = self.packet;
        match (protocol, field) {
            ("tcp" | "th", "sport") => Seen::Port(packet.source_port()),
            ("tcp" | "th", "dport") => Seen::Port(packet.destination_port()),
            ("tcp", "flags") => Seen::Flags(None),
            ("udp" | "udplite" | "icmp" | "icmpv6" | "igmp" | "sctp" | "dccp" | "esp" | "ah" | "comp", _) => {
                Seen::Absent
            }
            ("ip", _) if packet.family == Family::V6 => Seen::Absent,
            ("ip6", _) if packet.family == Family::V4 => Seen::Absent,
            ("ip" | "ip6", "saddr") => Seen::Address(packet.source()),
            ("ip" | "ip6", "daddr") => Seen::Address(packet.destination()),
            ("ip", "protocol") | ("ip6", "nexthdr") => Seen::Word("tcp", Some(6)),
            _ => Seen::Unknown,
        }
    }

    fn meta(&self, key: &str) -> Seen {
        let packet = self.packet;
        match (key, packet.way, packet.family) {
            ("iif" | "iifname", Way::In, _) | ("oif" | "oifname", Way::Out, _) => {
                Seen::Interface(Truth::from(packet.is_loopback()))
            }
            ("l4proto", ..) => Seen::Word("tcp", Some(6)),
            ("nfproto", _, Family::V4) => Seen::Word("ipv4", Some(2)),
            ("nfproto", _, Family::V6) => Seen::Word("ipv6", Some(10)),
            ("protocol", _, Family::V4) => Seen::Word("ip", None),
            ("protocol", _, Family::V6) => Seen::Word("ip6", None),
            ("pkttype", Way::In, _) => Seen::NotAny(&["broadcast", "multicast", "other"]),
            _ => Seen::Unknown,
        }
    }

    fn fib(&self, body: &Value) -> Seen {
        let flags = || body.get("flags").and_then(Value::as_array).into_iter().flatten();
        let of = |name: &str| flags().any(|flag| flag == name);
        match body.get("result").and_then(Value::as_str) {
            Some("type") if of("daddr") && self.packet.way == Way::In && !of("iif") => {
                Seen::Word("local", None)
            }
            Some("type") if of("daddr") || of("saddr") => {
                Seen::NotAny(&["broadcast", "multicast", "anycast", "blackhole"])
            }
            // The packet comes from where answers go to; a computer with several ways out may differ, and it is not said to be stopped.
            Some("oif" | "oifname") if of("saddr") && self.packet.way == Way::In => Seen::WayBack,
            _ => Seen::Unknown,
        }
    }

    /// Whether what is seen is this value, or one of these.
    fn is(&self, seen: &Seen, right: &Value, depth: usize) -> Truth {
        if depth > DEEPEST || !self.effort.spend(1) {
            return Truth::Unknown;
        }
        let any =
            |values: &Vec<Value>| Truth::any(values.iter().map(|value| self.is(seen, value, depth + 1)));
        if let Seen::Flags(Some(mask)) = seen {
            return bits(right, 0).map_or(Truth::Unknown, |asked| {
                // A set is of alternatives; bits() doesn't take one.
                Truth::from(self.packet.flags() & mask == asked)
            });
        }
        match right {
            Value::String(name) if name.starts_with('@') => self.named(name).map_or(Truth::Unknown, any),
            Value::String(star) if star == "*" && !matches!(seen, Seen::Interface(_)) => Truth::Yes,
            Value::Array(values) => any(values),
            Value::Object(object) => {
                let Some((kind, body)) = object.iter().next() else { return Truth::Unknown };
                match (kind.as_str(), body, seen) {
                    ("set", Value::Array(values), _) => any(values),
                    ("elem", Value::Object(element), _) => {
                        let value = element.get("val").unwrap_or(&Value::Null);
                        let is = self.is(seen, value, depth + 1);
                        let plain = ["val", "timeout", "expires", "comment", "counter"];
                        let plain = element.keys().all(|key| plain.contains(&key.as_str()));
                        if plain { is } else { is.and(Truth::Unknown) }
                    }
                    ("concat", Value::Array(values), Seen::Several(parts)) if values.len() == parts.len() => {
                        let pairs = parts.iter().zip(values);
                        pairs.fold(Truth::Yes, |all, (part, value)| all.and(self.is(part, value, depth + 1)))
                    }
                    ("range", Value::Array(ends), _) => match ends.as_slice() {
                        [first, last] => self.between(seen, first, last),
                        _ => Truth::Unknown,
                    },
                    ("prefix", body, Seen::Address(address)) => {
                        let network = body.get("addr").and_then(Value::as_str).and_then(|at| at.parse().ok());
                        let length = body.get("len").and_then(Value::as_u64);
                        match (network, length.and_then(|length| u32::try_from(length).ok())) {
                            (Some(network), Some(length)) => self.packet.within(*address, network, length),
                            _ => Truth::Unknown,
                        }
                    }
                    _ => Truth::Unknown,
                }
            }
            _ => self.equals(seen, right),
        }
    }

    fn between(&self, seen: &Seen, first: &Value, last: &Value) -> Truth {
        match seen {
            Seen::Port(port) => match (first.as_u64(), last.as_u64()) {
                (Some(first), Some(last)) => port.within(first, last),
                _ => Truth::Unknown,
            },
            Seen::Address(Some(address)) => match (parsed(first), parsed(last)) {
                (Some(first), Some(last)) if Family::of(first) == Family::of(last) => {
                    let same = Family::of(first) == self.packet.family;
                    Truth::from(same && (first..=last).contains(address))
                }
                _ => Truth::Unknown,
            },
            _ => Truth::Unknown,
        }
    }

    fn equals(&self, seen: &Seen, right: &Value) -> Truth {
        match (seen, right) {
            (Seen::Port(port), Value::Number(asked)) => {
                asked.as_u64().map_or(Truth::Unknown, |asked| port.within(asked, asked))
            }
            (Seen::Address(address), Value::String(_)) => match parsed(right) {
                Some(IpAddr::V4(asked)) => self.packet.within(*address, asked.into(), 32),
                Some(IpAddr::V6(asked)) => self.packet.within(*address, asked.into(), 128),
                None => Truth::Unknown,
            },
            (Seen::Word(is, _), Value::String(asked)) => Truth::from(is == asked),
            (Seen::Word(_, Some(is)), Value::Number(asked)) => {
                asked.as_u64().map_or(Truth::Unknown, |asked| Truth::from(*is == asked))
            }
            (Seen::NotAny(none), Value::String(asked)) if none.contains(&asked.as_str()) => Truth::No,
            (Seen::Interface(is_lo), Value::String(asked)) if asked == "lo" => *is_lo,
            (Seen::Interface(Truth::Yes), Value::String(asked)) if !asked.ends_with('*') => Truth::No,
            (Seen::WayBack, Value::Bool(asked)) => Truth::from(*asked),
            _ => Truth::Unknown,
        }
    }
}

/// Whether an address or a port of the packet is written over.
fn leads_elsewhere(mangle: &Value) -> bool {
    let field = mangle.get("key").and_then(|key| key.get("payload")).map(|payload| payload.get("field"));
    field.is_some_and(|field| {
        field
            .and_then(Value::as_str)
            .is_none_or(|field| ["saddr", "daddr", "sport", "dport", "protocol", "nexthdr"].contains(&field))
    })
}

/// Whether a key of a map, or of a set, stands for all that no other is for: `*`, which may be within an element that has a comment.
fn is_catch_all(key: &Value) -> bool {
    let value = key.get("elem").and_then(|element| element.get("val")).unwrap_or(key);
    value == "*"
}

fn parsed(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// Flags of TCP as bits.
fn bits(value: &Value, depth: usize) -> Option<u64> {
    if depth > DEEPEST {
        return None;
    }
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => flag(name),
        Value::Array(all) => {
            all.iter().try_fold(0, |bits_so_far, one| Some(bits_so_far | bits(one, depth + 1)?))
        }
        Value::Object(object) => bits(object.get("|")?, depth + 1),
        _ => None,
    }
}
