//! Linux: nftables and iptables know the rules, ufw and firewalld say who manages them.

use std::path::Path;
use std::time::Duration;

use kith_doctor::firewall::{LegacyTables, TablesTexts, Texts};
use tokio::time::Instant;

use super::super::program::{SmallFile, small_file, spoken};

/// What the programs print.
pub(in super::super) async fn texts(patience: Duration) -> Texts {
    let until = Instant::now() + patience;
    let (nft, v4, v6, ufw, ufw_settings, routes, firewalld) = tokio::join!(
        spoken("nft", &["-j", "list", "ruleset"], until),
        of_tables(
            ["iptables", "iptables-save", "iptables-legacy-save"],
            "/proc/self/net/ip_tables_names",
            until
        ),
        of_tables(
            ["ip6tables", "ip6tables-save", "ip6tables-legacy-save"],
            "/proc/self/net/ip6_tables_names",
            until
        ),
        spoken("ufw", &["status"], until),
        small_file(Path::new("/etc/ufw/ufw.conf")),
        small_file(Path::new("/proc/self/net/route")),
        of_firewalld(until),
    );
    let (ufw_settings, routes) = (ufw_settings.text(), routes.text());
    Texts { nft, v4, v6, ufw, ufw_settings, routes, ..firewalld }
}

async fn of_firewalld(until: Instant) -> Texts {
    let (firewalld, zones, default_zone, policies) = tokio::join!(
        spoken("firewall-cmd", &["--state"], until),
        spoken("firewall-cmd", &["--get-active-zones"], until),
        spoken("firewall-cmd", &["--get-default-zone"], until),
        spoken("firewall-cmd", &["--permanent", "--get-policies"], until),
    );
    Texts { firewalld, zones, default_zone, policies, ..Texts::default() }
}

/// The programs of iptables for one kind of addresses: which one, what it shows, and what the older one does.
async fn of_tables([program, save, legacy]: [&str; 3], tables: &str, until: Instant) -> TablesTexts {
    let (version, saved, legacy, tables) = tokio::join!(
        spoken(program, &["--version"], until),
        spoken(save, &[], until),
        spoken(legacy, &[], until),
        small_file(Path::new(tables)),
    );
    let tables = match tables {
        SmallFile::Text(names) if !names.trim().is_empty() => LegacyTables::Some,
        SmallFile::Text(_) | SmallFile::Absent => LegacyTables::None,
        SmallFile::Unreadable => LegacyTables::Unread,
    };
    TablesTexts { saved, version: version.unwrap_or_default(), legacy, tables }
}
