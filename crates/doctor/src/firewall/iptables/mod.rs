//! What `iptables-save` and `ip6tables-save` print.

mod rule;

use std::collections::BTreeMap;

use super::chains::{Action, Base, Chain, End, Hook, Outcome, follow};
use super::packet::{Earlier, Family, Packet, Truth};
use super::{Decision, ReadError, RulePlace, Tool};

/// Longest text that is read.
pub const MOST_BYTES: usize = 8 << 20;
/// Most rules and chains together.
const MOST_LINES: usize = 50_000;

/// The rules of iptables for one kind of addresses.
#[derive(Debug)]
pub struct Ruleset {
    family: Family,
    is_nft: bool,
    chains: Vec<Written>,
    /// Chains by table and name.
    names: BTreeMap<(String, String), usize>,
}

#[derive(Debug)]
struct Written {
    table: String,
    name: String,
    policy: Option<Action>,
    /// Words of rules, without `-A CHAIN`.
    rules: Vec<Vec<String>>,
}

impl Ruleset {
    /// Reads them.
    ///
    /// # Errors
    /// If it is not what these programs print, or there is too much of it.
    pub fn read(family: Family, text: &str) -> Result<Self, ReadError> {
        if text.len() > MOST_BYTES || text.lines().count() > MOST_LINES {
            return Err(ReadError::TooLong);
        }
        let is_nft = text.lines().any(|line| line.starts_with('#') && line.contains("(nf_tables)"));
        let mut rules = Self { family, is_nft, chains: Vec::new(), names: BTreeMap::new() };
        let mut table: Option<&str> = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('*') {
                table = Some(name);
            } else if line == "COMMIT" {
                table = None;
            } else if !line.is_empty() && !line.starts_with('#') {
                rules.add(table.ok_or(ReadError::NotRules)?, line).ok_or(ReadError::NotRules)?;
            }
        }
        Ok(rules)
    }

    fn add(&mut self, table: &str, line: &str) -> Option<()> {
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_ascii_whitespace();
            let (name, policy) = (words.next()?, words.next()?);
            let policy = match policy {
                "-" => None,
                "ACCEPT" => Some(Action::Accept),
                "DROP" => Some(Action::Drop),
                _ => Some(Action::Unknown),
            };
            self.names.insert((table.to_owned(), name.to_owned()), self.chains.len());
            let (table, name) = (table.to_owned(), name.to_owned());
            self.chains.push(Written { table, name, policy, rules: Vec::new() });
            return Some(());
        }
        let mut words = rule::words(line);
        // Counters of packets and bytes.
        if words.first()?.starts_with('[') {
            words.remove(0);
        }
        if words.len() < 2 || words[0] != "-A" {
            return None;
        }
        let chain = *self.names.get(&(table.to_owned(), words[1].clone()))?;
        self.chains[chain].rules.push(words.split_off(2));
        Some(())
    }

    /// Whether the kernel has them as rules of nftables.
    #[must_use]
    pub const fn is_nft(&self) -> bool {
        self.is_nft
    }

    /// The kind of addresses they are for.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The names of the tables that were read.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let mut tables: Vec<String> = self.names.keys().map(|(table, _)| table.clone()).collect();
        tables.dedup();
        tables
    }

    /// Whether there is any rule, or a policy that stops anything.
    #[must_use]
    pub fn says_anything(&self) -> bool {
        self.chains.iter().any(|chain| !chain.rules.is_empty() || chain.policy == Some(Action::Drop))
    }

    /// What may have become of connections to a port before others look at them.
    pub(super) fn earlier(&self, port: Option<u16>) -> Earlier {
        let rules = || self.chains.iter().flat_map(|chain| &chain.rules);
        let leads_here = |to: Option<u16>| to.is_none() || port.is_none() || to == port;
        Earlier {
            redirected: rules().any(|words| rule::redirected(words).is_some_and(leads_here)),
            untracked: rules().any(|words| rule::untracks(words)),
        }
    }

    /// What becomes of a packet.
    pub(super) fn follow(&self, packet: &Packet, earlier: Earlier) -> Outcome {
        if packet.family != self.family {
            return Outcome::default();
        }
        let chains: Vec<Chain> =
            self.chains.iter().map(|chain| self.for_packet(chain, packet, earlier)).collect();
        follow(&chains, packet)
    }

    fn for_packet(&self, chain: &Written, packet: &Packet, earlier: Earlier) -> Chain {
        let hook = Hook::named(&chain.name);
        let base = hook.zip(chain.policy).map(|(hook, policy)| Base {
            hook,
            priority: match chain.table.as_str() {
                "raw" => -300,
                "mangle" => -150,
                "nat" => -100,
                "security" => 50,
                _ => 0,
            },
            policy,
            applies: Truth::Yes,
            first_only: chain.table == "nat",
        });
        let target = |name: &str| self.names.get(&(chain.table.clone(), name.to_owned())).copied();
        let steps = chain.rules.iter().enumerate();
        let steps = steps.filter_map(|(at, words)| rule::step(at, words, packet, earlier, &target));
        Chain { base, steps: steps.collect() }
    }

    /// Who stops the packet, in words.
    pub(super) fn decision(&self, end: End) -> Decision {
        let Written { table, name, rules, .. } = &self.chains[end.chain];
        let (tool, program) = match self.family {
            Family::V4 => (Tool::Iptables, "iptables"),
            Family::V6 => (Tool::Ip6tables, "ip6tables"),
        };
        let of = if table == "filter" { String::new() } else { format!(" -t {table}") };
        let rule = match end.rule.and_then(|rule| rules.get(rule)) {
            Some(words) => format!("{program}{of} -A {name} {}", rule::quoted(words)),
            None => format!("{program}{of} -P {name} DROP"),
        };
        Decision {
            access: end.access,
            rule: Some(super::shortened(&rule)),
            place: Some(RulePlace {
                tool,
                family: if self.family == Family::V4 { "ip" } else { "ip6" }.to_owned(),
                table: table.clone(),
                chain: name.clone(),
                answers: false,
            }),
        }
    }
}
