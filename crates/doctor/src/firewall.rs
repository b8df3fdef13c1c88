//! A computer's own firewall: what it lets through, and what a person may do about it. Pure: texts of other programs in, facts out.

use serde::{Deserialize, Serialize};

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
    /// Whether the rules could be read at all.
    pub readable: bool,
    /// Security software that was found: `clamd`, `SELinux (enforcing)`.
    pub security: Vec<String>,
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
