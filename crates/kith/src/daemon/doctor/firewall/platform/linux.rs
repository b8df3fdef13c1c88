//! Linux: nftables and iptables know the rules, ufw and firewalld say who manages them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kith_doctor::firewall::{Family, FirewallFacts, Manager, Rules};
use tokio::time::Instant;

use super::super::program::{Printed, small_file, spoken};
use super::super::security;

/// What the programs printed.
#[derive(Debug, Default)]
struct Texts {
    nft: Printed,
    iptables: [Printed; 2],
    /// Rules of the kernel's older tables, where `iptables-save` shows those of nftables.
    legacy: [Printed; 2],
    /// Whether there are such tables.
    has_legacy: [bool; 2],
    ufw: Printed,
    ufw_settings: String,
    firewalld: Printed,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

pub(in super::super) async fn gather(port: u16, remotes: &[SocketAddr], patience: Duration) -> FirewallFacts {
    let until = Instant::now() + patience;
    let (nft, v4, v6, old4, old6, ufw, firewalld, ufw_settings, names4, names6) = tokio::join!(
        spoken("nft", &["-j", "list", "ruleset"], until),
        spoken("iptables-save", &[], until),
        spoken("ip6tables-save", &[], until),
        spoken("iptables-legacy-save", &[], until),
        spoken("ip6tables-legacy-save", &[], until),
        spoken("ufw", &["status"], until),
        spoken("firewall-cmd", &["--state"], until),
        small_file(Path::new("/etc/ufw/ufw.conf")),
        small_file(Path::new("/proc/net/ip_tables_names")),
        small_file(Path::new("/proc/net/ip6_tables_names")),
    );
    let texts = Texts {
        nft,
        iptables: [v4, v6],
        legacy: [old4, old6],
        has_legacy: [names4, names6].map(|names| !names.trim().is_empty()),
        ufw,
        ufw_settings,
        firewalld,
    };
    let remotes = remotes.to_vec();
    // Long lists of rules take a while.
    let read = tokio::task::spawn_blocking(move || {
        let mut facts = facts(&texts, port, &remotes);
        facts.security = security::found();
        facts
    });
    read.await.unwrap_or_default()
}

/// What follows from what the programs printed.
fn facts(texts: &Texts, port: u16, remotes: &[SocketAddr]) -> FirewallFacts {
    let mut rules = Rules::default();
    let mut readable = false;
    match &texts.nft {
        Printed::Text(text) => readable |= rules.add_nft(text).is_ok(),
        Printed::Nothing => rules.add_unread(),
    }
    for (at, family) in FAMILIES.into_iter().enumerate() {
        let mut shows_legacy = false;
        if let Printed::Text(text) = &texts.iptables[at] {
            let is_read = rules.add_iptables(family, text).is_ok();
            // Whoever may not read prints nothing, and says it is all.
            readable |= is_read && !text.is_empty();
            shows_legacy = !text.contains("(nf_tables)") && !text.is_empty();
        }
        if texts.has_legacy[at] && !shows_legacy {
            match &texts.legacy[at] {
                Printed::Text(text) if rules.add_iptables(family, text).is_ok() => readable = true,
                _ => rules.add_unread(),
            }
        }
    }
    rules.settle();
    let manager = manager(texts, &rules);
    if !readable {
        return FirewallFacts { manager, ..FirewallFacts::default() };
    }
    FirewallFacts { manager, ..rules.facts(port, remotes) }
}

/// The program by which a person changes the rules.
fn manager(texts: &Texts, rules: &Rules) -> Manager {
    let is_firewalld = matches!(&texts.firewalld, Printed::Text(text) if text.trim() == "running");
    let is_ufw = match &texts.ufw {
        Printed::Text(text) => text.lines().any(|line| line.trim() == "Status: active"),
        // Only an administrator is told; the settings everybody may read.
        Printed::Nothing => {
            texts.ufw_settings.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
        }
    };
    match rules.said_by() {
        _ if is_firewalld || rules.has_firewalld() => Manager::Firewalld,
        _ if is_ufw => Manager::Ufw,
        (_, true) => Manager::Iptables,
        (true, _) => Manager::Nftables,
        _ => Manager::None,
    }
}

#[cfg(test)]
mod tests {
    use kith_doctor::firewall::Access;

    use super::*;

    const NO_RULES: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}]}"#;
    const DROPS: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                         -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";

    fn text(text: &str) -> Printed {
        Printed::Text(text.to_owned())
    }

    fn check(texts: &Texts, expected: (Manager, Access, Access)) {
        let facts = facts(texts, 4242, &["198.51.100.7:4242".parse().unwrap()]);
        assert_eq!((facts.manager, facts.inbound, facts.outbound), expected, "{facts:?}");
    }

    #[test]
    fn nothing_is_said_where_nothing_may_be_read() {
        check(&Texts::default(), (Manager::None, Access::Unknown, Access::Unknown));
        let texts = Texts { iptables: [text(""), text("")], ..Texts::default() };
        check(&texts, (Manager::None, Access::Unknown, Access::Unknown));
        let texts = Texts { ufw_settings: "# a comment\nENABLED=yes\n".into(), ..Texts::default() };
        check(&texts, (Manager::Ufw, Access::Unknown, Access::Unknown));
    }

    #[test]
    fn the_manager_is_the_one_that_runs() {
        let read = || Texts { nft: text(NO_RULES), ..Texts::default() };
        check(&read(), (Manager::None, Access::Open, Access::Open));
        check(
            &Texts { ufw: text("Status: active\n\nTo"), ..read() },
            (Manager::Ufw, Access::Open, Access::Open),
        );
        let both = Texts { ufw: text("Status: inactive\n"), firewalld: text("running\n"), ..read() };
        check(&both, (Manager::Firewalld, Access::Open, Access::Open));
        let iptables = Texts { iptables: [text(DROPS), Printed::Nothing], ..read() };
        check(&iptables, (Manager::Iptables, Access::Dropped, Access::Open));
    }

    #[test]
    fn older_tables_beside_the_newer_ones_count_too() {
        let newer = "# Generated by iptables-save v1.8.9 (nf_tables)\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let texts = || Texts {
            nft: text(NO_RULES),
            iptables: [text(newer), Printed::Nothing],
            has_legacy: [true, false],
            ..Texts::default()
        };
        check(&texts(), (Manager::None, Access::Unknown, Access::Unknown));
        let legacy = [text(DROPS), Printed::Nothing];
        check(&Texts { legacy, ..texts() }, (Manager::Iptables, Access::Dropped, Access::Open));
    }
}
