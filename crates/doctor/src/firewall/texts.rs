//! What programs of Linux print of its firewall, as it was printed: facts follow from it, wherever they were asked.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::iptables::Backend;
use super::{Access, Family, FirewallFacts, Manager, Rules, firewalld};

/// What the programs printed. What one did not print, as it is not there or may not be used, is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Texts {
    /// `nft -j list ruleset`.
    pub nft: Option<String>,
    /// Of iptables, for IPv4.
    pub v4: TablesTexts,
    /// Of ip6tables, for IPv6.
    pub v6: TablesTexts,
    /// `ufw status`.
    pub ufw: Option<String>,
    /// /etc/ufw/ufw.conf.
    pub ufw_settings: String,
    /// `firewall-cmd --state`.
    pub firewalld: Option<String>,
    /// `firewall-cmd --get-active-zones`.
    pub zones: Option<String>,
    /// `firewall-cmd --get-default-zone`.
    pub default_zone: Option<String>,
    /// `firewall-cmd --permanent --get-policies`.
    pub policies: Option<String>,
    /// /proc/self/net/route.
    pub routes: String,
    /// `socketfilterfw --getglobalstate`, on macOS.
    pub macos: Option<String>,
}

/// What the programs of iptables print for one kind of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TablesTexts {
    /// `iptables-save`.
    pub saved: Option<String>,
    /// `iptables --version`.
    pub version: String,
    /// `iptables-legacy-save`: rules of the kernel's older tables, where `iptables-save` shows those of nftables.
    pub legacy: Option<String>,
    /// Whether there are such tables.
    pub tables: LegacyTables,
}

/// What the kernel says of its older tables (/proc/self/net/ip_tables_names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegacyTables {
    /// It does not say: only the superuser may ask.
    #[default]
    Unread,
    /// There are none.
    None,
    /// There are some.
    Some,
}

impl Texts {
    /// What follows for connections from others to a port, and between this computer and these addresses of others. Without any, from and
    /// to anywhere.
    #[must_use]
    pub fn facts(&self, port: u16, remotes: &[SocketAddr]) -> FirewallFacts {
        if let Some(state) = &self.macos {
            return of_macos(state);
        }
        let mut rules = Rules::default();
        let mut readable = false;
        match &self.nft {
            Some(text) => readable |= rules.add_nft(text).is_ok(),
            None => rules.add_unread(),
        }
        for (family, texts) in [(Family::V4, &self.v4), (Family::V6, &self.v6)] {
            readable |= texts.add_to(&mut rules, family);
        }
        rules.settle();
        let facts = if readable { rules.facts(port, remotes) } else { FirewallFacts::default() };
        let policies = self.policies.as_deref();
        FirewallFacts {
            manager: self.manager(&rules),
            zone: firewalld::zone(
                self.zones.as_deref().unwrap_or_default(),
                self.default_zone.as_deref().unwrap_or_default(),
                &self.routes,
            ),
            has_policy: policies.map(|names| names.split_whitespace().any(|name| name == firewalld::POLICY)),
            ..facts
        }
    }

    /// The program by which a person changes the rules.
    fn manager(&self, rules: &Rules) -> Manager {
        let is_firewalld = self.firewalld.as_deref().is_some_and(|state| state.trim() == "running");
        let is_ufw = match &self.ufw {
            Some(text) => text.lines().any(|line| line.trim() == "Status: active"),
            // Only an administrator is told; the settings everybody may read.
            None => self.ufw_settings.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes")),
        };
        match rules.said_by() {
            _ if is_firewalld || rules.has_firewalld() => Manager::Firewalld,
            _ if is_ufw => Manager::Ufw,
            (_, true) => Manager::Iptables,
            (true, _) => Manager::Nftables,
            _ => Manager::None,
        }
    }

    /// How much of it there is, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_tables = |texts: &TablesTexts| {
            [&texts.saved, &texts.legacy].into_iter().flatten().map(String::len).sum::<usize>()
                + texts.version.len()
        };
        let optional = [
            &self.nft,
            &self.ufw,
            &self.firewalld,
            &self.zones,
            &self.default_zone,
            &self.policies,
            &self.macos,
        ];
        optional.into_iter().flatten().map(String::len).sum::<usize>()
            + self.ufw_settings.len()
            + self.routes.len()
            + of_tables(&self.v4)
            + of_tables(&self.v6)
    }
}

/// `Firewall is enabled. (State = 1)`; 2 lets in nothing but what the system needs.
fn of_macos(text: &str) -> FirewallFacts {
    let state = text.split("State = ").nth(1).and_then(|rest| rest.chars().next());
    // It never looks at what goes out; a filter of packets beside it (pf) may.
    let (manager, inbound) = match state {
        Some('0') => (Manager::None, Access::Open),
        Some('1' | '2') => (Manager::MacOs, Access::Unknown),
        _ => return FirewallFacts::default(),
    };
    FirewallFacts { manager, inbound, readable: true, ..FirewallFacts::default() }
}

impl TablesTexts {
    /// Whether any rules were read.
    fn add_to(&self, rules: &mut Rules, family: Family) -> bool {
        let mut readable = false;
        let mut shown = None;
        if let Some(text) = self.saved.as_deref().filter(|text| !text.trim().is_empty()) {
            let backend = Backend::of(text, &self.version);
            let read = rules.add_iptables(family, backend, text);
            readable |= read.is_ok();
            shown = read.ok().map(|()| backend);
        }
        // Those of `iptables-save` may be the older ones; where nobody says, those are looked at twice.
        if shown != Some(Backend::Legacy) && self.tables != LegacyTables::None {
            let legacy = self.legacy.as_deref().filter(|text| !text.trim().is_empty());
            match legacy.map(|text| rules.add_iptables(family, Backend::LegacyBeside, text)) {
                Some(Ok(())) => readable = true,
                _ => rules.add_unread(),
            }
        }
        readable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_RULES: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}]}"#;
    const DROPS: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
                         -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";

    #[expect(clippy::unnecessary_wraps, reason = "what a program printed may be none")]
    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    /// Nothing of the older tables.
    fn none() -> TablesTexts {
        TablesTexts { tables: LegacyTables::None, ..TablesTexts::default() }
    }

    fn saved(saved: &str) -> TablesTexts {
        TablesTexts { saved: text(saved), ..none() }
    }

    fn read() -> Texts {
        Texts { nft: text(NO_RULES), v4: none(), v6: none(), ..Texts::default() }
    }

    #[track_caller]
    fn check(texts: &Texts, expected: (Manager, Access, Access)) {
        let facts = texts.facts(4242, &["198.51.100.7:4242".parse().unwrap()]);
        assert_eq!((facts.manager, facts.inbound, facts.outbound), expected, "{facts:?}");
    }

    #[test]
    fn nothing_is_said_where_nothing_may_be_read() {
        check(&Texts::default(), (Manager::None, Access::Unknown, Access::Unknown));
        // Whoever may not read prints nothing, and says it is all.
        let texts = Texts { v4: saved(""), v6: saved(""), ..Texts::default() };
        check(&texts, (Manager::None, Access::Unknown, Access::Unknown));
        let texts = Texts { ufw_settings: "# a comment\nENABLED=yes\n".into(), ..Texts::default() };
        check(&texts, (Manager::Ufw, Access::Unknown, Access::Unknown));
    }

    #[test]
    fn the_manager_is_the_one_that_runs() {
        check(&read(), (Manager::None, Access::Open, Access::Open));
        check(
            &Texts { ufw: text("Status: active\n\nTo"), ..read() },
            (Manager::Ufw, Access::Open, Access::Open),
        );
        let both = Texts { ufw: text("Status: inactive\n"), firewalld: text("running\n"), ..read() };
        check(&both, (Manager::Firewalld, Access::Open, Access::Open));
        let iptables = Texts { v4: saved(DROPS), ..read() };
        check(&iptables, (Manager::Iptables, Access::Dropped, Access::Open));
    }

    #[test]
    fn older_tables_beside_the_newer_ones_count_too() {
        let newer = "# Generated by iptables-save v1.8.9 (nf_tables)\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let v4 = |legacy| TablesTexts { tables: LegacyTables::Some, legacy, ..saved(newer) };
        check(&Texts { v4: v4(None), ..read() }, (Manager::None, Access::Unknown, Access::Unknown));
        let both = Texts { v4: v4(text(DROPS)), ..read() };
        check(&both, (Manager::Iptables, Access::Dropped, Access::Open));
        // `iptables` would change the newer ones.
        let facts = both.facts(4242, &["198.51.100.7:4242".parse().unwrap()]);
        assert_eq!(facts.inbound_rule.as_deref(), Some("iptables-legacy -P INPUT DROP"));
        assert_eq!(facts.inbound_place.map(|place| place.tool), Some(crate::firewall::Tool::IptablesLegacy));
    }

    #[test]
    fn where_nobody_says_of_which_tables_the_rules_are_nothing_is_open() {
        let head = |head: &str| {
            format!("# Generated by {head} on Sun Nov 22\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
        };
        for (printed, version, backend) in [
            ("xtables-save v1.8.2", "", Backend::Nft),
            ("iptables-nft-save v1.8.4", "", Backend::Nft),
            ("iptables-save v1.8.9 (nf_tables)", "", Backend::Nft),
            ("iptables-save v1.8.7", "iptables v1.8.7 (nf_tables)\n", Backend::Nft),
            ("iptables-save v1.8.7", "iptables v1.8.7 (legacy)\n", Backend::Legacy),
            ("iptables-save v1.6.1", "iptables v1.6.1\n", Backend::Legacy),
            ("iptables-save v1.8.7", "", Backend::Unknown),
        ] {
            let text = head(printed);
            assert_eq!(Backend::of(&text, version), backend, "{printed} {version}");
            let version = version.to_owned();
            let v4 = TablesTexts { version, tables: LegacyTables::Some, ..saved(&text) };
            let expected = if backend == Backend::Legacy { Access::Open } else { Access::Unknown };
            check(&Texts { v4, ..read() }, (Manager::None, expected, expected));
        }
        // The kernel does not say either.
        let v4 = TablesTexts { tables: LegacyTables::Unread, ..saved(&head("iptables-save v1.8.7")) };
        check(&Texts { v4, ..read() }, (Manager::None, Access::Unknown, Access::Unknown));
        // What says of itself that it shows the older ones has shown them.
        let warning = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n";
        let text = format!("{}{warning}", head("xtables-save v1.8.2"));
        assert_eq!(Backend::of(&text, ""), Backend::Nft);
    }

    #[test]
    fn the_firewall_of_macos_says_whether_it_is_on() {
        let off = of_macos("Firewall is disabled. (State = 0) \n");
        assert_eq!((off.manager, off.inbound, off.outbound), (Manager::None, Access::Open, Access::Unknown));
        let on = of_macos("Firewall is enabled. (State = 1) \n");
        assert_eq!((on.manager, on.inbound, on.readable), (Manager::MacOs, Access::Unknown, true));
        assert_eq!(of_macos("something else"), FirewallFacts::default());
    }
}
