//! What `nft -j list ruleset` prints.

mod fields;
mod text;

use std::collections::BTreeMap;

use serde_json::Value;

use self::fields::Reader;
use super::chains::{Action, Base, Chains, Hook, Outcome, Step, follow};
use super::effort::Effort;
use super::packet::{Earlier, Family, Packet, Truth};
use super::{Decision, ReadError, RulePlace, Tool};

/// Longest text that is read.
pub const MOST_BYTES: usize = 8 << 20;
/// Most rules, chains and sets together.
const MOST_OBJECTS: usize = 50_000;

/// The rules of nftables.
#[derive(Debug, Default)]
pub struct Ruleset {
    chains: Vec<Written>,
    /// Chains by family, table and name.
    names: BTreeMap<Name, usize>,
    sets: BTreeMap<Name, Vec<Value>>,
    tables: BTreeMap<(String, String), Truth>,
    /// Ports to which a rule of a chain leads connections from other ports; none: any.
    redirects: Vec<(usize, Option<u16>)>,
    /// Chains of which a rule takes connections out of the kernel's sight.
    untracking: Vec<usize>,
}

type Name = (String, String, String);

#[derive(Debug)]
struct Written {
    family: String,
    table: String,
    name: String,
    base: Option<(Hook, i64, Action, bool)>,
    rules: Vec<Vec<Value>>,
    /// Whether the same is better known from elsewhere.
    left_out: bool,
}

impl Ruleset {
    /// Reads them.
    ///
    /// # Errors
    /// If it is not what `nft -j list ruleset` prints, or there is too much of it.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        if text.len() > MOST_BYTES {
            return Err(ReadError::TooLong);
        }
        let document: Value = serde_json::from_str(text).map_err(|_| ReadError::NotRules)?;
        let objects = document.get("nftables").and_then(Value::as_array).ok_or(ReadError::NotRules)?;
        if objects.len() > MOST_OBJECTS {
            return Err(ReadError::TooLong);
        }
        let mut rules = Self::default();
        for object in objects {
            let Some((kind, object)) = object.as_object().and_then(|object| object.iter().next()) else {
                return Err(ReadError::NotRules);
            };
            rules.add(kind, object)?;
        }
        Ok(rules)
    }

    fn add(&mut self, kind: &str, object: &Value) -> Result<(), ReadError> {
        let word =
            |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(ReadError::NotRules);
        match kind {
            "table" => {
                self.tables.insert((word("family")?, word("name")?), is_active(object.get("flags")));
            }
            "chain" => {
                let (family, table, name) = (word("family")?, word("table")?, word("name")?);
                let base = object.get("hook").and_then(Value::as_str).and_then(Hook::named).map(|hook| {
                    let priority = object.get("prio").and_then(Value::as_i64).unwrap_or(0);
                    let policy = match object.get("policy").and_then(Value::as_str) {
                        None | Some("accept") => Action::Accept,
                        Some("drop") => Action::Drop,
                        Some(_) => Action::Unknown,
                    };
                    (hook, priority, policy, object.get("type").and_then(Value::as_str) == Some("nat"))
                });
                self.names.insert((family.clone(), table.clone(), name.clone()), self.chains.len());
                self.chains.push(Written { family, table, name, base, rules: Vec::new(), left_out: false });
            }
            "set" | "map" => {
                let elements = object.get("elem").and_then(Value::as_array).cloned().unwrap_or_default();
                self.sets.insert((word("family")?, word("table")?, word("name")?), elements);
            }
            "rule" => {
                let name = (word("family")?, word("table")?, word("chain")?);
                let expressions = object.get("expr").and_then(Value::as_array).ok_or(ReadError::NotRules)?;
                // A rule of a chain that is not there is none of this list.
                let chain = *self.names.get(&name).ok_or(ReadError::NotRules)?;
                self.redirects
                    .extend(expressions.iter().filter_map(|one| Some((chain, fields::redirected(one)?))));
                if expressions.iter().any(fields::untracks) {
                    self.untracking.push(chain);
                }
                self.chains[chain].rules.push(expressions.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Leaves out the tables that `iptables-save` shows, too, and shows better: of what extensions do `nft` prints no more than their names.
    pub fn leave_out(&mut self, family: Family, tables: &[String]) {
        let family = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        for chain in &mut self.chains {
            if chain.family == family && tables.contains(&chain.table) {
                chain.left_out = true;
            }
        }
    }

    /// Whether there is no chain but those that were left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.iter().all(|chain| chain.left_out)
    }

    /// Whether a table is there.
    #[must_use]
    pub fn has_table(&self, name: &str) -> bool {
        self.tables.keys().any(|(_, table)| table == name)
    }

    /// What may have become of connections to a port before others look at them.
    pub(super) fn earlier(&self, port: Option<u16>) -> Earlier {
        let counts = |chain: &usize| !self.chains[*chain].left_out;
        let mut redirects = self.redirects.iter().filter(|(chain, _)| counts(chain));
        Earlier {
            redirected: redirects.any(|(_, to)| to.is_none() || port.is_none() || *to == port),
            untracked: self.untracking.iter().any(counts),
        }
    }

    /// What becomes of a packet.
    pub(super) fn follow(&self, packet: &Packet, earlier: Earlier, effort: &Effort) -> Outcome {
        follow(&ForPacket { rules: self, packet, earlier, effort }, packet)
    }

    /// Who stops the packet, in words.
    pub(super) fn decision(&self, end: super::chains::End) -> Decision {
        let chain = &self.chains[end.chain];
        let Written { family, table, name, .. } = chain;
        let what = match end.rule.and_then(|rule| chain.rules.get(rule)) {
            Some(rule) => text::rule(rule),
            None => "policy drop".to_owned(),
        };
        Decision {
            access: end.access,
            rule: Some(super::shortened(&format!("table {family} {table}, chain {name}: {what}"))),
            place: Some(RulePlace {
                tool: Tool::Nft,
                family: family.clone(),
                table: table.clone(),
                chain: name.clone(),
                answers: false,
                policy: end.rule.is_none(),
            }),
        }
    }
}

/// The chains as they are for one packet.
struct ForPacket<'a> {
    rules: &'a Ruleset,
    packet: &'a Packet,
    earlier: Earlier,
    effort: &'a Effort,
}

impl Chains for ForPacket<'_> {
    fn count(&self) -> usize {
        self.rules.chains.len()
    }

    fn base(&self, chain: usize) -> Option<Base> {
        let chain = &self.rules.chains[chain];
        let (hook, priority, policy, first_only) = chain.base?;
        let family = match (chain.family.as_str(), self.packet.family) {
            _ if chain.left_out => return None,
            ("inet", _) | ("ip", Family::V4) | ("ip6", Family::V6) => Truth::Yes,
            // Only some interfaces have such rules.
            ("netdev" | "bridge", _) => Truth::Unknown,
            _ => return None,
        };
        let table = (chain.family.clone(), chain.table.clone());
        let active = self.rules.tables.get(&table).copied().unwrap_or(Truth::Yes);
        let is_of_some = hook == Hook::Ingress || hook == Hook::Egress;
        let all = if is_of_some { Truth::Unknown } else { Truth::Yes };
        Some(Base { hook, priority, policy, applies: family.and(active).and(all), first_only })
    }

    fn steps(&self, chain: usize) -> Vec<Step> {
        let Self { rules, packet, earlier, effort } = *self;
        let chain = &rules.chains[chain];
        let reader = Reader { rules, family: &chain.family, table: &chain.table, packet, effort, earlier };
        chain.rules.iter().enumerate().flat_map(|(rule, written)| reader.steps(rule, written)).collect()
    }
}

/// Whether a table with these flags does anything.
fn is_active(flags: Option<&Value>) -> Truth {
    match flags {
        None | Some(Value::Null) => Truth::Yes,
        Some(Value::String(flag)) => Truth::from(flag != "dormant"),
        Some(Value::Array(flags)) => Truth::from(!flags.iter().any(|flag| flag == "dormant")),
        // nft 1.0.6 prints numbers that mean nothing.
        Some(_) => Truth::Unknown,
    }
}
