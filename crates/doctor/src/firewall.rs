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

/// What a person does so that connections come in at a port.
#[must_use]
pub fn step_in(firewall: &FirewallFacts, port: u16) -> String {
    format!("allow incoming TCP connections to port {port}: `{}`", command(firewall.manager, "in", port))
}

/// What a person does so that connections go out to a port.
#[must_use]
pub fn step_out(firewall: &FirewallFacts, port: u16) -> String {
    format!("allow outgoing TCP connections to port {port}: `{}`", command(firewall.manager, "out", port))
}

fn command(manager: Manager, direction: &str, port: u16) -> String {
    let (chain, inbound) = if direction == "in" { ("input", true) } else { ("output", false) };
    match manager {
        Manager::Ufw => format!("sudo ufw allow {direction} proto tcp to any port {port}"),
        Manager::Firewalld if inbound => {
            format!("sudo firewall-cmd --permanent --add-port={port}/tcp && sudo firewall-cmd --reload")
        }
        Manager::Iptables => {
            format!("sudo iptables -I {} -p tcp --dport {port} -j ACCEPT", chain.to_uppercase())
        }
        _ => format!("sudo nft insert rule inet filter {chain} tcp dport {port} accept"),
    }
}
