//! A computer's own firewall: what it lets through, and what a person may do about it. Pure: texts of other programs in, facts out.

pub mod advice;
mod chains;
mod effort;
mod firewalld;
pub mod iptables;
pub mod nft;
mod packet;
mod rules;
#[cfg(test)]
mod tests;
mod texts;

use serde::{Deserialize, Serialize};

pub use self::packet::{Family, Packet, Port, Stage, Way};
pub use self::rules::{Decision, Rules};
pub use self::texts::{LegacyTables, TablesTexts, Texts};

/// Most addresses of others for which rules are looked at one by one.
pub const MOST_REMOTES: usize = 16;
/// Longest text of a rule, bytes.
const LONGEST_RULE: usize = 300;

/// What is known of a computer's own firewall and security software.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FirewallFacts {
    /// What manages its rules.
    pub manager: Manager,
    /// Whether connections to the inbound port are let in.
    pub inbound: Access,
    /// Whether connections to friends are let out.
    pub outbound: Access,
    /// The rule, or the policy of a chain, that stops what comes in: as the program that was asked writes it.
    pub inbound_rule: Option<String>,
    /// The same for what goes out.
    pub outbound_rule: Option<String>,
    /// Where the rule is that stops what comes in.
    pub inbound_place: Option<RulePlace>,
    /// The same for what goes out.
    pub outbound_place: Option<RulePlace>,
    /// What the rules say of single addresses, [`MOST_REMOTES`] at most. Where they don't agree, the fields above say that nothing is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<RemoteAccess>,
    /// Whether the rules could be read at all.
    pub readable: bool,
    /// Security software that was found: `clamd`, `SELinux (enforcing)`.
    pub security: Vec<String>,
    /// The zone of firewalld in which the interface is by which this computer gets to the Internet.
    pub zone: Option<String>,
    /// Whether firewalld has the policy by which it lets out what goes to friends; null: not known.
    pub has_policy: Option<bool>,
    /// When connections were let in last, as far as is remembered, Unix seconds: since then a rule has changed.
    pub worked: Option<i64>,
}

/// The program by which a person changes the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// Not known, or there is none.
    #[default]
    None,
    /// `nft`.
    Nftables,
    /// `iptables`.
    Iptables,
    /// `ufw`.
    Ufw,
    /// `firewall-cmd`.
    Firewalld,
    /// The application firewall of macOS.
    MacOs,
}

/// What the rules say of one address of another computer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteAccess {
    /// `ip:port`, or `any IPv4 address`.
    pub address: String,
    /// Whether connections from there are let in.
    pub inbound: Access,
    /// Whether connections to there are let out.
    pub outbound: Access,
    /// The rule that stops what comes in.
    pub inbound_rule: Option<String>,
    /// The rule that stops what goes out.
    pub outbound_rule: Option<String>,
    /// Where the rule is that stops what comes in.
    pub inbound_place: Option<RulePlace>,
    /// Where the rule is that stops what goes out.
    pub outbound_place: Option<RulePlace>,
}

/// Where a rule is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulePlace {
    /// The program that changes it.
    pub tool: Tool,
    /// `inet`, `ip`, `ip6`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Whether what it stops are the answers to connections.
    pub answers: bool,
    /// Whether it is no rule but the policy of the chain: what becomes of packets of which no rule says anything.
    pub policy: bool,
}

/// See [`RulePlace::tool`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// `nft`.
    #[default]
    Nft,
    /// `iptables`.
    Iptables,
    /// `ip6tables`.
    Ip6tables,
    /// `iptables-legacy`, where `iptables` is for the tables of nftables.
    IptablesLegacy,
    /// `ip6tables-legacy`.
    Ip6tablesLegacy,
}

impl Tool {
    /// How it is called.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::IptablesLegacy => "iptables-legacy",
            Self::Ip6tablesLegacy => "ip6tables-legacy",
        }
    }
}

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another program printed it, or another version.
    #[error("this is not how rules of a firewall are printed")]
    NotRules,
    /// More than can be looked at in a moment.
    #[error("there are too many rules to look at")]
    TooLong,
}

/// Whether packets get through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The rules could not be read, or not be understood.
    #[default]
    Unknown,
    /// They do.
    Open,
    /// They are dropped without a word.
    Dropped,
    /// They are answered with a refusal.
    Rejected,
}

impl Access {
    /// Whether it is certain that nothing gets through.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Dropped | Self::Rejected)
    }
}

/// The start of a text of a rule, without what would harm a terminal.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if short.len() + letter.len_utf8() > LONGEST_RULE {
            short.push_str("...");
            break;
        }
        short.push(letter);
    }
    short
}
